"""Wishes about who has the traffic: ``slipway promote``, ``hold``, ``resume``, ``abort``, ``approve-now``, ``freeze`` …

All but ``promote`` and ``rollback`` are flags in the endpoint's state, which the judge reads every few seconds, and
every other task of a promotion before it changes anything; they work with the caller's own AWS credentials, also when
Airflow's UI is down.
"""

from __future__ import annotations

import getpass
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from slipway.aws_errors import aws_call
from slipway.cli.airflow_api import AirflowApi
from slipway.cli.deploy import follow_to_end, run_url
from slipway.cli.services import find_project
from slipway.cli.watch import follow
from slipway.errors import AccessDeniedError, InvalidInputError, UnknownServiceError

if TYPE_CHECKING:
    from slipway.state import EndpointState, StateStore
    from slipway.transition import FlagName

_TAKES = {
    "warm": "it is still warm, which takes seconds",
    "config": "its instances have to start, which takes minutes; the present champion serves meanwhile",
}


def promote(service: str, reason: str, weights_pct: list[float]) -> None:
    """Start ``<service>.promote``, for an approved release whose promotion was not begun or failed.

    Args:
        service: name of the service.
        reason: why; goes into the ledger.
        weights_pct: weights of the plan to keep; empty keeps all.
    """
    conf: dict[str, Any] = {"reason": reason} if reason else {}
    conf |= {"overrides": {"weights_pct": weights_pct}} if weights_pct else {}
    run = AirflowApi.from_environment().trigger(f"{service}.promote", conf)
    typer.echo(f"started {service}.promote, run {run.run_id}")
    typer.echo(f"  follow it with `slipway status {service} --watch`")


def roll_back(service: str, reason: str, *, wait: bool) -> int:
    """Start ``<service>.rollback``, say how long it will take, and return the exit code.

    Args:
        service: name of the service.
        reason: why; goes into the ledger.
        wait: whether to follow the run to its end, beyond the choice of the way.
    """
    api = AirflowApi.from_environment()
    run = api.trigger(f"{service}.rollback", {"reason": reason} if reason else {})
    typer.echo(f"started {run.dag_id}, run {run.run_id}")
    look = None
    for look in follow(api, run.dag_id, run.run_id):
        if look.in_state("success") or look.run.finished:
            break
    record = look.task("record") if look else None
    if record is None or record.state != "success":
        why = api.task_error(record) if record else None
        typer.echo(f"error: {service} is not rolled back: {why or run_url(api, run)}", err=True)
        return 1
    way = api.xcom(run.dag_id, run.run_id, "record")
    typer.echo(f"  back to model version {way['model_version']}, release {way['release_id']}: {_TAKES[way['route']]}")
    if wait:
        return follow_to_end(api, service, run)
    typer.echo(f"  follow it with `slipway status {service} --watch`")
    return 0


def set_flag(service: str, name: FlagName, reason: str, project: Path | None) -> None:
    """Raise a flag on the service's production endpoint.

    Raises:
        InvalidInputError: no promotion is under way, or it has nothing that the flag is about.
        AccessDeniedError: no AWS credentials here.
    """
    from slipway.canary.wishes import refuse_idle, when_seen
    from slipway.state import Flag
    from slipway.transition import raise_flag

    flag = Flag(by=getpass.getuser(), at=datetime.now(UTC), reason=reason)

    def change(state: EndpointState) -> EndpointState:
        if state.promotion is None:
            raise InvalidInputError(
                f"{state.endpoint} has no promotion under way, so there is nothing to {name.replace('_', ' ')}. "
                f"See `slipway status {service}`."
            )
        refuse_idle(state.promotion, name, service)
        return raise_flag(state, name, flag)

    endpoint, states = _states(service, project)
    promotion = states.update(endpoint, change).promotion
    if promotion:
        seen = when_seen(promotion, name, service)
        typer.echo(f"{name.replace('_', ' ')}: release {promotion.release_id} on {endpoint}; {seen}")


def resume(service: str, project: Path | None) -> None:
    """Take a hold back; its time counts against no limit of the step."""
    from slipway.transition import resume as let_go_on

    endpoint, states = _states(service, project)
    now = datetime.now(UTC)
    states.update(endpoint, lambda state: let_go_on(state, at=now))
    typer.echo(f"{endpoint}: no longer held")


def freeze(service: str, reason: str, project: Path | None) -> None:
    """Let no promotion begin on the service's production endpoint; one that is under way goes on."""
    from slipway.state import Flag
    from slipway.transition import raise_flag

    flag = Flag(by=getpass.getuser(), at=datetime.now(UTC), reason=reason)
    endpoint, states = _states(service, project)
    state = states.update(endpoint, lambda state: raise_flag(state, "frozen", flag))
    frozen = state.flags.frozen or flag
    typer.echo(f"{endpoint}: frozen since {frozen.at:%Y-%m-%d %H:%M %Z} by {frozen.said}; no promotion begins")
    if state.promotion:
        typer.echo(
            f"  release {state.promotion.release_id} is on its way and goes on; `slipway abort {service}` ends that"
        )


def unfreeze(service: str, project: Path | None) -> None:
    """Let promotions begin again."""
    from slipway.transition import lower_flag

    endpoint, states = _states(service, project)
    state = states.update(endpoint, lambda state: lower_flag(state, "frozen"))
    typer.echo(f"{endpoint}: not frozen")
    if state.approved:
        typer.echo(f"  release {state.approved.release_id} waits; `slipway promote {service}` begins its promotion")


def show_looks(service: str, project: Path | None, limit: int, *, as_json: bool = False) -> None:
    """Print the judge's latest looks as the ledger has them, newest first."""
    from slipway.ledger import Ledger

    session, bucket = _session(project)
    records = Ledger(session.client("s3"), bucket).read(service)
    found = [each for each in records if each.action == "looked"][:limit]
    if as_json:
        typer.echo(json.dumps([each.model_dump(mode="json") for each in found], indent=2))
        return
    for record in found:
        typer.echo(f"{record.at:%Y-%m-%d %H:%M:%S} {record.subject}: {record.reason}")
        for line in record.detail.get("shown", []):
            typer.echo(f"  {line}")


def _states(service: str, project: Path | None) -> tuple[str, StateStore]:
    from slipway.spec import load_services
    from slipway.state import StateStore

    catalog = load_services(find_project(project))
    if service not in catalog.specs:
        raise UnknownServiceError(f"There is no service '{service}'; there are: {', '.join(sorted(catalog.specs))}.")
    session, bucket = _session(project)
    return catalog.specs[service].endpoint_name("prod"), StateStore(session.client("s3"), bucket)


def _session(project: Path | None) -> tuple[Any, str]:
    import boto3

    from slipway.platform import load_platform

    session = boto3.Session()
    if session.get_credentials() is None or session.region_name is None:
        raise AccessDeniedError(
            "There are no AWS credentials or no region here. Set AWS_PROFILE, or AWS_REGION and keys; for the embedded "
            "stack: . var/stack/env.sh"
        )
    with aws_call("find out the AWS account"):
        account = session.client("sts").get_caller_identity()["Account"]
    return session, load_platform(find_project(project)).bucket_name(account, str(session.region_name))
