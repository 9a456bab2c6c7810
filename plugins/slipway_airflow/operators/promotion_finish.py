"""The last task of a promotion: the challenger is the champion now."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.providers.amazon.aws.utils.mixins import aws_template_fields

from slipway.canary.alarm import remove_alarm
from slipway.canary.progress import find_step
from slipway.endpoints.outcome import endpoint_outcome
from slipway.endpoints.requests import variant_name
from slipway.endpoints.resource import describe
from slipway.endpoints.settle import keeps_its_config, settled
from slipway.endpoints.traffic import require_all_traffic
from slipway.errors import CanaryFailedError, EndpointBusyError
from slipway.registry import set_alias_if_changed
from slipway.transition import promote
from slipway_airflow.hooks.mlflow_registry import MlflowRegistryHook
from slipway_airflow.operators.canary import PromotionView
from slipway_airflow.operators.stage import StageOperator
from slipway_airflow.task_run import TaskRun

if TYPE_CHECKING:
    from airflow.sdk import Context

    from slipway.state import EndpointState, Promotion

CHAMPION = "champion"


class PromotionFinishOperator(StageOperator):
    """Record the new champion: in the state, as MLflow's alias ``champion``, in the ledger; give the lease back.

    The state comes first: from there on nothing is rolled back any more. The task may then still
    fail, with MLflow down for instance, and be cleared; it does what is left to do, whatever the endpoint
    has come to since.

    :param config_name: The endpoint config that serves the release alone. (templated)
    :param mlflow_conn_id: The Airflow connection of MLflow. (templated, default: mlflow_default)
    :param spec: The service.
    :param platform: The installation.
    :param bucket_conn_id: The Airflow connection of the artifact bucket; ``aws_conn_id`` when None. (templated)
    :param aws_conn_id: The Airflow connection of the endpoint's account. (templated, default: aws_default)
    :param region_name: AWS region; the connection's when None. (templated)
    :param verify: Whether to verify TLS certificates, or the path of a CA bundle. (templated)
    :param botocore_config: Configuration of the botocore clients.
    :return: ``release_id``, ``model_version``, ``config_name``.
    """

    template_fields = aws_template_fields("bucket_conn_id", "config_name", "mlflow_conn_id")

    def __init__(
        self, *, config_name: str, mlflow_conn_id: str = MlflowRegistryHook.default_conn_name, **kwargs: Any
    ) -> None:
        super().__init__(**{"stage": "prod", **kwargs})
        self.config_name = config_name
        self.mlflow_conn_id = mlflow_conn_id

    def execute(self, context: Context) -> dict[str, Any]:
        """Check once more what the endpoint serves, then record it."""
        run = TaskRun.of(context)
        state, _ = self.bucket.states.read(self.endpoint)
        if state is None or state.champion is None or state.champion.run_id != run.run_id:
            state = self._promote(run)
        champion = state.champion
        if champion is None:
            raise EndpointBusyError(f"{self.endpoint}: the champion was removed from the state meanwhile.")
        self.bucket.note(
            self.spec.name,
            run,
            "promoted",
            f"release {champion.release_id}",
            endpoint=self.endpoint,
            previous=state.previous.release_id if state.previous else None,
        )
        self._point_alias(run, champion.model_version)
        self.bucket.states.release_lease(self.endpoint, run.holder)
        self.log.info("Release %s is the champion of %s.", champion.release_id, self.endpoint)
        return {
            "release_id": champion.release_id,
            "model_version": champion.model_version,
            "config_name": champion.config_name,
        }

    def _promote(self, run: TaskRun) -> EndpointState:
        """Record it in the state, when the endpoint serves it and nobody else changes that."""
        view = PromotionView(self.bucket, self.spec, run)
        promotion = view.promotion()
        view.refuse_after_abort()
        self._require_serving(promotion)
        self._require_passes(promotion)
        remove_alarm(self.hook.client("cloudwatch"), promotion.alarm)  # while the state still names it
        now = datetime.now(UTC)
        try:
            return self.bucket.states.update(
                self.endpoint,
                lambda state: promote(state, run_id=run.run_id, config_name=self.config_name, at=now, by=run.user),
                holder=run.holder,
            )
        except CanaryFailedError:
            view.refuse_after_abort()  # it was said a moment ago: the teardown is to know who did
            raise

    def _require_serving(self, promotion: Promotion) -> None:
        sagemaker = self.hook.client("sagemaker")
        found = describe(sagemaker, "endpoint", self.endpoint)
        if found and found["EndpointConfigName"] == self.config_name and keeps_its_config(found):
            self.log.info("%s is %s on its config; waiting for that.", self.endpoint, found["EndpointStatus"])
            found = settled(sagemaker, self.endpoint, time.sleep)
        outcome = endpoint_outcome(found, self.config_name)
        outcome.raise_if_failed()
        if outcome.pending:
            raise EndpointBusyError(f"{outcome.message} Somebody else changes it; the promotion is not finished.")
        if found is not None:
            plan, strategy = promotion.plan, self.spec.promote.strategy
            variant = plan.challenger if plan else variant_name(strategy, promotion.release_id)
            require_all_traffic(found, variant, "Somebody else changes it; the promotion is not finished.")

    def _require_passes(self, promotion: Promotion) -> None:
        """A canary finishes only when each planned step, and the bake at 100 %, passed or was let go on."""
        if promotion.plan is None:
            return
        missing: list[int | str] = list(promotion.plan.missing_passes(promotion.steps))
        bake = find_step(promotion.steps, len(promotion.plan.weights_pct) + 1)
        if bake is None or not bake.may_go_on:
            missing.append("the bake at 100 %")
        if missing:
            raise CanaryFailedError(
                f"Release {promotion.release_id} cannot become the champion of {self.endpoint}: without a pass are "
                f"{', '.join(f'step {one}' if isinstance(one, int) else one for one in missing)}."
            )

    def _point_alias(self, run: TaskRun, version: int) -> None:
        client = MlflowRegistryHook(self.mlflow_conn_id).client
        if set_alias_if_changed(client, self.spec.model, CHAMPION, version):
            self.bucket.note(
                self.spec.name, run, "pointed", f"alias {CHAMPION}", model=self.spec.model, version=version
            )
