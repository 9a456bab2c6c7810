"""What has to hold for every DAG of the project."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta
from importlib.metadata import packages_distributions
from inspect import signature
from pathlib import Path

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG
from airflow.serialization.serialized_objects import DagSerialization
from airflow.utils.dag_version_inflation_checker import check_dag_file_stability

from tests.unit.dags.conftest import DAG_FILES, DAGS, ROOT, dags_of

HEAVY = {
    "mlflow",
    "pandas",
    "pyspark",
    "sklearn",
    "great_expectations",
    "duckdb",
    "scipy",
    "pyarrow",
    "plotly",
    "obstore",
}
MAX_PARAMS = 4


@pytest.fixture
def dags(bag: DagBag) -> list[DAG]:
    return list(bag.dags.values())


def test_every_file_is_read_without_error(bag: DagBag) -> None:
    assert bag.import_errors == {}
    assert {path.name for path in DAGS.glob("*.py")} == DAG_FILES
    # Which services are retrained, the specs decide; the embedded stack's may not be.
    assert {Path(dag.fileloc).name for dag in bag.dags.values()} | {"retrain.py"} == DAG_FILES


def test_every_service_has_its_dags(bag: DagBag) -> None:
    services = {path.stem for path in (ROOT / "include" / "services").glob("*.yaml")}
    assert services
    assert dags_of(*services) <= set(bag.dags)


def test_every_dag_says_whose_it_is_and_what_it_does(dags: list[DAG]) -> None:
    for dag in dags:
        assert dag.doc_md.startswith("# "), dag.dag_id
        assert "## This service" in dag.doc_md or "## This installation" in dag.doc_md, dag.dag_id
        assert dag.description, dag.dag_id
        service, kind = dag.dag_id.split(".")
        assert {"slipway", service, kind} <= set(dag.tags)
        assert all(task.owner not in {"", "airflow"} for task in dag.tasks), dag.dag_id


def test_every_dag_runs_once_at_a_time_and_never_catches_up(dags: list[DAG]) -> None:
    for dag in dags:
        assert dag.max_active_runs == 1, dag.dag_id
        assert dag.catchup is False, dag.dag_id
        assert dag.dagrun_timeout is None, f"{dag.dag_id}: a dagrun_timeout skips teardowns"


def test_every_task_ends_and_is_retried_by_the_policy(dags: list[DAG]) -> None:
    for task in (task for dag in dags for task in dag.tasks):
        limit = getattr(task, "response_timeout", None) or task.execution_timeout
        assert limit is not None, task
        assert limit > timedelta(0), task
        assert task.retries >= 1, f"{task}: a pause that ends within a second can fail a task without retries"
        assert task.retry_policy is not None, task


def test_every_form_is_short_and_explains_itself(dags: list[DAG]) -> None:
    for dag in dags:
        assert len(dag.params) <= MAX_PARAMS, dag.dag_id
        for name in dag.params:
            schema = dag.params.get_param(name).schema
            assert schema["type"], (dag.dag_id, name)
            assert schema["title"], (dag.dag_id, name)
            assert schema.get("description_md") or dag.params.get_param(name).description, (dag.dag_id, name)


def test_every_template_field_is_a_parameter(dags: list[DAG]) -> None:
    for task in (task for dag in dags for task in dag.tasks):
        kinds = (task.operator_class if task.is_mapped else type(task)).__mro__
        taken = {name for kind in kinds if "__init__" in vars(kind) for name in signature(kind.__init__).parameters}
        # TaskFlow's own fields are filled by the decorator.
        assert set(task.template_fields) <= taken | {"op_args", "op_kwargs", "templates_dict"}, task


def test_every_dag_survives_serialisation(dags: list[DAG]) -> None:
    for dag in dags:
        stored = DagSerialization.to_dict(dag)
        assert {task.task_id for task in DagSerialization.from_dict(stored).tasks} == set(dag.task_ids)


def test_reading_twice_gives_the_same_dags(bag: DagBag) -> None:
    again = DagBag(dag_folder=str(DAGS))
    for dag_id, dag in bag.dags.items():
        assert DagSerialization.to_dict(again.dags[dag_id]) == DagSerialization.to_dict(dag)


@pytest.mark.parametrize("file", sorted(DAG_FILES))
def test_nothing_in_a_dag_file_varies_with_time(file: str) -> None:
    assert check_dag_file_stability(str(DAGS / file)).format_warnings() is None


def test_reading_the_dags_imports_nothing_heavy() -> None:
    code = (
        "import sys; from airflow.dag_processing.dagbag import DagBag; before = set(sys.modules)\n"
        f"sys.path.append({str(DAGS)!r}); bag = DagBag(dag_folder={str(DAGS)!r})\n"
        "assert bag.dags and not bag.import_errors, bag.import_errors\n"
        f"print('heavy:', sorted({HEAVY!r} & (set(sys.modules) - before)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert "heavy: []" in found.stdout


def test_no_plugin_module_hides_an_installed_package() -> None:
    ignored = (ROOT / "plugins" / ".airflowignore").read_text().splitlines()
    folders = {path.name for path in (ROOT / "plugins").iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert folders <= {line.rstrip("/") for line in ignored}, "a package that Airflow would import module by module"
    installed = set(packages_distributions()) | set(sys.stdlib_module_names)
    stems = {path.stem for path in (ROOT / "plugins").rglob("*.py")} - {"__init__", "slipway_plugin"}
    assert not stems & (installed - {"slipway_airflow"}), "a stem that shadows a package where it is imported bare"


def test_what_the_dag_files_share_is_not_scanned_for_dags() -> None:
    ignored = (DAGS / ".airflowignore").read_text().splitlines()
    assert {f"{path.name}/" for path in DAGS.iterdir() if path.is_dir() and path.name != "__pycache__"} <= set(ignored)
