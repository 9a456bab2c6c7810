"""Every status of the API has its judgement, and a silent rollback is never a success."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import botocore.session
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway import errors
from slipway.endpoints.outcome import OutcomeName, endpoint_outcome

STATUSES = botocore.session.get_session().get_service_model("sagemaker").shape_for("EndpointStatus").enum
NOW = datetime(2026, 1, 1, tzinfo=UTC)
WANTED, OTHER = "flights-prod-1111111111", "flights-prod-2222222222"
NO_CAPACITY = "Unable to provision requested ML compute capacity due to InsufficientInstanceCapacity error."
UNHEALTHY = "The primary container for production variant a did not pass the ping health check."


def described(status: str, config: str = WANTED, pending: str | None = None, reason: str = "") -> dict[str, Any]:
    description: dict[str, Any] = {
        "EndpointName": "flights-prod",
        "EndpointStatus": status,
        "EndpointConfigName": config,
        "LastModifiedTime": NOW,
    }
    if pending:
        description["PendingDeploymentSummary"] = {"EndpointConfigName": pending}
    return description | ({"FailureReason": reason} if reason else {})


EXPECTED: dict[str, tuple[OutcomeName, type[Exception] | None]] = {
    "InService": (OutcomeName.READY, None),
    "Creating": (OutcomeName.PENDING, None),
    "Updating": (OutcomeName.PENDING, None),
    "SystemUpdating": (OutcomeName.PENDING, None),
    "RollingBack": (OutcomeName.PENDING, None),
    "Failed": (OutcomeName.FAILED, errors.EndpointFailedError),
    "OutOfService": (OutcomeName.FAILED, errors.EndpointFailedError),
    "Deleting": (OutcomeName.FAILED, errors.EndpointMissingError),
    "UpdateRollbackFailed": (OutcomeName.FAILED, errors.EndpointRollbackFailedError),
}


@pytest.mark.parametrize("status", STATUSES)
def test_every_status_that_aws_publishes_is_judged(status: str) -> None:
    name, error = EXPECTED[status]
    outcome = endpoint_outcome(described(status), WANTED)
    assert outcome.name is name
    assert (type(outcome.error) if outcome.error else None) is error
    assert "flights-prod" in outcome.message


def test_a_status_that_nobody_knows_yet_is_a_failure_not_an_endless_wait() -> None:
    outcome = endpoint_outcome(described("Hibernating"), WANTED)
    assert isinstance(outcome.error, errors.EndpointFailedError)
    assert "'Hibernating'" in outcome.message


def test_a_silent_rollback_is_told_with_both_configs() -> None:
    outcome = endpoint_outcome(described("InService", config=OTHER), WANTED)
    with pytest.raises(errors.EndpointRolledBackError, match=f"InService on {OTHER}, expected {WANTED}"):
        outcome.raise_if_failed()
    assert "AWS gives no reason" in outcome.message


def test_a_rollback_for_capacity_says_so() -> None:
    outcome = endpoint_outcome(described("InService", config=OTHER, reason=NO_CAPACITY), WANTED)
    assert isinstance(outcome.error, errors.CapacityError)
    assert OTHER in outcome.message


def test_an_update_that_has_not_begun_is_no_rollback() -> None:
    description = described("InService", config=OTHER)
    assert endpoint_outcome(description, WANTED, since=NOW).pending
    later = description | {"LastModifiedTime": NOW + timedelta(milliseconds=1)}
    assert isinstance(endpoint_outcome(later, WANTED, since=NOW).error, errors.EndpointRolledBackError)


def test_the_reason_of_a_failure_is_told() -> None:
    outcome = endpoint_outcome(described("Failed", reason=UNHEALTHY), WANTED)
    assert UNHEALTHY in str(outcome.error)
    assert isinstance(endpoint_outcome(described("Failed", reason=NO_CAPACITY), WANTED).error, errors.CapacityError)


@pytest.mark.parametrize(
    ("status", "config", "pending", "busy"),
    [
        ("Updating", OTHER, WANTED, False),
        ("Updating", WANTED, None, False),  # a weight or capacity call
        ("Updating", OTHER, None, False),  # AWS does not say where it goes: the end will show
        ("Updating", OTHER, "flights-prod-3333333333", True),
        ("Creating", WANTED, None, False),
        ("Creating", OTHER, None, True),
    ],
)
def test_somebody_elses_change_is_not_waited_for(status: str, config: str, pending: str | None, busy: bool) -> None:
    outcome = endpoint_outcome(described(status, config, pending), WANTED)
    assert isinstance(outcome.error, errors.EndpointBusyError) == busy
    assert outcome.pending != busy


def test_an_endpoint_that_is_gone() -> None:
    assert isinstance(endpoint_outcome(None, WANTED).error, errors.EndpointMissingError)


@given(
    status=st.sampled_from(STATUSES) | st.text(max_size=12),
    config=st.sampled_from([WANTED, OTHER, ""]),
    pending=st.sampled_from([None, WANTED, OTHER]),
    reason=st.sampled_from(["", NO_CAPACITY, UNHEALTHY]),
    since=st.sampled_from([None, NOW, NOW - timedelta(seconds=1)]),
)
def test_only_the_wanted_config_in_service_is_success(
    status: str, config: str, pending: str | None, reason: str, since: datetime | None
) -> None:
    outcome = endpoint_outcome(described(status, config, pending, reason), WANTED, since=since)
    assert (outcome.name is OutcomeName.READY) == (status == "InService" and config == WANTED)
    assert (outcome.error is not None) == (outcome.name is OutcomeName.FAILED)
    if outcome.error and reason:
        assert reason in str(outcome.error)
