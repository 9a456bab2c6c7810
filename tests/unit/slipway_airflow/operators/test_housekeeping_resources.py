"""Which dev endpoints are idle, those of services without a spec among them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from slipway.housekeeping.inventory import SERVICE_TAG, STAGE_TAG, Inventory, Resource
from slipway.platform import Platform
from slipway.spec import ServiceSpec
from slipway.state import Serving
from slipway_airflow.operators import housekeeping_resources
from slipway_airflow.operators.housekeeping_resources import IdleEndpointOperator
from tests.unit.slipway_airflow.operators.canaries import states

LAUNCHED = "flights-dev-0123456789"


@pytest.fixture
def tidy(
    aws: Callable[[str], Any], platform: Platform, context: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., list[str]]:
    """Dry run over one endpoint, untouched for so many hours; moto's keep no time of change that could be set."""
    release = Serving(
        release_id="a" * 12, model_version=1, config_name=LAUNCHED, since=datetime.now(UTC), run_id="deploy_1"
    )
    states(aws).update("flights-dev", lambda state: state.model_copy(update={"champion": release}))

    def tidy(
        *specs: ServiceSpec, hours: float = 25, name: str = "flights-dev", config: str = LAUNCHED, **how: Any
    ) -> list[str]:
        tags = {SERVICE_TAG: how.pop("service", "flights"), STAGE_TAG: how.pop("stage", "dev")}
        endpoint = Resource(
            kind="endpoint",
            name=name,
            arn="arn",
            touched_at=datetime.now(UTC) - timedelta(hours=hours),
            tags={key: value for key, value in tags.items() if value},
            refers_to=frozenset({config}),
            status="InService",
        )
        monkeypatch.setattr(housekeeping_resources, "take_inventory", lambda _: Inventory(endpoints=(endpoint,)))
        known = {spec.name: spec for spec in specs}
        operator = IdleEndpointOperator(task_id="tidy", specs=known, platform=platform, only_say=True, **how)
        return operator.execute(context("tidy"))

    return tidy


def test_an_idle_dev_endpoint_of_a_removed_service_goes_after_the_default_time(
    tidy: Callable[..., list[str]],
) -> None:
    assert tidy() == ["would: delete flights-dev, idle for 24 hours"]
    assert tidy(hours=23) == []


def test_with_a_spec_its_own_time_counts(tidy: Callable[..., list[str]], spec: ServiceSpec) -> None:
    dev = {"dev": {"keep_hours": 100}}
    kept = ServiceSpec.model_validate({**spec.model_dump(mode="json", exclude_defaults=True), "stages": dev})
    assert tidy(kept, hours=99) == []
    assert tidy(kept, hours=101) == ["would: delete flights-dev, idle for 100 hours"]


@pytest.mark.parametrize(
    "how",
    [
        {"protected": ("flights",)},
        {"config": "flights-dev-abcdefabcd"},
        {"service": None},
        {"service": "other", "name": "other-dev"},
        {"name": "flights-prod", "stage": "prod"},
        {"stage": "prod"},
    ],
    ids=["invalid spec", "config of another", "no tag of ours", "never launched here", "production", "other stage"],
)
def test_without_a_spec_nothing_goes_that_this_installation_did_not_launch_on_dev(
    tidy: Callable[..., list[str]], how: dict[str, Any]
) -> None:
    assert tidy(**how) == []
