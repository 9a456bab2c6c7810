"""A person says yes or no to a release."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NoReturn, cast

from airflow.providers.amazon.aws.utils.mixins import aws_template_fields

from slipway.errors import ApprovalRejectedError, ApprovalTimedOutError, SupersededError
from slipway.state import Approval
from slipway.transition import approve
from slipway_airflow.operators.person_asked import PersonAskedOperator
from slipway_airflow.task_run import TaskRun

if TYPE_CHECKING:
    from airflow.sdk import Context

    from slipway.release import Release
    from slipway.spec import ServiceSpec
    from slipway.state import EndpointState

POLICY = "policy (approval.required is false)"


class ReleaseApprovalOperator(PersonAskedOperator):
    """Ask the service's approvers whether a verified release may go to production.

    The task waits in the state *awaiting input*, without a worker. A yes is written into the state of
    the production endpoint, where the promotion finds it; a no, or no answer in time, ends the task
    red. Each of them is written into the ledger, with who and why.

    Nobody is asked when this very release is approved already, is being promoted or is the champion,
    nor when the spec says ``approval: {required: false}``.

    .. code-block:: python

        ReleaseApprovalOperator(
            task_id="approve",
            spec=spec,
            platform=platform,
            release_id=patch.output["release_id"],
            report=verify.output["markdown"],
        )

    :param spec: The service: its approvers and the time they have.
    :param platform: The installation: the artifact bucket.
    :param release_id: The release. (templated)
    :param report: What the approver reads, in Markdown. (templated)
    :param aws_conn_id: The Airflow connection of the artifact bucket. (templated, default: aws_default)
    :param region_name: AWS region; the connection's when None. (templated)
    :param verify: Whether to verify TLS certificates, or the path of a CA bundle. (templated)
    :param botocore_config: Configuration of the botocore clients.
    :param kwargs: What :class:`HITLOperator` takes, e.g. ``notifiers``.
    :return: ``release_id``, ``by``, ``reason``, ``already`` (why nobody was asked, or None).
    """

    template_fields = (*PersonAskedOperator.template_fields, *aws_template_fields("release_id", "report"))

    def __init__(self, *, spec: ServiceSpec, release_id: str, report: str = "", **kwargs: Any) -> None:
        super().__init__(spec=spec, **{"subject": f"Put a release of {spec.name} into production?", **kwargs})
        self.release_id = release_id
        self.report = report

    def execute(self, context: Context) -> dict[str, Any]:
        """Ask, unless the answer is known."""
        state, _ = self.bucket.states.read(self.endpoint)
        if known := _known_answer(state, self.release_id):
            self.log.info("Release %s is %s.", self.release_id, known)
            return {"release_id": self.release_id, "by": None, "reason": "", "already": known}
        release = self.bucket.release(self.spec.name, self.release_id)
        if not self.spec.approval.required:
            return self._approve(release, replace(TaskRun.of(context), user=POLICY), datetime.now(UTC))
        self.subject = f"Put release {release.id} of {self.spec.name} (version {release.version}) into production?"
        self.body = self.report
        # Airflow fills in the run's own reason, which has the same name in its conf; an approver gives one of his own.
        self.params["reason"] = ""
        return cast("dict[str, Any]", super().execute(context))

    def execute_complete(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """Record the answer: the task ends green on a yes, red on a no or on no answer in time."""
        run = self.answered_by(context, event)
        if run is None:
            self._refuse_unanswered(TaskRun.of(context))
        if event["chosen_options"] != [self.APPROVE]:
            self._refuse(run)
        release = self.bucket.release(self.spec.name, self.release_id)
        return self._approve(release, run, event["responded_at"])

    def _approve(self, release: Release, run: TaskRun, at: datetime) -> dict[str, Any]:
        approval = Approval(
            release_id=release.id,
            model_version=release.version,
            by=run.user,
            at=at,
            reason=run.reason,
            run_id=run.run_id,
        )
        self.bucket.note(self.spec.name, run, "approved", f"release {release.id}", model_version=release.version)
        state = self.bucket.states.update(self.endpoint, lambda state: approve(state, approval))
        if _known_answer(state, release.id) is None:
            raise SupersededError(
                f"The approval of release {release.id} came too late: a newer one was given meanwhile, or this run's "
                f"was used up by a promotion. Run {self.spec.name}.deploy again to ask anew."
            )
        self.log.info("Release %s was approved by %s: %s", release.id, run.user, run.reason or "no reason given")
        return {"release_id": release.id, "by": run.user, "reason": run.reason, "already": None}

    def _refuse(self, run: TaskRun) -> NoReturn:
        self.bucket.note(self.spec.name, run, "rejected", f"release {self.release_id}")
        raise ApprovalRejectedError(
            f"Release {self.release_id} of {self.spec.name} was rejected by {run.user}: "
            f"{run.reason or 'no reason given'}. Production is unchanged. Run the DAG again to ask once more."
        )

    def _refuse_unanswered(self, run: TaskRun) -> NoReturn:
        hours = self.spec.approval.timeout_hours
        self.bucket.note(self.spec.name, run, "timed_out", f"release {self.release_id}", timeout_hours=hours)
        raise ApprovalTimedOutError(
            f"Nobody answered within {hours:g} hours whether release {self.release_id} of {self.spec.name} may go to "
            "production, so it may not. Production is unchanged. Run the DAG again to ask once more."
        )


def _known_answer(state: EndpointState | None, release_id: str) -> str | None:
    """Return, in words, why a release need not be approved (again), or None."""
    if state is None:
        return None
    if state.approved and state.approved.release_id == release_id:
        return f"already approved by {state.approved.by} at {state.approved.at:%Y-%m-%d %H:%M %Z}"
    if state.promotion and state.promotion.release_id == release_id:
        return f"already approved; {state.promotion.run_id} is promoting it"
    if state.champion and state.champion.release_id == release_id:
        return f"already the champion, since {state.champion.since:%Y-%m-%d %H:%M %Z}"
    return None
