"""Prepares the AWS stand-in's account for docker-compose.yaml: ``prepare_account.py BUCKET…``.

Creates the artifact bucket and the execution role of ``platform.yaml``, and the buckets named as arguments. Boto3 finds
the stand-in through its environment variables. On AWS a platform team makes these itself.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import ClientError

from slipway.platform import load_platform

_TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}
_THERE = {"BucketAlreadyOwnedByYou", "BucketAlreadyExists", "EntityAlreadyExists"}


def main(more_buckets: list[str]) -> None:
    """Creates what is missing."""
    session = boto3.Session()
    platform = load_platform(Path(os.environ["SLIPWAY_PROJECT"]))
    account = session.client("sts").get_caller_identity()["Account"]
    s3, iam = session.client("s3"), session.client("iam")
    for bucket in (platform.bucket_name(account, session.region_name), *more_buckets):
        _unless_there(s3.create_bucket, Bucket=bucket)
    role = platform.execution_role.rsplit("/", 1)[-1]
    _unless_there(iam.create_role, RoleName=role, AssumeRolePolicyDocument=json.dumps(_TRUST))


def _unless_there(create: Callable[..., Any], **request: Any) -> None:
    try:
        create(**request)
    except ClientError as error:
        if error.response["Error"]["Code"] not in _THERE:
            raise


if __name__ == "__main__":
    main(sys.argv[1:])
