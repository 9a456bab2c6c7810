"""The endpoints of a service as they are now, read from AWS with the caller's own credentials."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from slipway.aws_errors import aws_call
from slipway.canary.asking import how_to_answer
from slipway.errors import EndpointMissingError, SlipwayError

if TYPE_CHECKING:
    import boto3
    from mypy_boto3_sagemaker import SageMakerClient

    from slipway.canary.progress import StepProgress
    from slipway.state import EndpointState, GateAnswer


@dataclass(frozen=True)
class EndpointLook:
    """One endpoint.

    Args:
        name: its name.
        status: SageMaker's EndpointStatus, or "none" when there is no such endpoint.
        config: name of its endpoint config.
        failure: SageMaker's FailureReason.
        champion: model version and release that have all its traffic, as recorded.
        notes: what else is recorded: a promotion under way, an approved release, flags.
    """

    name: str
    status: str
    config: str | None = None
    failure: str | None = None
    champion: str | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class EndpointsLook:
    """The endpoints of a service, or why they could not be looked at."""

    place: str
    endpoints: tuple[EndpointLook, ...]
    problem: str | None = None


def look_at_endpoints(service: str, project: Path) -> EndpointsLook:
    """Look at both endpoints; a failure becomes ``problem``, since the rest of a status is worth showing without."""
    import boto3

    session = boto3.Session()
    if session.get_credentials() is None or session.region_name is None:
        return EndpointsLook("", (), "no AWS credentials or region here; set AWS_PROFILE, or AWS_REGION and keys")
    try:
        return _look(session, service, project)
    except SlipwayError as error:
        return EndpointsLook("", (), str(error))


def _look(session: boto3.Session, service: str, project: Path) -> EndpointsLook:
    from slipway.platform import load_platform
    from slipway.state import StateStore

    region = str(session.region_name)
    with aws_call("find out the AWS account"):
        account = session.client("sts").get_caller_identity()["Account"]
    states = StateStore(session.client("s3"), load_platform(project).bucket_name(account, region))
    sagemaker = session.client("sagemaker")
    stages: tuple[Literal["dev"], Literal["prod"]] = ("dev", "prod")
    names = [f"{service}-{stage}" for stage in stages]
    looks = tuple(_look_at(sagemaker, name, states.read(name)[0]) for name in names)
    return EndpointsLook(f"account {account}, {region}", looks)


def _look_at(sagemaker: SageMakerClient, name: str, state: EndpointState | None) -> EndpointLook:
    champion = _serving(state)
    notes = _notes(state)
    try:
        with aws_call(f"describe the endpoint {name}"):
            found = sagemaker.describe_endpoint(EndpointName=name)
    except EndpointMissingError:
        return EndpointLook(name, "none", champion=champion, notes=notes)
    return EndpointLook(
        name=name,
        status=found["EndpointStatus"],
        config=found.get("EndpointConfigName"),
        failure=found.get("FailureReason") or None,
        champion=champion,
        notes=notes,
    )


def _serving(state: EndpointState | None) -> str | None:
    if state is None or state.champion is None:
        return None
    return f"version {state.champion.model_version}, release {state.champion.release_id}"


def _notes(state: EndpointState | None) -> tuple[str, ...]:
    if state is None:
        return ()
    notes = []
    if state.promotion:
        notes.append(f"release {state.promotion.release_id} is being promoted ({state.promotion.strategy})")
        service = state.endpoint.removesuffix("-prod")
        notes += [note for step in state.promotion.steps for note in _step_notes(step, service)]
        notes += [f"gate of {each.place}: {_said(each)}" for each in state.promotion.gates]
    if state.approved:
        notes.append(f"release {state.approved.release_id} is approved by {state.approved.by} and not yet promoted")
    for name, flag in state.flags:
        if flag is not None:
            notes.append(f"{name} by {flag.by}{f': {flag.reason}' if flag.reason else ''}")
    return tuple(notes)


def _step_notes(step: StepProgress, service: str) -> list[str]:
    """The step in a line; while it goes on or when it failed, a line more for each comparison, and for a question."""
    looks = "1 look" if step.looks == 1 else f"{step.looks} looks"
    verdict = f"step {step.number} at {step.weight_pct:g} %: {step.verdict} after {looks}"
    lines = [f"  {line}" for line in step.shown] if step.ended_at is None or step.failed_because else []
    if step.question and step.ended_at is None:
        asked = f"{step.question.asked_at:%Y-%m-%d %H:%M %Z}, for {step.question.hours:g} h without those on hold"
        lines.append(f"  people are asked since {asked}: {how_to_answer(service)}")
    why = step.failed_because or step.approved_by or ("" if lines else step.said)
    return [f"{verdict}; {why}" if why else verdict, *lines]


def _said(answer: GateAnswer) -> str:
    return f"{'yes' if answer.allow else 'no'}, {answer.by}{f': {answer.reason}' if answer.reason else ''}"
