"""The previous champion is the champion again: write it down everywhere."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.providers.amazon.aws.utils.mixins import aws_template_fields

from slipway.registry import set_alias_if_changed
from slipway.state import WayTaken
from slipway.transition import go_back
from slipway_airflow.hooks.mlflow_registry import MlflowRegistryHook
from slipway_airflow.operators.promotion_finish import CHAMPION
from slipway_airflow.operators.rollback_switch import RollbackOperator
from slipway_airflow.operators.stage import StageOperator
from slipway_airflow.task_run import TaskRun

if TYPE_CHECKING:
    from airflow.sdk import Context


class RollbackRecordOperator(RollbackOperator):
    """Record the champion: in the state, in the ledger with the user's name, as MLflow's alias ``champion``.

    Once it is in the state, the task may be cleared alone: the rest of it needs no lease.

    Takes what :class:`RollbackOperator` takes.

    :param switched: What :class:`RollbackSwitchOperator` returned. (templated)
    :param mlflow_conn_id: The Airflow connection of MLflow. (templated, default: mlflow_default)
    :return: ``release_id``, ``model_version``, ``config_name``.
    """

    template_fields = aws_template_fields("bucket_conn_id", "way", "switched", "mlflow_conn_id")

    def __init__(
        self, *, switched: Any, mlflow_conn_id: str = MlflowRegistryHook.default_conn_name, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.switched = switched
        self.mlflow_conn_id = mlflow_conn_id

    def execute(self, context: Context) -> dict[str, Any]:
        """Record it; the state first, since it is what serves."""
        run, way, config_name = TaskRun.of(context), self.way, self.switched["config_name"]
        state, _ = self.bucket.states.read(self.endpoint)
        if state is None or state.champion is None or state.champion.run_id != run.run_id:
            self._go_back(run, config_name)
        self.bucket.note(
            self.spec.name,
            run,
            "rolled_back",
            f"release {way['champion']}",
            endpoint=self.endpoint,
            route=way["route"],
            restored=way["release_id"],
            restored_config=config_name,
            seconds_to_champion=self.switched["seconds"],
        )
        client = MlflowRegistryHook(self.mlflow_conn_id).client
        version = way["model_version"]
        if set_alias_if_changed(client, self.spec.model, CHAMPION, version):
            self.bucket.note(
                self.spec.name, run, "pointed", f"alias {CHAMPION}", model=self.spec.model, version=version
            )
        return {"release_id": way["release_id"], "model_version": version, "config_name": config_name}

    def _go_back(self, run: TaskRun, config_name: str) -> None:
        """Write the state; the lease that ``give_back`` gave back meanwhile is taken for that long."""
        way, now = self.way, datetime.now(UTC)
        state, _ = self.bucket.states.read(self.endpoint)
        held = state is not None and state.lease is not None and state.lease.holder == run.holder
        self.take_lease(run)
        taken = WayTaken(**{name: way[name] for name in WayTaken.model_fields})
        try:
            self.require_traffic()
            self.bucket.states.update(
                self.endpoint,
                lambda state: go_back(
                    state, run_id=run.run_id, config_name=config_name, at=now, by=run.user, reason=run.reason, way=taken
                ),
                holder=run.holder,
            )
        finally:
            if not held:
                self.bucket.states.release_lease(self.endpoint, run.holder)


class LeaseReleaseOperator(StageOperator):
    """Give the lease of the production endpoint back, however the run went.

    Meant as teardown of the task that took it.

    :param spec: The service.
    :param platform: The installation.
    :param bucket_conn_id: The Airflow connection of the artifact bucket; ``aws_conn_id`` when None. (templated)
    :param aws_conn_id: The Airflow connection of the endpoint's account. (templated, default: aws_default)
    :param region_name: AWS region; the connection's when None. (templated)
    :param verify: Whether to verify TLS certificates, or the path of a CA bundle. (templated)
    :param botocore_config: Configuration of the botocore clients.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"stage": "prod", **kwargs})

    def execute(self, context: Context) -> None:
        """Give it back."""
        self.bucket.states.release_lease(self.endpoint, TaskRun.of(context).holder)
