from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import ParamValidationError

from slipway.errors import InvalidParamsError
from slipway.run_overrides import DeployOverrides
from slipway_dags.params import (
    Override,
    checked_by,
    overrides_param,
    reason_param,
    version_param,
)


@pytest.fixture
def dag() -> DAG:
    params = {"model_version": version_param(), "reason": reason_param(), "overrides": overrides_param(DeployOverrides)}
    return DAG(dag_id="flights.deploy", schedule=None, catchup=False, params=params)


def context(dag: DAG, conf: dict[str, Any]) -> Any:
    return {"dag_run": SimpleNamespace(conf=conf), "dag": dag, "params": {**dag.params.dump(), **conf}}


def test_a_form_left_alone_is_valid(dag: DAG) -> None:
    dag.params.validate()
    checked_by(DeployOverrides)(context(dag, {}))


def test_a_misspelt_field_is_refused_with_the_accepted_names(dag: DAG) -> None:
    with pytest.raises(InvalidParamsError) as refusal:
        checked_by(DeployOverrides)(context(dag, {"modle_version": "7"}))
    message = str(refusal.value)
    assert "'modle_version'" in message
    assert "model_version, reason, overrides" in message
    assert "Did you mean 'model_version'?" in message


def test_a_misspelt_override_is_refused_with_the_accepted_names(dag: DAG) -> None:
    with pytest.raises(InvalidParamsError, match=r"overrides.*'instance_typ'.*instance_type, instance_count, relock"):
        checked_by(DeployOverrides)(context(dag, {"overrides": {"instance_typ": "ml.m5.large"}}))


def test_the_form_itself_refuses_an_unknown_override(dag: DAG) -> None:
    dag.params["overrides"] = {"relock": True}
    dag.params.validate()
    with pytest.raises(ParamValidationError):
        dag.params["overrides"] = {"relok": True}


def test_an_override_is_none_unless_the_run_sets_it(dag: DAG) -> None:
    wanted = Override(dag, "instance_type")
    assert wanted.resolve(context(dag, {})) is None
    assert wanted.resolve(context(dag, {"overrides": {"relock": True}})) is None
    assert wanted.resolve(context(dag, {"overrides": {"instance_type": "ml.m5.large"}})) == "ml.m5.large"


def test_the_forms_help_names_every_override() -> None:
    field = overrides_param(DeployOverrides)
    assert all(f"`{name}`" in field.schema["description_md"] for name in DeployOverrides.model_fields)
