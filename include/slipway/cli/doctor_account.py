"""What `slipway doctor` looks at in the AWS account, with the caller's own credentials.

Airflow acts with those of its connections: whoever wants to know about these runs the command with the same.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from botocore.exceptions import ClientError

from slipway.aws_errors import aws_call, error_code
from slipway.cli.doctor import Finding, guarded
from slipway.endpoints.requests import Account, role_arn
from slipway.errors import InvalidInputError

if TYPE_CHECKING:
    import boto3

    from slipway.platform import Platform
    from slipway.spec import ServiceCatalog, StageName

_SAGEMAKER = "sagemaker.amazonaws.com"
_ABSENT = frozenset({"404", "NoSuchBucket", "NotFound"})


def examine_account(platform: Platform, catalog: ServiceCatalog) -> Iterator[Finding]:
    """Who am I, and are bucket, roles, registry and topics there?

    Args:
        platform: the installation.
        catalog: the project's services.

    Raises:
        InvalidInputError: no credentials or region here.
        SlipwayError: AWS does not answer or refuses.
    """
    import boto3

    session = boto3.Session()
    if session.get_credentials() is None or session.region_name is None:
        raise InvalidInputError("No AWS credentials or region here; set AWS_PROFILE, or AWS_REGION and keys.")
    with aws_call("find out the AWS account"):
        identity = session.client("sts").get_caller_identity()
    account = Account(identity["Account"], str(session.region_name))
    yield Finding("AWS", "ok", f"{identity['Arn']} in {account.region}")
    bucket = platform.bucket_name(account.account_id, account.region)
    yield from guarded("artifact bucket", lambda: _bucket(session, bucket))
    for role in _roles(platform, catalog, account):
        yield from guarded(f"role {role}", partial(_role, session, role))
    yield from guarded("image registry", lambda: _registry(session))
    yield from guarded("SageMaker", lambda: _sagemaker(session))
    for topic in sorted({t for spec in catalog.specs.values() if (t := spec.notify.sns_topic_arn)}):
        yield from guarded(f"topic {topic}", partial(_topic, session, topic))


def _bucket(session: boto3.Session, bucket: str) -> Iterator[Finding]:
    with aws_call(f"look at bucket {bucket}"):
        try:
            session.client("s3").head_bucket(Bucket=bucket)
        except ClientError as error:
            if error_code(error) not in _ABSENT:
                raise
            cure = f"make it with `aws s3 mb s3://{bucket}`, or name another as artifact_bucket in platform.yaml"
            yield Finding("artifact bucket", "wrong", f"there is no {bucket}", cure)
            return
    yield Finding("artifact bucket", "ok", bucket)


def _roles(platform: Platform, catalog: ServiceCatalog, account: Account) -> list[str]:
    """ARNs of the roles that endpoints and training jobs run as, those of this account."""
    stages: tuple[StageName, StageName] = ("dev", "prod")
    here = [spec.stage(stage) for spec in catalog.specs.values() for stage in stages]
    named = [stage.execution_role for stage in here if stage.execution_role and not stage.aws_conn_id]
    computes = [spec.retrain.compute for spec in catalog.specs.values() if spec.retrain and spec.retrain.compute]
    training = [each.sagemaker.role for each in computes if each.sagemaker and each.sagemaker.role]
    return sorted({role_arn(role, account) for role in (platform.execution_role, *named, *training)})


def _role(session: boto3.Session, arn: str) -> Iterator[Finding]:
    name, about = arn.rpartition("/")[2], f"role {arn.rpartition('/')[2]}"
    with aws_call(f"look at role {name}"):
        try:
            role = session.client("iam").get_role(RoleName=name)["Role"]
        except ClientError as error:
            if error_code(error) == "AccessDenied":
                yield Finding(about, "unknown", "iam:GetRole is not allowed here", "ask whoever manages the account")
                return
            if error_code(error) != "NoSuchEntity":
                raise
            cure = f"make it with a trust policy for {_SAGEMAKER}, or name another in platform.yaml or the service"
            yield Finding(about, "wrong", "there is no such role", cure)
            return
    if _is_trusted(role["AssumeRolePolicyDocument"]):
        yield Finding(about, "ok", f"{_SAGEMAKER} may assume it")
    else:
        yield Finding(about, "wrong", f"{_SAGEMAKER} may not assume it", "add it to the role's trust policy")


def _is_trusted(document: Any) -> bool:
    policy = json.loads(unquote(document)) if isinstance(document, str) else document
    statements = policy.get("Statement", [])
    for statement in statements if isinstance(statements, list) else [statements]:
        principal = statement.get("Principal", {})
        services = principal.get("Service", []) if isinstance(principal, dict) else [principal]
        names = [services] if isinstance(services, str) else services
        if statement.get("Effect") == "Allow" and {_SAGEMAKER, "*"} & {*names}:
            return True
    return False


def _registry(session: boto3.Session) -> Iterator[Finding]:
    with aws_call("get a token for the image registry"):
        found = session.client("ecr").get_authorization_token()["authorizationData"][0]
    yield Finding("image registry", "ok", found["proxyEndpoint"])


def _sagemaker(session: boto3.Session) -> Iterator[Finding]:
    with aws_call("list the endpoints"):
        session.client("sagemaker").list_endpoints(MaxResults=1)
    yield Finding("SageMaker", "ok", "endpoints may be listed")


def _topic(session: boto3.Session, arn: str) -> Iterator[Finding]:
    with aws_call(f"look at topic {arn}"):
        session.client("sns", region_name=arn.split(":")[3]).get_topic_attributes(TopicArn=arn)
    yield Finding(f"topic {arn}", "ok", "there")
