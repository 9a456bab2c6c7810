"""The first task of a rollback: is there a way back, and how long does it take?"""

from __future__ import annotations

from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from slipway.endpoints.previous import WayBack, find_way_back, is_solo, previous_champion
from slipway.endpoints.resource import describe
from slipway.endpoints.restore import ensure_solo_config
from slipway.errors import SlipwayError, SupersededError
from slipway.transition import refuse_second_rollback
from slipway_airflow.operators.promotion_begin import LEASE_SECONDS
from slipway_airflow.operators.stage import StageOperator
from slipway_airflow.task_run import TaskRun

if TYPE_CHECKING:
    from airflow.sdk import Context

    from slipway.state import Serving

TAKES = {"warm": "seconds: it still stands on the endpoint", "config": "minutes: its instances have to start"}


class RollbackBeginOperator(StageOperator):
    """Find the way back to the previous champion, and take the lease of the production endpoint.

    Refuses while a promotion is under way, when there is no previous champion, and when its time of
    ``promote.keep_previous_days`` is up. Nothing that serves is changed here.

    Airflow runs this task again with each later one that is cleared "downstream", and skips all of them
    when it skips. So a run that has gone back is given the way that it went, and the lease again.

    :param spec: The service.
    :param platform: The installation.
    :param bucket_conn_id: The Airflow connection of the artifact bucket; ``aws_conn_id`` when None. (templated)
    :param aws_conn_id: The Airflow connection of the endpoint's account. (templated, default: aws_default)
    :param region_name: AWS region; the connection's when None. (templated)
    :param verify: Whether to verify TLS certificates, or the path of a CA bundle. (templated)
    :param botocore_config: Configuration of the botocore clients.
    :return: The fields of :class:`slipway.endpoints.previous.WayBack`, and ``champion``: the release that
        has the traffic now. ``config_name`` is the config that serves the previous champion alone.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"stage": "prod", **kwargs})

    def execute(self, context: Context) -> dict[str, Any]:
        """Find the way, or refuse."""
        run = TaskRun.of(context)
        state, _ = self.bucket.states.read(self.endpoint)
        if state and state.champion and state.champion.run_id == run.run_id:
            return self._take_up_again(run, state.champion)
        if state:
            refuse_second_rollback(state, run.run_id)
        now, keep_days = datetime.now(UTC), self.spec.promote.keep_previous_days
        previous = previous_champion(state, self.endpoint, now=now, keep_days=keep_days)
        self.bucket.states.take_lease(
            self.endpoint, run.holder, purpose=f"go back to release {previous.release_id}", seconds=LEASE_SECONDS
        )
        try:
            way = self._way(previous)
        except SlipwayError:
            self.bucket.states.release_lease(self.endpoint, run.holder)
            raise
        champion = state.champion.release_id if state and state.champion else None
        self.log.info("Back to release %s (%s): %s", way.release_id, way.route, TAKES[way.route])
        self.bucket.note(
            self.spec.name, run, "began", f"rollback to release {way.release_id}", route=way.route, champion=champion
        )
        return _as_xcom(way, champion)

    def _take_up_again(self, run: TaskRun, champion: Serving) -> dict[str, Any]:
        """Let the tasks behind it do what is left to do after the champion was recorded."""
        taken = champion.way
        if taken is None:
            raise SupersededError(
                f"{self.endpoint}: this run has gone back to release {champion.release_id}, by a Slipway that did not "
                "keep the way. See `slipway status` for who has the traffic."
            )
        self.bucket.states.take_lease(
            self.endpoint, run.holder, purpose=f"go back to release {champion.release_id}", seconds=LEASE_SECONDS
        )
        self.log.info("Release %s is the champion again: only what comes after that is left.", champion.release_id)
        way = WayBack(
            route=taken.route,
            release_id=champion.release_id,
            model_version=champion.model_version,
            variant=taken.variant,
            config_name=taken.config_name,
            instances=taken.instances,
            leaving=taken.leaving,
        )
        return _as_xcom(way, taken.champion)

    def _way(self, previous: Serving) -> WayBack:
        """Choose the way; its config is made here when the recorded one would not serve it alone, or too small."""
        sagemaker = self.hook.client("sagemaker")
        config = describe(sagemaker, "endpoint config", previous.config_name)
        way = find_way_back(previous, describe(sagemaker, "endpoint", self.endpoint), config)
        if config is None or is_solo(config, way):
            return way
        alone = ensure_solo_config(sagemaker, self.spec.name, config, way.variant, way.instances)
        return replace(way, config_name=alone)


def _as_xcom(way: WayBack, champion: str | None) -> dict[str, Any]:
    return {**asdict(way), "leaving": list(way.leaving), "champion": champion}
