"""The job file: everything that a training is given, except credentials.

Credentials come from where boto3 and MLflow look for them: the process environment or an instance role. MLflow's can
also come from a secret that the job names.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from slipway_trainer.problem import TrainingError

Engine = Literal["python", "spark"]
Task = Literal["binary", "multiclass", "regression"]


@dataclass(frozen=True)
class DataObject:
    """One object of the training data, as it was listed.

    Args:
        uri: ``s3://bucket/key``, or a local path.
        etag: Entity tag; reading fails when the object is not this one any more. Empty for local files.
        size: Bytes.
        modified: When S3 received it, ISO 8601.
        source: URI of the object that it was prepared from; empty when it is the data itself.
    """

    uri: str
    etag: str = ""
    size: int = 0
    modified: str = ""
    source: str = ""


@dataclass(frozen=True)
class Window:
    """Which rows are trained on.

    Args:
        since: Rows before this time are left out, ISO 8601; None for no bound.
        until: Rows from this time on are left out; None for no bound.
        days: Only rows of the last so many days before the newest row; None for no bound.
    """

    since: str | None = None
    until: str | None = None
    days: int | None = None


@dataclass(frozen=True)
class Champion:
    """The model that the new one is made from and compared with.

    Args:
        version: Version in the registry.
        artifact_uri: Folder that holds its MLmodel.
    """

    version: int
    artifact_uri: str


@dataclass(frozen=True)
class Call:
    """A function of others that is called: the trainer itself stands alone.

    Args:
        function: ``module:name``.
        options: Arguments by name.
    """

    function: str
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Landing:
    """What to land of a table of Spark's catalog.

    Args:
        table: The table.
        column: Its column of times.
        place: How the URIs of the objects are to begin.
        through: Highest time that was landed, in microseconds since 1970; None at first.
        late_within_seconds: How far below it rows may still appear.
        tail: URI of the digests of the rows in that range that were landed; None at first.
        columns: Columns that these digests are of.
    """

    table: str
    column: str
    place: str
    through: int | None = None
    late_within_seconds: float = 3600.0
    tail: str | None = None
    columns: tuple[str, ...] = ()


@dataclass(frozen=True)
class Preparation:
    """How objects are prepared.

    Args:
        function: ``path/of/file.py:function``; empty when the rows are prepared already, and only to be stored.
        places: Where to write what it makes of each object, in the order of the objects.
    """

    function: str = ""
    places: tuple[str, ...] = ()


@dataclass(frozen=True)
class Job:
    """One training.

    Args:
        service: Name of the service.
        model: Registered model.
        job_id: The same for every try of one DAG run: a finished MLflow run with this tag is taken as it is.
        engine: ``python`` for scikit-learn and what has its interface, ``spark`` for ``pyspark.ml``.
        objects: The training data.
        data_format: ``parquet``, ``csv`` or ``json``; None: by the ending of each object's name.
        champion: None for a first training, which needs a template or a retrainer.
        target: Column that is predicted.
        time_column: Column that orders the rows in time.
        task: Kind of prediction.
        window: Which rows are used.
        holdout_pct: Newest part of the window in percent that is held out.
        hyperparameters: Set on the estimator before it is fitted, by name (``model__C`` or ``regParam``).
        improvements: ``(metric, confidence in percent)`` whose paired intervals are wanted.
        slices: Columns by whose values the metrics are also given.
        spark: Spark properties.
        submitted: This process was started by spark-submit, with those properties: the session is taken as it is. Said
            by :mod:`slipway_trainer.submitted`, not by who writes the job.
        template: ``path/of/file.py:function`` that makes the unfitted pipeline of a first training.
        retrainer: ``path/of/file.py:Class`` that overrides parts of the training.
        tracking_uri: MLflow server.
        mlflow_secret: Secret of AWS Secrets Manager with its credentials, see
            :func:`slipway_trainer.mlflow_login.log_in`; None: they are in the environment, or there are none.
        experiment: MLflow experiment.
        tags: Tags of the MLflow run.
        s3_endpoint_url: For anything but AWS itself.
        region: AWS region.
        suite: Great Expectations suite as JSON, for ``validate``.
        baseline: Makes the baseline that is logged with the model, see :func:`slipway_trainer.baseline.log_baseline`;
            None for none.
        call: What the command ``call`` calls, see :func:`slipway_trainer.spark.call.call`.
        prepare: How to prepare, for ``prepare`` and ``propose``.
        landing: What to land, for ``land``.
        dry_run: Do everything and log nothing.
        seed: Of the bootstrap.
    """

    service: str
    model: str
    job_id: str
    engine: Engine
    objects: tuple[DataObject, ...]
    tracking_uri: str = ""
    mlflow_secret: str | None = None
    data_format: str | None = None
    champion: Champion | None = None
    target: str | None = None
    time_column: str | None = None
    task: Task = "binary"
    window: Window = field(default_factory=Window)
    holdout_pct: float = 20.0
    hyperparameters: dict[str, Any] = field(default_factory=dict)
    improvements: tuple[tuple[str, float], ...] = ()
    slices: tuple[str, ...] = ()
    spark: dict[str, str] = field(default_factory=dict)
    submitted: bool = False
    template: str | None = None
    retrainer: str | None = None
    experiment: str = "retrain"
    tags: dict[str, str] = field(default_factory=dict)
    s3_endpoint_url: str | None = None
    region: str = "us-east-1"
    suite: dict[str, Any] | None = None
    baseline: Call | None = None
    call: Call | None = None
    prepare: Preparation | None = None
    landing: Landing | None = None
    dry_run: bool = False
    seed: int = 0


def read_job(path: Path) -> Job:
    """Read a job file.

    Raises:
        TrainingError: It is not a job, or has fields that nobody reads.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TrainingError(f"{path} is not a job file: {error}") from error
    return job_from(found)


def job_from(found: dict[str, Any]) -> Job:
    """Make a job of a JSON object.

    Raises:
        TrainingError: A field is missing or unknown, or a time is none.
    """
    try:
        window = Window(**found.get("window") or {})
        for bound in (window.since, window.until):
            if bound is not None:
                datetime.fromisoformat(bound)
        return Job(
            **{
                **found,
                "objects": tuple(DataObject(**each) for each in found["objects"]),
                "champion": Champion(**found["champion"]) if found.get("champion") else None,
                "window": window,
                "prepare": _preparation(found.get("prepare")),
                "landing": _landing(found.get("landing")),
                **{name: Call(**found[name]) if found.get(name) else None for name in ("baseline", "call")},
                "improvements": tuple((metric, float(pct)) for metric, pct in found.get("improvements") or ()),
                "slices": tuple(found.get("slices") or ()),
            }
        )
    except (KeyError, TypeError, ValueError) as error:
        raise TrainingError(f"the job is not valid: {error}") from error


def _preparation(found: dict[str, Any] | None) -> Preparation | None:
    return Preparation(found.get("function") or "", tuple(found.get("places") or ())) if found else None


def _landing(found: dict[str, Any] | None) -> Landing | None:
    return Landing(**{**found, "columns": tuple(found.get("columns") or ())}) if found else None


def to_json(job: Job) -> str:
    """The job file's text."""
    return json.dumps(dataclasses.asdict(job), indent=1, sort_keys=True)
