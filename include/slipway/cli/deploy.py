"""``slipway deploy | approve | reject``."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import typer

from slipway.cli import watch
from slipway.cli.airflow_api import AirflowApi
from slipway.cli.airflow_records import FAILED_TASK_STATES, Approval, Dag, DagRun
from slipway.cli.services import find_project
from slipway.cli.watch import Look, follow
from slipway.errors import AirflowRequestError, InvalidInputError, InvalidParamsError, UnknownServiceError
from slipway.run_overrides import DeployOverrides, read_overrides
from slipway.spec import load_services
from slipway.spec.located import YamlError, read_yaml, scalar

if TYPE_CHECKING:
    from pydantic import BaseModel

READ_SECONDS = 90.0
"""How long a service that is declared here may take to be read by Airflow; the embedded stack reads every 30 s."""


def deploy(
    service: str,
    model_version: str,
    reason: str,
    overrides: list[str],
    *,
    wait: bool,
    supersede: bool,
    unpause: bool,
) -> int:
    """Start ``<service>.deploy`` and return the exit code.

    Args:
        service: name of the service.
        model_version: alias, version number, or ``run:<run id>``.
        reason: why; goes into the ledger.
        overrides: ``key=value``, each for this run only.
        wait: whether to follow the run to its end; the exit code then is its outcome.
        supersede: whether to reject a release of the service that waits for approval.
        unpause: whether to unpause the DAG when it is paused.
    """
    conf: dict[str, Any] = {"model_version": model_version}
    chosen = overrides_of(overrides, DeployOverrides) | ({"supersede": True} if supersede else {})
    conf |= {"reason": reason} if reason else {}
    conf |= {"overrides": chosen} if chosen else {}
    api = AirflowApi.from_environment()
    dag_id = f"{service}.deploy"
    if _dag_once_read(api, service, dag_id).is_paused and unpause:
        api.set_paused(dag_id, False)
        typer.echo(f"unpaused {dag_id}")
    waiting = [each for each in api.pending_approvals(dag_id) if each.dag_id == dag_id] if supersede else []
    ahead = [each for each in api.dag_runs(dag_id, limit=10) if not each.finished]
    run = api.trigger(dag_id, conf, to_unpause="in Airflow's UI or with --unpause")
    typer.echo(f"started {dag_id}, run {run.run_id}")
    typer.echo(f"  {run_url(api, run)}")
    # Only now: a request that Airflow refuses must not cost the release that waits.
    for approval in waiting:
        _supersede(api, approval, reason)
    if ahead and not waiting:
        typer.echo(f"  it begins when {ahead[-1].run_id} has ended, which is {ahead[-1].state}; see --supersede")
    if not wait:
        typer.echo(f"  follow it with `slipway status {service} --watch`")
        return 0
    return follow_to_end(api, service, run)


def _dag_once_read(api: AirflowApi, service: str, dag_id: str) -> Dag:
    """Return a DAG, for which a service that was declared a moment ago is waited for: Airflow reads files in turns."""
    deadline = time.monotonic() + READ_SECONDS
    told = False
    while True:
        try:
            return api.dag(dag_id)
        except UnknownServiceError:
            if time.monotonic() > deadline or not _is_declared_here(service):
                raise
        if not told:
            typer.echo(f"Airflow has not read {service} yet; waiting for it, at most {READ_SECONDS:.0f} s")
            told = True
        time.sleep(watch.POLL_SECONDS)


def _is_declared_here(service: str) -> bool:
    with suppress(InvalidInputError):  # there need not be a project where the command line is used
        return service in load_services(find_project(None)).specs
    return False


def overrides_of(given: list[str], model: type[BaseModel]) -> dict[str, Any]:
    """Return ``["instance_count=2"]`` as ``{"instance_count": 2}``; values are read as YAML reads them.

    Args:
        given: ``key=value`` each. A value that begins with ``{`` or ``[`` is a mapping or a list, in YAML or JSON.
        model: what the run accepts.

    Raises:
        InvalidParamsError: not ``key=value``, a key that comes twice, a value that is not YAML, or one that the run
            would refuse.
    """
    overrides: dict[str, Any] = {}
    for each in given:
        key, equals, value = (part.strip() for part in each.partition("="))
        if not key or not equals:
            raise InvalidParamsError(f"--set {each!r} is not KEY=VALUE, such as --set instance_count=2")
        if key in overrides:
            raise InvalidParamsError(f"--set {key} comes twice; give it once")
        overrides[key] = _value(key, value)
    read_overrides(model, overrides)
    return overrides


def _value(key: str, text: str) -> Any:
    if not text.startswith(("{", "[")):
        return scalar(text)
    try:
        return read_yaml(text).plain()
    except YamlError as error:
        example = "--set 'hyperparameters={model__C: 1}'"
        raise InvalidParamsError(f"--set {key}: {error.message}; expected YAML or JSON, as in {example}") from error


def answer(service: str, option: str, reason: str, run_id: str | None) -> None:
    """Answer the question about a release of ``service`` that waits for a person.

    Raises:
        UnknownServiceError: Airflow has no such service.
        AirflowRequestError: nothing waits, or somebody else was faster.
        InvalidInputError: several wait and ``run_id`` does not say which.
        AccessDeniedError: the user is not among the approvers.
    """
    api = AirflowApi.from_environment()
    approval = _waiting(api, service, run_id)
    api.answer_approval(approval, option, {"reason": reason} if reason and "reason" in approval.fields else {})
    typer.echo(f"{'approved' if option == 'Approve' else 'rejected'}: {approval.subject}")
    typer.echo(f"  {approval.dag_id}, run {approval.run_id}")


def run_url(api: AirflowApi, run: DagRun) -> str:
    """Return the page of ``run`` in Airflow's UI."""
    return f"{api.settings.url}/dags/{run.dag_id}/runs/{run.run_id}"


def _waiting(api: AirflowApi, service: str, run_id: str | None) -> Approval:
    found = [each for each in api.pending_approvals(f"{service}.") if "Approve" in each.options]
    wanted = [each for each in found if run_id in (None, each.run_id)]
    if len(wanted) == 1:
        return wanted[0]
    waiting = ", ".join(each.run_id for each in found)
    if len(wanted) > 1:
        raise InvalidInputError(f"several releases of {service} wait; say which with --run: {waiting}")
    if found:
        raise InvalidInputError(f"no release of {service} waits in run {run_id}; waiting: {waiting}")
    api.dag(f"{service}.deploy")
    raise AirflowRequestError(f"no release of {service} waits for approval; see `slipway status {service}`")


def _supersede(api: AirflowApi, approval: Approval, reason: str) -> None:
    why = f"superseded by a newer deployment{f': {reason}' if reason else ''}"
    api.answer_approval(approval, "Reject", {"reason": why} if "reason" in approval.fields else {})
    typer.echo(f"rejected, because superseded: {approval.subject} (run {approval.run_id})")


def follow_to_end(api: AirflowApi, service: str, run: DagRun) -> int:
    """Print what becomes of a run's tasks until it ends; return the exit code."""
    told: dict[str, str] = {}
    look: Look | None = None
    for look in follow(api, run.dag_id, run.run_id):
        for task in look.tasks:
            if task.state and told.get(task.task_id) != task.state:
                told[task.task_id] = task.state
                typer.echo(f"  {task.task_id}: {task.state.replace('_', ' ')}")
                if task.state == "awaiting_input":
                    typer.echo(f"    answer with `slipway approve {service}` or `slipway reject {service} --reason …`")
    if look is None or look.run.state == "success":
        typer.echo(f"{run.dag_id} succeeded")
        return 0
    typer.echo(f"error: {run.dag_id} failed{_why(api, look)}", err=True)
    return 1


def _why(api: AirflowApi, look: Look) -> str:
    for task in look.in_state(*FAILED_TASK_STATES - {"upstream_failed"}):
        return f" at {task.task_id}: {api.task_error(task) or f'see its log, {run_url(api, look.run)}'}"
    return f"; see {run_url(api, look.run)}"
