from __future__ import annotations

from slipway_dags.assets import approved, arrived, candidate, drifted


def test_each_service_has_its_own_asset() -> None:
    flights, churn = approved("flights"), approved("churn")
    assert (flights.name, flights.uri) == ("approved/flights", "slipway://flights/approved")
    assert flights != churn
    assert approved("flights") == flights


def test_drift_has_one_too() -> None:
    assert (drifted("flights").name, drifted("flights").uri) == ("drifted/flights", "slipway://flights/drifted")


def test_a_candidate_has_one_too() -> None:
    asset = candidate("flights")
    assert (asset.name, asset.uri) == ("candidate/flights", "slipway://flights/candidate")


def test_the_arrival_of_data_has_one_with_a_watcher_of_its_own() -> None:
    asset = arrived("flights", "https://sqs.eu-central-1.amazonaws.com/123456789012/flights", "aws_default")
    assert (asset.name, asset.uri) == ("arrived/flights", "slipway://flights/arrived")
    assert [watcher.name for watcher in asset.watchers] == ["flights-arrivals"]
