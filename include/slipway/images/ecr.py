"""Amazon ECR as a registry: repositories made ready for releases, and access to them."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from slipway.aws_errors import aws_call
from slipway.errors import RegistryRefusedError, RegistryUnavailableError
from slipway.images.auth import TokenAuth
from slipway.images.base import BaseImage, resolve_base
from slipway.images.reference import is_loopback, parse_reference
from slipway.images.registry import RegistryClient

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mypy_boto3_ecr import ECRClient

    from slipway.images.transport import Patience

    EcrClients = Callable[[str | None], ECRClient]  # by region, None for the installation's own: tokens are of a region

_CACHE_PREFIXES = ("deps-", "wheel-", "tail-", "app-")
_ECR_HOST = re.compile(r"\d{12}\.dkr\.ecr(?:-fips)?\.(?P<region>[a-z0-9-]+)\.amazonaws\.com(?:\.cn)?")
CACHE_DAYS = 180
UNTAGGED_DAYS = 14

# Releases carry their id as tag, which no rule names: ECR cannot know what serves, so it never expires a release.
# Keyed layers do expire; they are made again when needed, and blobs that a release shares with them stay.
LIFECYCLE_POLICY = {
    "rules": [
        {
            "rulePriority": 1,
            "description": "remains of builds that broke off",
            "selection": {
                "tagStatus": "untagged",
                "countType": "sinceImagePushed",
                "countUnit": "days",
                "countNumber": UNTAGGED_DAYS,
            },
            "action": {"type": "expire"},
        },
        *(
            {
                "rulePriority": priority,
                "description": f"layers kept for later builds ({prefix}*)",
                "selection": {
                    "tagStatus": "tagged",
                    "tagPrefixList": [prefix],
                    "countType": "sinceImagePushed",
                    "countUnit": "days",
                    "countNumber": CACHE_DAYS,
                },
                "action": {"type": "expire"},
            }
            for priority, prefix in enumerate(_CACHE_PREFIXES, start=2)
        ),
    ]
}


def ensure_repository(
    ecr: ECRClient, name: str, *, kms_key_id: str | None = None, tags: Mapping[str, str] | None = None
) -> str:
    """Return the URI of a repository, made if there is none: scanned on push, immutable tags, encrypted, tidied.

    One that exists is taken as it is; only a missing lifecycle policy is added.

    Args:
        ecr: boto3 client.
        name: such as ``slipway/flights``.
        kms_key_id: key to encrypt with; None means ECR's own (AES-256).
        tags: for a new repository.

    Raises:
        AccessDeniedError, ThrottledError, RegistryUnavailableError: of ECR.
    """
    uri = _repository_uri(ecr, name) or _create(ecr, name, kms_key_id, tags or {})
    if not _has_lifecycle_policy(ecr, name):
        with aws_call(f"set the lifecycle policy of repository {name}", unavailable=RegistryUnavailableError):
            ecr.put_lifecycle_policy(repositoryName=name, lifecyclePolicyText=json.dumps(LIFECYCLE_POLICY))
    return uri


def images_of(ecr: ECRClient, name: str) -> list[str] | None:
    """List what a repository holds: tags, and digests of images without one, sorted; None when there is no such one.

    Raises:
        AccessDeniedError, ThrottledError, RegistryUnavailableError: of ECR.
    """
    if _repository_uri(ecr, name) is None:
        return None
    with aws_call(f"list the images of {name}", unavailable=RegistryUnavailableError):
        pages = ecr.get_paginator("list_images").paginate(repositoryName=name)
        return sorted(each.get("imageTag") or each["imageDigest"] for page in pages for each in page["imageIds"])


def delete_repository(ecr: ECRClient, name: str) -> None:
    """Delete a repository with all its images; one that is gone already is fine.

    Raises:
        AccessDeniedError, ThrottledError, RegistryUnavailableError: of ECR.
    """
    with aws_call(f"delete repository {name}", unavailable=RegistryUnavailableError):
        try:
            ecr.delete_repository(repositoryName=name, force=True)
        except ecr.exceptions.RepositoryNotFoundException:
            return


def ecr_registry(ecr: ECRClient, repository: str, *, patience: Patience | None = None) -> tuple[RegistryClient, str]:
    """Return a client for the account's registry, and the URI that ``repository`` has in image references.

    The registry's address is the one that ECR names with its tokens, so an endpoint of one's own needs no setting here.

    Raises:
        RegistryRefusedError: no such repository.
        AccessDeniedError, ThrottledError, RegistryUnavailableError: of ECR.
    """
    uri = _repository_uri(ecr, repository)
    if uri is None:
        raise RegistryRefusedError(f"ECR has no repository {repository}: make it with ensure_repository")
    endpoint = _authorization(ecr)["proxyEndpoint"]
    auth = TokenAuth(lambda: str(_authorization(ecr)["authorizationToken"]))
    return RegistryClient(endpoint, auth, image_host=uri.partition("/")[0], patience=patience), uri


def ecr_account(clients: EcrClients, image: str) -> RegistryClient | None:
    """Return our account at the registry of an image, also one of another AWS account or region; None when not in ECR.

    Args:
        clients: gives a boto3 client for a region.
        image: reference of the image.

    Raises:
        AccessDeniedError, ThrottledError, RegistryUnavailableError: of ECR.
    """
    name = parse_reference(image)
    in_ecr = _ECR_HOST.fullmatch(name.host)
    if not in_ecr and not is_loopback(name.host):
        return None
    ecr = clients(in_ecr["region"] if in_ecr else None)
    endpoint = _authorization(ecr)["proxyEndpoint"]
    here = urlsplit(endpoint).netloc
    if not in_ecr and here != name.host:
        return None
    auth = TokenAuth(lambda: str(_authorization(ecr)["authorizationToken"]))
    if is_loopback(here):  # a stand-in has the registries of all accounts at its own address
        return RegistryClient(endpoint, auth, image_host=name.host)
    return RegistryClient(name.url, auth)


def find_base(
    clients: EcrClients, reference: str, *, platform: str, registry: RegistryClient | None = None
) -> BaseImage:
    """Look up a base image with the account that may read it, and pin it by digest.

    Args:
        clients: gives a boto3 client for a region: the base may lie in another account's or region's ECR.
        reference: image name, or ``scratch``.
        platform: operating system and architecture, such as ``linux/amd64``.
        registry: where the image that is built on it goes; used when the base lies there, so that it can be mounted.

    Raises:
        BaseImageError, RegistryUnavailableError, AccessDeniedError: as of `resolve_base`.
        ThrottledError: of ECR.
    """
    is_there = registry is not None and registry.serves(parse_reference(reference).host)
    account = registry if is_there else ecr_account(clients, reference)
    return resolve_base(reference, platform=platform, registry=account)


def _authorization(ecr: ECRClient) -> Any:
    with aws_call("get a token for the image registry", unavailable=RegistryUnavailableError):
        return ecr.get_authorization_token()["authorizationData"][0]


def _repository_uri(ecr: ECRClient, name: str) -> str | None:
    with aws_call(f"look up repository {name}", unavailable=RegistryUnavailableError):
        try:
            return ecr.describe_repositories(repositoryNames=[name])["repositories"][0]["repositoryUri"]
        except ecr.exceptions.RepositoryNotFoundException:
            return None


def _create(ecr: ECRClient, name: str, kms_key_id: str | None, tags: Mapping[str, str]) -> str:
    encryption: Any = {"encryptionType": "KMS", "kmsKey": kms_key_id} if kms_key_id else {"encryptionType": "AES256"}
    with aws_call(f"create repository {name}", unavailable=RegistryUnavailableError):
        try:
            made = ecr.create_repository(
                repositoryName=name,
                imageTagMutability="IMMUTABLE",
                imageScanningConfiguration={"scanOnPush": True},
                encryptionConfiguration=encryption,
                tags=[{"Key": key, "Value": value} for key, value in sorted(tags.items())],
            )
        except ecr.exceptions.RepositoryAlreadyExistsException:  # another run was faster
            made = {"repository": ecr.describe_repositories(repositoryNames=[name])["repositories"][0]}  # type: ignore[typeddict-item]
    return made["repository"]["repositoryUri"]


def _has_lifecycle_policy(ecr: ECRClient, name: str) -> bool:
    with aws_call(f"read the lifecycle policy of repository {name}", unavailable=RegistryUnavailableError):
        try:
            ecr.get_lifecycle_policy(repositoryName=name)
        except ecr.exceptions.LifecyclePolicyNotFoundException:
            return False
    return True
