"""Lets target tracking policies act on endpoints."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from moto.applicationautoscaling.models import (
    ApplicationAutoscalingBackend,
    FakeScalableTarget,
    applicationautoscaling_backends,
)
from moto.core.exceptions import ServiceException

from slipway_localaws.autoscaling.targets import DIMENSION, find_variant, policies_of, record_activity
from slipway_localaws.autoscaling.tracking import PERIODS_IN, wanted_capacity
from slipway_localaws.cloudwatch.alarm_watch import SETTLE_SECONDS
from slipway_localaws.cloudwatch.queries import QueryRunner
from slipway_localaws.cloudwatch.series import MetricStore
from slipway_localaws.hosting.controller import Controller
from slipway_localaws.patching import MOTO_LOCK
from slipway_localaws.runtime.recorder import NAMESPACE as METRICS_NAMESPACE
from slipway_localaws.sagemaker.records import HostedEndpoint

log = logging.getLogger(__name__)
_TICK_SECONDS = 1.0
_DEFAULT_COOLDOWN_SECONDS = 300.0
_INVOCATIONS = "SageMakerVariantInvocationsPerInstance"


class Actuator:
    """Looks after all scalable targets in a thread of its own.

    Args:
        controller: changes endpoints.
        store: the metrics.
        period_seconds: how long a period of the policies' metrics is; AWS's is a minute.
        on_change: called with the name of each service whose state changed.
    """

    def __init__(
        self, controller: Controller, store: MetricStore, period_seconds: int, on_change: Callable[[str], None]
    ) -> None:
        self._controller = controller
        self._store = store
        self._period = period_seconds
        self._on_change = on_change
        self._acted: dict[str, float] = {}
        threading.Thread(target=self._watch, name="autoscaling", daemon=True).start()

    def _watch(self) -> None:
        while True:
            time.sleep(_TICK_SECONDS)
            try:
                with MOTO_LOCK:
                    for _, _, backend in list(applicationautoscaling_backends.iter_backends()):
                        for target in list(backend.targets.get(DIMENSION, {}).values()):  # type: ignore[attr-defined]
                            self._look_after(backend, target)  # type: ignore[arg-type]
            except Exception:
                log.exception("scaling policies were not applied")

    def _look_after(self, backend: ApplicationAutoscalingBackend, target: FakeScalableTarget) -> None:
        try:
            endpoint, variant = find_variant(backend, target.resource_id)
        except ServiceException:
            return
        if endpoint.endpoint_status != "InService":
            return
        current = endpoint.variants[variant].desired_count
        suspended: dict[str, Any] = target.suspended_state or {}  # type: ignore[assignment]
        wanted, cause = self._wanted(backend, target, endpoint, variant, current)
        bounded = min(max(wanted, target.min_capacity or 0), target.max_capacity or wanted)
        if bounded != wanted and wanted == current:
            cause = "capacity was outside the target's bounds"
        grows = bounded > current
        if bounded == current or suspended.get("DynamicScalingOutSuspended" if grows else "DynamicScalingInSuspended"):
            return
        endpoint.variants[variant].desired_count = bounded
        self._acted[target.resource_id] = time.monotonic()
        record_activity(backend, target.resource_id, bounded, cause)
        self._on_change("application-autoscaling")
        self._controller.scale(endpoint)

    def _wanted(
        self,
        backend: ApplicationAutoscalingBackend,
        target: FakeScalableTarget,
        endpoint: HostedEndpoint,
        variant: str,
        current: int,
    ) -> tuple[int, str]:
        """The largest capacity that any policy wants, as Application Auto Scaling settles it, and which one that is."""
        wishes = []
        for policy in policies_of(backend, target.resource_id):
            settings = policy.target_tracking_scaling_policy_configuration
            if not settings:
                continue
            values = self._values(backend, settings, endpoint, variant)
            wish = wanted_capacity(
                values, float(settings["TargetValue"]), current, may_scale_in=not settings.get("DisableScaleIn", False)
            )
            name = "ScaleOutCooldown" if wish > current else "ScaleInCooldown"
            cooldown = float(settings.get(name, _DEFAULT_COOLDOWN_SECONDS))
            if time.monotonic() - self._acted.get(target.resource_id, float("-inf")) < cooldown:
                wish = current
            wishes.append((wish, f"monitor alarm of policy {policy.policy_name} triggered policy {policy.policy_name}"))
        return max(wishes, default=(current, ""))

    def _values(
        self, backend: ApplicationAutoscalingBackend, settings: dict[str, Any], endpoint: HostedEndpoint, variant: str
    ) -> list[float | None]:
        """The policy's metric by period, newest last."""
        period = self._period
        metric, stat, scale = self._metric(settings, endpoint, variant)
        if metric is None:
            return []
        end = int((time.time() - SETTLE_SECONDS) // period * period)
        start = end - PERIODS_IN * period
        runner = QueryRunner(self._store, backend.account_id, backend.region_name)
        found = runner.single(metric, stat, period, start, end).points
        values = [found.get(at) for at in range(start, end, period)]
        return [None if value is None else value * scale for value in values]

    def _metric(
        self, settings: dict[str, Any], endpoint: HostedEndpoint, variant: str
    ) -> tuple[dict[str, Any] | None, str, float]:
        predefined = settings.get("PredefinedMetricSpecification", {}).get("PredefinedMetricType")
        if predefined == _INVOCATIONS:
            dimensions = [
                {"Name": "EndpointName", "Value": endpoint.endpoint_name},
                {"Name": "VariantName", "Value": variant},
            ]
            metric = {"Namespace": METRICS_NAMESPACE, "MetricName": "InvocationsPerInstance", "Dimensions": dimensions}
            return metric, "Sum", 60 / self._period  # the target is per minute
        custom = settings.get("CustomizedMetricSpecification") or {}
        if "MetricName" in custom:
            return custom, custom["Statistic"], 1.0
        return None, "", 1.0
