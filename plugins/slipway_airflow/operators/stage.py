"""What the operators that act on one endpoint have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.amazon.aws.utils.mixins import aws_template_fields

from slipway.endpoints.requests import Account, WantedEndpoint, wanted_endpoint
from slipway.spec.override import override_stage
from slipway_airflow.operators.service import ServiceOperator

if TYPE_CHECKING:
    from slipway.endpoints.resource import Removal
    from slipway.release import Release
    from slipway.spec import StageName
    from slipway_airflow.task_run import TaskRun


class StageOperator(ServiceOperator):
    """Base of the operators that act on ``<service>-<stage>``.

    :param stage: ``dev`` or ``prod``.
    :param instance_type: SageMaker instance type in place of the spec's. (templated)
    :param instance_count: Number of instances in place of the spec's. (templated)
    :param spec: The service.
    :param platform: The installation.
    :param bucket_conn_id: The Airflow connection of the artifact bucket; ``aws_conn_id`` when None. (templated)
    :param aws_conn_id: The Airflow connection of the endpoint's account. (templated, default: aws_default)
    :param region_name: AWS region; the connection's when None. (templated)
    :param verify: Whether to verify TLS certificates, or the path of a CA bundle. (templated)
    :param botocore_config: Configuration of the botocore clients.
    """

    template_fields = aws_template_fields("bucket_conn_id", "instance_type", "instance_count")

    def __init__(
        self,
        *,
        stage: StageName,
        instance_type: str | None = None,
        instance_count: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.stage = stage
        self.instance_type = instance_type
        self.instance_count = instance_count

    @property
    def endpoint(self) -> str:
        """Name of the endpoint."""
        return self.spec.endpoint_name(self.stage)

    def wanted_for(self, release: Release, instance_count: int | None = None) -> WantedEndpoint:
        """Return the endpoint as it shall be with this release.

        :param release: The release, as it is recorded.
        :param instance_count: Number of instances where the run names none; the spec's minimum when None.
        """
        count = instance_count if self.instance_count is None else self.instance_count
        spec = override_stage(self.spec, self.stage, instance_type=self.instance_type, instance_count=count)
        account = Account(self.hook.account_id, self.hook.conn_region_name)
        return wanted_endpoint(spec, self.stage, release, self.platform, account, bucket=self.bucket.name)

    def note_removal(self, run: TaskRun, removal: Removal) -> None:
        """Write into the ledger what is about to be deleted, and what would bring it back."""
        self.bucket.note(self.spec.name, run, "deleted", f"{removal.kind} {removal.name}", restore=removal.restore)
