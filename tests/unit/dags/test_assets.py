from __future__ import annotations

from slipway_dags.assets import approved, candidate, drifted


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
