"""What a training leaves in MLflow: the run with its lineage, the model, and the result for who comes again."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

from slipway_trainer.champion import SavedModel
from slipway_trainer.job import Job
from slipway_trainer.problem import TrainingError, UnavailableError

JOB_TAG = "slipway.job_id"
RESULT = "slipway/result.json"
_TOO_MANY_REQUESTS = 429
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def find_result(job: Job) -> dict[str, Any] | None:
    """The result of an earlier try of the same job that got to its end; leftovers of others are marked as killed.

    Raises:
        UnavailableError: MLflow does not answer.
    """
    import mlflow

    with _translated("look for an earlier try"):
        client = mlflow.MlflowClient()
        experiment = mlflow.set_experiment(job.experiment)
        for run in client.search_runs([experiment.experiment_id], f"tags.`{JOB_TAG}` = '{job.job_id}'"):
            if run.info.status == "FINISHED":
                found: dict[str, Any] = mlflow.artifacts.load_dict(f"{run.info.artifact_uri}/{RESULT}")
                return found
            if run.info.status == "RUNNING":
                client.set_terminated(run.info.run_id, "KILLED")
    return None


@contextlib.contextmanager
def recorded(job: Job) -> Iterator[Any]:
    """An MLflow run with the job's parameters, data manifest and parent.

    Raises:
        UnavailableError: MLflow goes down on the way; what was logged stays in a run that is not finished.
    """
    import mlflow

    with _translated("log the training"), mlflow.start_run(run_name=f"{job.service} retrain") as run:
        mlflow.set_tags({**job.tags, JOB_TAG: job.job_id, "slipway.service": job.service, "slipway.engine": job.engine})
        mlflow.log_params(_parameters(job))
        mlflow.log_dict([asdict(each) for each in job.objects], "slipway/data.json")
        mlflow.log_input(_dataset(job), context="training")
        yield run


def download(uri: str, folder: Path) -> None:
    """Copy what was logged into a folder that may be there already.

    Args:
        uri: Of a model, or of an artifact of a run, at the server that is set.
        folder: Where its files are to lie.

    Raises:
        UnavailableError: MLflow or its artifact store does not answer.
        TrainingError: It refuses.
    """
    from mlflow.artifacts import download_artifacts

    with tempfile.TemporaryDirectory(prefix="slipway-logged-") as draft, _translated(f"fetch {uri}"):
        shutil.copytree(download_artifacts(artifact_uri=uri, dst_path=draft), folder, dirs_exist_ok=True)


def data_digest(job: Job) -> str:
    """Hex that names exactly these objects."""
    listed = sorted((each.uri, each.etag, each.size) for each in job.objects)
    return hashlib.sha256(json.dumps(listed).encode()).hexdigest()


def pinned_requirements(saved: SavedModel | None, fitted: Any) -> list[str]:
    """What the new model needs: the champion's packages, in the versions that it was trained with just now.

    Args:
        saved: The champion; None for a first training.
        fitted: The new model.
    """
    names = [found[0] for line in (saved.requirements if saved else []) if (found := _NAME.match(line))]
    if not names:
        names = ["mlflow", type(fitted).__module__.partition(".")[0].replace("sklearn", "scikit-learn"), "pandas"]
    pinned = []
    for name in dict.fromkeys(names):
        with contextlib.suppress(metadata.PackageNotFoundError):
            pinned.append(f"{name}=={metadata.version(name)}")
    return pinned


def installed() -> list[str]:
    """Every installed distribution with its version: the environment of this training."""
    found = {dist.metadata["Name"]: dist.version for dist in metadata.distributions() if dist.metadata["Name"]}
    return sorted(f"{name}=={version}" for name, version in found.items())


def _parameters(job: Job) -> dict[str, Any]:
    parent = job.champion.version if job.champion else "none"
    return {
        "window": json.dumps(asdict(job.window)),
        "holdout_pct": job.holdout_pct,
        "target": job.target,
        "time_column": job.time_column,
        "task": job.task,
        "objects": len(job.objects),
        "data_digest": data_digest(job),
        "parent_version": parent,
        **{f"hyperparameter.{name}": value for name, value in job.hyperparameters.items()},
    }


def _dataset(job: Job) -> Any:
    from mlflow.data.dataset_source_registry import resolve_dataset_source
    from mlflow.data.meta_dataset import MetaDataset

    first = job.objects[0].uri if job.objects else "s3://none/none"
    folder = first.rpartition("/")[0] or first
    return MetaDataset(resolve_dataset_source(folder), name=f"{job.service} training", digest=data_digest(job)[:16])


def is_outage(error: Exception) -> bool:
    """Whether an error says that MLflow, or the network on the way, does not answer."""
    from mlflow.exceptions import MlflowException
    from requests.exceptions import RequestException

    if isinstance(error, MlflowException):
        status: int = error.get_http_status_code()
        return status >= 500 or status == _TOO_MANY_REQUESTS
    return isinstance(error, RequestException)


@contextlib.contextmanager
def _translated(what: str) -> Iterator[None]:
    from mlflow.exceptions import MlflowException
    from requests.exceptions import RequestException

    try:
        yield
    except (RequestException, MlflowException) as error:
        if is_outage(error):
            raise UnavailableError(f"MLflow does not answer; cannot {what}: {error}") from error
        raise TrainingError(f"MLflow refuses; cannot {what}: {error}") from error
