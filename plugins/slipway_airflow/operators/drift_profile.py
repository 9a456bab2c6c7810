"""Captured calls to profiles, once for each capture object."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from airflow.providers.amazon.aws.utils.mixins import aws_template_fields

from slipway.drift.capture.profiling import ProfiledObject
from slipway.drift.engines.job import CALL, profiling_job
from slipway.training.process import TrainerProcess
from slipway_airflow.operators.drift import DriftOperator, Window

if TYPE_CHECKING:
    from airflow.sdk import Context

    from slipway.drift.objects import CaptureObject
    from slipway.drift.profile import Profile
    from slipway.drift.reference import Reference

#: Capture objects that Spark counts at a time. Their addresses are signed for an hour, and what fails takes no more
#: with it: the profiles of the objects before are kept.
_SPARK_OBJECTS = 500


class DriftProfileOperator(DriftOperator):
    """Profile the capture objects of some hours and keep each profile beside its object.

    ``monitor.profiling`` says what counts: threads of this process, or Spark in a process of its own, which ends with
    the task. Memory stays constant whatever the objects hold: they are read as streams, a few at a time.

    :param window: What ``collect`` found. (templated)
    :param group: ``variant``, ``hour`` (begin of the first one) and ``until`` (end of the last one). (templated)
    :param spec: The service.
    :param platform: The installation.
    :param bucket_conn_id: The Airflow connection of the artifact bucket; ``aws_conn_id`` when None. (templated)
    :param aws_conn_id: The Airflow connection of the endpoint's account. (templated, default: aws_default)
    :param region_name: AWS region; the connection's when None. (templated)
    :param verify: Whether to verify TLS certificates, or the path of a CA bundle. (templated)
    :param botocore_config: Configuration of the botocore clients.
    :return: ``objects``, ``rows``, ``rejected``.
    """

    template_fields = aws_template_fields("bucket_conn_id", "window", "group")

    def __init__(self, *, window: Window, group: Mapping[str, str], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.window = window
        self.group = group
        self._process: TrainerProcess | None = None

    def execute(self, context: Context) -> dict[str, int]:
        """Profile what has no profile yet."""
        reference = self.reference_of(self.window)
        begin = datetime.fromisoformat(self.group["hour"])
        end = min(datetime.fromisoformat(self.group["until"]), datetime.fromisoformat(self.window["until"]))
        variants = [self.group["variant"]]
        done = self.store.profiled(reference.bins.digest, variants, begin, end)
        wanted = [each for each in self.store.captures(variants, begin, end) if each.path not in done]
        by_spark = wanted and self.spec.monitor.profiling.engine == "spark"
        rows = rejected = 0
        for profile in self._by_spark(wanted, reference) if by_spark else self._by_threads(wanted, reference):
            rows += profile.rows
            rejected += sum(profile.rejected.values())
        self.log.info("%d capture objects: %d rows, %d calls set aside.", len(wanted), rows, rejected)
        return {"objects": len(wanted), "rows": rows, "rejected": rejected}

    def on_kill(self) -> None:
        """End Spark with the task."""
        if self._process:
            self._process.kill()

    def _by_threads(self, wanted: list[CaptureObject], reference: Reference) -> Iterator[Profile]:
        with ThreadPoolExecutor(self.spec.monitor.profiling.threads) as pool:
            yield from pool.map(lambda each: self.store.profile(each, reference), wanted)

    def _by_spark(self, wanted: list[CaptureObject], reference: Reference) -> Iterator[Profile]:
        for start in range(0, len(wanted), _SPARK_OBJECTS):
            group = wanted[start : start + _SPARK_OBJECTS]
            self.log.info("Spark counts the capture objects %d to %d.", start + 1, start + len(group))
            yield from self._group_by_spark(group, reference)

    def _group_by_spark(self, group: list[CaptureObject], reference: Reference) -> Iterator[Profile]:
        objects = {each.path: each for each in group}
        with TemporaryDirectory(prefix="slipway-profile-") as name:
            folder = Path(name)
            addresses = {path: self.store.signed_capture(each) for path, each in objects.items()}
            job = profiling_job(self.spec, reference, addresses, folder)
            self._process = TrainerProcess(CALL, job, folder, {})
            found = self._process.run(lambda line: self.log.info("%s", line))
            for path, number in found["profiled"]:
                yield self.store.keep_profile(objects[path], reference, _profiled(folder / number))


def _profiled(place: Path) -> ProfiledObject:
    rejected = place.with_suffix(".rejected.json")
    return ProfiledObject(place.with_suffix(".slpf").read_bytes(), rejected.read_bytes() if rejected.exists() else None)
