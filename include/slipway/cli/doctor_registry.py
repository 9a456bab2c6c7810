"""What `slipway doctor` looks at in MLflow."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

from slipway.cli.doctor import Finding, guarded
from slipway.errors import InvalidInputError, ModelNotFoundError
from slipway.registry import aliases_of

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from slipway.spec import ServiceCatalog, ServiceSpec

_CANDIDATE = "candidate"


def examine_registry(catalog: ServiceCatalog) -> Iterator[Finding]:
    """Does each service's model exist, and has it a candidate?

    Args:
        catalog: the project's services.

    Raises:
        InvalidInputError: MLFLOW_TRACKING_URI is not set here.
        SlipwayError: MLflow does not answer or refuses.
    """
    uri = os.environ.get("MLFLOW_REGISTRY_URI") or os.environ.get("MLFLOW_TRACKING_URI")
    if not uri:
        raise InvalidInputError("MLFLOW_TRACKING_URI is not set here, so the models were not looked at.")
    from mlflow import MlflowClient

    client = MlflowClient(uri, uri)
    for spec in catalog.specs.values():
        about = f"model {spec.model}"
        yield from guarded(about, partial(_model, client, about, spec))


def _model(client: MlflowClient, about: str, spec: ServiceSpec) -> Iterator[Finding]:
    try:
        aliases = aliases_of(client, spec.model)
    except ModelNotFoundError as error:
        yield Finding(about, "look", str(error), "register it, or correct `model` of the service")
        return
    if _CANDIDATE not in aliases:
        cure = f"set the alias, or deploy by version number: `slipway deploy {spec.name} --model-version 1`"
        yield Finding(about, "look", f"no alias {_CANDIDATE}", cure)
        return
    yield Finding(about, "ok", ", ".join(f"{alias} is version {number}" for alias, number in sorted(aliases.items())))
