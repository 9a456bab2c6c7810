"""An endpoint from nothing through update and rollback to its removal, on containers that really run."""

from __future__ import annotations

import time
from typing import Any

import pytest

from slipway import errors
from slipway.artifacts.golden import GoldenRows
from slipway.endpoints.launch import check_endpoint, ensure_endpoint
from slipway.endpoints.logs import log_tail
from slipway.endpoints.outcome import OutcomeName
from slipway.endpoints.removal import remove_endpoint
from slipway.endpoints.resource import describe
from slipway.endpoints.verify import run_verification

pytestmark = pytest.mark.integration

ROWS = [[float(number), "AA"] for number in range(1, 8)]
GOLDEN = GoldenRows(
    columns=["distance", "carrier"],
    rows=ROWS,
    answers=[0.25 * row[0] for row in ROWS],  # type: ignore[operator]
    json={"dataframe_split": {"columns": ["distance", "carrier"], "data": ROWS}},
    csv="distance,carrier\n" + "".join(f"{row[0]},{row[1]}\n" for row in ROWS),
    csv_answers=[0.25 * row[0] for row in ROWS],  # type: ignore[operator]
)


@pytest.fixture
def sagemaker(stand_in: Any) -> Any:
    return stand_in.client("sagemaker")


def settle(sagemaker: Any, wanted: Any, since: Any = None) -> Any:
    deadline = time.monotonic() + 60
    while (outcome := check_endpoint(sagemaker, wanted, since=since)).pending:
        assert time.monotonic() < deadline, outcome
        time.sleep(0.1)
    return outcome


def bring_up(sagemaker: Any, wanted: Any) -> Any:
    return settle(sagemaker, wanted, ensure_endpoint(sagemaker, wanted).since)


def test_launch_verify_and_nothing_new(stand_in: Any, sagemaker: Any, wanted_of: Any) -> None:
    wanted = wanted_of(0.25, "prod", monitor={"capture_pct": 100})
    assert bring_up(sagemaker, wanted).name is OutcomeName.READY
    runtime = stand_in.client("sagemaker-runtime")
    report = run_verification(runtime, wanted.name, GOLDEN)
    report.require_passed()
    assert (report.rows_compared, [bad.status for bad in report.bad_inputs]) == (7, [415, 400])
    variant = wanted.config["ProductionVariants"][0]["VariantName"]
    assert run_verification(runtime, wanted.name, GOLDEN, variant=variant).passed
    with pytest.raises(errors.EndpointMissingError):
        run_verification(runtime, wanted.name, GOLDEN, variant="no-such-variant")
    before = stand_in.now()
    assert ensure_endpoint(sagemaker, wanted).name == "unchanged"
    assert settle(sagemaker, wanted).name is OutcomeName.READY
    assert stand_in.writes(before) == []


def test_a_changed_weight_in_the_image_is_found_by_verification(stand_in: Any, sagemaker: Any, wanted_of: Any) -> None:
    wanted = wanted_of(0.2500001)
    assert bring_up(sagemaker, wanted).name is OutcomeName.READY
    report = run_verification(stand_in.client("sagemaker-runtime"), wanted.name, GOLDEN)
    assert report.mismatch_count == 14
    with pytest.raises(errors.VerificationError, match=r"JSON row 0 : expected 0\.25, found 0\.2500001"):
        report.require_passed()


def test_an_update_that_does_not_get_healthy_is_found_and_the_old_one_serves(
    stand_in: Any, sagemaker: Any, wanted_of: Any
) -> None:
    good, bad = wanted_of(0.25), wanted_of(0.0)
    bring_up(sagemaker, good)
    outcome = bring_up(sagemaker, bad)
    assert isinstance(outcome.error, errors.EndpointRolledBackError)
    assert good.config_name in outcome.message
    assert "RuntimeError: the weights are missing" in log_tail(stand_in.client("logs"), bad.name)
    assert run_verification(stand_in.client("sagemaker-runtime"), good.name, GOLDEN).passed
    assert bring_up(sagemaker, good).name is OutcomeName.READY


def test_an_update_serves_the_new_release(stand_in: Any, sagemaker: Any, wanted_of: Any) -> None:
    bring_up(sagemaker, wanted_of(0.5))
    new = wanted_of(0.25)
    action = ensure_endpoint(sagemaker, new)
    assert action.name == "updated"
    assert settle(sagemaker, new, action.since).name is OutcomeName.READY
    assert run_verification(stand_in.client("sagemaker-runtime"), new.name, GOLDEN).passed
    arn = sagemaker.describe_endpoint(EndpointName=new.name)["EndpointArn"]
    tags = {tag["Key"]: tag["Value"] for tag in sagemaker.list_tags(ResourceArn=arn)["Tags"]}
    assert tags == dict(new.tags)


def test_a_failed_first_launch_is_told_with_its_log_and_removed(stand_in: Any, sagemaker: Any, wanted_of: Any) -> None:
    wanted = wanted_of(0.0)
    outcome = bring_up(sagemaker, wanted)
    assert isinstance(outcome.error, errors.EndpointFailedError)
    assert "RuntimeError: the weights are missing" in log_tail(stand_in.client("logs"), wanted.name)
    with pytest.raises(errors.EndpointFailedError):
        ensure_endpoint(sagemaker, wanted)
    written: list[Any] = []
    remove_endpoint(sagemaker, wanted, record=written.append, sleep=lambda seconds: time.sleep(0.1))
    assert [removal.kind for removal in written] == ["endpoint", "endpoint config", "model"]
    kinds = {"endpoint": wanted.name, "endpoint config": wanted.config_name, "model": wanted.models[0]["ModelName"]}
    assert [describe(sagemaker, kind, name) for kind, name in kinds.items()] == [None] * 3  # type: ignore[arg-type]
    assert remove_endpoint(sagemaker, wanted, record=written.append) == ()


def test_a_failed_dev_endpoint_is_replaced(sagemaker: Any, wanted_of: Any) -> None:
    bring_up(sagemaker, wanted_of(0.0))
    removals: list[Any] = []
    good = wanted_of(0.25)
    action = ensure_endpoint(sagemaker, good, replace_failed=removals.append, sleep=lambda seconds: time.sleep(0.1))
    assert (action.name, len(removals)) == ("created", 1)
    assert settle(sagemaker, good).name is OutcomeName.READY


@pytest.mark.parametrize("effect", ["drop", "down"])
@pytest.mark.parametrize("action", ["CreateModel", "CreateEndpointConfig", "CreateEndpoint"])
def test_a_write_whose_answer_is_lost_or_that_never_arrives_is_done_once(
    stand_in: Any, sagemaker: Any, wanted_of: Any, action: str, effect: str
) -> None:
    wanted = wanted_of(0.25)
    stand_in.faults({"effect": effect, "service": "sagemaker", "action": action, "count": 1})
    before = stand_in.now()
    with pytest.raises(errors.AwsUnavailableError, match="Cannot create"):
        ensure_endpoint(sagemaker, wanted)
    assert bring_up(sagemaker, wanted).name is OutcomeName.READY
    done = [write for write in stand_in.writes(before) if "Create" in write]
    lost = [f"sagemaker {action}"] if effect == "drop" else []  # it was done; its answer was an error
    assert sorted(done + lost) == [
        "sagemaker CreateEndpoint",
        "sagemaker CreateEndpointConfig",
        "sagemaker CreateModel",
    ]


def test_botocores_own_retry_of_a_lost_create_is_no_error(stand_in: Any, wanted_of: Any) -> None:
    patient, wanted = stand_in.client("sagemaker", attempts=3), wanted_of(0.25)
    for action in ("CreateModel", "CreateEndpointConfig", "CreateEndpoint"):
        stand_in.faults({"effect": "drop", "service": "sagemaker", "action": action, "count": 1})
        assert ensure_endpoint(patient, wanted).name in {"created", "waiting"}
    assert settle(patient, wanted).name is OutcomeName.READY


def test_an_update_whose_answer_is_lost_is_not_sent_twice(stand_in: Any, sagemaker: Any, wanted_of: Any) -> None:
    bring_up(sagemaker, wanted_of(0.5))
    new = wanted_of(0.25)
    stand_in.faults({"effect": "drop", "service": "sagemaker", "action": "UpdateEndpoint", "count": 1})
    before = stand_in.now()
    with pytest.raises(errors.AwsUnavailableError, match="Cannot update endpoint"):
        ensure_endpoint(sagemaker, new)
    assert ensure_endpoint(sagemaker, new).name in {"waiting", "unchanged"}
    assert settle(sagemaker, new).name is OutcomeName.READY
    assert "sagemaker UpdateEndpoint" not in stand_in.writes(before)  # but for the lost one, whose answer was an error


@pytest.mark.parametrize(
    ("effect", "expected"), [("silent_rollback", errors.EndpointRolledBackError), ("no_capacity", errors.CapacityError)]
)
def test_what_the_hosting_does_on_its_own(
    stand_in: Any, sagemaker: Any, wanted_of: Any, effect: str, expected: type[Exception]
) -> None:
    bring_up(sagemaker, wanted_of(0.25))
    new = wanted_of(0.5)
    stand_in.faults({"effect": effect, "endpoint": new.name})
    outcome = bring_up(sagemaker, new)
    assert isinstance(outcome.error, expected), outcome
    stand_in.faults()
    assert run_verification(stand_in.client("sagemaker-runtime"), new.name, GOLDEN).passed


def test_throttling_and_denial_have_their_own_errors(stand_in: Any, sagemaker: Any, wanted_of: Any) -> None:
    wanted = wanted_of(0.25)
    stand_in.faults({"effect": "throttle", "service": "sagemaker", "action": "DescribeEndpoint", "count": 1})
    with pytest.raises(errors.ThrottledError):
        ensure_endpoint(sagemaker, wanted)
    denied = {"effect": "error", "status": 400, "code": "ExpiredTokenException", "message": "expired"}
    stand_in.faults({**denied, "service": "sagemaker", "action": "CreateModel", "count": 1})
    with pytest.raises(errors.AccessDeniedError, match="Cannot create model"):
        ensure_endpoint(sagemaker, wanted)
