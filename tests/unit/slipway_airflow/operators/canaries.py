"""A canary in the state, for operators that read where it stands."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from slipway.canary.comparison import Verdict
from slipway.canary.plan import CanaryPlan
from slipway.canary.progress import StepProgress
from slipway.ledger import Ledger, LedgerRecord
from slipway.state import Promotion, Recorded, StateStore, VariantShare
from tests.unit.slipway_airflow.conftest import BUCKET

ENDPOINT = "flights-prod"
RUN = "manual__1"
BEGAN = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
CHALLENGER, CHAMPION = "b" * 12, "a" * 12


def begin_canary(aws: Callable[[str], Any], *, passed: int = 0, plan: bool = True, run_id: str = RUN) -> None:
    """A promotion of two weights, of whose steps so many have passed; without a plan it is a first launch."""
    steps = tuple(
        StepProgress(
            number=number,
            weight_pct=weight,
            began_at=BEGAN,
            ended_at=BEGAN,
            verdict=Verdict.PASS,
            looks=3,
            said="below 1.00%",
        )
        for number, weight in ((1, 5), (2, 50), (3, 100))
        if number <= passed
    )
    frozen = CanaryPlan(
        challenger=CHALLENGER,
        champion=CHAMPION,
        weights_pct=(5, 50),
        bake_seconds=60,
        max_hold_seconds=600,
        alpha=0.06,
    )
    recorded = Recorded(config_name="old", variants={CHAMPION: VariantShare(weight=1, instances=2)})
    promotion = Promotion(
        run_id=run_id,
        release_id=CHALLENGER,
        model_version=2,
        strategy="canary" if plan else "first_launch",
        begun_at=BEGAN,
        plan=frozen if plan else None,
        steps=steps,
        recorded=recorded if plan else None,
    )
    states(aws).update(ENDPOINT, lambda state: state.model_copy(update={"promotion": promotion}))


def states(aws: Callable[[str], Any]) -> StateStore:
    return StateStore(aws("s3"), BUCKET)


def promotion_of(aws: Callable[[str], Any]) -> Promotion:
    state, _ = states(aws).read(ENDPOINT)
    assert state is not None
    assert state.promotion is not None
    return state.promotion


def ledger_of(aws: Callable[[str], Any]) -> list[LedgerRecord]:
    return Ledger(aws("s3"), BUCKET).read("flights")
