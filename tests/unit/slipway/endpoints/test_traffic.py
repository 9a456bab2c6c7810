from __future__ import annotations

from typing import Any

import pytest

from slipway.endpoints.traffic import require_all_traffic, require_instances
from slipway.errors import CapacityError, EndpointBusyError


def endpoint(instances: int, **more: Any) -> dict[str, Any]:
    variants = [{"VariantName": "new", "CurrentInstanceCount": instances}, {"VariantName": "old"}]
    return {"EndpointName": "flights-prod", "EndpointStatus": "InService", "ProductionVariants": variants, **more}


@pytest.mark.parametrize("present", [3, 4])
def test_as_many_instances_as_asked_for_or_more_are_fine(present: int) -> None:
    require_instances(endpoint(present), "new", 3)


def test_an_endpoint_in_service_with_fewer_instances_says_so() -> None:
    with pytest.raises(CapacityError, match=r"variant new has 1 of 10 instances .* InsufficientInstanceCapacity"):
        require_instances(endpoint(1, FailureReason="InsufficientInstanceCapacity: none left"), "new", 10)


def test_a_variant_without_a_count_has_none() -> None:
    with pytest.raises(CapacityError, match=r"0 of 1 instances .* no reason"):
        require_instances(endpoint(1), "old", 1)


@pytest.mark.parametrize(
    ("new", "old", "said"),
    [(0.0, 100.0, "new 0, old 100"), (50.0, 50.0, "new 50, old 50"), (0.0, 0.0, "new 0, old 0")],
    ids=["taken back", "shared", "none"],
)
def test_what_has_not_all_traffic_is_named_with_what_has_it(new: float, old: float, said: str) -> None:
    weights = [{"VariantName": "new", "CurrentWeight": new}, {"VariantName": "old", "CurrentWeight": old}]
    found = {"EndpointName": "flights-prod", "ProductionVariants": weights}
    with pytest.raises(EndpointBusyError, match=f"{said}; expected all traffic on new. Look."):
        require_all_traffic(found, "new", "Look.")


def test_all_traffic_is_enough_at_any_weight() -> None:
    found = {"ProductionVariants": [{"VariantName": "new", "CurrentWeight": 0.3}, {"VariantName": "old"}]}
    require_all_traffic(found, "new", "")
