"""``python -m slipway_trainer train|validate|propose|prepare|land|call``: one job, one result or failure file.

Started with ``--job`` and ``--out`` by Slipway's task. Without them the paths of SageMaker's training containers are
used: ``/opt/ml/input/config/hyperparameters.json`` with the job under ``job``, ``/opt/ml/model/result.json``,
``/opt/ml/output/failure``
(https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-training-algo-running-container.html).
"""

from __future__ import annotations

import argparse
import json
import sys
import traceback
from pathlib import Path
from typing import Any

from slipway_trainer.foreign import explain
from slipway_trainer.job import Job, job_from, read_job
from slipway_trainer.lifeline import hold
from slipway_trainer.problem import BadDataError, TrainingError, UnavailableError

_ML = Path("/opt/ml")
_MAX_FAILURE_CHARACTERS = 1024  # what SageMaker shows


def main(arguments: list[str] | None = None) -> int:
    """Run one job; returns the exit code: 0 done, 1 failed."""
    parser = argparse.ArgumentParser(prog="slipway-trainer", description=__doc__)
    parser.add_argument("command", choices=("train", "validate", "propose", "prepare", "land", "call"))
    parser.add_argument("--job", type=Path, help="the job file")
    parser.add_argument("--out", type=Path, help="folder for result.json or failure.json")
    parser.add_argument("--parent", type=int, help="process whose end ends this one")
    options = parser.parse_args(arguments)
    hold(options.parent)
    result, failure = _places(options.out)
    try:
        document = _run(options.command, _job(options.job))
    except (TrainingError, UnavailableError) as error:
        return _fail(failure, _kind(error), str(error))
    except Exception as error:  # noqa: BLE001  # whatever it is, the failure file is what the task reads
        traceback.print_exc()
        return _fail(failure, *explain(error))
    result.parent.mkdir(parents=True, exist_ok=True)
    draft = result.with_name(f".{result.name}")
    draft.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    draft.replace(result)  # there or not there, never half
    return 0


def _run(command: str, job: Job) -> dict[str, Any]:
    if command == "train":
        from slipway_trainer.training import train

        return train(job)
    if command == "prepare":
        from slipway_trainer.prepare import prepare

        return prepare(job)
    if command == "land":
        from slipway_trainer.spark.landing import land

        return land(job)
    if command == "call":
        from slipway_trainer.spark.call import call

        return call(job)
    from slipway_trainer.validation import propose_suite, validate

    return validate(job) if command == "validate" else propose_suite(job)


def _job(path: Path | None) -> Job:
    if path is not None:
        return read_job(path)
    hyperparameters = _ML / "input" / "config" / "hyperparameters.json"
    try:
        return job_from(json.loads(json.loads(hyperparameters.read_text())["job"]))
    except (OSError, ValueError, KeyError) as error:
        raise TrainingError(f"{hyperparameters} holds no job: {error!r}") from error


def _places(out: Path | None) -> tuple[Path, Path]:
    if out is not None:
        return out / "result.json", out / "failure.json"
    return _ML / "model" / "result.json", _ML / "output" / "failure"


def _kind(error: Exception) -> str:
    if isinstance(error, UnavailableError):
        return "unavailable"
    return "data" if isinstance(error, BadDataError) else "permanent"


def _fail(place: Path, kind: str, message: str) -> int:
    place.parent.mkdir(parents=True, exist_ok=True)
    if place.suffix == ".json":
        place.write_text(json.dumps({"kind": kind, "message": message}) + "\n", encoding="utf-8")
    else:
        place.write_text(message[:_MAX_FAILURE_CHARACTERS], encoding="utf-8")
    sys.stderr.write(f"failed ({kind}): {message}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
