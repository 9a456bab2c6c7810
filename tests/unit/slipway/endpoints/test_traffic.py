from __future__ import annotations

from typing import Any

import pytest

from slipway.endpoints.traffic import require_instances
from slipway.errors import CapacityError


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
