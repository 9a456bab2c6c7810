"""The AWS account that a project folder's releases are in, with the caller's own credentials."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from slipway.aws_errors import aws_call
from slipway.cli.services import find_project
from slipway.errors import InvalidInputError, UnknownServiceError
from slipway.platform import Platform, load_platform
from slipway.release import Release, ReleaseStore
from slipway.spec import ServiceSpec, load_services
from slipway.state import StateStore

if TYPE_CHECKING:
    import boto3
    from mypy_boto3_ecr import ECRClient

    from slipway.images.registry import RegistryClient


@dataclass(frozen=True)
class Account:
    """Releases, states and images of a project."""

    session: boto3.Session
    platform: Platform
    specs: dict[str, ServiceSpec]
    bucket: str

    @classmethod
    def open(cls, project: Path | None) -> Account:
        """Open the account.

        Raises:
            InvalidInputError: no credentials, no region, no project folder.
            SlipwayError: AWS does not answer or refuses.
        """
        import boto3

        folder = find_project(project)
        session = boto3.Session()
        if session.get_credentials() is None or session.region_name is None:
            raise InvalidInputError("No AWS credentials or region here; set AWS_PROFILE, or AWS_REGION and keys.")
        with aws_call("find out the AWS account"):
            account = session.client("sts").get_caller_identity()["Account"]
        platform = load_platform(folder)
        bucket = platform.bucket_name(account, str(session.region_name))
        return cls(session, platform, dict(load_services(folder).specs), bucket)

    @property
    def releases(self) -> ReleaseStore:
        """Records of releases."""
        return ReleaseStore(self.session.client("s3"), self.bucket)

    def spec(self, service: str) -> ServiceSpec:
        """Return a service.

        Raises:
            UnknownServiceError: there is none of that name.
        """
        if service not in self.specs:
            raise UnknownServiceError(f"There is no service {service!r}; there are: {', '.join(self.specs) or 'none'}.")
        return self.specs[service]

    def serving(self, service: str, stage: Literal["dev", "prod"]) -> str | None:
        """Return the id of the release that has a stage's traffic, None when none has."""
        endpoint = self.spec(service).endpoint_name(stage)
        state, _ = StateStore(self.session.client("s3"), self.bucket).read(endpoint)
        return state.champion.release_id if state and state.champion else None

    def release(self, identifier: str, service: str | None = None) -> Release:
        """Find a release by its id, in one service or in all.

        Raises:
            InvalidInputError: none of them has it.
        """
        names = [self.spec(service).name] if service else list(self.specs)
        for name in names:
            found = self.releases.read(name, identifier)
            if found:
                return found
        raise InvalidInputError(
            f"No release {identifier} of {', '.join(names) or 'any service'} in s3://{self.bucket}."
        )

    def ecr(self, region_name: str | None = None) -> ECRClient:
        """Return ECR's client for a region, the account's own by default."""
        return self.session.client("ecr", region_name=region_name)

    def images(self, release: Release) -> tuple[RegistryClient, str, str]:
        """Return the registry of a release's image, the repository in it, and the image's digest."""
        from slipway.images.ecr import ecr_registry
        from slipway.images.reference import parse_reference

        reference = parse_reference(release.image_uri)
        registry, _ = ecr_registry(self.ecr(), reference.repository)
        return registry, reference.repository, str(reference.digest)
