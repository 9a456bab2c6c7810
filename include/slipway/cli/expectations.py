"""``slipway expectations init``: a first suite for a service, proposed from rows that are known to be good."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from slipway.cli.services import find_project
from slipway.errors import InvalidInputError, UnknownServiceError
from slipway.spec import ServiceSpec, load_services
from slipway.training.job import make_job
from slipway.training.overrides import RetrainOverrides
from slipway.training.process import TrainerProcess
from slipway.training.store import list_objects
from slipway.training.watermark import data_objects

if TYPE_CHECKING:
    from collections.abc import Sequence

    from slipway.spec.retrain import RetrainSpec


def init_expectations(service: str, files: Sequence[Path], project: Path | None, *, force: bool) -> None:
    """Write ``expectations/<service>.json``.

    Args:
        service: name of the service.
        files: local files to propose from; without any, the service's data in S3, which boto3's usual settings reach.
        project: the project folder.
        force: replace a suite that is there.

    Raises:
        UnknownServiceError: the project has no such service.
        InvalidInputError: it is not retrained, has a suite already, or there is no data.
    """
    folder = find_project(project)
    spec = load_services(folder).specs.get(service)
    if spec is None:
        raise UnknownServiceError(f"there is no service {service!r} in {folder / 'services'}")
    if spec.retrain is None:
        raise InvalidInputError(f"{service} is not retrained: its file has no section retrain")
    path = folder / "expectations" / f"{service}.json"
    if path.exists() and not force:
        raise InvalidInputError(f"{path} is there already; --force replaces it")
    suite = _propose(spec, spec.retrain, files, folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(suite, indent=1) + "\n", encoding="utf-8")
    rows, count = suite["meta"]["proposed_from_rows"], len(suite["expectations"])
    typer.echo(f"{path}: {count} expectations, proposed from {rows:,} rows")
    typer.echo("  read it before you rely on it: what is normal for these rows may not be all that is normal")


def _propose(spec: ServiceSpec, retrain: RetrainSpec, files: Sequence[Path], folder: Path) -> dict[str, Any]:
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    job = make_job(
        spec,
        retrain,
        run_id="expectations",
        objects=[],
        champion=None,
        overrides=RetrainOverrides(),
        data_bucket="",
        tracking_uri="",
        s3_endpoint_url=endpoint,
        region=os.environ.get("AWS_DEFAULT_REGION") or os.environ.get("AWS_REGION") or "us-east-1",
    )
    job["objects"] = [{"uri": str(file.resolve())} for file in files] or _in_s3(retrain, endpoint)
    if retrain.prepare:
        job["prepare"] = {"function": str(folder.resolve() / "retrainers" / retrain.prepare)}
    own = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    with tempfile.TemporaryDirectory(prefix="slipway-expectations-") as workdir:
        trainer = TrainerProcess("propose", job, Path(workdir), own)
        suite: dict[str, Any] = trainer.run(lambda line: typer.echo(line, err=True))["suite"]
    return suite


def _in_s3(retrain: RetrainSpec, endpoint: str | None) -> list[dict[str, Any]]:
    import boto3

    uri = retrain.data.s3
    if uri is None:
        raise InvalidInputError("the service's data is not in S3: name files to propose from")
    bucket, _, prefix = uri.removeprefix("s3://").partition("/")
    listed = list_objects(boto3.session.Session().client("s3", endpoint_url=endpoint), uri)
    rules = {"pattern": retrain.data.pattern, "success_marker": retrain.data.success_marker}
    found = data_objects(listed, prefix=prefix, **rules)
    if not found:
        raise InvalidInputError(f"there is no data below {uri}: name files to propose from")
    return [{"uri": f"s3://{bucket}/{each.key}", "etag": f'"{each.etag}"'} for each in found]
