"""What a promotion asks before it goes on: the spec's hooks, then, where it has a gate, a person."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import TriggerRule

from slipway.spec.hooks import AFTER
from slipway_airflow.operators.canary import FINAL
from slipway_airflow.operators.canary_guard import CanaryGuardOperator
from slipway_airflow.operators.promotion_gate import PromotionGateOperator
from slipway_airflow.operators.promotion_hook import PromotionHookOperator
from slipway_dags.notices import when_asked

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator

    from slipway.platform import Platform
    from slipway.spec import ServiceSpec


def asking(
    step: int | str, spec: ServiceSpec, platform: Platform, prod: dict[str, Any]
) -> list[BaseOperator | list[BaseOperator]]:
    """Build what is asked at one place, in order; nothing where the spec asks nothing.

    :param step: Number of the step before which it is asked, ``final`` for all traffic, or ``after``.
    :param spec: The service.
    :param platform: The installation.
    :param prod: What all operators of the promotion are given.
    :return: For ``chain``. A gate stands beside its guard.
    """
    place: Any = len(spec.promote.weights_pct) + 1 if step == FINAL else step
    prefix = "after_" if step == AFTER else ""
    common: dict[str, Any] = {"step": step, "trigger_rule": TriggerRule.NONE_FAILED}
    asked: list[BaseOperator | list[BaseOperator]] = [
        PromotionHookOperator(task_id=f"{prefix}hook_{hook.name}", asked=hook, **common, **prod)
        for hook in spec.promote.hooks_at(place)
    ]
    return [*asked, _gate(prefix, spec, platform, prod, common)] if spec.promote.asks_at(place) else asked


def _gate(
    prefix: str, spec: ServiceSpec, platform: Platform, prod: dict[str, Any], common: dict[str, Any]
) -> list[BaseOperator]:
    gate = PromotionGateOperator(
        task_id=f"{prefix}gate",
        spec=spec,
        platform=platform,
        aws_conn_id=platform.aws_conn_id,
        notifiers=when_asked(spec, platform),
        **common,
    )
    longest = timedelta(hours=spec.approval.timeout_hours + 1)
    guard = CanaryGuardOperator(task_id=f"{prefix}guard", execution_timeout=longest, deferrable=True, **common, **prod)
    return [gate, guard]
