"""When a drift of the demo may set off a retraining."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

from demo.loop import held_back
from slipway.drift.status import MonitorState, Status
from slipway.spec import ServiceSpec

BEGAN = datetime(2026, 1, 10, tzinfo=UTC)
SPEC = ServiceSpec.model_validate(
    {
        "name": "flights",
        "model": "m",
        "owner": "o",
        "monitor": {"on_drift": "retrain"},
        "retrain": {"data": {"s3": "s3://lake/flights/"}},
    }
)


def store(*retrains: datetime) -> Any:
    state = MonitorState(status=Status.DRIFTED, retrains=retrains, looked_until=BEGAN + timedelta(minutes=1))
    return SimpleNamespace(state=lambda: state)


def test_the_first_play_follows_its_own_retraining() -> None:
    assert held_back(store(), SPEC, BEGAN) == ""
    assert held_back(store(BEGAN + timedelta(minutes=1)), SPEC, BEGAN) == ""


def test_the_second_play_says_that_the_cool_down_holds() -> None:
    assert "less than 168 hours ago" in held_back(store(BEGAN - timedelta(hours=1)), SPEC, BEGAN)


def test_after_the_cool_down_the_loop_is_expected_again() -> None:
    assert held_back(store(BEGAN - timedelta(days=20)), SPEC, BEGAN) == ""
