"""MLflow's model registry: from an alias, a version or a run to one exact model version that can be deployed.

Everything that a deployment needs is checked here, before anything is copied or built. MLflow is imported inside the
functions that need it, since importing it takes seconds.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from slipway.artifacts.mlmodel import MLMODEL, read_mlmodel, require_signature
from slipway.aws_errors import aws_call, error_code
from slipway.errors import (
    AccessDeniedError,
    InvalidMLmodelError,
    InvalidParamsError,
    ModelNotDeployableError,
    ModelNotFoundError,
    ModelRegistryUnavailableError,
    PermanentError,
    SlipwayError,
    StorageUnavailableError,
    ThrottledError,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion, RegisteredModel
    from mypy_boto3_s3 import S3Client

T = TypeVar("T")
ReadText = Callable[[str], str | None]
"""Reads the text at a URI; None when there is nothing."""

RUN_PREFIX = "run:"
_VERSION = re.compile(r"v?([0-9]{1,9})")
_NAME = re.compile(r"[\w.+@-]{1,255}")
_LISTED = 10


@dataclass(frozen=True)
class ResolvedModel:
    """One model version that can be deployed.

    Args:
        model: name of the registered model.
        version: its version.
        run_id: the run that trained it, or None.
        artifact_uri: the folder that holds its MLmodel file, without a slash at the end.
        aliases: aliases that point to this version.
        tags: the version's tags.
        metrics: the run's metrics, overlaid by those logged for this very model.
    """

    model: str
    version: int
    run_id: str | None
    artifact_uri: str
    aliases: tuple[str, ...]
    tags: dict[str, str]
    metrics: dict[str, float]


def resolve_model_version(
    client: MlflowClient,
    model: str,
    reference: str,
    *,
    read_text: ReadText,
    allow_missing_signature: bool = False,
    schemes: Collection[str] = ("s3",),
) -> ResolvedModel:
    """Find the model version that a reference means, and check that it can be deployed.

    Args:
        client: an MLflow client.
        model: name of the registered model.
        reference: an alias (``candidate``), a version (``7`` or ``v7``) or a run (``run:<id>``: the newest version
            that the run made).
        read_text: reads the MLmodel file from the artifact store, see `s3_text_reader`.
        allow_missing_signature: the spec's ``serving.allow_missing_signature``.
        schemes: URI schemes of artifact stores that can be copied from.

    Returns:
        The exact version.

    Raises:
        InvalidParamsError: the reference is none of the three.
        ModelNotFoundError: there is no such model, version, alias or run; the message names those that exist.
        ModelNotDeployableError: the version is not READY, or has no artifacts, no place that can be copied from, or
            no signature.
        InvalidMLmodelError: its MLmodel file cannot be read.
        ModelRegistryUnavailableError: MLflow does not answer.
        AccessDeniedError: MLflow or the artifact store refuses the credentials.
    """
    found = _find(client, model, reference.strip())
    version = int(found.version)
    name = f"{model} version {version}"
    if found.status != "READY":
        said = f": {found.status_message}" if found.status_message else ""
        raise ModelNotDeployableError(f"{name} is {found.status} in the registry, expected READY{said}.")
    uri = _ask(f"find the artifacts of {name}", lambda: client.get_model_version_download_uri(model, str(version)))
    if not uri:
        raise ModelNotDeployableError(f"{name} has no artifacts: the model that it was registered from was deleted.")
    uri = uri.rstrip("/")
    _require_artifacts(uri, name, read_text, schemes, allow_missing_signature)
    return ResolvedModel(
        model=model,
        version=version,
        run_id=found.run_id or None,
        artifact_uri=uri,
        aliases=tuple(sorted(found.aliases)),
        tags=dict(found.tags),
        metrics=_metrics(client, found),
    )


def aliases_of(client: MlflowClient, model: str) -> dict[str, int]:
    """Return a model's aliases, with the version that each points to.

    Raises:
        ModelNotFoundError: there is no such model.
        ModelRegistryUnavailableError: MLflow does not answer.
        AccessDeniedError: MLflow refuses the credentials.
    """
    return {alias: int(version) for alias, version in _registered_model(client, model).aliases.items()}


def set_alias_if_changed(client: MlflowClient, model: str, alias: str, version: int) -> bool:
    """Point an alias to a version unless it does so already.

    Args:
        client: an MLflow client.
        model: name of the registered model.
        alias: ``champion``, ``challenger`` or ``candidate``.
        version: the version to point to.

    Returns:
        Whether the alias was changed.

    Raises:
        ModelNotFoundError: there is no such model or version.
        ModelRegistryUnavailableError: MLflow does not answer.
        AccessDeniedError: MLflow refuses the credentials.
    """
    aliases = _registered_model(client, model).aliases
    if alias in aliases and int(aliases[alias]) == version:
        return False
    _version(client, model, version)

    def point() -> bool:
        client.set_registered_model_alias(model, alias, str(version))
        return True

    if not _ask(f"point alias {alias} of {model} to version {version}", point):
        raise ModelNotFoundError(f"{model} version {version} was deleted while alias {alias} was pointed to it.")
    return True


def remove_alias(client: MlflowClient, model: str, alias: str) -> bool:
    """Take an alias from a model.

    Args:
        client: an MLflow client.
        model: name of the registered model.
        alias: such as ``champion``.

    Returns:
        False when there was none, or no such model.

    Raises:
        ModelRegistryUnavailableError: MLflow does not answer.
        AccessDeniedError: MLflow refuses the credentials.
    """
    found = _ask(f"read model {model}", lambda: client.get_registered_model(model))
    if found is None or alias not in found.aliases:
        return False
    _ask(f"take alias {alias} from {model}", lambda: client.delete_registered_model_alias(model, alias))
    return True


def s3_text_reader(s3: S3Client) -> ReadText:
    """Return a reader of texts in S3 for `resolve_model_version`.

    Args:
        s3: a boto3 S3 client with the right to read the artifact store of MLflow.
    """

    def read(uri: str) -> str | None:
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        with aws_call(f"read {uri}", unavailable=StorageUnavailableError):
            try:
                body: bytes = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
            except s3.exceptions.ClientError as error:
                if error_code(error) in {"NoSuchKey", "NoSuchBucket", "404"}:
                    return None
                raise
        try:
            return body.decode("utf-8")
        except UnicodeDecodeError as error:
            raise InvalidMLmodelError(f"{uri} is not UTF-8 text: {error}") from None

    return read


def _find(client: MlflowClient, model: str, reference: str) -> ModelVersion:
    version = _VERSION.fullmatch(reference)
    if version:
        return _version(client, model, int(version[1]))
    run_id = reference.removeprefix(RUN_PREFIX) if reference.startswith(RUN_PREFIX) else None
    if not _NAME.fullmatch(reference if run_id is None else run_id):
        raise InvalidParamsError(
            f"model_version: found {reference!r}; expected an alias such as candidate, a version such as 7, "
            f"or {RUN_PREFIX}<run id>."
        )
    return _alias(client, model, reference) if run_id is None else _newest_of_run(client, model, run_id)


def _version(client: MlflowClient, model: str, version: int) -> ModelVersion:
    found = _ask(f"read {model} version {version}", lambda: client.get_model_version(model, str(version)))
    if found is None:
        raise ModelNotFoundError(f"{model} has no version {version}. {_what_exists(client, model)}")
    return found


def _alias(client: MlflowClient, model: str, alias: str) -> ModelVersion:
    found = _ask(f"read alias {alias} of {model}", lambda: client.get_model_version_by_alias(model, alias))
    if found is None:
        raise ModelNotFoundError(f"{model} has no alias {alias!r}. {_what_exists(client, model)}")
    return _version(client, model, int(found.version))


def _newest_of_run(client: MlflowClient, model: str, run_id: str) -> ModelVersion:
    search = f"name='{model}' and run_id='{run_id}'"
    found = _ask(f"search the versions that run {run_id} made", lambda: client.search_model_versions(search))
    if not found:
        raise ModelNotFoundError(
            f"Run {run_id} has no version of {model} in the registry. Register its model first. "
            f"{_what_exists(client, model)}"
        )
    return _version(client, model, max(int(one.version) for one in found))


def _registered_model(client: MlflowClient, model: str) -> RegisteredModel:
    found = _ask(f"read model {model}", lambda: client.get_registered_model(model))
    if found is not None:
        return found
    models = _ask("list the registered models", lambda: client.search_registered_models(max_results=1000))
    names = sorted(one.name for one in models or [])
    near = difflib.get_close_matches(model, names, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    listed = ", ".join(names[:_LISTED]) + (", …" if len(names) > _LISTED else "")
    raise ModelNotFoundError(f"The registry has no model {model!r}; it has: {listed or 'none'}.{hint}")


def _what_exists(client: MlflowClient, model: str) -> str:
    """The aliases and newest versions of a model, in words. Raises ModelNotFoundError when it does not exist."""
    aliases = _registered_model(client, model).aliases
    found = _ask(
        f"list the versions of {model}",
        lambda: client.search_model_versions(f"name='{model}'", _LISTED + 1, order_by=["version_number DESC"]),
    )
    versions = [str(one.version) for one in found or []]
    pointing = ", ".join(f"{alias} → {version}" for alias, version in sorted(aliases.items()))
    more = ", …" if len(versions) > _LISTED else ""
    versions = versions[:_LISTED]
    return f"Aliases: {pointing or 'none'}. Versions: {', '.join(versions) or 'none'}{more}."


def _require_artifacts(
    uri: str, name: str, read_text: ReadText, schemes: Collection[str], allow_missing_signature: bool
) -> None:
    scheme = uri.partition(":")[0] if ":" in uri else "file"
    if scheme not in schemes:
        expected = " or ".join(f"{one}://" for one in schemes)
        raise ModelNotDeployableError(
            f"The artifacts of {name} are at {uri}, expected {expected}. Run the MLflow server with "
            "--default-artifact-root s3://… and --no-serve-artifacts, and log the model again."
        )
    text = read_text(f"{uri}/{MLMODEL}")
    if text is None:
        raise ModelNotDeployableError(
            f"{name} has no artifacts: there is no {MLMODEL} file below {uri}. They were deleted or never uploaded."
        )
    try:
        require_signature(read_mlmodel(text), allow_missing=allow_missing_signature)
    except (ModelNotDeployableError, InvalidMLmodelError) as error:
        raise type(error)(f"{name} ({uri}): {error}") from error


def _metrics(client: MlflowClient, version: ModelVersion) -> dict[str, float]:
    """Metrics are shown, not needed: a deleted run or logged model leaves them out."""
    what = f"read the metrics of {version.name} version {version.version}"
    metrics: dict[str, float] = {}
    run_id, source = version.run_id, version.source or ""
    if run_id and (run := _ask(what, lambda: client.get_run(run_id))):
        metrics.update(run.data.metrics)
    model_id = source.removeprefix("models:/").partition("/")[0]
    if source.startswith("models:/m-") and (logged := _ask(what, lambda: client.get_logged_model(model_id))):
        metrics.update({metric.key: metric.value for metric in logged.metrics or []})
    return {key: float(value) for key, value in sorted(metrics.items()) if not key.startswith("system/")}


def _ask(what: str, call: Callable[[], T]) -> T | None:
    """Ask MLflow for something that may not be there: None then. Other failures become Slipway's errors."""
    from mlflow.exceptions import MlflowException
    from requests.exceptions import RequestException

    try:
        return call()
    except MlflowException as error:
        if _says_absent(error):
            return None
        raise translate(error, what) from error
    except RequestException as error:
        raise ModelRegistryUnavailableError(f"Cannot {what}: MLflow does not answer ({error}).") from error


def _says_absent(error: Any) -> bool:
    if error.error_code in {"RESOURCE_DOES_NOT_EXIST", "NOT_FOUND"}:
        return True
    # MLflow's answer to an alias that nobody set.
    return error.error_code == "INVALID_PARAMETER_VALUE" and bool(re.search(r"alias \S+ not found", str(error)))


def translate(error: Any, what: str) -> SlipwayError:
    """Slipway's error for one of MLflow's.

    Args:
        error: the ``MlflowException``.
        what: was asked, as "look at model x".
    """
    status, said = error.get_http_status_code(), f"Cannot {what}: {error.error_code}: {error}"
    if status in {401, 403} or error.error_code in {"PERMISSION_DENIED", "UNAUTHENTICATED"}:
        return AccessDeniedError(f"{said} Check login, password or token of the Airflow connection to MLflow.")
    # MLflow's client repeats a 429 itself; what is left of it in the end is the text.
    if error.error_code == "REQUEST_LIMIT_EXCEEDED" or "429 error responses" in str(error):
        return ThrottledError(said)
    if status >= 500:
        return ModelRegistryUnavailableError(f"{said} The MLflow server is down or failing.")
    return PermanentError(said)
