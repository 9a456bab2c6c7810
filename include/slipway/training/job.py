"""The trainer's job file, made of the spec, the run and the champion; see ``slipway_trainer.job`` for its reader."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from slipway.registry import ResolvedModel
from slipway.spec import ServiceSpec
from slipway.spec.retrain import RetrainSpec
from slipway.training.gate_expression import Beats, parse_expression
from slipway.training.landing import Cursor
from slipway.training.overrides import RetrainOverrides
from slipway.training.watermark import S3Object

#: Tag of a model version: the newest time of the rows that it was trained or judged on, ISO 8601.
DATA_UNTIL_TAG = "slipway.data_until"
#: Makes what the monitor compares the new model's traffic with; the trainer calls it by name.
BASELINE_FUNCTION = "slipway.drift.training:baseline_file"


def make_job(
    spec: ServiceSpec,
    retrain: RetrainSpec,
    *,
    run_id: str,
    objects: Sequence[S3Object],
    champion: ResolvedModel | None,
    overrides: RetrainOverrides,
    data_bucket: str,
    tracking_uri: str,
    s3_endpoint_url: str | None,
    region: str,
    template: str | None = None,
    retrainer: str | None = None,
    suite: dict[str, Any] | None = None,
    prepared: Mapping[str, Mapping[str, Any]] | None = None,
    dry_run: bool = False,
) -> dict[str, Any]:
    """Make the job of one run.

    Args:
        spec: The service.
        retrain: Its section ``retrain``.
        run_id: The DAG run: every try of it makes the same job.
        objects: What to train on, or to validate.
        champion: The model version under the alias ``champion``.
        overrides: What this run does differently.
        data_bucket: Bucket that holds the objects.
        tracking_uri: MLflow, as the trainer reaches it.
        s3_endpoint_url: S3, when it is not AWS's own.
        region: AWS region.
        template: Path of the template's file and its function.
        retrainer: Path of the retrainer's file and its class.
        suite: Great Expectations suite.
        prepared: By key of an object, the object to read in its place: ``uri``, ``etag``, ``size``, ``modified``.
        dry_run: Log nothing.
    """
    return {
        "service": spec.name,
        "model": spec.model,
        "job_id": f"{spec.name}/{run_id}",
        "engine": retrain.engine,
        "objects": [_object(each, data_bucket, (prepared or {}).get(each.key)) for each in objects],
        "tracking_uri": tracking_uri,
        "data_format": None if prepared else retrain.data.format,
        "champion": {"version": champion.version, "artifact_uri": champion.artifact_uri} if champion else None,
        "target": retrain.target,
        "time_column": retrain.time_column,
        "task": retrain.task,
        "window": _window(retrain, champion, overrides),
        "holdout_pct": retrain.holdout_pct,
        "hyperparameters": overrides.hyperparameters,
        "improvements": improvements_wanted(retrain.when),
        "slices": list(retrain.slices),
        "spark": dict(retrain.spark),
        "template": template,
        "retrainer": retrainer,
        "experiment": f"{spec.name}.retrain",
        "tags": {"slipway.run_id": run_id},
        "s3_endpoint_url": s3_endpoint_url,
        "region": region,
        "suite": suite,
        "baseline": {"function": BASELINE_FUNCTION, "options": {"window_hours": spec.monitor.window_hours}},
        "dry_run": dry_run,
    }


def _object(each: S3Object, bucket: str, prepared: Mapping[str, Any] | None) -> dict[str, Any]:
    uri = f"s3://{bucket}/{each.key}"
    if prepared:
        return {**prepared, "etag": f'"{prepared["etag"]}"', "source": uri}
    return {"uri": uri, "etag": f'"{each.etag}"', "size": each.size, "modified": each.modified.isoformat()}


def make_landing(retrain: RetrainSpec, cursor: Cursor, place: str, uri_of: Callable[[str], str]) -> dict[str, Any]:
    """What the trainer is to land of a table of Spark's catalog: a job's ``landing``.

    Args:
        retrain: The section ``retrain``; its data is a table.
        cursor: How far it was read; marks are microseconds since 1970.
        place: How the URIs of the objects are to begin.
        uri_of: Makes a URI of a key.
    """
    return {
        "table": retrain.data.table,
        "column": retrain.time_column,
        "through": cursor.through.value if cursor.through else None,
        "late_within_seconds": retrain.data.late_within,
        "tail": uri_of(cursor.tail) if cursor.tail else None,
        "columns": list(cursor.columns),
        "place": place,
    }


def improvements_wanted(expressions: Sequence[str]) -> list[list[Any]]:
    """The paired intervals that a gate's expressions will ask for: metric and confidence in percent."""
    wanted = [parse_expression(text) for text in expressions]
    return [[each.metric, each.confidence_pct] for each in wanted if isinstance(each, Beats)]


def _window(retrain: RetrainSpec, champion: ResolvedModel | None, overrides: RetrainOverrides) -> dict[str, Any]:
    since = overrides.since
    if since is None and retrain.window == "since_champion" and champion:
        since = champion.tags.get(DATA_UNTIL_TAG)
    return {"since": since, "until": overrides.until, "days": overrides.window_days or retrain.window_days}
