"""Resolving model versions against a real MLflow store (SQLite, files), a fake S3 and broken servers."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import boto3
import pytest
from moto import mock_aws

from slipway import errors
from slipway.registry import remove_alias, resolve_model_version, s3_text_reader, set_alias_if_changed

MODEL = "flights-delay"


def read_file(uri: str) -> str | None:
    file = Path(unquote(urlsplit(uri).path))
    return file.read_text(encoding="utf-8") if file.is_file() else None


def resolve(client: Any, model: str, reference: str, **options: Any) -> Any:
    return resolve_model_version(client, model, reference, **{"read_text": read_file, "schemes": ("file",), **options})


class Registry:
    """An MLflow with three versions of one model (two by the first run, one by the second)."""

    def __init__(self, folder: Path) -> None:
        import mlflow
        import pandas as pd
        from mlflow import MlflowClient
        from mlflow.models import infer_signature

        uri = f"sqlite:///{folder}/mlflow.db"
        self.client = MlflowClient(uri, uri)
        experiment = self.client.create_experiment("flights", artifact_location=(folder / "artifacts").as_uri())
        code = folder / "model.py"
        code.write_text(
            "import mlflow\n"
            "class Model(mlflow.pyfunc.PythonModel):\n"
            "    def predict(self, context, model_input, params=None):\n"
            "        return model_input\n"
            "mlflow.models.set_model(Model())\n"
        )
        rows = pd.DataFrame({"distance": [1.0, 2.0]})
        self.runs = []
        mlflow.set_tracking_uri(uri)
        try:
            for auc in (0.7, 0.8):
                with mlflow.start_run(experiment_id=experiment) as run:
                    mlflow.log_metrics({"auc": auc, "rows": 100})
                    logged = mlflow.pyfunc.log_model(
                        name="model",
                        python_model=str(code),
                        signature=infer_signature(rows, rows),
                        pip_requirements=["mlflow"],
                    )
                    mlflow.log_metric("auc", auc + 0.01, model_id=logged.model_id)
                self.client.log_metric(run.info.run_id, "auc", 0.5)  # of the run, about no model in particular
                self.runs.append(run.info.run_id)
                for _ in range(2 if auc == 0.7 else 1):
                    mlflow.register_model(logged.model_uri, MODEL)
        finally:
            mlflow.set_tracking_uri(None)
        self.client.set_registered_model_alias(MODEL, "champion", "1")
        self.client.set_registered_model_alias(MODEL, "candidate", "3")
        self.client.set_model_version_tag(MODEL, "3", "git", "abc123")

    def folder(self, version: int) -> Path:
        return Path(unquote(urlsplit(self.client.get_model_version_download_uri(MODEL, str(version))).path))


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    return Registry(tmp_path_factory.mktemp("mlflow"))


@pytest.mark.parametrize(
    ("reference", "version"), [("candidate", 3), ("champion", 1), ("2", 2), ("v2", 2), (" 3 ", 3), ("latest", 3)]
)
def test_an_alias_or_a_version_becomes_the_exact_version(registry: Registry, reference: str, version: int) -> None:
    assert resolve(registry.client, MODEL, reference).version == version


def test_a_run_becomes_its_newest_version(registry: Registry) -> None:
    assert [resolve(registry.client, MODEL, f"run:{run}").version for run in registry.runs] == [2, 3]


def test_all_that_a_deployment_needs_is_there(registry: Registry) -> None:
    found = resolve(registry.client, MODEL, "candidate")
    assert (found.model, found.version, found.run_id) == (MODEL, 3, registry.runs[1])
    assert found.aliases == ("candidate",)
    assert found.tags == {"git": "abc123"}
    assert found.metrics == {"auc": 0.81, "rows": 100.0}  # the model's own value wins over the run's
    assert not found.artifact_uri.startswith("models:")
    assert (Path(urlsplit(found.artifact_uri).path) / "MLmodel").is_file()


def test_an_unknown_version_names_what_exists(registry: Registry) -> None:
    with pytest.raises(errors.ModelNotFoundError) as caught:
        resolve(registry.client, MODEL, "9")
    assert str(caught.value) == (
        "flights-delay has no version 9. Aliases: candidate → 3, champion → 1. Versions: 3, 2, 1."
    )


def test_an_unknown_alias_names_what_exists(registry: Registry) -> None:
    with pytest.raises(errors.ModelNotFoundError, match=r"no alias 'nope'\. Aliases: candidate → 3, champion → 1\."):
        resolve(registry.client, MODEL, "nope")


def test_an_unknown_run_names_what_exists(registry: Registry) -> None:
    with pytest.raises(errors.ModelNotFoundError, match=r"Run 0{32} has no version of flights-delay .* Versions: 3"):
        resolve(registry.client, MODEL, f"run:{'0' * 32}")


@pytest.mark.parametrize("reference", ["candidate", "1", "run:abc"])
def test_an_unknown_model_names_those_that_exist(registry: Registry, reference: str) -> None:
    with pytest.raises(
        errors.ModelNotFoundError, match=r"no model 'flight-delay'; it has: flights-delay\. Did you mean"
    ):
        resolve(registry.client, "flight-delay", reference)


@pytest.mark.parametrize("reference", ["", "run:", "a b", "x' or name='y", "run:a'b", "../1", "１２"])
def test_what_is_no_reference_is_refused(registry: Registry, reference: str) -> None:
    expected = errors.ModelNotFoundError if reference == "１２" else errors.InvalidParamsError
    with pytest.raises(expected):
        resolve(registry.client, MODEL, reference)


def test_a_version_that_is_not_ready_is_refused(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow.entities.model_registry import ModelVersion

    monkeypatch.setattr(ModelVersion, "status", property(lambda self: "FAILED_REGISTRATION"))
    with pytest.raises(errors.ModelNotDeployableError, match=r"version 3 is FAILED_REGISTRATION .* expected READY"):
        resolve(registry.client, MODEL, "3")


@pytest.fixture
def spoilt(registry: Registry) -> Iterator[Path]:
    """The artifacts of version 3, put back after the test."""
    folder = registry.folder(3)
    kept = folder.with_name("kept")
    shutil.copytree(folder, kept)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)
    kept.rename(folder)


def test_a_model_without_signature_is_refused_unless_allowed(registry: Registry, spoilt: Path) -> None:
    text = (spoilt / "MLmodel").read_text()
    begin, end = text.index("signature:"), text.index("\n", text.index("params:", text.index("signature:")))
    (spoilt / "MLmodel").write_text(text[:begin] + text[end + 1 :])
    with pytest.raises(errors.ModelNotDeployableError, match=r"flights-delay version 3 .*no signature"):
        resolve(registry.client, MODEL, "3")
    assert resolve(registry.client, MODEL, "3", allow_missing_signature=True).version == 3


def test_a_model_without_artifacts_is_refused(registry: Registry, spoilt: Path) -> None:
    shutil.rmtree(spoilt)
    with pytest.raises(errors.ModelNotDeployableError, match="no artifacts: there is no MLmodel file below file:"):
        resolve(registry.client, MODEL, "3")


def test_a_corrupt_mlmodel_is_named_with_its_line(registry: Registry, spoilt: Path) -> None:
    (spoilt / "MLmodel").write_text("flavors:\n  a: [1\n")
    with pytest.raises(errors.InvalidMLmodelError, match=r"flights-delay version 3 .*line \d"):
        resolve(registry.client, MODEL, "3")


def test_artifacts_outside_s3_are_refused_with_the_cure(registry: Registry) -> None:
    with pytest.raises(errors.ModelNotDeployableError, match=r"expected s3://.*--default-artifact-root s3://"):
        resolve(registry.client, MODEL, "3", schemes=("s3",))


def test_artifacts_in_s3(registry: Registry) -> None:
    text = (registry.folder(3) / "MLmodel").read_bytes()
    with mock_aws():
        s3 = boto3.client("s3", region_name="us-east-1")
        s3.create_bucket(Bucket="lake")
        for name, place in (("in-s3", "models/a"), ("empty-s3", "models/none"), ("bad-s3", "models/bad")):
            registry.client.create_registered_model(name)
            registry.client.create_model_version(name, f"s3://lake/{place}/", run_id=registry.runs[0])
        s3.put_object(Bucket="lake", Key="models/a/MLmodel", Body=text)
        s3.put_object(Bucket="lake", Key="models/bad/MLmodel", Body=b"\xff\xfe\x00")
        read = s3_text_reader(s3)
        found = resolve_model_version(registry.client, "in-s3", "1", read_text=read)
        assert found.artifact_uri == "s3://lake/models/a"
        assert found.metrics == {"auc": 0.5, "rows": 100.0}
        with pytest.raises(errors.ModelNotDeployableError, match="no MLmodel file below s3://lake/models/none"):
            resolve_model_version(registry.client, "empty-s3", "1", read_text=read)
        with pytest.raises(errors.InvalidMLmodelError, match="not UTF-8"):
            resolve_model_version(registry.client, "bad-s3", "1", read_text=read)
        assert resolve_model_version(registry.client, "in-s3", "1", read_text=read).run_id == registry.runs[0]


def test_a_deleted_run_only_costs_its_metrics(registry: Registry) -> None:
    client = registry.client
    run = client.create_run(client.get_experiment_by_name("flights").experiment_id)
    client.create_registered_model("orphan")
    client.create_model_version("orphan", registry.folder(1).as_uri(), run_id=run.info.run_id)
    client.delete_run(run.info.run_id)
    assert resolve(client, "orphan", "1").metrics == {}


def test_an_alias_is_set_once(registry: Registry) -> None:
    assert set_alias_if_changed(registry.client, MODEL, "challenger", 2)
    assert not set_alias_if_changed(registry.client, MODEL, "challenger", 2)
    assert set_alias_if_changed(registry.client, MODEL, "challenger", 1)
    assert int(registry.client.get_model_version_by_alias(MODEL, "challenger").version) == 1


def test_an_alias_is_taken_away_once_and_alone(registry: Registry) -> None:
    before = {*registry.client.get_registered_model(MODEL).aliases}
    set_alias_if_changed(registry.client, MODEL, "retired", 2)
    assert remove_alias(registry.client, MODEL, "retired")
    assert not remove_alias(registry.client, MODEL, "retired")
    assert {*registry.client.get_registered_model(MODEL).aliases} == before
    assert not remove_alias(registry.client, "none", "champion")


def test_an_alias_of_what_does_not_exist_is_refused(registry: Registry) -> None:
    with pytest.raises(errors.ModelNotFoundError, match="no version 9"):
        set_alias_if_changed(registry.client, MODEL, "challenger", 9)
    with pytest.raises(errors.ModelNotFoundError, match="no model 'none'"):
        set_alias_if_changed(registry.client, "none", "champion", 1)


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (401, b"You are not authenticated.", errors.AccessDeniedError),
        (403, b'{"error_code": "PERMISSION_DENIED", "message": "no"}', errors.AccessDeniedError),
        (429, b"slow down", errors.ThrottledError),
        (500, b'{"error_code": "INTERNAL_ERROR", "message": "boom"}', errors.ModelRegistryUnavailableError),
        (502, b"<html>Bad gateway</html>", errors.ModelRegistryUnavailableError),
        (503, b'{"error_code": "TEMPORARILY_UNAVAILABLE", "message": "later"}', errors.ModelRegistryUnavailableError),
    ],
)
def test_failing_servers(answering: Any, status: int, body: bytes, expected: type[Exception]) -> None:
    with pytest.raises(expected, match="Cannot read alias candidate of flights-delay"):
        resolve(answering(status, body), MODEL, "candidate")


def test_a_server_that_is_not_mlflow_is_a_slipway_error(answering: Any) -> None:
    with pytest.raises(errors.SlipwayError, match="Cannot read alias candidate"):
        resolve(answering(200, b"<html>some other page</html>"), MODEL, "candidate")


def test_no_server_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow import MlflowClient

    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    client = MlflowClient("http://127.0.0.1:9", "http://127.0.0.1:9")
    with pytest.raises(errors.ModelRegistryUnavailableError, match="Cannot read alias"):
        resolve(client, MODEL, "candidate")
