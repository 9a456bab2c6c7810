from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from airflow.sdk import Asset
from airflow.sdk.exceptions import AirflowSkipException

from slipway.platform import Platform
from slipway.spec import ServiceSpec
from slipway.state import EndpointState, Serving, StateStore
from slipway_airflow.operators.release_announce import ReleaseAnnounceOperator
from tests.unit.slipway_airflow.conftest import BUCKET

RELEASE = "0123456789ab"
APPROVED = Asset(name="approved/flights", uri="slipway://flights/approved")


@pytest.fixture
def operator(spec: ServiceSpec, platform: Platform) -> ReleaseAnnounceOperator:
    return ReleaseAnnounceOperator(
        task_id="announce", spec=spec, platform=platform, release_id=RELEASE, outlets=[APPROVED]
    )


def serve(aws: Callable[[str], Any], release_id: str) -> None:
    champion = Serving(
        release_id=release_id, model_version=1, config_name="c", since=datetime.now(UTC), run_id="promote_1"
    )

    def change(state: EndpointState) -> EndpointState:
        return state.model_copy(update={"champion": champion})

    StateStore(aws("s3"), BUCKET).update("flights-prod", change)


def test_a_release_that_waits_is_announced(operator: ReleaseAnnounceOperator, aws: Any, context: Any) -> None:
    running = context("announce")
    operator.execute(running)
    assert running["outlet_events"][APPROVED].extra == {"release_id": RELEASE}


def test_another_champion_does_not_silence_it(operator: ReleaseAnnounceOperator, aws: Any, context: Any) -> None:
    serve(aws, "ba9876543210")
    operator.execute(context("announce"))


def test_nobody_is_woken_for_the_champion(operator: ReleaseAnnounceOperator, aws: Any, context: Any) -> None:
    serve(aws, RELEASE)
    running = context("announce")
    with pytest.raises(AirflowSkipException, match="champion already"):
        operator.execute(running)
    assert not running["outlet_events"]
