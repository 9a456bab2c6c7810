"""Whether there is a way back to the previous champion, and which."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.endpoints.difference import differences
from slipway.endpoints.previous import find_way_back, is_solo, previous_champion, solo_config
from slipway.errors import EndpointBusyError, EndpointMissingError, NoWayBackError
from slipway.state import EndpointState, Promotion, Serving

NOW = datetime(2026, 3, 1, tzinfo=UTC)
OLD, NEW = "a" * 12, "b" * 12


def serving(release: str, version: int) -> Serving:
    return Serving(
        release_id=release, model_version=version, config_name=f"flights-prod-{version}", since=NOW, run_id="r"
    )


STATE = EndpointState(endpoint="flights-prod", champion=serving(NEW, 2), previous=serving(OLD, 1))


def endpoint(status: str = "InService", **variants: tuple[float, int]) -> dict[str, Any]:
    return {
        "EndpointName": "flights-prod",
        "EndpointStatus": status,
        "EndpointConfigName": "flights-prod-2",
        "ProductionVariants": [
            {"VariantName": name, "CurrentWeight": weight, "CurrentInstanceCount": instances}
            for name, (weight, instances) in variants.items()
        ],
    }


def config(*variants: str, instances: int = 2) -> dict[str, Any]:
    return {
        "EndpointConfigName": "flights-prod-1",
        "EndpointConfigArn": "arn:aws:sagemaker:eu-central-1:123456789012:endpoint-config/flights-prod-1",
        "CreationTime": NOW,
        "KmsKeyId": "alias/k",
        "DataCaptureConfig": {"EnableCapture": True, "InitialSamplingPercentage": 50},
        "ProductionVariants": [
            {
                "VariantName": name,
                "ModelName": f"m-{name}",
                "InitialInstanceCount": instances,
                "InitialVariantWeight": 0.0,
            }
            for name in variants
        ],
    }


def test_within_its_time_the_previous_champion_is_the_way_back() -> None:
    assert previous_champion(STATE, "flights-prod", now=NOW + timedelta(days=29), keep_days=30) == STATE.previous


@given(st.floats(0.01, 3650), st.timedeltas(timedelta(0), timedelta(days=4000)))
def test_it_is_refused_from_the_end_of_its_time_on_and_not_before(keep_days: float, age: timedelta) -> None:
    if age < timedelta(days=keep_days):
        assert previous_champion(STATE, "flights-prod", now=NOW + age, keep_days=keep_days) == STATE.previous
    else:
        with pytest.raises(NoWayBackError, match="Deploy model version 1 again"):
            previous_champion(STATE, "flights-prod", now=NOW + age, keep_days=keep_days)


def test_what_cannot_be_gone_back_to_is_named() -> None:
    promotion = Promotion(run_id="promote_3", release_id="c", model_version=3, strategy="canary", begun_at=NOW)
    cases = [
        (None, NoWayBackError, "never had a champion"),
        (STATE.model_copy(update={"previous": None}), NoWayBackError, "no champion before"),
        (STATE.model_copy(update={"promotion": promotion}), EndpointBusyError, "slipway abort flights`"),
    ]
    for state, kind, text in cases:
        with pytest.raises(kind, match=text):
            previous_champion(state, "flights-prod", now=NOW, keep_days=30)


def test_a_variant_that_still_stands_is_warm() -> None:
    way = find_way_back(serving(OLD, 1), endpoint(**{NEW: (100.0, 3), OLD: (0.0, 2)}), config(OLD))
    assert (way.route, way.variant, way.instances, way.leaving) == ("warm", OLD, 3, (NEW,))


def test_a_variant_that_has_the_traffic_already_keeps_its_size() -> None:
    """A rollback that was cut off, or a person, has moved the weights."""
    way = find_way_back(serving(OLD, 1), endpoint(**{NEW: (0.0, 9), OLD: (100.0, 5)}), config(OLD))
    assert (way.route, way.instances, way.leaving) == ("warm", 5, ())


@pytest.mark.parametrize(
    "found",
    [
        endpoint(**{NEW: (1.0, 8)}),
        endpoint(**{NEW: (1.0, 8), OLD: (0.0, 0)}),
        endpoint("UpdateRollbackFailed", **{NEW: (1.0, 8), OLD: (0.0, 2)}),
    ],
    ids=["gone", "without instances", "mixed fleet"],
)
def test_everything_else_takes_the_config_at_the_size_that_carries_the_traffic(found: dict[str, Any]) -> None:
    way = find_way_back(serving(OLD, 1), found, config(OLD))
    assert (way.route, way.instances) == ("config", 8)


@pytest.mark.parametrize("status", ["Updating", "Creating", "RollingBack", "SystemUpdating", "Deleting", "Failed"])
def test_an_endpoint_that_changes_is_left_alone(status: str) -> None:
    with pytest.raises(EndpointBusyError, match=status):
        find_way_back(serving(OLD, 1), endpoint(status, **{NEW: (1.0, 2)}), config(OLD))


def test_a_missing_endpoint_and_a_deleted_config_name_the_version_to_deploy() -> None:
    with pytest.raises(EndpointMissingError, match="model version 1"):
        find_way_back(serving(OLD, 1), None, config(OLD))
    with pytest.raises(NoWayBackError, match=r"(?s)was deleted.*version 1"):
        find_way_back(serving(OLD, 1), endpoint(**{NEW: (1.0, 2)}), None)
    with pytest.raises(NoWayBackError, match="somebody else made it"):
        find_way_back(serving(OLD, 1), endpoint(**{NEW: (1.0, 2)}), config("x", "y"))


def test_a_config_of_a_canary_is_never_restored_as_it_is() -> None:
    """Its champion was the release before; restoring it would give that one the traffic."""
    both = config("z" * 12, OLD)
    way = find_way_back(serving(OLD, 1), endpoint(**{NEW: (1.0, 5)}), both)
    assert not is_solo(both, way)
    request = solo_config("flights", both, way.variant, way.instances, {"slipway:service": "flights"})
    assert [each["VariantName"] for each in request["ProductionVariants"]] == [OLD]
    assert (
        request["ProductionVariants"][0] | {"InitialInstanceCount": 5, "InitialVariantWeight": 1.0}
        == (request["ProductionVariants"][0])
    )
    assert (request["KmsKeyId"], request["DataCaptureConfig"]) == (both["KmsKeyId"], both["DataCaptureConfig"])
    assert request["Tags"] == [{"Key": "slipway:service", "Value": "flights"}]


@given(st.integers(1, 20), st.integers(1, 20))
def test_the_solo_config_is_as_large_as_needed_and_named_by_its_content(recorded: int, serving_now: int) -> None:
    found = config(OLD, instances=recorded)
    way = find_way_back(serving(OLD, 1), endpoint(**{NEW: (1.0, serving_now)}), found)
    request = solo_config("flights", found, way.variant, way.instances, {})
    assert request["ProductionVariants"][0]["InitialInstanceCount"] == max(recorded, serving_now)
    assert is_solo(found, way) == (recorded >= serving_now)
    again = solo_config("flights", {**found, **request}, way.variant, way.instances, {})
    assert differences(request, again) == []
    assert again["EndpointConfigName"] == request["EndpointConfigName"]
