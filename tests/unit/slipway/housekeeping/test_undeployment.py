"""What an undeployment takes away, and what it leaves alone."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.errors import EndpointBusyError, ResourceConflictError
from slipway.housekeeping.inventory import Inventory, Resource
from slipway.housekeeping.undeployment import find_undeployment, require_idle
from slipway.state import EndpointState, Promotion

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def resource(kind: Any, name: str, owner: str | None, *refers_to: str) -> Resource:
    service, _, stage = (owner or "").rpartition("-")
    tags = {"slipway:service": service, "slipway:stage": stage} if owner else {}
    return Resource(kind, name, f"arn:{name}", NOW, tags, frozenset(refers_to), "InService")


def found(inventory: Inventory) -> tuple[list[str], list[str]]:
    chosen = find_undeployment(inventory, "flights", "prod", "flights-prod")
    return [each.name for each in chosen.resources], [each.name for each in chosen.kept]


def test_an_endpoint_goes_before_its_configs_and_these_before_their_models() -> None:
    inventory = Inventory(
        endpoints=(
            resource("endpoint", "flights-prod", "flights-prod", "c2"),
            resource("endpoint", "flights-dev", "flights-dev", "d1"),
        ),
        configs=(
            resource("endpoint config", "c1", "flights-prod", "m1"),
            resource("endpoint config", "c2", "flights-prod", "m2"),
            resource("endpoint config", "d1", "flights-dev", "m3"),
        ),
        models=tuple(
            resource("model", name, owner)
            for name, owner in {"m1": "flights-prod", "m2": "flights-prod", "m3": "flights-dev", "x": None}.items()
        ),
    )
    assert found(inventory) == (["flights-prod", "c1", "c2", "m1", "m2"], [])


def test_what_a_killed_run_left_is_found_without_the_endpoint() -> None:
    inventory = Inventory(models=(resource("model", "m1", "flights-prod"),))
    assert found(inventory) == (["m1"], [])


def test_what_something_else_refers_to_stays_and_is_named() -> None:
    inventory = Inventory(
        endpoints=(
            resource("endpoint", "flights-prod", "flights-prod", "c1"),
            resource("endpoint", "by-hand", None, "c2"),
        ),
        configs=(
            resource("endpoint config", "c1", "flights-prod", "m1"),
            resource("endpoint config", "c2", "flights-prod", "m2"),
            resource("endpoint config", "theirs", None, "m1"),
        ),
        models=(resource("model", "m1", "flights-prod"), resource("model", "m2", "flights-prod")),
    )
    assert found(inventory) == (["flights-prod", "c1"], ["c2", "m1", "m2"])


@pytest.mark.parametrize("owner", [None, "churn-prod", "flights-dev"])
def test_an_endpoint_that_is_not_ours_is_refused(owner: str | None) -> None:
    with pytest.raises(ResourceConflictError, match="Nothing was deleted"):
        found(Inventory(endpoints=(resource("endpoint", "flights-prod", owner),)))


OWNERS = st.sampled_from([None, "flights-prod", "flights-dev", "churn-prod"])


@given(
    configs=st.lists(st.tuples(OWNERS, st.integers(0, 5)), max_size=6),
    models=st.lists(OWNERS, max_size=6),
    others=st.lists(st.integers(0, 5), max_size=3),
)
def test_nothing_of_others_goes_and_nothing_that_stays_is_left_without_what_it_refers_to(
    configs: list[tuple[str | None, int]], models: list[str | None], others: list[int]
) -> None:
    inventory = Inventory(
        endpoints=tuple(resource("endpoint", f"e{n}", None, f"c{config}") for n, config in enumerate(others)),
        configs=tuple(
            resource("endpoint config", f"c{n}", owner, f"m{model}") for n, (owner, model) in enumerate(configs)
        ),
        models=tuple(resource("model", f"m{n}", owner) for n, owner in enumerate(models)),
    )
    chosen = find_undeployment(inventory, "flights", "prod", "flights-prod")
    going = {each.name for each in chosen.resources}
    assert all(each.tags for each in chosen.resources)
    assert {each.service for each in chosen.resources} <= {"flights"}
    staying = [each for each in (*inventory.endpoints, *inventory.configs) if each.name not in going]
    assert not any(each.refers_to & going for each in staying)


def test_a_promotion_under_way_is_named_with_the_way_out() -> None:
    promotion = Promotion(run_id="promote_2", release_id="b", model_version=2, strategy="canary", begun_at=NOW)
    require_idle(None)
    require_idle(EndpointState(endpoint="flights-prod"))
    with pytest.raises(EndpointBusyError, match=r"promote_2.*slipway abort flights"):
        require_idle(EndpointState(endpoint="flights-prod", promotion=promotion))
