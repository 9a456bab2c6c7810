from __future__ import annotations

import pytest

from slipway.errors import CanaryFailedError
from slipway_airflow.operators.promotion_outcome import PromotionOutcomeOperator


@pytest.mark.parametrize(
    ("why", "said"), [("Release 3f was rolled back: bad", "3f was rolled back: bad"), (None, "did not end")]
)
def test_it_fails_with_the_reason_of_the_rollback(why: str | None, said: str) -> None:
    with pytest.raises(CanaryFailedError, match=said):
        PromotionOutcomeOperator(task_id="outcome", undone_because=why).execute({})


def test_it_is_green_when_nothing_was_taken_back() -> None:
    PromotionOutcomeOperator(task_id="outcome", undone_because="").execute({})
