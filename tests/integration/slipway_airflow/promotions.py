"""Promotions, task by task, as ``<service>.promote`` runs them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from slipway.errors import SlipwayError
from slipway.platform import Platform
from slipway.release import Release
from slipway.spec import ServiceSpec
from slipway.state import Approval
from slipway.transition import approve
from slipway_airflow.operators.endpoint_verify import EndpointVerifyOperator
from slipway_airflow.operators.promotion_begin import PromotionBeginOperator
from slipway_airflow.operators.promotion_finish import PromotionFinishOperator
from slipway_airflow.operators.promotion_launch import PromotionLaunchOperator
from slipway_airflow.operators.promotion_roll_back import PromotionRollBackOperator
from tests.integration.slipway_airflow.conftest import Service


@dataclass
class Promotion:
    """One run of ``<service>.promote``, task by task."""

    service: Service
    platform: Platform
    context: Callable[..., Any]
    run_id: str = "promote_1"
    spec: ServiceSpec | None = None

    def make(self, kind: Any, task_id: str, **fields: Any) -> Any:
        return kind(task_id=task_id, spec=self.spec or self.service.spec, platform=self.platform, **fields)

    def begin(self) -> dict[str, Any]:
        return dict(self.make(PromotionBeginOperator, "record").execute(self.context("record", run_id=self.run_id)))

    def launch(self, release_id: str) -> dict[str, Any]:
        operator = self.make(PromotionLaunchOperator, "launch", release_id=release_id, waiter_delay=1)
        return dict(operator.execute(self.context("launch", run_id=self.run_id)))

    def verify(self, release_id: str) -> None:
        operator = self.make(EndpointVerifyOperator, "verify", release_id=release_id, stage="prod")
        operator.execute(self.context("verify", run_id=self.run_id))

    def finish(self, config_name: str) -> dict[str, Any]:
        operator = self.make(PromotionFinishOperator, "finish", config_name=config_name)
        return dict(operator.execute(self.context("finish", run_id=self.run_id)))

    def roll_back(self, ended: dict[str, str] | None = None, **states: str) -> dict[str, Any]:
        running = self.context("roll_back", run_id=self.run_id, states=states, ended=ended)
        return dict(self.make(PromotionRollBackOperator, "roll_back").execute(running))

    def run(self) -> dict[str, Any]:
        """All tasks as the DAG orders them; the teardown runs in any case."""
        release_id = self.begin()["release_id"]
        try:
            config_name = self.launch(release_id)["config_name"]
            self.verify(release_id)
            self.finish(config_name)
        except SlipwayError:
            self.roll_back(launch="failed")
            raise
        return self.roll_back()


def approved(service: Service, number: int, **how: Any) -> Release:
    release = service.release(number, **how)
    approval = Approval(
        release_id=release.id,
        model_version=number,
        by="ann",
        at=datetime.now(UTC) - timedelta(minutes=10 - number),
        run_id=f"deploy_{number}",
    )
    service.states.update(f"{service.spec.name}-prod", lambda state: approve(state, approval))
    return release
