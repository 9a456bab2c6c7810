"""From specs to DAGs: one DAG of each kind for every service that the project declares."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from airflow.sdk import DAG, get_parsing_context, task

from slipway.errors import InvalidPlatformError, InvalidSpecError
from slipway.platform import Platform, load_platform
from slipway.spec import ServiceSpec, load_services, project_dir
from slipway_dags.notices import when_failed
from slipway_dags.retries import task_defaults

BuildDag = Callable[[ServiceSpec, Platform], DAG]

TAG = "slipway"


def service_dags(build: BuildDag, wanted: Callable[[ServiceSpec], bool] = lambda _: True) -> dict[str, DAG]:
    """Build one kind of DAG for each service.

    When a task starts, Airflow parses the file again for one DAG; then only that service's is built.

    :param build: Makes the DAG of one service.
    :param wanted: Whether a service has this kind of DAG; all of them when left out.
    :return: The DAGs by id, ready for ``globals().update``. A service whose spec is wrong, and every
        service when ``platform.yaml`` is wrong, is left out: see :func:`invalid_dags`.
    """
    try:
        platform = load_platform(project_dir())
    except InvalidPlatformError:
        return {}
    return {dag.dag_id: dag for dag in (build(spec, platform) for spec in _wanted_specs() if wanted(spec))}


def invalid_dags() -> dict[str, DAG]:
    """Build a DAG that shows the error, for each spec that is wrong and for a wrong ``platform.yaml``.

    An exception here would be an import error, and Airflow then takes *all* DAGs of the file out of
    service, those of healthy services included.
    """
    dags = [_invalid_dag(found.name, found.message) for found in load_services(project_dir()).invalid]
    try:
        load_platform(project_dir())
    except InvalidPlatformError as error:
        dags.append(_invalid_dag("platform", str(error)))
    return {dag.dag_id: dag for dag in dags}


def page(text: str | None, spec: ServiceSpec) -> str:
    """Return the page of a DAG: its module's docstring, then the facts of the service.

    :param text: The module's docstring.
    :param spec: The service.
    """
    facts = {
        "Service": f"`{spec.name}` {spec.description}".strip(),
        "Model": f"`{spec.model}` in MLflow",
        "Owner": spec.owner,
        "Endpoints": f"`{spec.endpoint_name('dev')}`, `{spec.endpoint_name('prod')}`",
        "Approval": _approval(spec),
        "Promotion": spec.promote.strategy,
    }
    rows = "\n".join(f"| {name} | {value} |" for name, value in facts.items())
    return f"{text or ''}\n## This service\n\n| | |\n| --- | --- |\n{rows}\n"


def common_arguments(spec: ServiceSpec, platform: Platform, kind: str) -> dict[str, Any]:
    """Return what every DAG of a service has in common.

    One run at a time: a second deployment or promotion of the service waits for the first.

    :param spec: The service.
    :param platform: The installation.
    :param kind: The kind of DAG: ``deploy``, ``promote`` …
    """
    return {
        "dag_id": f"{spec.name}.{kind}",
        "catchup": False,
        "max_active_runs": 1,
        "default_args": task_defaults(spec.owner),
        "tags": [TAG, kind, spec.name],
        "on_failure_callback": when_failed(spec, platform) or None,
    }


def _approval(spec: ServiceSpec) -> str:
    if not spec.approval.required:
        return "automatic, after verification"
    who = ", ".join(f"`{user}`" for user in spec.approval.approver_ids) or "everybody who may run this DAG"
    return f"{who}, within {spec.approval.timeout_hours:g} hours"


def _wanted_specs() -> Iterator[ServiceSpec]:
    wanted = get_parsing_context().dag_id
    for name, spec in load_services(project_dir()).specs.items():
        if wanted is None or wanted.startswith(f"{name}."):
            yield spec


def _invalid_dag(name: str, message: str) -> DAG:
    with DAG(
        dag_id=f"{name}.invalid",
        description="The declaration is not valid; open the page for the error.",
        schedule=None,
        catchup=False,
        max_active_runs=1,
        default_args=task_defaults(TAG),
        tags=[TAG, "invalid"],
        doc_md=f"# `{name}` is not valid\n\nIts DAGs are not built until this is put right:\n\n```\n{message}\n```\n",
    ) as dag:

        @task
        def explain() -> None:
            """Fail with the error that the page shows."""
            raise InvalidSpecError(message)

        explain()
    return dag
