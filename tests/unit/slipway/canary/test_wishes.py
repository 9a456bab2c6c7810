"""What may be asked of a promotion depends on where it stands."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from slipway.canary.plan import CanaryPlan
from slipway.canary.progress import StepProgress
from slipway.canary.wishes import refuse_idle, when_seen
from slipway.errors import InvalidInputError
from slipway.state import Promotion
from slipway.transition import FlagName

NOW = datetime(2026, 3, 1, tzinfo=UTC)
PLAN = CanaryPlan(
    challenger="new", champion="old", weights_pct=(5, 50), bake_seconds=60, max_hold_seconds=600, alpha=0.05
)


def promotion(ended: int, begun: int | None = None, *, plan: CanaryPlan | None = PLAN) -> Promotion:
    """A promotion of which so many steps have ended and begun."""
    steps = tuple(
        StepProgress(number=number, weight_pct=weight, began_at=NOW, ended_at=NOW if number <= ended else None)
        for number, weight in ((1, 5.0), (2, 50.0), (3, 100.0))
        if number <= max(ended, begun or 0)
    )
    return Promotion(run_id="r", release_id="new", model_version=2, strategy="s", begun_at=NOW, plan=plan, steps=steps)


@pytest.mark.parametrize(
    ("name", "found", "obeyed"),
    [
        ("abort", promotion(0, plan=None), True),
        ("abort", promotion(3), True),
        ("hold", promotion(0), True),
        ("hold", promotion(1), True),
        ("hold", promotion(2, 3), True),
        ("hold", promotion(3), False),
        ("hold", promotion(0, plan=None), False),
        ("approve_now", promotion(0, 1), True),
        ("approve_now", promotion(2, 3), True),
        ("approve_now", promotion(1), False),
        ("approve_now", promotion(0, plan=None), False),
    ],
)
def test_only_what_somebody_will_obey_is_taken(name: FlagName, found: Promotion, obeyed: bool) -> None:
    if obeyed:
        refuse_idle(found, name, "flights")
        return
    with pytest.raises(InvalidInputError, match="slipway"):
        refuse_idle(found, name, "flights")


def test_it_is_said_who_sees_it_and_when() -> None:
    assert "judge sees it within seconds" in when_seen(promotion(1, 2), "hold", "flights")
    assert "until `slipway resume flights`" in when_seen(promotion(1), "hold", "flights")
    assert "any other task when it is done" in when_seen(promotion(1), "abort", "flights")
