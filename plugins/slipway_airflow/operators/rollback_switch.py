"""Give the previous champion the traffic, and later the endpoint for itself."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from airflow.providers.amazon.aws.utils.mixins import aws_template_fields

from slipway.endpoints.outcome import endpoint_outcome
from slipway.endpoints.resource import describe
from slipway.endpoints.restore import restore_config
from slipway.endpoints.scaling import ensure_scaling, remove_scaling
from slipway.endpoints.traffic import ensure_instances, ensure_weights, instances_of, require_all_traffic
from slipway.endpoints.two_variants import FULL_WEIGHT
from slipway.errors import EndpointMissingError, SupersededError
from slipway.state import Recorded, VariantShare
from slipway_airflow.operators.promotion_begin import LEASE_SECONDS
from slipway_airflow.operators.stage import StageOperator
from slipway_airflow.task_run import TaskRun

if TYPE_CHECKING:
    from airflow.sdk import Context

    from slipway.endpoints.outcome import Description
    from slipway.state import EndpointState


class RollbackOperator(StageOperator):
    """Base of the tasks that carry a rollback out.

    :param way: What :class:`RollbackBeginOperator` returned. (templated)
    :param spec: The service.
    :param platform: The installation.
    :param bucket_conn_id: The Airflow connection of the artifact bucket; ``aws_conn_id`` when None. (templated)
    :param aws_conn_id: The Airflow connection of the endpoint's account. (templated, default: aws_default)
    :param region_name: AWS region; the connection's when None. (templated)
    :param verify: Whether to verify TLS certificates, or the path of a CA bundle. (templated)
    :param botocore_config: Configuration of the botocore clients.
    """

    template_fields = aws_template_fields("bucket_conn_id", "way")

    def __init__(self, *, way: Any, **kwargs: Any) -> None:
        super().__init__(**{"stage": "prod", **kwargs})
        self.way = way

    def take_lease(self, run: TaskRun) -> None:
        """Prolong the lease of the rollback.

        :param run: The task's run.
        :raises SupersededError: its way is not that of the endpoint any more; the lease is given back.
        """
        self.bucket.states.take_lease(
            self.endpoint, run.holder, purpose=f"go back to release {self.way['release_id']}", seconds=LEASE_SECONDS
        )
        try:
            self.require_standing(run)
        except SupersededError:
            self.bucket.states.release_lease(self.endpoint, run.holder)
            raise

    def require_standing(self, run: TaskRun) -> None:
        """See that a way that was found some time ago does not lead past what has been promoted since.

        :param run: The task's run.
        :raises SupersededError: the champions are others.
        """
        state, _ = self.bucket.states.read(self.endpoint)
        champion, previous = (state.champion, state.previous) if state else (None, None)
        if champion and champion.run_id == run.run_id:
            return
        names = tuple(each.release_id if each else None for each in (champion, previous))
        if names != (self.way["champion"], self.way["release_id"]):
            raise SupersededError(
                f"{self.endpoint}: the champion is {names[0]} and the one before it {names[1]}; this rollback was "
                f"begun to go from {self.way['champion']} to {self.way['release_id']}. Nothing was changed; start "
                "another one."
            )

    def found(self) -> Description:
        """Describe the endpoint.

        :raises EndpointMissingError: it is gone.
        """
        found = describe(self.hook.client("sagemaker"), "endpoint", self.endpoint)
        if found is None:
            raise EndpointMissingError(f"{self.endpoint} was deleted in the middle of its rollback.")
        return found

    def require_traffic(self) -> Description:
        """Describe the endpoint, whose traffic goes to the previous champion alone.

        :raises EndpointBusyError: it goes elsewhere.
        """
        found = self.found()
        require_all_traffic(found, self.way["variant"], "Somebody else changes it: run the task `switch` again.")
        return found

    def serve_alone(self) -> bool:
        """Bring the endpoint to the config of the previous champion alone; the variants that leave stop scaling.

        :return: Whether anything had to be changed.
        """
        scaling, variant = self.hook.client("application-autoscaling"), self.way["variant"]
        for other in instances_of(self.found()):
            if other != variant:
                remove_scaling(scaling, self.endpoint, other)
        share = VariantShare(weight=1.0, instances=self.way["instances"])
        recorded = Recorded(config_name=self.way["config_name"], variants={variant: share})
        return restore_config(self.hook.client("sagemaker"), self.endpoint, recorded)


class RollbackSwitchOperator(RollbackOperator):
    """Give the previous champion all traffic: by weight where it is warm, else by its endpoint config.

    Done only when it is read back: the endpoint is in service, on the wanted config or weights.

    :return: ``route``, ``seconds`` until all traffic was on the previous champion, ``config_name`` that serves it.
    """

    def execute(self, context: Context) -> dict[str, Any]:
        """Switch, read back."""
        self.take_lease(TaskRun.of(context))
        began = time.monotonic()
        if self.way["route"] == "warm":
            self._by_weight()
        else:
            self.serve_alone()
        seconds = round(time.monotonic() - began, 3)
        config_name = self._read_back()
        self.log.info("All traffic is on release %s after %.1f s.", self.way["release_id"], seconds)
        return {"route": self.way["route"], "seconds": seconds, "config_name": config_name}

    def _by_weight(self) -> None:
        sagemaker, found, variant = self.hook.client("sagemaker"), self.found(), self.way["variant"]
        weights = {name: FULL_WEIGHT if name == variant else 0.0 for name in instances_of(found)}
        ensure_weights(sagemaker, self.endpoint, weights, config_name=found["EndpointConfigName"])
        ensure_instances(sagemaker, self.endpoint, variant, self.way["instances"])

    def _read_back(self) -> str:
        found = self.found()
        config_name = str(found["EndpointConfigName"])
        wanted = config_name if self.way["route"] == "warm" else self.way["config_name"]
        endpoint_outcome(found, wanted).raise_if_failed()
        self.require_traffic()
        return config_name


class RollbackSettleOperator(RollbackOperator):
    """Let the previous champion have the endpoint for itself, and scale as the spec says.

    After a way back by config there is only the scaling left to set.

    :return: ``config_name``.
    """

    def execute(self, context: Context) -> dict[str, Any]:
        """Serve alone, scale, record the config."""
        run = TaskRun.of(context)
        self.take_lease(run)
        changed = self.serve_alone()
        config_name = self.way["config_name"]
        if changed:
            self.bucket.note(
                self.spec.name, run, "updated", f"endpoint {self.endpoint}", config_name=config_name, cause="rollback"
            )
        self.bucket.states.update(self.endpoint, lambda state: _on_config(state, run.run_id, config_name))
        scaling = self.hook.client("application-autoscaling")
        ensure_scaling(scaling, self.endpoint, self.way["variant"], self.spec.stage("prod").instances)
        return {"config_name": config_name}

    def require_standing(self, run: TaskRun) -> None:
        """See that the previous champion is the champion by this run, as the task before has written down."""
        state, _ = self.bucket.states.read(self.endpoint)
        champion = state.champion if state else None
        if champion is None or champion.run_id != run.run_id:
            raise SupersededError(
                f"{self.endpoint}: release {self.way['release_id']} is not the champion by this run"
                f"{f'; {champion.release_id} is, by {champion.run_id}' if champion else ''}. Nothing was changed."
            )


def _on_config(state: EndpointState, run_id: str, config_name: str) -> EndpointState:
    if state.champion is None or state.champion.run_id != run_id:
        return state
    return state.model_copy(update={"champion": state.champion.model_copy(update={"config_name": config_name})})
