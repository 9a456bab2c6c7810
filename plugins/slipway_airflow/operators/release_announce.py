"""Wake whoever waits for an approved release."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.amazon.aws.utils.mixins import aws_template_fields
from airflow.sdk.exceptions import AirflowSkipException

from slipway_airflow.operators.service import ServiceOperator

if TYPE_CHECKING:
    from airflow.sdk import Context


class ReleaseAnnounceOperator(ServiceOperator):
    """Emit the task's outlet assets, unless the release has all production traffic already.

    :param release_id: The release. (templated)
    :param outlets: The assets to emit; each event tells the release as ``extra``.
    :param spec: The service.
    :param platform: The installation.
    :param bucket_conn_id: The Airflow connection of the artifact bucket; ``aws_conn_id`` when None. (templated)
    :param aws_conn_id: The Airflow connection used for AWS credentials. (templated, default: aws_default)
    :param region_name: AWS region; the connection's when None. (templated)
    :param verify: Whether to verify TLS certificates, or the path of a CA bundle. (templated)
    :param botocore_config: Configuration of the botocore clients.
    """

    template_fields = aws_template_fields("bucket_conn_id", "release_id")

    def __init__(self, *, release_id: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.release_id = release_id

    def execute(self, context: Context) -> None:
        """Emit, or skip so that nobody is woken for nothing."""
        state, _ = self.bucket.states.read(self.spec.endpoint_name("prod"))
        if state and state.champion and state.champion.release_id == self.release_id:
            raise AirflowSkipException(f"Release {self.release_id} is the champion already: nobody has to be woken.")
        for outlet in self.outlets:
            context["outlet_events"][outlet].extra = {"release_id": self.release_id}
        self.log.info("Release %s of %s waits for its promotion.", self.release_id, self.spec.name)
