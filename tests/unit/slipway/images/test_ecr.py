from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.config import Config
from moto import mock_aws

from slipway.errors import AccessDeniedError, RegistryRefusedError, RegistryUnavailableError
from slipway.images.auth import TokenAuth
from slipway.images.ecr import (
    CACHE_DAYS,
    LIFECYCLE_POLICY,
    delete_repository,
    ecr_account,
    ecr_registry,
    ensure_repository,
    find_base,
    images_of,
)
from slipway.images.wheel_group import group_pins, parse_pins
from tests.unit.slipway.images.conftest import ecr_clients
from tests.unit.slipway.images.test_base import LAYER, add_base

if TYPE_CHECKING:
    from conftest import Registry


@pytest.fixture
def ecr(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    with mock_aws():
        yield boto3.client("ecr", region_name="eu-west-1")


def test_a_repository_is_made_ready_for_releases(ecr: Any) -> None:
    uri = ensure_repository(ecr, "slipway/flights", tags={"slipway:service": "flights"})
    assert uri == "123456789012.dkr.ecr.eu-west-1.amazonaws.com/slipway/flights"
    (made,) = ecr.describe_repositories(repositoryNames=["slipway/flights"])["repositories"]
    assert made["imageTagMutability"] == "IMMUTABLE"
    assert made["imageScanningConfiguration"] == {"scanOnPush": True}
    assert made["encryptionConfiguration"]["encryptionType"] == "AES256"
    assert ecr.list_tags_for_resource(resourceArn=made["repositoryArn"])["tags"] == [
        {"Key": "slipway:service", "Value": "flights"}
    ]
    policy = json.loads(ecr.get_lifecycle_policy(repositoryName="slipway/flights")["lifecyclePolicyText"])
    assert policy == LIFECYCLE_POLICY


def test_a_key_of_ones_own_encrypts(ecr: Any) -> None:
    ensure_repository(ecr, "slipway/flights", kms_key_id="arn:aws:kms:eu-west-1:123456789012:key/k")
    (made,) = ecr.describe_repositories()["repositories"]
    assert made["encryptionConfiguration"] == {
        "encryptionType": "KMS",
        "kmsKey": "arn:aws:kms:eu-west-1:123456789012:key/k",
    }


def test_a_repository_that_is_ready_is_not_touched(ecr: Any) -> None:
    first = ensure_repository(ecr, "slipway/flights")
    calls: list[str] = []
    ecr.meta.events.register("before-call.ecr", lambda model, **_: calls.append(model.name))
    assert ensure_repository(ecr, "slipway/flights") == first
    assert calls == ["DescribeRepositories", "GetLifecyclePolicy"]


def test_a_run_that_broke_off_before_the_policy_is_finished(ecr: Any) -> None:
    ecr.create_repository(repositoryName="slipway/flights")
    ensure_repository(ecr, "slipway/flights")
    assert ecr.get_lifecycle_policy(repositoryName="slipway/flights")["lifecyclePolicyText"]


def test_a_policy_of_the_platform_team_stays(ecr: Any) -> None:
    own = json.dumps({"rules": [{**LIFECYCLE_POLICY["rules"][0], "description": "ours"}]})
    ecr.create_repository(repositoryName="slipway/flights")
    ecr.put_lifecycle_policy(repositoryName="slipway/flights", lifecyclePolicyText=own)
    ensure_repository(ecr, "slipway/flights")
    assert "ours" in ecr.get_lifecycle_policy(repositoryName="slipway/flights")["lifecyclePolicyText"]


def test_a_repository_goes_with_its_images_and_once(ecr: Any) -> None:
    assert images_of(ecr, "slipway/flights") is None
    ensure_repository(ecr, "slipway/flights")
    assert images_of(ecr, "slipway/flights") == []
    for tag in ("b", "a"):
        manifest = {"schemaVersion": 2, "config": {"digest": f"sha256:{tag * 64}", "size": 1}, "layers": []}
        ecr.put_image(
            repositoryName="slipway/flights",
            imageManifest=json.dumps(manifest),
            imageManifestMediaType="application/vnd.docker.distribution.manifest.v2+json",
            imageTag=tag,
        )
    assert images_of(ecr, "slipway/flights") == ["a", "b"]
    delete_repository(ecr, "slipway/flights")
    delete_repository(ecr, "slipway/flights")
    assert images_of(ecr, "slipway/flights") is None


def test_the_policy_never_expires_a_release_but_all_that_is_kept_by_key() -> None:
    prefixes = {p for rule in LIFECYCLE_POLICY["rules"] for p in rule["selection"].get("tagPrefixList", [])}
    tags = [group.tag("3.11", "linux/amd64") for group in group_pins(parse_pins("numpy==1 --hash=a\nsix==1 --hash=b"))]
    assert all(any(tag.startswith(prefix) for prefix in prefixes) for tag in [*tags, "deps-1", "app-1"])
    hexadecimal = set("0123456789abcdef")
    assert not any(set(prefix) <= hexadecimal for prefix in prefixes)  # release ids are 12 hex digits
    kept = [r["selection"]["countNumber"] for r in LIFECYCLE_POLICY["rules"] if r["selection"]["tagStatus"] == "tagged"]
    assert kept == [CACHE_DAYS] * len(prefixes)


def test_the_registry_is_where_ecr_says_and_images_are_named_after_the_account(ecr: Any, registry: Registry) -> None:
    ensure_repository(ecr, "slipway/flights")
    client, uri = ecr_registry(ecr, "slipway/flights")
    assert uri == "123456789012.dkr.ecr.eu-west-1.amazonaws.com/slipway/flights"
    assert client.image_host == "123456789012.dkr.ecr.eu-west-1.amazonaws.com"
    endpoint = ecr.get_authorization_token()["authorizationData"][0]["proxyEndpoint"]
    assert client.host == endpoint.removeprefix("https://")


def test_ecrs_token_is_sent_as_it_is(registry: Registry) -> None:
    registry.auth = "basic"
    client = registry.client(TokenAuth(lambda: "QVdTOm9wZW4tc2VzYW1l"))
    assert not client.has_blob("slipway/flights", "sha256:" + "0" * 64)


def test_a_repository_that_is_missing_is_said(ecr: Any) -> None:
    with pytest.raises(RegistryRefusedError, match="no repository slipway/none"):
        ecr_registry(ecr, "slipway/none")


def test_an_ecr_that_is_down_is_a_passing_failure() -> None:
    config = Config(retries={"total_max_attempts": 1}, connect_timeout=1)
    keys = {"aws_access_key_id": "a", "aws_secret_access_key": "b"}
    ecr = boto3.client("ecr", region_name="eu-west-1", endpoint_url="http://127.0.0.1:9", config=config, **keys)
    with pytest.raises(RegistryUnavailableError, match="look up repository"):
        ensure_repository(ecr, "slipway/flights")


def test_missing_credentials_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("botocore.session.Session.get_credentials", lambda *_: None)
    ecr = boto3.Session().client("ecr", region_name="eu-west-1")
    with pytest.raises(AccessDeniedError, match="credentials"):
        ecr_registry(ecr, "slipway/flights")


def test_our_account_is_given_to_images_in_ecr_alone(ecr: Any) -> None:
    calls: list[str] = []
    ecr.meta.events.register("before-call.ecr", lambda model, **_: calls.append(model.name))
    other = ecr_account(lambda _: ecr, "210987654321.dkr.ecr.eu-west-1.amazonaws.com/clean:4")
    assert other is not None
    assert other.host == "210987654321.dkr.ecr.eu-west-1.amazonaws.com"
    assert base64.b64decode(str(other.basic_token())).startswith(b"AWS:")
    calls.clear()
    for image in ("clean:4", "registry.example.com/clean", "x.dkr.ecr.eu-west-1.amazonaws.com.evil.example/clean"):
        assert ecr_account(lambda _: ecr, image) is None
    assert calls == []
    assert ecr_account(lambda _: ecr, "127.0.0.1:5000/clean:4") is None


def test_a_base_in_another_accounts_and_regions_ecr_is_read_with_our_account(registry: Registry) -> None:
    digest = add_base(registry)
    registry.auth = "basic"
    regions: list[str | None] = []
    reference = "763104351884.dkr.ecr.us-east-1.amazonaws.com/base/python:3.11"
    base = find_base(ecr_clients(registry, regions), reference, platform="linux/amd64")
    assert (base.digest, base.reference) == (digest, reference)
    assert regions == ["us-east-1"]
    assert base.source is not None
    assert base.source.registry.get_blob("base/python", base.layers[0].digest) == LAYER


def test_a_base_where_the_image_goes_needs_no_other_account(registry: Registry) -> None:
    add_base(registry)
    regions: list[str | None] = []
    client = registry.client()
    reference = f"{registry.host}/base/python:3.11"
    base = find_base(ecr_clients(registry, regions), reference, platform="linux/amd64", registry=client)
    assert base.source is not None
    assert base.source.registry is client
    assert find_base(ecr_clients(registry, regions), "scratch", platform="linux/amd64").digest == "scratch"
    assert regions == []
