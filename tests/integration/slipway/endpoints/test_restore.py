"""Putting an endpoint back on its recorded config, number of instances included."""

from __future__ import annotations

import time
from typing import Any

import pytest

from slipway import errors
from slipway.endpoints.launch import check_endpoint, ensure_endpoint
from slipway.endpoints.outcome import OutcomeName
from slipway.endpoints.resource import describe
from slipway.endpoints.restore import recorded_from, restore_config
from slipway.state import Recorded, VariantShare

pytestmark = pytest.mark.integration


def settle(sagemaker: Any, wanted: Any) -> None:
    action = ensure_endpoint(sagemaker, wanted)
    deadline = time.monotonic() + 60
    while (outcome := check_endpoint(sagemaker, wanted, since=action.since)).pending:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert outcome.name is OutcomeName.READY


def pause(seconds: float) -> None:
    time.sleep(0.1)


def test_the_recorded_config_and_capacity_come_back_and_once_is_enough(stand_in: Any, wanted_of: Any) -> None:
    sagemaker, old, new = stand_in.client("sagemaker"), wanted_of(0.5, "prod"), wanted_of(0.25, "prod")
    settle(sagemaker, old)
    variant = old.config["ProductionVariants"][0]["VariantName"]
    sagemaker.update_endpoint_weights_and_capacities(
        EndpointName=old.name, DesiredWeightsAndCapacities=[{"VariantName": variant, "DesiredInstanceCount": 5}]
    )
    while describe(sagemaker, "endpoint", old.name)["EndpointStatus"] != "InService":  # type: ignore[index]
        time.sleep(0.1)
    recorded = recorded_from(describe(sagemaker, "endpoint", old.name))
    share = VariantShare(weight=1.0, instances=5)
    assert recorded == Recorded(config_name=old.config_name, variants={variant: share})
    settle(sagemaker, new)
    assert restore_config(sagemaker, old.name, recorded, sleep=pause)
    assert recorded_from(describe(sagemaker, "endpoint", old.name)) == recorded
    before = stand_in.now()
    assert not restore_config(sagemaker, old.name, recorded, sleep=pause)
    assert stand_in.writes(before) == []


def test_in_the_middle_of_an_update_it_waits_then_goes_back(stand_in: Any, wanted_of: Any) -> None:
    sagemaker, old, new = stand_in.client("sagemaker"), wanted_of(0.5, "prod"), wanted_of(0.25, "prod")
    settle(sagemaker, old)
    recorded = recorded_from(describe(sagemaker, "endpoint", old.name))
    assert recorded is not None
    ensure_endpoint(sagemaker, new)
    assert restore_config(sagemaker, old.name, recorded, sleep=pause)
    assert describe(sagemaker, "endpoint", old.name)["EndpointConfigName"] == old.config_name  # type: ignore[index]


def test_an_endpoint_that_is_gone_cannot_be_put_back(stand_in: Any) -> None:
    recorded = Recorded(config_name="c", variants={})
    with pytest.raises(errors.EndpointMissingError, match="no-such-prod does not exist any more"):
        restore_config(stand_in.client("sagemaker"), "no-such-prod", recorded, sleep=pause)


def test_what_is_recorded() -> None:
    assert recorded_from(None) is None
    variants = [{"VariantName": "a", "CurrentWeight": 1.0, "CurrentInstanceCount": 3}, {"VariantName": "b"}]
    assert recorded_from({"EndpointConfigName": "c", "ProductionVariants": variants}) == Recorded(
        config_name="c",
        variants={"a": VariantShare(weight=1.0, instances=3), "b": VariantShare(weight=0.0, instances=0)},
    )
