"""From a task to the logs of its job run in the AWS console."""

from __future__ import annotations

from airflow.providers.amazon.aws.links.base_aws import BASE_AWS_CONSOLE_LINK, BaseAwsLink


class JobRunLogsLink(BaseAwsLink):
    """Opens the folder of the job run's logs in the S3 console."""

    name = "EMR Serverless logs"
    key = "slipway_job_run_logs"
    format_str = BASE_AWS_CONSOLE_LINK + "/s3/buckets/{bucket_name}?region={region_name}&prefix={prefix}"
