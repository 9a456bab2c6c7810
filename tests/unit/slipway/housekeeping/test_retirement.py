"""What a promotion left on an endpoint, and what looks like it and is not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from slipway.housekeeping.decisions import HOLDER
from slipway.housekeeping.retirement import RETIRER, Retirement, find_retirement, is_overdue
from slipway.lease import Lease
from slipway.state import EndpointState, Promotion, Serving

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
CHAMPION = Serving(
    release_id="b" * 12,
    model_version=2,
    config_name="flights-prod-0123456789",
    since=NOW - timedelta(hours=2),
    run_id="promote_2",
)
UNDER_WAY = Promotion(run_id="r", release_id="c", model_version=3, strategy="canary", begun_at=NOW)


def lease(holder: str, expires_at: datetime) -> Lease:
    return Lease(holder=holder, purpose="", taken_at=NOW - timedelta(hours=3), expires_at=expires_at)


@pytest.mark.parametrize(
    ("changes", "warm_minutes", "overdue"),
    [
        ({}, 60, True),
        ({}, 60.1, False),
        ({"champion": None}, 0, False),
        ({"promotion": UNDER_WAY}, 0, False),
        ({"lease": lease("flights.rollback/1", NOW + timedelta(seconds=1))}, 0, False),
        ({"lease": lease("flights.rollback/1", NOW)}, 0, True),
        ({"lease": lease(HOLDER, NOW + timedelta(hours=1))}, 0, False),
        ({"lease": lease(RETIRER, NOW + timedelta(hours=1))}, 0, True),
    ],
    ids=["late", "warm", "no champion", "promotion", "lease", "lease over", "other housekeeping", "own lease"],
)
def test_a_champion_is_overdue_an_hour_after_its_warm_time(
    changes: dict[str, Any], warm_minutes: float, overdue: bool
) -> None:
    state = EndpointState(endpoint="flights-prod", champion=CHAMPION).model_copy(update=changes)
    assert is_overdue(state, warm_minutes, NOW) is overdue


def endpoint(config: str = CHAMPION.config_name, status: str = "InService", **weights: float) -> dict[str, Any]:
    return {
        "EndpointName": "flights-prod",
        "EndpointStatus": status,
        "EndpointConfigName": config,
        "ProductionVariants": [
            {"VariantName": name, "CurrentWeight": weight, "CurrentInstanceCount": 3}
            for name, weight in weights.items()
        ],
    }


B, A, OTHER_CONFIG = CHAMPION.release_id, "a" * 12, "flights-prod-abcdefabcd"


@pytest.mark.parametrize(
    ("found", "left"),
    [
        (endpoint(**{B: 100.0, A: 0.0}), Retirement(B, 3, (A,))),
        (endpoint(OTHER_CONFIG, **{B: 1.0}), Retirement(B, 3, ())),
        (endpoint(**{B: 1.0}), None),
        (endpoint("by-hand", **{B: 1.0}), None),
        (endpoint(OTHER_CONFIG, **{B: 100.0, A: 0.0}), None),
        (endpoint(**{B: 0.0, A: 100.0}), None),
        (endpoint(**{B: 50.0, A: 50.0}), None),
        (endpoint(status="Updating", **{B: 100.0, A: 0.0}), None),
        (endpoint(OTHER_CONFIG, **{A: 1.0}), None),
        (None, None),
    ],
    ids=[
        "left beside",
        "killed after the update",
        "nothing left",
        "somebody's config",
        "another config with two",
        "traffic is on the old one",
        "traffic on both",
        "changes now",
        "another release alone",
        "no endpoint",
    ],
)
def test_only_what_a_promotion_left_is_found(found: dict[str, Any] | None, left: Retirement | None) -> None:
    assert find_retirement(CHAMPION, found) == left
