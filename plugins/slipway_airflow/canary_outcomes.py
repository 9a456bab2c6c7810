"""Outcomes as a source of a canary's watch: what travels to the triggerer, and the source made of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from slipway.canary.outcome_source import OutcomeMetricSource, OutcomeRules
from slipway.canary.reference import whole_periods
from slipway.canary.window import MetricWindow
from slipway.drift.mirrored import schema_of_model
from slipway.drift.quality.policy import quality_policy
from slipway.drift.store import DriftStore
from slipway.spec import MonitorSpec

if TYPE_CHECKING:
    from slipway.spec import ServiceSpec
    from slipway.state import Promotion, Serving
    from slipway_airflow.hooks.artifact_bucket import ArtifactBucket
    from slipway_airflow.hooks.slipway_aws import SlipwayAwsHook


@dataclass(frozen=True)
class OutcomesRequest:
    """Everything that answers are held against, as plain values.

    :param service: The service.
    :param monitor: Its ``monitor`` section.
    :param tolerance: ``promote.metrics.wrong.tolerance``.
    :param model: MLflow registered model.
    :param versions: The challenger's version of it, and the champion's.
    :param steps: The steps that are over: start (ISO), period in seconds and number of their whole periods.
    :param together: Whether both variants are served at present.
    """

    service: str
    monitor: dict[str, Any]
    tolerance: float | None
    model: str
    versions: tuple[int, int]
    steps: tuple[dict[str, Any], ...]
    together: bool


def outcomes_request(
    spec: ServiceSpec, promotion: Promotion, champion: Serving | None, number: int, *, together: bool
) -> OutcomesRequest:
    """Return what the answers of a canary are held against.

    :param spec: The service; it has ``promote.metrics.wrong``.
    :param promotion: The promotion.
    :param champion: What had the traffic before; its model is taken for the challenger's when nobody knows.
    :param number: The present step. The outcomes of earlier ones go on arriving.
    :param together: Whether both variants are served in it.
    """
    metrics = spec.promote.metrics
    over = whole_periods(promotion.steps, number, period_seconds=metrics.period_seconds)
    return OutcomesRequest(
        service=spec.name,
        monitor=spec.monitor.model_dump(mode="json"),
        tolerance=metrics.wrong.tolerance if metrics.wrong else None,
        model=spec.model,
        versions=(promotion.model_version, champion.model_version if champion else promotion.model_version),
        steps=tuple(window_to_dict(window) for window in over),
        together=together,
    )


def outcome_source(
    request: OutcomesRequest, endpoint: str, variants: tuple[str, str], hook: SlipwayAwsHook, bucket: ArtifactBucket
) -> OutcomeMetricSource:
    """Make the source.

    :param request: What it holds against what.
    :param endpoint: The endpoint.
    :param variants: The challenger's variant, and the champion's.
    :param hook: The connection of the outcomes: the endpoint's account.
    :param bucket: The artifact bucket, where captures and models lie.
    :raises PermanentError: a mirrored model is gone.
    """
    monitor = MonitorSpec.model_validate(request.monitor)
    challenger, champion = (
        schema_of_model(bucket.documents, request.model, each, request.service) for each in request.versions
    )
    return OutcomeMetricSource(
        DriftStore(bucket.s3, bucket.name, request.service, endpoint),
        hook.client("s3"),
        OutcomeRules(str(monitor.labels), quality_policy(monitor), request.tolerance),
        challenger=(variants[0], challenger),
        champion=(variants[1], champion),
        steps=[window_from_dict(step) for step in request.steps],
        together=request.together,
    )


def window_to_dict(window: MetricWindow) -> dict[str, Any]:
    """Return a window as plain values."""
    return {**asdict(window), "start": window.start.isoformat()}


def window_from_dict(values: dict[str, Any]) -> MetricWindow:
    """Return the window of plain values."""
    return MetricWindow(**{**values, "start": datetime.fromisoformat(values["start"])})
