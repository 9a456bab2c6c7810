"""``train``: the trainer on SageMaker's contract for training containers.

SageMaker runs ``docker run IMAGE train``. What it gives is read by :mod:`slipway_trainer.container_input`. What is left
behind follows "How Amazon SageMaker Processes Training Output",
https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-training-algo-output.html: the model in ``model``,
everything else in ``output/data``, the reason of a failure in ``output/failure``, and an exit code that is not 0, which
``FailureReason`` shows behind the reason. To stop a training it sends SIGTERM and kills after 120 seconds.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from slipway_trainer.command import reason, run, write_result
from slipway_trainer.container_input import Folders, read_order
from slipway_trainer.job import Job
from slipway_trainer.lifeline import hold
from slipway_trainer.problem import TrainingError
from slipway_trainer.progress import tell
from slipway_trainer.unprivileged import give_up_root

ROOT_VARIABLE = "SLIPWAY_ML_ROOT"
#: When the same training may go through later: EX_TEMPFAIL of sysexits(3).
TRY_AGAIN = 75
_MAX_FAILURE_CHARACTERS = 1024  # what SageMaker shows of the file


def main(arguments: list[str] | None = None) -> int:
    """Run what the training job asks for; returns the exit code: 0 done, 1 failed, 75 try again."""
    parser = argparse.ArgumentParser(prog="train", description="Run the training job that /opt/ml describes.")
    parser.add_argument("command", nargs="?", choices=["train"], help="what SageMaker calls; it changes nothing")
    parser.add_argument(
        "--root", type=Path, default=os.environ.get(ROOT_VARIABLE, "/opt/ml"), help="in place of /opt/ml"
    )
    folders = Folders(parser.parse_args(arguments).root)
    hold(None)
    try:
        kept = [folders.checkpoints] if folders.checkpoints.is_dir() else []
        give_up_root([folders.model, folders.output.parent, folders.output, *kept])
        _require_writable(folders)
        command, job = read_order(folders)
        tell(f"{command} for {job.service}, job {job.job_id}")
        _run(command, job, folders)
    except Exception as error:  # noqa: BLE001  # whatever it is, the failure file is what people are shown
        return _fail(folders.failure, *reason(error))
    return 0


def _run(command: str, job: Job, folders: Folders) -> None:
    with tempfile.TemporaryDirectory(prefix="slipway-mlflow-") as store:
        if command == "train" and not job.dry_run and not job.tracking_uri:
            job = _with_own_store(job, Path(store))
        document = run(command, job)
        if document.get("run_id") and document.get("model_uri"):
            _bring(document, folders)
        write_result(document, folders.output / "result.json")


def _with_own_store(job: Job, folder: Path) -> Job:
    """The job with a store of its own for MLflow: without a server the model is what is left of the training."""
    import mlflow

    tell("the job names no tracking_uri: the model is left in the model folder alone")
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    mlflow.MlflowClient(uri).create_experiment(job.experiment, artifact_location=(folder / "artifacts").as_uri())
    return replace(job, tracking_uri=uri)


def _bring(document: dict[str, Any], folders: Folders) -> None:
    from slipway_trainer.tracking import download

    download(document["model_uri"], folders.model)
    download(f"runs:/{document['run_id']}/slipway", folders.output)
    tell(f"the model is in {folders.model}")


def _require_writable(folders: Folders) -> None:
    """Find out now, not after hours of training, that nothing can be left behind."""
    for folder in (folders.model, folders.output):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            raise TrainingError(
                f"user {os.geteuid()} cannot write to {folder}: {error.strerror}; let the container start as root "
                "(it gives that up by itself), or make the folder writable"
            ) from error


def _fail(place: Path, kind: str, message: str) -> int:
    sys.stderr.write(f"failed ({kind}): {message}\n")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(message[:_MAX_FAILURE_CHARACTERS], encoding="utf-8")
    except OSError as error:
        sys.stderr.write(f"{place} cannot be written: {error.strerror}\n")
    return TRY_AGAIN if kind in {"unavailable", "unknown"} else 1


if __name__ == "__main__":
    sys.exit(main())
