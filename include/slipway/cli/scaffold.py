"""``slipway init`` and ``slipway services new``: files to begin with, never over existing ones but the schema."""

from __future__ import annotations

import json
from pathlib import Path

import typer

from slipway.cli.services import find_project
from slipway.errors import InvalidInputError, InvalidSpecError
from slipway.spec import ServiceSpec, load_services, load_spec
from slipway.spec.reference import service_schema

SCHEMA_FILE = "service.schema.json"

_SERVICE = """\
# yaml-language-server: $schema=../{schema_file}
name: {name}
model: {model}
owner: {owner}
stages:
  dev: {{instance_type: ml.m5.large, keep_hours: 24}}
  prod: {{instance_type: {instance_type}, instances: {{min: 2, max: 2}}}}
# Approvers by their ids in Airflow: user names with the simple auth manager, numbers such as "7" with FAB.
# approval: {{approver_ids: [alice, bob], timeout_hours: 72}}
# promote: {{weights_pct: [5, 25, 50], bake_minutes: 10, latency_slo_ms: 200}}
# security: {{subnets: [subnet-…], security_group_ids: [sg-…]}}
# tags: {{cost-center: "4711"}}
"""

_PLATFORM = """\
# The installation that all services share.

# S3 bucket of artifacts, releases, state and ledger. {account_id} and {region} are filled in from the connection.
artifact_bucket: slipway-{account_id}-{region}

# IAM role that endpoints run as, name or ARN. It pulls from ECR, writes logs and metrics, and writes captured traffic
# to `captures/` in the bucket. Make it, or name yours.
execution_role: slipway-sagemaker-execution

# The repository of a service is <prefix>/<service>.
ecr_repository_prefix: slipway

# Image under the releases, by Python version: public ones with Python in them, or your own in ECR.
base_images:
  "3.11": public.ecr.aws/docker/library/python:3.11-slim
  "3.12": public.ecr.aws/docker/library/python:3.12-slim
  "3.13": public.ecr.aws/docker/library/python:3.13-slim

# Graviton instances (ml.m7g, ml.c7g, …) need linux/arm64.
image_platform: linux/amd64

# What makes the images: layers is Slipway's own builder; docker asks the Docker engine of the Airflow workers.
image_builder: layers

# Airflow connections of the AWS account and of the MLflow server.
aws_conn_id: aws_default
mlflow_conn_id: mlflow_default

# Tags for every AWS resource.
tags: {}
"""

_README = """\
# Model services

A project folder of Slipway. Point Airflow and the command line at it with `SLIPWAY_PROJECT`, the path of this folder.

| | |
| --- | --- |
| `platform.yaml` | what all services share: bucket, role, base images, connections |
| `services/` | one file per service: `slipway services new NAME --model … --owner …` |
| `expectations/` | Great Expectations suites for retraining, one per service |
| `retrainers/` | your own `Retrainer` classes, when the standard retraining does not fit |
| `hooks/` | your own functions that a promotion asks, see `promote.hooks` |
| `service.schema.json` | the JSON Schema by which editors complete service files; `slipway services new` renews it |

Check everything with `slipway services validate`. On AWS, before the first deployment: the IAM role of `platform.yaml`,
the bucket, and the two Airflow connections that it names.
"""


def init_project(folder: Path) -> None:
    """Make a project folder; what is there already stays as it is.

    Raises:
        InvalidInputError: ``folder`` is a project already, or cannot be made.
    """
    if (folder / "platform.yaml").exists():
        raise InvalidInputError(f"{folder} is a project folder already: it has a platform.yaml")
    texts = {
        "platform.yaml": _PLATFORM,
        "README.md": _README,
        SCHEMA_FILE: _schema_text(),
        "services/.gitkeep": "",
        "expectations/.gitkeep": "",
        "retrainers/.gitkeep": "",
        "hooks/.gitkeep": "",
    }
    for name, text in texts.items():
        _write_new(folder / name, text, keep_existing=True)
    typer.echo(f"made {folder}; next: look through {folder / 'platform.yaml'}, then")
    typer.echo(f"  slipway services new NAME --model MODEL --owner OWNER --project {folder}")


def new_service(name: str, *, model: str, owner: str, instance_type: str, project: Path | None) -> None:
    """Write the file of a new service, and the schema that it names unless that is there as it should be.

    Raises:
        InvalidInputError: a value is not valid, or the service or the model has a file already.
    """
    folder = find_project(project)
    path = folder / "services" / f"{name}.yaml"
    _check_values(name, model, owner, instance_type)
    catalog = load_services(folder)
    for spec in catalog.specs.values():
        if spec.model == model and spec.name != name:
            raise InvalidInputError(f"the model {model!r} belongs to the service {spec.name!r} already")
    fields = {"name": name, "model": _quoted(model), "owner": _quoted(owner), "instance_type": instance_type}
    _write_new(path, _SERVICE.format(schema_file=SCHEMA_FILE, **fields))
    load_spec(path)
    typer.echo(f"wrote {path}; every field: docs/services.md")
    _renew_schema(folder / SCHEMA_FILE)


def _schema_text() -> str:
    return json.dumps(service_schema(), indent=2) + "\n"


def _renew_schema(path: Path) -> None:
    text = _schema_text()
    try:
        if path.exists() and path.read_text(encoding="utf-8") == text:
            return
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InvalidInputError(f"{path} cannot be written: {error.strerror}") from error
    typer.echo(f"wrote {path}, by which editors complete it")


def _check_values(name: str, model: str, owner: str, instance_type: str) -> None:
    from pydantic import ValidationError

    from slipway.spec.located import Located
    from slipway.spec.problems import find_problems

    given = {"name": name, "model": model, "owner": owner, "stages": {"prod": {"instance_type": instance_type}}}
    try:
        ServiceSpec.model_validate(given)
    except ValidationError as error:
        problems = find_problems(ServiceSpec, Located({}, 1), error)
        raise InvalidSpecError("; ".join(f"{problem.field}: {problem.message}" for problem in problems)) from error


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _write_new(path: Path, text: str, *, keep_existing: bool = False) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        if not keep_existing or path.parent.is_file():
            raise InvalidInputError(f"{path} exists already; nothing was written") from error
    except OSError as error:
        raise InvalidInputError(f"{path} cannot be written: {error.strerror}") from error
