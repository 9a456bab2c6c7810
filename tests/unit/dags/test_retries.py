from __future__ import annotations

import inspect
from datetime import timedelta

import pytest
from airflow.sdk import ExceptionRetryPolicy, RetryAction

from slipway import errors
from slipway_dags.retries import RETRY_POLICY, task_defaults

LEAVES = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, errors.SlipwayError) and not kind.__subclasses__()
]


@pytest.mark.parametrize("kind", LEAVES, ids=lambda kind: kind.__name__)
def test_every_error_is_decided_by_its_class(kind: type[errors.SlipwayError]) -> None:
    decision = RETRY_POLICY.evaluate(kind("found, expected, what to do"), try_number=1, max_tries=3)
    expected = RetryAction.RETRY if issubclass(kind, errors.TransientError) else RetryAction.FAIL
    assert decision.action is expected
    assert decision.reason


def test_a_throttled_call_waits_longer_than_the_first_retry() -> None:
    decision = RETRY_POLICY.evaluate(errors.ThrottledError("slow down"), try_number=1, max_tries=3)
    assert decision.retry_delay is not None
    assert decision.retry_delay > task_defaults("team")["retry_delay"]


def test_an_unforeseen_error_keeps_the_tasks_own_retries() -> None:
    assert RETRY_POLICY.evaluate(KeyError("x"), try_number=1, max_tries=3).action is RetryAction.DEFAULT


def test_the_policy_survives_serialisation() -> None:
    copy = ExceptionRetryPolicy.deserialize(RETRY_POLICY.serialize())
    assert copy.serialize() == RETRY_POLICY.serialize()
    assert copy.evaluate(errors.CapacityError("none left"), try_number=1, max_tries=3).action is RetryAction.FAIL


def test_every_task_retries_and_has_an_end() -> None:
    defaults = task_defaults("team@example.com")
    assert defaults["owner"] == "team@example.com"
    assert defaults["retries"] >= 1
    assert defaults["execution_timeout"] <= timedelta(hours=2)
