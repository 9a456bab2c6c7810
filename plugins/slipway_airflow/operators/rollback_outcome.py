"""The colour of a rollback's run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from slipway.errors import RollbackUnfinishedError

if TYPE_CHECKING:
    from airflow.sdk import Context


class RollbackOutcomeOperator(BaseOperator):
    """Fail when the rollback did not come to its end.

    A person who marks the run as failed has what is left of it skipped, and a run whose last tasks were skipped
    ends green. Meant as last teardown, with ``on_failure_fail_dagrun``: it runs then, too.

    :param verified: What the verification of the endpoint returned, None when it did not end well. (templated)
    """

    template_fields: Sequence[str] = ("verified",)

    def __init__(self, *, verified: dict[str, Any] | None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.verified = verified

    def execute(self, context: Context) -> None:
        """Fail, or do nothing."""
        if self.verified is None:
            raise RollbackUnfinishedError(
                "The rollback ended before its verification passed. `slipway status` says who has the traffic; clear "
                "the run's first task that is not green, and it does what is left to do."
            )
        self.log.info("The previous champion serves, and answers as it should.")
