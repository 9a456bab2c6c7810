"""A lost canary is looked for where its endpoint is, and nowhere else."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import boto3
import pytest

from slipway.endpoints.resource import describe
from slipway.errors import EndpointMissingError, SlipwayError
from slipway.housekeeping.undeployment import require_idle
from slipway.platform import Platform
from slipway.spec import ServiceSpec
from slipway.state import Approval, Place, Promotion, Recorded
from slipway.transition import approve, begin
from slipway_airflow.operators import housekeeping_canaries
from slipway_airflow.operators.housekeeping_canaries import LostCanaryOperator
from tests.unit.slipway_airflow.conftest import ACCOUNT, REGION
from tests.unit.slipway_airflow.operators.canaries import (
    BEGAN,
    CHALLENGER,
    CHAMPION,
    ENDPOINT,
    begin_canary,
    ledger_of,
    promotion_of,
    states,
)

PROD_ACCOUNT = "210987654321"
PROD = Place(aws_conn_id="aws_prod", account_id=PROD_ACCOUNT, region_name=REGION)


@pytest.fixture
def prod_aws(aws: Callable[[str], Any], aws_server: str, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """The account of production, behind the connection ``aws_prod``."""
    role = f"arn:aws:iam::{PROD_ACCOUNT}:role/prod"
    key = aws("sts").assume_role(RoleArn=role, RoleSessionName="test")["Credentials"]
    extra = {"region_name": REGION, "endpoint_url": aws_server, "aws_session_token": key["SessionToken"]}
    connection = {"conn_type": "aws", "login": key["AccessKeyId"], "password": key["SecretAccessKey"], "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_AWS_PROD", json.dumps(connection))
    session = boto3.session.Session(key["AccessKeyId"], key["SecretAccessKey"], key["SessionToken"], region_name=REGION)

    def client(service: str) -> Any:
        return session.client(service, endpoint_url=aws_server)

    return client


def launch(aws: Callable[[str], Any]) -> None:
    """An endpoint in the middle of the canary, and the config that was recorded before it."""
    sagemaker = aws("sagemaker")
    role = "arn:aws:iam::123456789012:role/slipway"
    sagemaker.create_model(ModelName="m", PrimaryContainer={"Image": "image"}, ExecutionRoleArn=role)
    for name, weights in {"old": {CHAMPION: 1.0}, "both": {CHAMPION: 50.0, CHALLENGER: 50.0}}.items():
        variants = [
            {
                "VariantName": variant,
                "ModelName": "m",
                "InstanceType": "ml.m5.large",
                "InitialInstanceCount": 2,
                "InitialVariantWeight": weight,
            }
            for variant, weight in weights.items()
        ]
        sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=variants)
    sagemaker.create_endpoint(EndpointName=ENDPOINT, EndpointConfigName="both")


@pytest.fixture(autouse=True)
def restored(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Account and config of what was taken back. moto cannot update endpoints; the stand-in's tests show that it is
    done, these show where."""
    done: list[tuple[str, str]] = []

    def take_back(sagemaker: Any, _scaling: Any, endpoint: str, _promotion: Promotion, recorded: Recorded) -> None:
        found = describe(sagemaker, "endpoint", endpoint)
        if found is None:
            raise EndpointMissingError(f"{endpoint} does not exist any more")
        done.append((found["EndpointArn"].split(":")[4], recorded.config_name))

    monkeypatch.setattr(housekeeping_canaries, "take_back", take_back)
    return done


def lose(aws: Callable[[str], Any], place: Place | None) -> None:
    """A canary without a lease, for hours."""
    begin_canary(aws)
    promotion = promotion_of(aws).model_copy(update={"place": place})
    states(aws).update(ENDPOINT, lambda state: state.model_copy(update={"promotion": promotion}))


def tidy(platform: Platform, context: Callable[..., Any], *specs: ServiceSpec) -> list[str]:
    known = {spec.name: spec for spec in specs}
    operator = LostCanaryOperator(task_id="tidy", specs=known, protected=("flights",), platform=platform)
    return operator.execute(context("tidy", run_id="scheduled__1", user=None))


def assert_left_alone(aws: Callable[[str], Any]) -> None:
    assert promotion_of(aws).release_id == CHALLENGER
    assert [record.action for record in ledger_of(aws)] == []


def test_without_a_spec_it_is_rolled_back_in_the_account_that_its_state_names(
    aws: Callable[[str], Any],
    prod_aws: Callable[[str], Any],
    platform: Platform,
    context: Callable[..., Any],
    restored: list[tuple[str, str]],
) -> None:
    launch(prod_aws)
    lose(aws, PROD)
    (done,) = tidy(platform, context)
    assert "roll back release" in done
    assert restored == [(PROD_ACCOUNT, "old")]
    state, _ = states(aws).read(ENDPOINT)
    assert state is not None
    assert state.promotion is None
    (record,) = ledger_of(aws)
    assert (record.action, record.detail["restored_config"]) == ("rolled_back", "old")


def test_an_endpoint_that_is_gone_from_its_own_account_ends_the_promotion(
    aws: Callable[[str], Any],
    prod_aws: Callable[[str], Any],
    platform: Platform,
    context: Callable[..., Any],
    restored: list[tuple[str, str]],
) -> None:
    lose(aws, PROD)
    assert len(tidy(platform, context)) == 1
    (record,) = ledger_of(aws)
    assert restored == []
    assert "does not exist any more" in record.detail["cause"]


def test_a_connection_that_leads_elsewhere_by_now_changes_nothing(
    aws: Callable[[str], Any],
    prod_aws: Callable[[str], Any],
    platform: Platform,
    context: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    aws_server: str,
    restored: list[tuple[str, str]],
) -> None:
    launch(prod_aws)
    lose(aws, PROD)
    extra = {"region_name": REGION, "endpoint_url": aws_server}
    other = {"conn_type": "aws", "login": "testing", "password": "testing-secret", "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_AWS_PROD", json.dumps(other))
    with pytest.raises(SlipwayError, match=f"is in account {PROD_ACCOUNT}, and the connection aws_prod leads to"):
        tidy(platform, context)
    assert restored == []
    assert_left_alone(aws)


def test_a_state_that_names_no_account_and_an_endpoint_that_is_not_found_change_nothing(
    aws: Callable[[str], Any],
    prod_aws: Callable[[str], Any],
    platform: Platform,
    context: Callable[..., Any],
    restored: list[tuple[str, str]],
) -> None:
    launch(prod_aws)
    lose(aws, None)
    with pytest.raises(SlipwayError, match=r"Put a valid spec of the service\s+back"):
        tidy(platform, context)
    assert restored == []
    assert_left_alone(aws)


def test_a_state_that_names_no_account_is_helped_by_the_spec(
    aws: Callable[[str], Any],
    prod_aws: Callable[[str], Any],
    platform: Platform,
    context: Callable[..., Any],
    spec: ServiceSpec,
    restored: list[tuple[str, str]],
) -> None:
    launch(prod_aws)
    lose(aws, None)
    document = spec.model_dump(mode="json", exclude_defaults=True)
    elsewhere = ServiceSpec.model_validate({**document, "stages": {"prod": {"aws_conn_id": "aws_prod"}}})
    assert len(tidy(platform, context, elsewhere)) == 1
    assert restored == [(PROD_ACCOUNT, "old")]


def test_a_state_that_names_no_account_is_rolled_back_where_the_platform_has_its_endpoint(
    aws: Callable[[str], Any], platform: Platform, context: Callable[..., Any], restored: list[tuple[str, str]]
) -> None:
    launch(aws)
    lose(aws, None)
    assert len(tidy(platform, context)) == 1
    assert restored == [(ACCOUNT, "old")]


def test_a_lost_first_launch_ends_and_its_endpoint_stays(
    aws: Callable[[str], Any],
    platform: Platform,
    context: Callable[..., Any],
    restored: list[tuple[str, str]],
) -> None:
    launch(aws)
    begin_canary(aws, plan=False)
    (done,) = tidy(platform, context)
    assert done == f"end the first launch of release {CHALLENGER} of {ENDPOINT}, lost by manual__1"
    assert restored == []
    assert describe(aws("sagemaker"), "endpoint", ENDPOINT) is not None
    state, _ = states(aws).read(ENDPOINT)
    assert state is not None
    assert (state.promotion, state.lease) == (None, None)
    assert "the lease of manual__1 ran out; there was no champion" in state.history[-1].reason
    (record,) = ledger_of(aws)
    assert (record.action, record.subject) == ("given_up", f"release {CHALLENGER}")
    require_idle(state)  # what the log advises does work
    again = Approval(release_id=CHALLENGER, model_version=2, by="ann", at=BEGAN, run_id="deploy_2")
    promotion = Promotion(
        run_id="manual__2", release_id=CHALLENGER, model_version=2, strategy="first_launch", begun_at=BEGAN
    )
    assert begin(approve(state, again), promotion, by="ann").promotion == promotion
    assert tidy(platform, context) == []
