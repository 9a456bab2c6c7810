"""The trainer as a program of spark-submit, such as EMR Serverless runs: its job and all it leaves are in S3.

``COMMAND --job s3://…/job.json --out s3://…/``. Whoever submitted it has named the master and every property of Spark;
the session is taken as it is. The last that is written is ``result.json`` or ``failure.json``, the same documents as in
a process beside a task.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from slipway_trainer.command import COMMANDS, reason, run
from slipway_trainer.job import Job, job_from
from slipway_trainer.problem import TrainingError, UnavailableError
from slipway_trainer.progress import tell
from slipway_trainer.s3_folder import S3Folder

RESULT, FAILURE = "result.json", "failure.json"


def main(arguments: list[str] | None = None) -> int:
    """Run one job; returns the exit code: 0 done, 1 failed."""
    parser = argparse.ArgumentParser(prog="slipway-trainer", description="Run one job that lies in S3.")
    parser.add_argument("command", choices=COMMANDS)
    parser.add_argument("--job", required=True, type=_s3_uri, help="the job's document")
    parser.add_argument("--out", required=True, type=_s3_uri, help="folder for result.json or failure.json")
    options = parser.parse_args(arguments)
    out = S3Folder(options.out)
    try:
        with tempfile.TemporaryDirectory(prefix="slipway-code-") as folder:
            job = _with_code(_read(options.job), Path(folder))
            tell(f"{options.command} for {job.service}, job {job.job_id}")
            document = run(options.command, replace(job, submitted=True))
        out.write(RESULT, (json.dumps(document, indent=1) + "\n").encode())
    except Exception as error:  # noqa: BLE001  # whatever it is, the failure document is what the task reads
        return _fail(out, *reason(error))
    return 0


def _read(uri: str) -> Job:
    folder, _, name = uri.rpartition("/")
    try:
        found = json.loads(S3Folder(folder).read(name))
    except ValueError as error:
        raise TrainingError(f"{uri} is not a job: {error}") from error
    return job_from(found)


def _with_code(job: Job, folder: Path) -> Job:
    """The job with the service's own files on this machine; those beside them in S3 come with them."""
    places: dict[str, Path] = {}

    def here(reference: str | None) -> str | None:
        if not reference or not reference.startswith("s3://"):
            return reference
        around, _, name = reference.rpartition("/")
        if around not in places:
            places[around] = folder / str(len(places))
            S3Folder(around, job.region, job.s3_endpoint_url).fetch(places[around])
        return str(places[around] / name)

    changed = replace(job, template=here(job.template), retrainer=here(job.retrainer))
    if job.prepare is None:
        return changed
    return replace(changed, prepare=replace(job.prepare, function=here(job.prepare.function) or ""))


def _fail(out: S3Folder, kind: str, message: str) -> int:
    sys.stderr.write(f"failed ({kind}): {message}\n")
    try:
        out.write(FAILURE, (json.dumps({"kind": kind, "message": message}) + "\n").encode())
    except (TrainingError, UnavailableError) as error:
        sys.stderr.write(f"and that cannot be left in {out.uri}: {error}\n")
    return 1


def _s3_uri(text: str) -> str:
    if not text.startswith("s3://"):
        raise argparse.ArgumentTypeError(f"{text!r} is no place in S3; expected s3://bucket/…")
    return text
