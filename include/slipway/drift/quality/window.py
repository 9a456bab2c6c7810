"""The quality of one window of calls: captures and outcomes read from S3, joined, judged."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from slipway.aws_errors import aws_call
from slipway.drift.capture.reader import CaptureBatch, CaptureCounts, read_captures
from slipway.drift.objects import CaptureObject
from slipway.drift.quality.labels import LabelFile, is_label_file, read_labels
from slipway.drift.quality.measure import measure
from slipway.drift.quality.policy import QualityPolicy
from slipway.drift.quality.report import QualityReport, judge_quality
from slipway.drift.schema import ModelSchema
from slipway.drift.store import DriftStore
from slipway.errors import StorageUnavailableError

if TYPE_CHECKING:
    import pyarrow as pa
    from mypy_boto3_s3 import S3Client


def mature_window(
    until: datetime, window: timedelta, policy: QualityPolicy, champion_since: datetime
) -> tuple[datetime, datetime]:
    """Return the latest window of calls all of whose outcomes have had their time to arrive.

    Args:
        until: Time of the run.
        window: Its length.
        policy: How long outcomes are waited for.
        champion_since: Earlier calls were answered by another release.
    """
    end = until - policy.wait
    return max(end - window, champion_since), end


def measure_quality(
    store: DriftStore,
    label_files: Iterable[LabelFile],
    schema: ModelSchema,
    policy: QualityPolicy,
    variants: Iterable[str],
    window: tuple[datetime, datetime],
    alpha: float,
) -> QualityReport:
    """Measure one window.

    Memory grows with the calls of the window by key, time, answer and slices of each row, not by what else was sent.
    With ``policy.key`` an outcome may belong to a call after the window, to one that a canary answered, or to one in an
    object that began before the window: keys and times of those are read too, as far as the latest outcome and
    ``policy.wait`` reach, and kept where the window has their key.

    Args:
        store: Where the captures lie.
        label_files: Outcomes.
        schema: The model's.
        policy: The rules.
        variants: Whose calls count.
        window: Begin and end.
        alpha: Chance of a false alarm of this run.
    """
    since, until = window
    variants = list(variants)
    found = store.captures(variants, since, until) if since < until else []
    labels, refused = read_labels(label_files, policy)
    rivals: list[CaptureObject] = []
    if found and policy.key and len(labels):
        last = _latest(labels, until, policy)
        others = [each for each in store.variants() if each not in variants]
        # An object is named after its first call, and none spans two hours: one of the hour may reach into the window.
        hour = since.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
        own = store.captures(variants, hour, since) + store.captures(variants, until, last)
        rivals = store.captures(others, hour, last) + own
    tallies = measure(_batches(store, found, schema), labels, schema, policy, _batches(store, rivals, schema))
    verdict, bounds, slices = judge_quality(tallies, policy, alpha)
    return QualityReport(
        since=min(since, until), until=until, verdict=verdict, bounds=bounds, slices=slices, refused=refused
    )


def _latest(labels: pa.Table, until: datetime, policy: QualityPolicy) -> datetime:
    """Until when a call may have been made that one of the outcomes belongs to."""
    import pyarrow.compute as pc

    latest_seconds = pc.max(labels["time"]).as_py() / 1_000_000 + 1
    return datetime.fromtimestamp(min(latest_seconds, (until + policy.wait).timestamp()), UTC)


def label_files(
    s3: S3Client, prefix: str, since: datetime, read: Mapping[str, datetime] | None = None
) -> Iterator[LabelFile]:
    """Read the files of outcomes that arrived since a time.

    Args:
        s3: A boto3 S3 client.
        prefix: ``s3://bucket/folder/``.
        since: An outcome cannot be known before its call.
        read: Files that were read before, with the time of their arrival; they are left out while that stays.

    Raises:
        SlipwayError: S3 does not answer or refuses.
    """
    bucket, _, folder = prefix.removeprefix("s3://").partition("/")
    with aws_call(f"list {prefix}", unavailable=StorageUnavailableError):
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=folder):
            for item in page.get("Contents", []):
                if item["LastModified"] < since or not is_label_file(item["Key"]):
                    continue
                name = item["Key"].removeprefix(folder)
                if read and read.get(name) == item["LastModified"]:
                    continue
                body = s3.get_object(Bucket=bucket, Key=item["Key"])["Body"].read()
                yield LabelFile(name, body, item["LastModified"])


def _batches(store: DriftStore, found: Iterable[CaptureObject], schema: ModelSchema) -> Iterator[CaptureBatch]:
    for each in found:
        with store.open_capture(each) as stream:
            yield from read_captures(stream, schema, CaptureCounts(), events=True)
