"""What `slipway doctor` looks at in Airflow."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from slipway.cli.airflow_api import AirflowApi
from slipway.cli.doctor import Finding

if TYPE_CHECKING:
    from slipway.spec import ServiceCatalog, ServiceSpec

_PARTS = ("metadatabase", "scheduler", "triggerer", "dag_processor")
_TAG = "slipway"
_HOUSEKEEPING = f"{_TAG}.housekeeping"


def examine_airflow(catalog: ServiceCatalog) -> Iterator[Finding]:
    """Does Airflow answer, do its parts run, has it read all DAGs, and are they on?

    Args:
        catalog: the project's services.

    Raises:
        SlipwayError: Airflow does not answer, or does not know the user.
    """
    api = AirflowApi.from_environment()
    paused = {dag.dag_id: dag.is_paused for dag in api.dags(tag=_TAG)}
    yield Finding("Airflow", "ok", f"{api.settings.url} answers")
    health = api.health()
    for part in _PARTS:
        if health.get(part) != "healthy":
            cure = f"start `airflow {part.replace('_', '-')}`" if part != "metadatabase" else "look at its log"
            yield Finding(f"Airflow's {part}", "wrong", f"{health.get(part) or 'does not run'}", cure)
    for file, message in api.import_errors():
        yield Finding(f"DAG file {file}", "wrong", message.strip().rpartition("\n")[2])
    for spec in catalog.specs.values():
        yield _dags_of(spec, paused)
    yield _housekeeping(paused.get(_HOUSEKEEPING))


def _dags_of(spec: ServiceSpec, paused: dict[str, bool]) -> Finding:
    about, prefix = f"DAGs of {spec.name}", f"{spec.name}."
    found = sorted(dag_id.removeprefix(prefix) for dag_id in paused if dag_id.startswith(prefix))
    if not found:
        cure = "does Airflow's SLIPWAY_PROJECT lead to this project? New files are read within a minute"
        return Finding(about, "wrong", "Airflow has read none", cure)
    if found == ["invalid"]:
        return Finding(about, "wrong", "Airflow has an older, invalid file", "give Airflow this project's files")
    off = sorted(dag_id for dag_id, is_paused in paused.items() if dag_id.startswith(prefix) and is_paused)
    if off:
        return Finding(about, "look", f"paused: {', '.join(off)}", "unpause what shall run")
    return Finding(about, "ok", ", ".join(found))


def _housekeeping(is_paused: bool | None) -> Finding:
    about = f"DAG {_HOUSEKEEPING}"
    if is_paused is None:
        cure = "give Airflow dags/housekeeping.py, and platform.yaml without errors"
        return Finding(about, "wrong", "Airflow has not read it", cure)
    if is_paused:
        cure = "unpause it: nobody else takes back a canary that is lost, or deletes what is left over"
        return Finding(about, "look", "paused", cure)
    return Finding(about, "ok", "runs by its schedule")
