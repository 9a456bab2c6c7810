"""The schema of a model, from its mirrored MLmodel."""

from __future__ import annotations

from slipway.artifacts.mlmodel import MLMODEL, read_mlmodel
from slipway.documents import DocumentStore
from slipway.drift.schema import ModelSchema, schema_of_signature
from slipway.errors import PermanentError


def schema_of_model(documents: DocumentStore, model: str, version: int, service: str) -> ModelSchema:
    """Read the schema of a model version.

    Args:
        documents: The artifact bucket.
        model: MLflow registered model.
        version: Its version, whose artifacts are mirrored in ``models/<model>/v<version>/``.
        service: The service of the model, which mirrors it when it is deployed.

    Raises:
        PermanentError: The mirrored model is gone.
        InvalidInputError: Its signature names nothing that can be watched.
    """
    key = f"models/{model}/v{version}/{MLMODEL}"
    document = documents.read(key)
    if document is None:
        raise PermanentError(f"{documents.uri(key)} is gone; run {service}.deploy again to mirror the model.")
    return schema_of_signature(read_mlmodel(document.body.decode()).signature)
