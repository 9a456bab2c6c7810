"""A step's watch, made anew wherever it runs: in a worker that waits, or in the triggerer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

from slipway.canary.alarm import require_alarm
from slipway.canary.capture_source import CaptureMetricSource, JoinedMetricSource
from slipway.canary.comparison import JudgePolicy
from slipway.canary.evaluation import FULL_WEIGHT_PCT, StepRules
from slipway.canary.gate_watch import GateWatch, GuardedStep
from slipway.canary.hold_watch import HoldWatch
from slipway.canary.metric_source import CloudWatchMetricSource, MetricSource, ReferenceMetricSource
from slipway.canary.watch import StepWatch, WatchedStep
from slipway.endpoints.outcome import endpoint_outcome
from slipway.endpoints.resource import describe
from slipway.endpoints.traffic import weights_of
from slipway.errors import EndpointBusyError, EndpointMissingError
from slipway_airflow.canary_outcomes import OutcomesRequest, outcome_source, window_from_dict
from slipway_airflow.hooks.artifact_bucket import ArtifactBucket
from slipway_airflow.hooks.slipway_aws import SlipwayAwsHook

if TYPE_CHECKING:
    from slipway.canary.step import OnInconclusive, StepDecision


@dataclass(frozen=True)
class WatchRequest:
    """Everything a watch needs, as plain values: it travels to the triggerer.

    :param step: The step, see :class:`slipway.canary.watch.WatchedStep`.
    :param rules: The rules, see :class:`slipway.canary.evaluation.StepRules`; empty when nothing is judged.
    :param bucket: Name of the artifact bucket.
    :param config_name: The endpoint config of the canary.
    :param weights: The weights in force.
    :param challenger: The challenger's variant.
    :param champion: The champion's variant.
    :param latency_slo_ms: What counts as slow.
    :param reference: Start (ISO), period in seconds and number of the periods of each step in which the champion had
        traffic, for the bake at 100 %; None for the steps before.
    :param alarm: The CloudWatch alarm that has to be there; None when the promotion has none.
    :param source: Where the counts come from: ``cloudwatch``, ``captures`` or ``both``.
    :param gate: The place of the gate whose answer is waited for; None for a step.
    :param held: Whether the end of a hold is waited for, in place of the gate's answer.
    :param outcomes: What answers are held against, see :class:`slipway_airflow.canary_outcomes.OutcomesRequest`; None
        when they are not.
    """

    step: dict[str, Any]
    rules: dict[str, Any]
    bucket: str
    config_name: str
    weights: dict[str, float]
    challenger: str
    champion: str
    latency_slo_ms: float
    reference: list[dict[str, Any]] | None = None
    alarm: str | None = None
    gate: str | None = None
    source: str = "cloudwatch"
    outcomes: dict[str, Any] | None = None
    held: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return the request as a dict of plain values."""
        return asdict(self)


class Watch(Protocol):
    """Ticks until something is decided."""

    def tick(self) -> StepDecision | None:
        """Look; return the decision, or None while it goes on."""


def open_watch(request: WatchRequest, hook: SlipwayAwsHook, bucket_hook: SlipwayAwsHook) -> Watch:
    """Make the watch of a request.

    :param request: What to watch.
    :param hook: The connection of the endpoint's account.
    :param bucket_hook: The connection of the artifact bucket.
    """
    step = WatchedStep(**request.step)
    bucket = ArtifactBucket(bucket_hook, request.bucket)
    kept: dict[str, Any] = {"states": bucket.states, "ledger": bucket.ledger, "now": lambda: datetime.now(UTC)}
    waiting = HoldWatch if request.held else GateWatch
    if request.gate and not request.rules:
        return waiting(step, request.gate, None, **kept)
    rules, source = _rules(request.rules), _source(request, hook, bucket, step.endpoint)
    check = _check(request, hook, step.endpoint)
    if request.gate:
        return waiting(step, request.gate, GuardedStep(rules, source, check), **kept)
    return StepWatch(step, rules, source, check_endpoint=check, **kept)


def rules_to_dict(rules: StepRules) -> dict[str, Any]:
    """Return rules as plain values."""
    return asdict(rules)


def _rules(values: dict[str, Any]) -> StepRules:
    policies = {name: JudgePolicy(**policy) for name, policy in values["policies"].items()}
    on_inconclusive: OnInconclusive = values["on_inconclusive"]
    return StepRules(**{**values, "policies": policies, "on_inconclusive": on_inconclusive})


def _source(request: WatchRequest, hook: SlipwayAwsHook, bucket: ArtifactBucket, endpoint: str) -> MetricSource:
    arms = {"endpoint": endpoint, "challenger": request.challenger, "champion": request.champion}
    sources: list[MetricSource] = []
    if request.source != "captures":
        sources.append(CloudWatchMetricSource(hook.client("cloudwatch"), latency_slo_ms=request.latency_slo_ms, **arms))
    if request.source != "cloudwatch":
        sources.append(CaptureMetricSource(bucket.s3, bucket.name, **arms))
    source = sources[0] if len(sources) == 1 else JoinedMetricSource(*sources)
    if request.reference is not None:
        source = ReferenceMetricSource(source, [window_from_dict(window) for window in request.reference])
    if request.outcomes is None:
        return source
    variants = (request.challenger, request.champion)
    outcomes = outcome_source(OutcomesRequest(**request.outcomes), endpoint, variants, hook, bucket)
    return JoinedMetricSource(source, outcomes)


def _check(request: WatchRequest, hook: SlipwayAwsHook, endpoint: str) -> Callable[[], None]:
    """Return the check that nobody else changed what the canary compares."""

    def check() -> None:
        found = describe(hook.client("sagemaker"), "endpoint", endpoint)
        if found is None:
            raise EndpointMissingError(f"{endpoint} was deleted in the middle of its canary.")
        endpoint_outcome(found, request.config_name).raise_if_failed()
        present = weights_of(found)
        if set(present) != set(request.weights) or any(
            abs(present[name] - weight) > 1e-6 for name, weight in request.weights.items()
        ):
            raise EndpointBusyError(
                f"{endpoint} has the weights {present}, the canary set {request.weights}: somebody else changed them "
                "in the middle of the canary, so its arms cannot be compared."
            )
        if request.alarm:
            require_alarm(hook.client("cloudwatch"), request.alarm)

    return check


def is_bake(weight_pct: float) -> bool:
    """Tell whether a weight is the bake after the last step."""
    return weight_pct >= FULL_WEIGHT_PCT
