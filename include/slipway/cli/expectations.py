"""``slipway expectations init``: a first suite for a service, proposed from rows that are known to be good."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from slipway.cli.services import find_project
from slipway.errors import InvalidInputError, UnknownServiceError
from slipway.images.cache import default_cache_dir, work_folder
from slipway.images.container_run import ContainerRun, find_image
from slipway.spec import ServiceSpec, load_services
from slipway.training.job import make_job
from slipway.training.overrides import RetrainOverrides
from slipway.training.prepare_container import ContainerFolders, unfit_paths
from slipway.training.process import TrainerProcess
from slipway.training.store import fetch_object, list_objects
from slipway.training.watermark import data_objects

if TYPE_CHECKING:
    from collections.abc import Sequence

    from slipway.spec.prepare import PrepareSpec
    from slipway.spec.retrain import RetrainSpec
    from slipway.training.watermark import S3Object


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
    own = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    how = retrain.prepare
    with work_folder(default_cache_dir() / "prepare", ".expectations-") as workdir:
        if how and how.image:
            job["objects"], job["data_format"] = _by_container(spec, how, files, endpoint, workdir), None
        else:
            job["objects"] = [{"uri": str(file.resolve())} for file in files] or _in_s3(retrain, endpoint)
        if how and how.function:
            job["prepare"] = {"function": str(folder.resolve() / "retrainers" / how.function)}
        trainer = TrainerProcess("propose", job, workdir, own)
        suite: dict[str, Any] = trainer.run(lambda line: typer.echo(line, err=True))["suite"]
    return suite


def _by_container(
    spec: ServiceSpec, how: PrepareSpec, files: Sequence[Path], endpoint: str | None, workdir: Path
) -> list[dict[str, Any]]:
    """What the service's container makes of the rows, as it does in a run."""
    retrain, image = spec.retrain, str(how.image)
    if retrain is None:
        raise InvalidInputError(f"{spec.name} has no section retrain")
    folders = ContainerFolders(workdir, retrain.data.format)
    placed = _placed(folders, files) or _fetched(folders, retrain, endpoint)
    container = ContainerRun(
        find_image(image),
        f"slipway-expectations-{spec.name}-{os.getpid()}",
        command=how.command,
        arguments=how.arguments,
        environment=how.environment,
    )
    made = folders.run(container, image, placed, lambda line: typer.echo(line, err=True))
    for path, each in made.items():
        if each.file is None:
            raise InvalidInputError(f"prepare refuses {path}: {each.refusal}; propose from rows that are good")
    return [{"uri": str(each.file)} for each in made.values()]


def _placed(folders: ContainerFolders, files: Sequence[Path]) -> list[str]:
    names = [file.name for file in files]
    if len(set(names)) < len(names):
        raise InvalidInputError("several of the files have the same name; the container is given them in one folder")
    for file in files:
        shutil.copyfile(file, folders.place(file.name))
    return names


def _fetched(folders: ContainerFolders, retrain: RetrainSpec, endpoint: str | None) -> list[str]:
    bucket, prefix, objects = _listed(retrain, endpoint)
    paths = {each.key.removeprefix(prefix): each for each in objects}
    unfit = unfit_paths(paths)
    if unfit:
        raise InvalidInputError(f"a container cannot be given {min(unfit)!r}: {unfit[min(unfit)]}")
    s3 = _s3(endpoint)
    for path, each in paths.items():
        fetch_object(s3, bucket, each, folders.place(path))
    return list(paths)


def _s3(endpoint: str | None) -> Any:
    import boto3

    return boto3.session.Session().client("s3", endpoint_url=endpoint)


def _in_s3(retrain: RetrainSpec, endpoint: str | None) -> list[dict[str, Any]]:
    bucket, _, found = _listed(retrain, endpoint)
    return [{"uri": f"s3://{bucket}/{each.key}", "etag": f'"{each.etag}"'} for each in found]


def _listed(retrain: RetrainSpec, endpoint: str | None) -> tuple[str, str, list[S3Object]]:
    """Bucket, folder and objects of the service's data."""
    uri = retrain.data.s3
    if uri is None:
        raise InvalidInputError("the service's data is not in S3: name files to propose from")
    bucket, _, prefix = uri.removeprefix("s3://").partition("/")
    rules = {"pattern": retrain.data.pattern, "success_marker": retrain.data.success_marker}
    found = data_objects(list_objects(_s3(endpoint), uri), prefix=prefix, **rules)
    if not found:
        raise InvalidInputError(f"there is no data below {uri}: name files to propose from")
    return bucket, prefix, found
