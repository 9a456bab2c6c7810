from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG

from slipway.errors import InvalidSpecError
from slipway_dags.services import page
from tests.unit.dags.conftest import SERVICE, dags_of

HEALTHY = dags_of("churn", "fraud")

Read = Callable[[], DagBag]


def test_each_service_gets_each_kind_of_dag(project: Path, read_dags: Read) -> None:
    found = read_dags()
    assert set(found.dags) == HEALTHY
    assert found.dags["churn.deploy"].owner == "churn@example.com"


def test_a_bad_spec_shows_its_error_and_leaves_the_others_alone(project: Path, read_dags: Read) -> None:
    (project / "services" / "price.yaml").write_text("name: price\nmodel: price-model\nowner: team\nstages: {de: {}}\n")
    found = read_dags()
    assert found.import_errors == {}
    assert set(found.dags) == HEALTHY | {"price.invalid"}
    broken = found.dags["price.invalid"]
    assert "price.yaml:4" in broken.doc_md or "line 4" in broken.doc_md
    assert "stages.de" in broken.doc_md
    assert {"slipway", "invalid"} <= set(broken.tags)
    assert broken.schedule is None


def test_triggering_the_invalid_dag_fails_with_the_error(project: Path, read_dags: Read) -> None:
    (project / "services" / "price.yaml").write_text("name: [\n")
    task = read_dags().dags["price.invalid"].get_task("explain")
    with pytest.raises(InvalidSpecError, match=r"price\.yaml"):
        task.python_callable()


def test_two_services_on_one_model_are_both_refused(project: Path, read_dags: Read) -> None:
    text = SERVICE.format(name="again", owner="team").replace("again-model", "churn-model")
    (project / "services" / "again.yaml").write_text(text)
    found = read_dags()
    assert set(found.dags) == dags_of("fraud") | {"again.invalid", "churn.invalid"}


def test_a_bad_platform_is_one_invalid_dag(project: Path, read_dags: Read) -> None:
    (project / "platform.yaml").write_text("execution_role: slipway-endpoint\nbase_image: scratch\n")
    found = read_dags()
    assert found.import_errors == {}
    assert set(found.dags) == {"platform.invalid"}
    assert "base_image" in found.dags["platform.invalid"].doc_md


def test_a_starting_task_builds_only_its_own_service(
    project: Path, read_dags: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("_AIRFLOW_PARSING_CONTEXT_DAG_ID", "fraud.deploy")
    assert set(read_dags().dags) == dags_of("fraud") - {"slipway.housekeeping"}


def test_the_page_holds_the_docs_and_the_services_facts(project: Path, read_dags: Read) -> None:
    dag: DAG = read_dags().dags["churn.deploy"]
    assert dag.doc_md.startswith("# Deploy")
    assert "`churn-dev`, `churn-prod`" in dag.doc_md
    assert "everybody who may run this DAG, within 72 hours" in dag.doc_md


def test_the_page_says_when_nobody_is_asked(project: Path, read_dags: Read) -> None:
    path = project / "services" / "churn.yaml"
    path.write_text(path.read_text() + "approval: {required: false}\n")
    assert "automatic, after verification" in read_dags().dags["churn.deploy"].doc_md


def test_a_module_without_docstring_still_has_a_page(project: Path, read_dags: Read) -> None:
    spec = read_dags().dags["churn.deploy"].get_task("approve").spec
    assert page(None, spec).strip().startswith("## This service")
