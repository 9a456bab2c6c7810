from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from mlflow import MlflowClient

from slipway.errors import ModelNotDeployableError, ModelNotFoundError, ModelRegistryUnavailableError
from slipway_airflow.operators.model_resolve import ModelResolveOperator
from tests.unit.slipway_airflow.conftest import BUCKET

SIGNATURE = """signature:
  inputs: '[{"type": "double", "name": "x", "required": true}]'
  outputs: '[{"type": "double", "required": true}]'
"""
MLMODEL = "flavors:\n  python_function:\n    loader_module: mlflow.sklearn\n"


@pytest.fixture
def registry(mlflow_uri: str) -> MlflowClient:
    client = MlflowClient(mlflow_uri, mlflow_uri)
    client.create_registered_model("flights-delay")
    return client


@pytest.fixture
def register(registry: MlflowClient, aws: Callable[[str], Any]) -> Callable[..., int]:
    def register(mlmodel: str | None = MLMODEL + SIGNATURE, alias: str | None = None) -> int:
        experiment = registry.get_experiment_by_name("0") or registry.get_experiment("0")
        run = registry.create_run(experiment.experiment_id)
        registry.log_metric(run.info.run_id, "areaUnderROC", 0.71)
        number = len(registry.search_model_versions("name='flights-delay'")) + 1
        if mlmodel is not None:
            aws("s3").put_object(Bucket=BUCKET, Key=f"mlflow/m-{number}/MLmodel", Body=mlmodel.encode())
        source = f"s3://{BUCKET}/mlflow/m-{number}"
        version = int(registry.create_model_version("flights-delay", source, run.info.run_id).version)
        if alias:
            registry.set_registered_model_alias("flights-delay", alias, str(version))
        return version

    return register


def resolve(version: str = "candidate", **fields: Any) -> ModelResolveOperator:
    return ModelResolveOperator(task_id="resolve", model="flights-delay", version=version, **fields)


def test_an_alias_becomes_one_version(register: Callable[..., int], context: Any) -> None:
    register(alias="candidate")
    newest = register(alias="candidate")
    result = resolve().execute(context("resolve"))
    assert (result["model"], result["version"]) == ("flights-delay", newest)
    assert result["artifact_uri"] == f"s3://{BUCKET}/mlflow/m-{newest}"
    assert result["aliases"] == ["candidate"]
    assert result["metrics"] == {"areaUnderROC": 0.71}
    assert resolve("1").execute(context("resolve"))["version"] == 1
    assert resolve(f"run:{result['run_id']}").execute(context("resolve"))["version"] == newest


@pytest.mark.parametrize("reference", ["champion", "9", "run:0123"])
def test_what_does_not_exist_is_refused_with_what_does(
    register: Callable[..., int], context: Any, reference: str
) -> None:
    register(alias="candidate")
    with pytest.raises(ModelNotFoundError, match="candidate → 1"):
        resolve(reference).execute(context("resolve"))


def test_a_model_without_signature_is_refused_unless_allowed(register: Callable[..., int], context: Any) -> None:
    register(MLMODEL, alias="candidate")
    with pytest.raises(ModelNotDeployableError, match="no signature"):
        resolve().execute(context("resolve"))
    assert resolve(allow_missing_signature=True).execute(context("resolve"))["version"] == 1


def test_a_model_without_artifacts_is_refused(register: Callable[..., int], context: Any) -> None:
    register(None, alias="candidate")
    with pytest.raises(ModelNotDeployableError, match="no MLmodel file"):
        resolve().execute(context("resolve"))


def test_a_registry_that_is_down_can_be_asked_again(aws: Any, context: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    connection = {"conn_type": "http", "host": "127.0.0.1", "port": 1}
    monkeypatch.setenv("AIRFLOW_CONN_MLFLOW_DEFAULT", json.dumps(connection))
    with pytest.raises(ModelRegistryUnavailableError, match=r"127\.0\.0\.1"):
        resolve().execute(context("resolve"))
