"""What the operators that ask a person have in common."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.providers.amazon.aws.utils.mixins import aws_template_fields
from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import Param
from airflow.sdk.definitions.param import ParamsDict

from slipway_airflow.hooks.artifact_bucket import ArtifactBucket
from slipway_airflow.hooks.slipway_aws import SlipwayAwsHook
from slipway_airflow.task_run import TaskRun

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow.sdk import Context

    from slipway.platform import Platform
    from slipway.spec import ServiceSpec


class PersonAskedOperator(ApprovalOperator):
    """Base of the operators that wait, without a worker, for a yes or no of the service's approvers.

    :param spec: The service: its approvers and the time they have.
    :param platform: The installation: the artifact bucket.
    :param subject: The question.
    :param aws_conn_id: The Airflow connection of the artifact bucket. (templated, default: aws_default)
    :param region_name: AWS region; the connection's when None. (templated)
    :param verify: Whether to verify TLS certificates, or the path of a CA bundle. (templated)
    :param botocore_config: Configuration of the botocore clients.
    :param kwargs: What :class:`HITLOperator` takes, e.g. ``notifiers``.
    """

    template_fields = (*ApprovalOperator.template_fields, *aws_template_fields())

    def __init__(
        self,
        *,
        spec: ServiceSpec,
        platform: Platform,
        aws_conn_id: str | None = "aws_default",
        region_name: str | None = None,
        verify: bool | str | None = None,
        botocore_config: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        asked = {
            "multiple_outputs": True,
            "defaults": self.REJECT,
            "assigned_users": [{"id": user, "name": user} for user in spec.approval.approver_ids],
            "response_timeout": timedelta(hours=spec.approval.timeout_hours),
        }
        super().__init__(**{**asked, **kwargs, "params": _form(kwargs.get("params"))})
        self.spec = spec
        self.platform = platform
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
        """The endpoint that the question is about."""
        return self.spec.endpoint_name("prod")

    def answered_by(self, context: Context, event: dict[str, Any]) -> TaskRun | None:
        """Return the run on behalf of who answered, with the reason given; None when nobody did in time.

        :param context: The task's context.
        :param event: What Airflow resumes the task with.
        """
        if "error" in event and event.get("error_type") != "timeout":
            self.process_trigger_event_error(event)
        if "error" in event or event.get("timedout"):
            return None
        self.validate_chosen_options(event["chosen_options"])
        user = event["responded_by_user"] or {}
        return replace(
            TaskRun.of(context),
            user=user.get("name") or user.get("id") or "unknown",
            reason=str((event["params_input"] or {}).get("reason") or ""),
        )


def _form(given: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the form's fields: the reason, and what the task itself was given.

    Airflow hands every task the DAG's Params, too; :class:`HITLOperator` keeps only those whose source is the task.
    """
    own = ParamsDict.filter_params_by_source(ParamsDict(dict(given or {})), source="task")
    reason = Param("", type=["null", "string"], title="Reason", description="Why; kept in the ledger.", source="task")
    return {"reason": reason, **{name: own.get_param(name) for name in own}}
