from __future__ import annotations

import pytest

from slipway.errors import RollbackUnfinishedError
from slipway_airflow.operators.rollback_outcome import RollbackOutcomeOperator


def test_it_fails_when_the_verification_said_nothing() -> None:
    with pytest.raises(RollbackUnfinishedError, match="slipway status"):
        RollbackOutcomeOperator(task_id="outcome", verified=None).execute({})


def test_it_is_green_when_the_verification_passed() -> None:
    RollbackOutcomeOperator(task_id="outcome", verified={"rows_compared": 5}).execute({})
