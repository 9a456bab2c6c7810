"""A person says yes or no to a release."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn, cast

from airflow.providers.amazon.aws.utils.mixins import aws_template_fields
from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import Param
from airflow.sdk.definitions.param import ParamsDict

from slipway.errors import ApprovalRejectedError, ApprovalTimedOutError, SupersededError
from slipway.state import Approval
from slipway.transition import approve
from slipway_airflow.hooks.artifact_bucket import ArtifactBucket
from slipway_airflow.hooks.slipway_aws import SlipwayAwsHook
from slipway_airflow.task_run import TaskRun

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow.sdk import Context

    from slipway.platform import Platform
    from slipway.release import Release
    from slipway.spec import ServiceSpec
    from slipway.state import EndpointState

POLICY = "policy (approval.required is false)"


class ReleaseApprovalOperator(ApprovalOperator):
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

    template_fields = (*ApprovalOperator.template_fields, *aws_template_fields("release_id", "report"))

    def __init__(
        self,
        *,
        spec: ServiceSpec,
        platform: Platform,
        release_id: str,
        report: str = "",
        aws_conn_id: str | None = "aws_default",
        region_name: str | None = None,
        verify: bool | str | None = None,
        botocore_config: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        asked = {
            "subject": f"Put a release of {spec.name} into production?",
            "multiple_outputs": True,
            "defaults": self.REJECT,
            "assigned_users": [{"id": user, "name": user} for user in spec.approval.approver_ids],
            "response_timeout": timedelta(hours=spec.approval.timeout_hours),
        }
        super().__init__(**{**asked, **kwargs, "params": _form(kwargs.get("params"))})
        self.spec = spec
        self.platform = platform
        self.release_id = release_id
        self.report = report
        self.aws_conn_id = aws_conn_id
        self.region_name = region_name
        self.verify = verify
        self.botocore_config = botocore_config

    @cached_property
    def bucket(self) -> ArtifactBucket:
        """The artifact bucket."""
        hook = SlipwayAwsHook(
            aws_conn_id=self.aws_conn_id,
            region_name=self.region_name,
            verify=self.verify,
            config=self.botocore_config,
        )
        return ArtifactBucket(hook, self.platform.artifact_bucket)

    @property
    def endpoint(self) -> str:
        """The endpoint that the release is to go to."""
        return self.spec.endpoint_name("prod")

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
        if "error" in event and event.get("error_type") != "timeout":
            self.process_trigger_event_error(event)
        run = TaskRun.of(context)
        if "error" in event or event.get("timedout"):
            self._refuse_unanswered(run)
        self.validate_chosen_options(event["chosen_options"])
        user = event["responded_by_user"] or {}
        run = replace(
            run,
            user=user.get("name") or user.get("id") or "unknown",
            reason=str((event["params_input"] or {}).get("reason") or ""),
        )
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


def _form(given: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the form's fields: the reason, and what the task itself was given.

    Airflow hands every task the DAG's Params, too; :class:`HITLOperator` keeps only those whose source is the task.
    """
    own = ParamsDict.filter_params_by_source(ParamsDict(dict(given or {})), source="task")
    reason = Param("", type=["null", "string"], title="Reason", description="Why; kept in the ledger.", source="task")
    return {"reason": reason, **{name: own.get_param(name) for name in own}}


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
