"""What the housekeeping tasks have in common."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.providers.amazon.aws.operators.base_aws import AwsBaseOperator
from airflow.providers.amazon.aws.utils.mixins import aws_template_fields

from slipway.errors import SlipwayError
from slipway.housekeeping.inventory import Resource
from slipway.housekeeping.removal import remove
from slipway_airflow.hooks.artifact_bucket import ArtifactBucket
from slipway_airflow.hooks.slipway_aws import SlipwayAwsHook
from slipway_airflow.task_run import TaskRun

if TYPE_CHECKING:
    from airflow.sdk import Context

    from slipway.endpoints.resource import Removal
    from slipway.platform import Platform
    from slipway.spec import ServiceSpec, StageName
    from slipway.state import EndpointState

_STATES = "endpoints/"
_STATE = "/state.json"


class HousekeepingOperator(AwsBaseOperator[SlipwayAwsHook]):
    """Base of the housekeeping tasks: looks at everything, acts where there is something to do.

    One service's failure does not keep the others from being looked at; the task fails at its end.

    :param specs: The services with a valid spec, by name.
    :param protected: Services whose spec cannot be read: their resources are left alone.
    :param platform: The installation.
    :param only_say: Whether to say only what would be done. (templated)
    :param aws_conn_id: The Airflow connection of the artifact bucket. (templated, default: aws_default)
    :param region_name: AWS region; the connection's when None. (templated)
    :param verify: Whether to verify TLS certificates, or the path of a CA bundle. (templated)
    :param botocore_config: Configuration of the botocore clients.
    :return: What was done, or would be, in words.
    """

    aws_hook_class = SlipwayAwsHook
    template_fields = aws_template_fields("only_say")

    def __init__(
        self,
        *,
        specs: dict[str, ServiceSpec],
        platform: Platform,
        protected: tuple[str, ...] = (),
        only_say: Any = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.specs = specs
        self.platform = platform
        self.protected = protected
        self.only_say = only_say
        self._done: list[str] = []
        self._failed: list[str] = []

    def execute(self, context: Context) -> list[str]:
        """Look, act, and fail at the end when something could not be done."""
        self.tidy(TaskRun.of(context))
        if self._failed:
            raise SlipwayError(f"{len(self._failed)} things could not be done: " + "; ".join(self._failed))
        if not self._done:
            self.log.info("Nothing to do.")
        return self._done

    def tidy(self, run: TaskRun) -> None:
        """Look at everything and act; each kind of housekeeping has its own."""
        raise NotImplementedError

    def act(self, what: str, action: Any) -> None:
        """Do one thing, unless this is a dry run; a failure is kept for the end."""
        if self.only_say:
            self._done.append(f"would: {what}")
            self.log.info("Would: %s", what)
            return
        try:
            if action() is False:
                return
        except SlipwayError as error:
            self.log.error("%s: %s", what, error)
            self._failed.append(f"{what}: {error}")
            return
        self._done.append(what)
        self.log.info("%s", what)

    def remove(self, run: TaskRun, resource: Resource, conn_id: str | None) -> bool:
        """Delete a resource; what would bring it back is in the ledger first."""
        service = str(resource.service)

        def record(removal: Removal) -> None:
            self.bucket.note(service, run, "deleted", f"{removal.kind} {removal.name}", restore=removal.restore)

        return remove(self.hook_of(conn_id).client("sagemaker"), resource, record)

    @cached_property
    def bucket(self) -> ArtifactBucket:
        """The artifact bucket."""
        return ArtifactBucket(self.hook, self.platform.artifact_bucket)

    def states(self) -> dict[str, EndpointState]:
        """Read the states of all endpoints, those without a spec included."""
        names = [
            item.key.removeprefix(_STATES).removesuffix(_STATE)
            for item in self.bucket.documents.list(_STATES)
            if item.key.endswith(_STATE)
        ]
        found = {name: self.bucket.states.read(name)[0] for name in names}
        return {name: state for name, state in found.items() if state is not None}

    def spec_of(self, endpoint: str) -> ServiceSpec | None:
        """Return the spec of an endpoint's service, or None when it is gone."""
        return self.specs.get(endpoint.rpartition("-")[0])

    def conn_id_of(self, spec: ServiceSpec | None, stage: StageName) -> str:
        """Return the connection of a stage's account; the platform's when the spec is gone."""
        return (spec.stage(stage).aws_conn_id if spec else None) or self.platform.aws_conn_id

    def accounts(self) -> Iterator[str]:
        """Name the connections of all accounts that hold endpoints, each once."""
        stages: tuple[StageName, StageName] = ("dev", "prod")
        ids = [self.platform.aws_conn_id, *(self.conn_id_of(s, stage) for s in self.specs.values() for stage in stages)]
        yield from dict.fromkeys(ids)

    def hook_of(self, conn_id: str | None, region_name: str | None = None) -> SlipwayAwsHook:
        """Return the hook of a connection; in the connection's region when none is given."""
        if conn_id == self.aws_conn_id and region_name is None:
            return self.hook
        return SlipwayAwsHook(**{**self._hook_parameters, "aws_conn_id": conn_id, "region_name": region_name})
