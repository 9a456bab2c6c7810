"""Approved releases that nobody promoted."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from slipway.aws_errors import aws_call
from slipway.canonical import canonical_json
from slipway.housekeeping.decisions import judge_approval
from slipway.transition import lapse
from slipway_airflow.operators.housekeeping import HousekeepingOperator

if TYPE_CHECKING:
    from slipway.spec import ServiceSpec
    from slipway.state import Approval, EndpointState
    from slipway_airflow.task_run import TaskRun


class WaitingApprovalOperator(HousekeepingOperator):
    """Tell people once about an approved release whose promotion does not begin; later let the approval lapse.

    An event may be lost and a DAG may be paused. After ``approval.valid_hours`` what was approved is too
    old to go to production without being looked at again.

    Takes what :class:`HousekeepingOperator` takes.
    """

    def tidy(self, run: TaskRun) -> None:
        """Look at every approval that waits."""
        for endpoint, state in self.states().items():
            spec, approval = self.spec_of(endpoint), state.approved
            if spec is None or approval is None:
                continue
            verdict = judge_approval(state, datetime.now(UTC), spec.approval.valid_hours)
            subject = f"release {approval.release_id} of {endpoint}, approved by {approval.by}"
            if verdict == "lapse":
                self.act(f"let lapse {subject}", lambda s=state, a=approval, p=spec: self._lapse(run, s, a, p))
            elif verdict == "tell":
                self.act(f"tell about {subject}", lambda a=approval, p=spec: self._tell(run, a, p))

    def _lapse(self, run: TaskRun, state: EndpointState, approval: Approval, spec: ServiceSpec) -> None:
        now = datetime.now(UTC)
        self.bucket.note(
            spec.name,
            run,
            "lapsed",
            f"release {approval.release_id}",
            approved_by=approval.by,
            approved_at=approval.at.isoformat(),
            valid_hours=spec.approval.valid_hours,
        )
        self.bucket.states.update(state.endpoint, lambda found: lapse(found, approval, at=now, by=run.user))
        self._publish(
            spec,
            f"{spec.name}: an approval has lapsed",
            f"Release {approval.release_id} was approved by {approval.by} and not promoted within "
            f"{spec.approval.valid_hours:g} hours. Run {spec.name}.deploy again.",
        )

    def _tell(self, run: TaskRun, approval: Approval, spec: ServiceSpec) -> bool:
        """Tell once; a document remembers it.

        :return: Whether it was told now.
        """
        key = f"housekeeping/told/{spec.name}/{approval.run_id}.json"
        if self.bucket.documents.read(key):
            return False
        self._publish(
            spec,
            f"{spec.name}: an approved release waits for its promotion",
            f"Release {approval.release_id}, approved by {approval.by} at {approval.at:%Y-%m-%d %H:%M %Z}, has not "
            f"begun its promotion. Is {spec.name}.promote paused? `slipway promote {spec.name}` starts it.",
        )
        self.bucket.note(spec.name, run, "told", f"release {approval.release_id}", waits_since=approval.at.isoformat())
        self.bucket.documents.create(key, canonical_json({"release_id": approval.release_id}))
        return True

    def _publish(self, spec: ServiceSpec, subject: str, message: str) -> None:
        self.log.warning("%s", message)
        if spec.notify.sns_topic_arn is None:
            return
        with aws_call(f"tell {spec.notify.sns_topic_arn}"):
            self.hook.client("sns").publish(TopicArn=spec.notify.sns_topic_arn, Subject=subject[:100], Message=message)
