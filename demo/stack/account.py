"""What a platform team prepares in an AWS account before anybody launches: buckets and an execution role.

On the embedded stack the demo plays that team; the names come from ``platform.yaml``, as for a real account.
"""

from __future__ import annotations

import json
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from demo.stack.settings import ACCOUNT_ID, REGION, StackSettings
from slipway.platform import load_platform
from slipway.spec import load_services

_TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}


def session(settings: StackSettings) -> boto3.Session:
    """A boto3 session with this stack's keys, whatever the shell's environment says."""
    return boto3.Session(
        aws_access_key_id=settings.secrets.aws_access_key_id,
        aws_secret_access_key=settings.secrets.aws_secret_access_key,
        region_name=REGION,
    )


def client(settings: StackSettings, service: str, **config: Any) -> Any:
    """A boto3 client of the stack's AWS stand-in.

    Args:
        settings: Where the stack is.
        service: boto3's service name.
        **config: Options of ``botocore.config.Config``.
    """
    open_client: Any = session(settings).client
    return open_client(service, endpoint_url=settings.aws_url, config=Config(**config))


def artifact_bucket(settings: StackSettings) -> str:
    """The bucket of releases and state, as ``platform.yaml`` names it."""
    return load_platform(settings.project).bucket_name(ACCOUNT_ID, REGION)


def prepare_account(settings: StackSettings) -> None:
    """Creates the buckets and the execution role; what exists is left alone."""
    s3 = client(settings, "s3")
    for bucket in (artifact_bucket(settings), settings.mlflow_bucket, *_data_buckets(settings)):
        _unless_there(s3.create_bucket, "BucketAlreadyOwnedByYou", "BucketAlreadyExists", Bucket=bucket)
    role = load_platform(settings.project).execution_role.rsplit("/", 1)[-1]
    iam = client(settings, "iam")
    _unless_there(
        iam.create_role,
        "EntityAlreadyExists",
        RoleName=role,
        AssumeRolePolicyDocument=json.dumps(_TRUST),
        Description="What SageMaker may do for Slipway's endpoints",
    )


def _data_buckets(settings: StackSettings) -> list[str]:
    """Buckets of the data that the services are retrained on; a data team owns them elsewhere."""
    specs = load_services(settings.project).specs.values()
    uris = [spec.retrain.data.s3 for spec in specs if spec.retrain and spec.retrain.data.s3]
    return sorted({uri.removeprefix("s3://").partition("/")[0] for uri in uris})


def _unless_there(create: Any, *already: str, **request: Any) -> None:
    try:
        create(**request)
    except ClientError as error:
        if error.response["Error"]["Code"] not in already:
            raise
