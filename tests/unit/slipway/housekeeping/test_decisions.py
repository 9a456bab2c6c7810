"""What housekeeping may take away, and what it never may."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.canary.plan import CanaryPlan
from slipway.housekeeping.decisions import (
    HOLDER,
    MIN_AGE,
    Leftover,
    busy_services,
    find_leftovers,
    is_idle,
    is_lost,
    judge_approval,
)
from slipway.housekeeping.inventory import Inventory, Resource
from slipway.lease import Lease
from slipway.state import Approval, EndpointState, Promotion, Recorded, Serving

NOW = datetime(2026, 3, 1, tzinfo=UTC)
OLD = NOW - timedelta(days=40)
SERVICES = ("churn", "flights", "broken")


def resource(
    kind: Any, name: str, *, service: str | None = "flights", age: timedelta = timedelta(days=40), **more: Any
):
    tags = {"slipway:service": service, "slipway:stage": "dev"} if service else {}
    return Resource(kind=kind, name=name, arn=f"arn:{name}", touched_at=NOW - age, tags=tags, **more)


def serving(config: str, since: datetime = OLD) -> Serving:
    return Serving(release_id="a", model_version=1, config_name=config, since=since, run_id="r")


def lease(expires_at: datetime, holder: str = "flights.promote/1") -> Lease:
    return Lease(holder=holder, purpose="canary", taken_at=OLD, expires_at=expires_at)


def promotion(begun_at: datetime = OLD, recorded: str | None = None) -> Promotion:
    plan = CanaryPlan(challenger="b", champion="a", weights_pct=(5,), bake_seconds=60, max_hold_seconds=60, alpha=0.01)
    way_back = Recorded(config_name=recorded, variants={}) if recorded else None
    return Promotion(
        run_id="1", release_id="b", model_version=2, strategy="canary", begun_at=begun_at, plan=plan, recorded=way_back
    )


def choose(inventory: Inventory, states: dict[str, EndpointState], **options: Any) -> list[Leftover]:
    settings = {
        "keep_days": dict.fromkeys(SERVICES, 30.0),
        "default_keep_days": 30.0,
        "protected": (),
        "now": NOW,
        **options,
    }
    return find_leftovers(inventory, states, **settings)


def names(leftovers: list[Leftover]) -> list[str]:
    return [each.resource.name for each in leftovers]


@pytest.mark.parametrize(
    ("changes", "lost"),
    [
        ({}, False),
        ({"promotion": promotion(), "lease": lease(NOW)}, True),
        ({"promotion": promotion(), "lease": lease(NOW + timedelta(seconds=1))}, False),
        ({"promotion": promotion(), "lease": lease(NOW + timedelta(hours=1), HOLDER)}, True),
        ({"lease": lease(NOW - timedelta(days=1))}, False),
        ({"promotion": promotion()}, True),
        ({"promotion": promotion(begun_at=NOW - timedelta(minutes=59))}, False),
    ],
    ids=[
        "nothing",
        "lease over",
        "lease holds",
        "killed housekeeping",
        "no promotion",
        "no lease",
        "no lease, just begun",
    ],
)
def test_a_promotion_is_lost_when_its_lease_ran_out(changes: dict[str, Any], lost: bool) -> None:
    assert is_lost(EndpointState(endpoint="flights-prod", **changes), NOW) is lost


@given(st.timedeltas(timedelta(0), timedelta(days=40)), st.floats(2, 800), st.booleans())
def test_an_approval_is_told_before_it_lapses_and_neither_behind_a_promotion(
    age: timedelta, valid_hours: float, behind: bool
) -> None:
    approval = Approval(release_id="b", model_version=2, by="ann", at=NOW - age, run_id="deploy")
    state = EndpointState(endpoint="flights-prod", approved=approval, promotion=promotion() if behind else None)
    verdict = judge_approval(state, NOW, valid_hours)
    if behind:
        assert verdict == "fresh"
    elif age >= timedelta(hours=valid_hours):
        assert verdict == "lapse"
    else:
        assert verdict == ("tell" if age >= timedelta(hours=1) else "fresh")


def test_only_a_resting_dev_endpoint_of_ours_without_requests_is_idle() -> None:
    idle = resource("endpoint", "flights-dev", status="InService")
    assert is_idle(idle, 0, NOW, 24)
    assert not is_idle(idle, 1, NOW, 24)
    assert not is_idle(idle, 0, NOW, 24 * 41)
    assert not is_idle(resource("endpoint", "flights-dev", status="Updating"), 0, NOW, 24)
    assert not is_idle(resource("endpoint", "flights-dev", service=None, status="InService"), 0, NOW, 24)
    prod = Resource("endpoint", "flights-prod", "arn", OLD, {"slipway:service": "flights", "slipway:stage": "prod"})
    assert not is_idle(prod, 0, NOW, 24)


def test_services_in_the_middle_of_a_change_are_busy() -> None:
    states = [
        EndpointState(endpoint="flights-prod", promotion=promotion()),
        EndpointState(endpoint="churn-prod", lease=lease(NOW + timedelta(hours=1))),
        EndpointState(endpoint="price-prod", lease=lease(NOW)),
    ]
    assert busy_services(states, NOW) == {"flights", "churn"}


def test_the_champion_of_before_is_kept_for_its_time_and_then_expires() -> None:
    inventory = Inventory(configs=(resource("endpoint config", "c1"),))
    state = EndpointState(endpoint="flights-prod", champion=serving("c2"), previous=serving("c1"))
    assert names(choose(inventory, {"flights-prod": state}, keep_days={"flights": 41.0})) == []
    (over,) = choose(inventory, {"flights-prod": state}, keep_days={"flights": 40.0})
    assert over.why == "the champion of before, beyond its time"


def test_a_model_goes_with_the_last_config_that_refers_to_it() -> None:
    model = resource("model", "m")
    ours = resource("endpoint config", "ours", refers_to=frozenset({"m"}))
    foreign = resource("endpoint config", "foreign", service=None, refers_to=frozenset({"m"}))
    assert names(choose(Inventory(configs=(ours,), models=(model,)), {})) == ["ours", "m"]
    assert names(choose(Inventory(configs=(ours, foreign), models=(model,)), {})) == ["ours"]


def test_what_another_installation_in_the_account_made_is_left_alone() -> None:
    theirs = Inventory(configs=(resource("endpoint config", "c", service="theirs"),))
    assert names(choose(theirs, {})) == []
    assert names(choose(theirs, {"theirs-dev": EndpointState(endpoint="theirs-dev")})) == ["c"], "the spec is gone"
    assert names(choose(theirs, {}, keep_days={"theirs": 30.0})) == ["c"]


CONFIGS = [f"c{number}" for number in range(6)]
MODELS = [f"m{number}" for number in range(6)]
owners = st.sampled_from([*SERVICES, "theirs", None])
ages = st.timedeltas(timedelta(0), timedelta(days=60))


@st.composite
def worlds(draw: st.DrawFn) -> tuple[Inventory, dict[str, EndpointState]]:
    configs = tuple(
        resource("endpoint config", name, service=draw(owners), age=draw(ages),
                 refers_to=frozenset(draw(st.lists(st.sampled_from(MODELS), max_size=2))))
        for name in draw(st.sets(st.sampled_from(CONFIGS)))
    )  # fmt: skip
    models = tuple(
        resource("model", name, service=draw(owners), age=draw(ages)) for name in draw(st.sets(st.sampled_from(MODELS)))
    )
    endpoints = tuple(
        resource("endpoint", f"e{number}", service=draw(owners),
                 refers_to=frozenset(draw(st.lists(st.sampled_from(CONFIGS), max_size=2))))
        for number in range(draw(st.integers(0, 3)))
    )  # fmt: skip
    maybe = st.none() | st.sampled_from(CONFIGS)
    states = {}
    for service in SERVICES:
        champion, previous, recorded = draw(maybe), draw(maybe), draw(maybe)
        states[f"{service}-prod"] = EndpointState(
            endpoint=f"{service}-prod",
            champion=serving(champion, NOW - draw(ages)) if champion else None,
            previous=serving(previous) if previous else None,
            promotion=promotion(recorded=recorded) if recorded else None,
        )
    return Inventory(endpoints, configs, models), states


@given(worlds())
def test_nothing_foreign_young_busy_or_referred_to_is_ever_taken_away(
    world: tuple[Inventory, dict[str, EndpointState]],
) -> None:
    inventory, states = world
    protected = {"broken", *busy_services(states.values(), NOW)}
    gone = choose(inventory, states, protected=protected)
    taken = {each.resource.name for each in gone}
    for each in gone:
        assert each.resource.service in set(SERVICES) - protected
        assert NOW - each.resource.touched_at >= MIN_AGE
    for endpoint in inventory.endpoints:
        assert not endpoint.refers_to & taken
    for config in inventory.configs:
        assert config.name in taken or not config.refers_to & taken
    for state in states.values():
        assert state.champion is None or state.champion.config_name not in taken
        assert state.promotion is None or state.promotion.recorded.config_name not in taken
        if state.previous and state.champion and NOW - state.champion.since < timedelta(days=30):
            assert state.previous.config_name not in taken


@given(worlds())
def test_what_was_taken_away_leaves_nothing_more_to_do(world: tuple[Inventory, dict[str, EndpointState]]) -> None:
    inventory, states = world
    taken = set(names(choose(inventory, states)))
    left = Inventory(
        inventory.endpoints,
        tuple(each for each in inventory.configs if each.name not in taken),
        tuple(each for each in inventory.models if each.name not in taken),
    )
    assert choose(left, states) == []
