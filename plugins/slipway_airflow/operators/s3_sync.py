"""Copy what differs between two places in S3, or between S3 and a folder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.amazon.aws.operators.base_aws import AwsBaseOperator
from airflow.providers.amazon.aws.utils.mixins import aws_template_fields

from slipway_airflow.hooks.slipway_aws import SlipwayAwsHook
from slipway_airflow.progress_log import ProgressLog

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context

    from slipway.artifacts.transfer import SyncResult


class S3SyncOperator(AwsBaseOperator[SlipwayAwsHook]):
    """Make one prefix or folder hold what another holds, copying only what differs.

    Between two places in S3 the copy happens inside S3; no byte passes through the worker. An
    interrupted run is taken up where it stopped: what is already there is not copied again.

    .. code-block:: python

        S3SyncOperator(
            task_id="mirror",
            source_uri="s3://mlflow/1/models/m-1/artifacts/",
            destination_uri="s3://slipway-{account_id}-{region}/models/churn/v1/",
        )

    :param source_uri: ``s3://bucket/prefix/`` or a local folder. (templated)
    :param destination_uri: The same; ``{account_id}`` and ``{region}`` are filled in from the connection. (templated)
    :param delete: Whether to delete from the destination what the source does not have. (default: False)
    :param include: Patterns of relative paths to copy; empty: all. (templated)
    :param exclude: Patterns of relative paths to leave out. (templated)
    :param dry_run: Only tell what would be done. (default: False)
    :param workers: Number of objects copied at a time. (default: 16)
    :param aws_conn_id: The Airflow connection used for AWS credentials. (templated, default: aws_default)
    :param region_name: AWS region; the connection's when None. (templated)
    :param verify: Whether to verify TLS certificates, or the path of a CA bundle. (templated)
    :param botocore_config: Configuration of the botocore clients.
    :return: ``source_uri``, ``destination_uri``, ``copied``, ``skipped``, ``deleted`` (numbers of files),
        ``bytes_copied``, ``manifest_digest`` (SHA-256 over path, size and checksum of every file).
    """

    aws_hook_class = SlipwayAwsHook
    template_fields = aws_template_fields("source_uri", "destination_uri", "include", "exclude")

    def __init__(
        self,
        *,
        source_uri: str,
        destination_uri: str,
        delete: bool = False,
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
        dry_run: bool = False,
        workers: int = 16,
        **kwargs: Any,
    ) -> None:
        super().__init__(**{"multiple_outputs": True, **kwargs})
        self.source_uri = source_uri
        self.destination_uri = destination_uri
        self.delete = delete
        self.include = include
        self.exclude = exclude
        self.plan_only = dry_run  # BaseOperator has a method named dry_run
        self.workers = workers

    def execute(self, context: Context) -> dict[str, Any]:
        """Plan, then copy."""
        from slipway.artifacts.transfer import sync

        source, destination = self.hook.fill(self.source_uri), self.hook.fill(self.destination_uri)
        result = sync(
            source,
            destination,
            session=self.hook.get_session(),
            endpoint_url=self.hook.endpoint_url("s3"),
            delete=self.delete,
            include=tuple(self.include),
            exclude=tuple(self.exclude),
            dry_run=self.plan_only,
            workers=self.workers,
            verify=self.hook.verify,
            config=self.hook.conn_config.botocore_config,
            on_progress=ProgressLog(self.log.info).sync,
        )
        self._log(source, destination, result)
        return {
            "source_uri": source,
            "destination_uri": destination,
            "copied": result.copied,
            "skipped": result.skipped,
            "deleted": result.deleted,
            "bytes_copied": result.bytes_copied,
            "manifest_digest": result.manifest.digest,
        }

    def _log(self, source: str, destination: str, result: SyncResult) -> None:
        self.log.info(
            "%s → %s: %d copied (%d bytes), %d already there, %d deleted, %.1f s%s",
            source,
            destination,
            result.copied,
            result.bytes_copied,
            result.skipped,
            result.deleted,
            result.seconds,
            " (dry run: nothing was changed)" if self.plan_only else "",
        )
