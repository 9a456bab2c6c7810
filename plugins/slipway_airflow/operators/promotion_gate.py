"""A person says yes or no to more traffic."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NoReturn, cast

from airflow.providers.amazon.aws.utils.mixins import aws_template_fields

from slipway.errors import ApprovalRejectedError, ApprovalTimedOutError, SupersededError
from slipway.state import GateAnswer
from slipway.transition import answer_gate, stop
from slipway_airflow.operators.canary import PromotionView, Stop
from slipway_airflow.operators.person_asked import PersonAskedOperator
from slipway_airflow.task_run import TaskRun

if TYPE_CHECKING:
    from airflow.sdk import Context

    from slipway.state import EndpointState


class PromotionGateOperator(PersonAskedOperator):
    """Ask the service's approvers whether a promotion may go on.

    The task waits in the state *awaiting input*, without a worker; :class:`CanaryGuardOperator` goes on
    judging the traffic meanwhile. The answer is written into the endpoint's state and the ledger, with who
    and why. A no, or no answer in time, ends the task red, and the promotion's teardown takes the release
    back. Run again after the answer, the task finds it and asks nobody. Skips when the promotion has
    no such step.

    :param step: Number of the step that it stands before, ``final`` for all traffic, or ``after``.
    :param spec: The service: its approvers and the time they have.
    :param platform: The installation: the artifact bucket.
    :param aws_conn_id: The Airflow connection of the artifact bucket. (templated, default: aws_default)
    :param region_name: AWS region; the connection's when None. (templated)
    :param verify: Whether to verify TLS certificates, or the path of a CA bundle. (templated)
    :param botocore_config: Configuration of the botocore clients.
    :param kwargs: What :class:`HITLOperator` takes, e.g. ``notifiers``.
    :return: ``place``, ``by``, ``reason``.
    """

    template_fields = (*PersonAskedOperator.template_fields, *aws_template_fields())

    def __init__(self, *, step: int | str, **kwargs: Any) -> None:
        super().__init__(**{"subject": f"Let the promotion of {kwargs['spec'].name} go on?", **kwargs})
        self.step = step

    def execute(self, context: Context) -> dict[str, Any]:
        """Ask, unless the answer is known."""
        run = TaskRun.of(context)
        here = self._stop(run)
        if known := here.promotion.gate_answer(here.place):
            return self._conclude(known, here.place)
        release = f"release {here.promotion.release_id} of {self.spec.name} (version {here.promotion.model_version})"
        last = here.next_weight_pct == here.weight_pct
        wish = "become the champion" if last else f"have {here.next_weight_pct:g} % of the traffic"
        self.subject = f"May {release} {wish}?"
        self.body = _report(here)
        # Airflow fills in the run's own reason, which has the same name in its conf; an approver gives one of his own.
        self.params["reason"] = ""
        return cast("dict[str, Any]", super().execute(context))

    def execute_complete(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """Record the answer: the task ends green on a yes, red on a no or on no answer in time."""
        answered, run = self.answered_by(context, event), TaskRun.of(context)
        here = self._stop(run)
        if answered is None:
            self._refuse_unanswered(run, here.place)
        answer = GateAnswer(
            place=here.place,
            allow=event["chosen_options"] == [self.APPROVE],
            by=answered.user,
            at=event["responded_at"] or datetime.now(UTC),
            reason=answered.reason,
        )
        action = "gate_opened" if answer.allow else "gate_refused"
        release = f"release {here.promotion.release_id}"
        self.bucket.note(self.spec.name, answered, action, release, place=here.place, weight_pct=here.weight_pct)

        state = self.bucket.states.update(self.endpoint, lambda state: _with_answer(state, run.run_id, answer))
        promotion = state.promotion
        if promotion is None or promotion.run_id != run.run_id:
            raise SupersededError(
                f"The answer of {answer.by} came too late: the promotion of {release} has been taken back meanwhile."
            )
        return self._conclude(promotion.gate_answer(here.place) or answer, here.place)

    def _stop(self, run: TaskRun) -> Stop:
        return PromotionView(self.bucket, self.spec, run).stop(self.step)

    def _conclude(self, answer: GateAnswer, place: str) -> dict[str, Any]:
        if not answer.allow:
            raise ApprovalRejectedError(_refusal(answer))
        self.log.info("%s may go on: %s said yes. %s", place, answer.by, answer.reason)
        return {"place": place, "by": answer.by, "reason": answer.reason}

    def _refuse_unanswered(self, run: TaskRun, place: str) -> NoReturn:
        hours = self.spec.approval.timeout_hours
        reason = f"nobody answered within {hours:g} hours at the gate of {place}"
        self.bucket.note(self.spec.name, run, "timed_out", f"gate of {place}", timeout_hours=hours)
        self.bucket.states.update(self.endpoint, lambda state: stop(state, run.run_id, reason))
        raise ApprovalTimedOutError(f"{self.endpoint}: {reason}; the release is taken back.")


def _with_answer(state: EndpointState, run_id: str, answer: GateAnswer) -> EndpointState:
    answered = answer_gate(state, run_id, answer)
    return answered if answer.allow else stop(answered, run_id, _refusal(answer))


def _refusal(answer: GateAnswer) -> str:
    return f"rejected by {answer.by} at the gate of {answer.place}: {answer.reason or 'no reason given'}"


def _report(here: Stop) -> str:
    """Return what the person reads: each step so far."""
    lines = [f"It has {here.weight_pct:g} % of the traffic now.", ""]
    for step in here.promotion.steps:
        lines.append(f"- step {step.number} at {step.weight_pct:g} %: **{step.verdict}** after {step.looks} looks")
        lines += [f"    - {line}" for line in step.shown or (step.said,)]
    return "\n".join(lines)
