"""Retry or fail: decided here, once, by the class of the error."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import ExceptionRetryPolicy, RetryAction, RetryRule

from slipway.errors import ComputeUnavailableError, PermanentError, SandboxError, ThrottledError, TransientError

RETRY_POLICY = ExceptionRetryPolicy(
    rules=[
        RetryRule(
            exception=PermanentError,
            action=RetryAction.FAIL,
            reason="Somebody has to change something first; trying again cannot help.",
        ),
        RetryRule(
            exception=SandboxError,
            action=RetryAction.FAIL,
            reason="The model's own code failed; it would fail again.",
        ),
        RetryRule(
            exception=ThrottledError,
            action=RetryAction.RETRY,
            retry_delay=timedelta(minutes=1),
            reason="AWS asked to slow down.",
        ),
        RetryRule(
            exception=ComputeUnavailableError,
            action=RetryAction.RETRY,
            retry_delay=timedelta(minutes=10),
            reason="AWS has no instances to train on just now.",
        ),
        RetryRule(
            exception=TransientError,
            action=RetryAction.RETRY,
            reason="The same call may go through later.",
        ),
    ],
    # Anything else is a fault that nobody foresaw: it keeps the task's own retries.
    default=RetryAction.DEFAULT,
)


def task_defaults(owner: str) -> dict[str, Any]:
    """Return the ``default_args`` of every Slipway DAG.

    The retries also cover a race of Airflow 3.3: a trigger or an answer that arrives within about a
    second of the task's pause can have the task marked failed (apache/airflow#71580), so no task
    goes without.

    :param owner: Whom the spec names as the service's owner.
    :return: Owner, retries (10 s, 20 s, 40 s, then every 5 minutes at most), the retry policy and
        a time limit of one hour for each try.
    """
    return {
        "owner": owner,
        "retries": 3,
        "retry_delay": timedelta(seconds=10),
        "retry_exponential_backoff": 2,
        "max_retry_delay": timedelta(minutes=5),
        "retry_policy": RETRY_POLICY,
        "execution_timeout": timedelta(hours=1),
    }
