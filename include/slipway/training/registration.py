"""Registering a retrained model: once, however often it is tried."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from slipway.errors import ModelRegistryUnavailableError
from slipway.registry import translate

if TYPE_CHECKING:
    from mlflow import MlflowClient

_MODEL_PREFIX = "models:/"


def find_or_register(client: MlflowClient, model: str, *, run_id: str, model_uri: str, tags: Mapping[str, str]) -> int:
    """Register a logged model, or find the version that an earlier try made of the same MLflow run.

    Args:
        client: An MLflow client.
        model: Name of the registered model; made if need be.
        run_id: The MLflow run that logged the model.
        model_uri: ``models:/m-…``, as MLflow gave it.
        tags: Set on the version, also on one that was there.

    Returns:
        The version.

    Raises:
        ModelRegistryUnavailableError: MLflow does not answer.
        AccessDeniedError: It wants other credentials.
        PermanentError: It refuses.
    """
    from mlflow.exceptions import MlflowException
    from requests.exceptions import RequestException

    try:
        found = client.search_model_versions(f"name='{model}' and run_id='{run_id}'")
        if found:
            version = max(int(each.version) for each in found)
            for key, value in tags.items():
                client.set_model_version_tag(model, str(version), key, value)
            return version
        _ensure_model(client, model)
        model_id = model_uri.removeprefix(_MODEL_PREFIX) if model_uri.startswith(f"{_MODEL_PREFIX}m-") else None
        made = client.create_model_version(model, model_uri, run_id=run_id, tags=dict(tags), model_id=model_id)
        return int(made.version)
    except RequestException as error:
        raise ModelRegistryUnavailableError(f"MLflow does not answer; {model} cannot be registered: {error}") from error
    except MlflowException as error:
        raise translate(error, f"register {model}") from error


def _ensure_model(client: MlflowClient, model: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(model)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
