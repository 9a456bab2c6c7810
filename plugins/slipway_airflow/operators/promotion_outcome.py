"""The colour of a promotion's run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from slipway.errors import CanaryFailedError

if TYPE_CHECKING:
    from airflow.sdk import Context


class PromotionOutcomeOperator(BaseOperator):
    """Fail when the release was taken back.

    Airflow judges a run by its last tasks. A person who marks a run as failed has those skipped, and a
    run whose last tasks were skipped ends green. Meant as second teardown, after
    :class:`PromotionRollBackOperator`, with ``on_failure_fail_dagrun``: it runs then, too.

    :param undone_because: What the rollback returned under that name: why it undid the promotion, empty
        when there was nothing to undo, None when it did not end. (templated)
    """

    template_fields: Sequence[str] = ("undone_because",)

    def __init__(self, *, undone_because: str | None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.undone_because = undone_because

    def execute(self, context: Context) -> None:
        """Fail, or do nothing."""
        if self.undone_because is None:
            raise CanaryFailedError("The rollback did not end. Its log says why; clear it when that is put right.")
        if self.undone_because:
            raise CanaryFailedError(self.undone_because)
        self.log.info("Nothing was taken back.")
