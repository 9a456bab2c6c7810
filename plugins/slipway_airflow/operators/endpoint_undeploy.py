"""Take a service's endpoint away, with everything that it was made of."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.providers.amazon.aws.utils.mixins import aws_template_fields
from airflow.sdk.exceptions import AirflowSkipException

from slipway.alarms.removal import Found, delete_alarms, find_alarms
from slipway.endpoints.resource import describe, wait_until_gone
from slipway.endpoints.scaling import remove_scaling
from slipway.endpoints.settle import settled
from slipway.endpoints.traffic import instances_of
from slipway.errors import SlipwayError
from slipway.housekeeping.inventory import take_inventory
from slipway.housekeeping.removal import remove
from slipway.housekeeping.undeployment import find_undeployment, is_undeployed, require_idle
from slipway.registry import remove_alias
from slipway.transition import undeploy
from slipway_airflow.hooks.mlflow_registry import MlflowRegistryHook
from slipway_airflow.operators.promotion_begin import LEASE_SECONDS
from slipway_airflow.operators.promotion_finish import CHAMPION
from slipway_airflow.operators.stage import StageOperator
from slipway_airflow.task_run import TaskRun

if TYPE_CHECKING:
    from airflow.sdk import Context

    from slipway.housekeeping.inventory import Resource
    from slipway.housekeeping.undeployment import Undeployment

BOTH = "both"


class EndpointUndeployOperator(StageOperator):
    """Delete ``<service>-<stage>``: scaling, alarms, endpoint, endpoint configs, models; then the state says so.

    Refuses while a promotion is under way or another run holds the endpoint's lease, and leaves alone what does not
    have the service's tags or is referred to by anything else. Each deletion is in the ledger first, with the request
    that brings the thing back. A task that was killed goes on where it stopped.

    :param asked: The stage that the run is about: ``dev``, ``prod`` or ``both``; for another one the task is
        skipped. (templated)
    :param only_say: Whether to say only what would be deleted. (templated)
    :param mlflow_conn_id: The Airflow connection of MLflow. (templated, default: mlflow_default)
    :param spec: The service.
    :param stage: ``dev`` or ``prod``.
    :param platform: The installation.
    :param bucket_conn_id: The Airflow connection of the artifact bucket; ``aws_conn_id`` when None. (templated)
    :param aws_conn_id: The Airflow connection of the endpoint's account. (templated, default: aws_default)
    :param region_name: AWS region; the connection's when None. (templated)
    :param verify: Whether to verify TLS certificates, or the path of a CA bundle. (templated)
    :param botocore_config: Configuration of the botocore clients.
    :return: ``deleted``, or ``would_delete``, and ``kept``: lists of words.
    """

    template_fields = aws_template_fields("bucket_conn_id", "asked", "only_say", "mlflow_conn_id")

    def __init__(
        self,
        *,
        asked: Any = BOTH,
        only_say: Any = False,
        mlflow_conn_id: str = MlflowRegistryHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.asked = asked
        self.only_say = only_say
        self.mlflow_conn_id = mlflow_conn_id

    def execute(self, context: Context) -> dict[str, list[str]]:
        """Look, refuse, say or delete."""
        if self.asked not in (BOTH, self.stage):
            raise AirflowSkipException(f"This run is about {self.asked} alone.")
        run, state = TaskRun.of(context), self.bucket.states.read(self.endpoint)[0]
        require_idle(state)
        going = self._find()
        kept = [f"{_words(each)}: something else refers to it" for each in going.kept]
        if self.only_say:
            return {"would_delete": self._tell("Would delete", going), "kept": kept}
        if not going.resources and is_undeployed(state, run.holder):
            self.log.info("Nothing of %s is deployed.", self.endpoint)
            return {"deleted": [], "kept": kept}
        self.bucket.states.take_lease(self.endpoint, run.holder, purpose="undeploy", seconds=LEASE_SECONDS)
        try:
            require_idle(self.bucket.states.read(self.endpoint)[0])
            deleted = self._delete(run, going)
        except SlipwayError:
            self.bucket.states.release_lease(self.endpoint, run.holder)
            raise
        self.bucket.states.release_lease(self.endpoint, run.holder)
        return {"deleted": deleted, "kept": kept}

    def _find(self) -> Undeployment:
        inventory = take_inventory(self.hook.client("sagemaker"))
        return find_undeployment(inventory, self.spec.name, self.stage, self.endpoint)

    def _tell(self, what: str, going: Undeployment) -> list[str]:
        said = [*self._alarms()[1], *(_words(each) for each in going.resources)]
        for each in said or ["nothing: there is no endpoint, config or model"]:
            self.log.info("%s %s", what, each)
        return said

    def _delete(self, run: TaskRun, going: Undeployment) -> list[str]:
        self._stop_scaling()
        deleted = self._delete_alarms(run)
        for resource in going.resources:
            if resource.kind == "endpoint":
                self._wait_until_still()
            if self._delete_one(run, resource):
                deleted.append(_words(resource))
                self.log.info("Deleted %s", _words(resource))
            if resource.kind == "endpoint":
                wait_until_gone(self.hook.client("sagemaker"), resource.name, time.sleep)
        self._forget(run)
        return deleted

    def _stop_scaling(self) -> None:
        """A scalable target outlives its variant, and would scale the next one of that name."""
        found = describe(self.hook.client("sagemaker"), "endpoint", self.endpoint)
        for variant in instances_of(found) if found else ():
            remove_scaling(self.hook.client("application-autoscaling"), self.endpoint, variant)

    def _delete_alarms(self, run: TaskRun) -> list[str]:
        there, said = self._alarms()
        if said:
            self.bucket.note(self.spec.name, run, "deleted", f"alarms of {self.spec.name}", restore=there.restore)
            delete_alarms(self.hook.client("cloudwatch"), self.spec.name, there)
        return said

    def _alarms(self) -> tuple[Found, list[str]]:
        """What watches the service, and the same in words; nothing does in dev."""
        if self.stage != "prod":
            return Found((), None), []
        there = find_alarms(self.hook.client("cloudwatch"), self.spec.name)
        return there, [f"alarm {name}" for name in there.names] + (["the dashboard"] if there.dashboard else [])

    def _wait_until_still(self) -> None:
        """AWS refuses to delete an endpoint in the middle of a change."""
        sagemaker = self.hook.client("sagemaker")
        if describe(sagemaker, "endpoint", self.endpoint) is not None:
            settled(sagemaker, self.endpoint, time.sleep)

    def _delete_one(self, run: TaskRun, resource: Resource) -> bool:
        return remove(self.hook.client("sagemaker"), resource, lambda removal: self.note_removal(run, removal))

    def _forget(self, run: TaskRun) -> None:
        """Nobody is champion any more: in the state, in MLflow, in the ledger."""
        at = datetime.now(UTC)
        state = self.bucket.states.update(
            self.endpoint,
            lambda state: undeploy(state, run_id=run.run_id, at=at, by=run.user, reason=run.reason),
            holder=run.holder,
        )
        done = state.last_of(run.run_id)
        if done:
            self.bucket.note(self.spec.name, run, done.event, f"endpoint {self.endpoint}", release_id=done.release_id)
        if self.stage == "prod":
            remove_alias(MlflowRegistryHook(self.mlflow_conn_id).client, self.spec.model, CHAMPION)


def _words(resource: Resource) -> str:
    return f"{resource.kind} {resource.name}"
