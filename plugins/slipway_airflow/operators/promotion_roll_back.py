"""The teardown of a promotion: back to what was recorded, unless it was finished."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from slipway.canary.alarm import remove_alarm
from slipway.endpoints.removal import read_launch, remove_endpoint
from slipway.endpoints.scaling import ensure_scaling
from slipway.endpoints.way_back import take_back
from slipway.errors import EndpointMissingError
from slipway.transition import give_up
from slipway_airflow.listeners.run_ended import ended_by
from slipway_airflow.listeners.run_note import WHY_KEY
from slipway_airflow.operators.promotion_begin import LEASE_SECONDS
from slipway_airflow.operators.stage import StageOperator
from slipway_airflow.task_run import TaskRun

if TYPE_CHECKING:
    from airflow.sdk import Context

    from slipway.endpoints.requests import WantedEndpoint
    from slipway.state import Promotion


class PromotionRollBackOperator(StageOperator):
    """Put the production endpoint back to what the promotion recorded, and give the lease back.

    Does nothing when the promotion was finished or never began. A first launch, which has nothing to
    go back to, is removed; what would bring it back is in the ledger. Meant as teardown of
    :class:`PromotionBeginOperator`: it then also runs when somebody marks the run failed.

    :param instance_type: What the launch was given, so that its own endpoint config is recognised. (templated)
    :param instance_count: The same. (templated)
    :param spec: The service.
    :param platform: The installation.
    :param bucket_conn_id: The Airflow connection of the artifact bucket; ``aws_conn_id`` when None. (templated)
    :param aws_conn_id: The Airflow connection of the endpoint's account. (templated, default: aws_default)
    :param region_name: AWS region; the connection's when None. (templated)
    :param verify: Whether to verify TLS certificates, or the path of a CA bundle. (templated)
    :param botocore_config: Configuration of the botocore clients.
    :return: ``rolled_back`` (the release, or None), ``restored_config`` (None when the endpoint was removed),
        ``undone_because`` (what becomes the run's note; empty when there was nothing to undo).
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"stage": "prod", **kwargs})

    def execute(self, context: Context) -> dict[str, Any]:
        """Roll back what this run began and did not finish."""
        by, run = ended_by(context), TaskRun.of(context)
        state, _ = self.bucket.states.read(self.endpoint)
        promotion = state.promotion if state else None
        restored = None
        if promotion is None or promotion.run_id != run.run_id:
            self.log.info("Nothing to roll back: this run has no promotion of %s under way.", self.endpoint)
            promotion = None
        else:
            reason = f"the run was marked as failed by {by}" if by else _failed_tasks(context, run)
            if promotion.stopped_because:
                reason = f"{reason}; {promotion.stopped_because}"
            restored = self._roll_back(promotion, replace(run, user=by) if by else run, reason)
        self.bucket.states.release_lease(self.endpoint, run.holder)
        back = promotion.release_id if promotion else None
        return {"rolled_back": back, "restored_config": restored, WHY_KEY: self._why(run)}

    def _why(self, run: TaskRun) -> str:
        """Say from the history why this run's release is gone: an earlier try, or housekeeping, may have done it."""
        state, _ = self.bucket.states.read(self.endpoint)
        entry = state.last_of(run.run_id) if state else None
        if entry is None or entry.event != "rolled_back":
            return ""
        return f"Release {entry.release_id} was rolled back: {entry.reason}."

    def _roll_back(self, promotion: Promotion, run: TaskRun, reason: str) -> str | None:
        self.bucket.states.take_lease(
            self.endpoint, run.holder, purpose=f"roll back release {promotion.release_id}", seconds=LEASE_SECONDS
        )
        sagemaker = self.hook.client("sagemaker")
        back_at, restored = None, promotion.recorded.config_name if promotion.recorded else None
        if promotion.recorded:
            scaling = self.hook.client("application-autoscaling")
            try:
                back_at = take_back(sagemaker, scaling, self.endpoint, promotion, promotion.recorded)
                for variant in promotion.recorded.variants:
                    ensure_scaling(scaling, self.endpoint, variant, self.spec.stage("prod").instances)
            except EndpointMissingError as error:
                # Somebody deleted it: nothing serves, nothing can be put back. The promotion ends all the same, or
                # no other one could ever launch the endpoint anew.
                self.log.error("%s", error)
                restored, reason = None, f"{reason}; {error}"
        else:
            remove_endpoint(sagemaker, *self._launches(promotion), record=partial(self.note_removal, run))
        remove_alarm(self.hook.client("cloudwatch"), promotion.alarm)
        self.bucket.note(
            self.spec.name,
            run,
            "rolled_back",
            f"release {promotion.release_id}",
            endpoint=self.endpoint,
            cause=reason,
            restored_config=restored,
            traffic_back_at=back_at.isoformat() if back_at else None,
        )
        now = datetime.now(UTC)
        self.bucket.states.update(
            self.endpoint,
            lambda state: give_up(state, run_id=run.run_id, at=now, by=run.user, reason=reason),
            holder=run.holder,
        )
        self.log.warning("Release %s was rolled back (%s); %s", promotion.release_id, reason, _standing(restored))
        return restored

    def _launches(self, promotion: Promotion) -> list[WantedEndpoint]:
        """Return what the run asked for: as the spec has it, or as it stands in AWS when the spec was edited since."""
        wanted = self.wanted_for(self.bucket.release(self.spec.name, promotion.release_id))
        others = [name for name in promotion.launched if name != wanted.config_name]
        sagemaker = self.hook.client("sagemaker")
        edited = [read_launch(sagemaker, self.endpoint, name) for name in others]
        return edited if edited and wanted.config_name not in promotion.launched else [*edited, wanted]


def _standing(restored: str | None) -> str:
    return f"the endpoint serves {restored} again" if restored else "there is no endpoint any more"


def _failed_tasks(context: Context, run: TaskRun) -> str:
    """Name the tasks whose failure led here; none when they were skipped from outside."""
    states = context["ti"].get_task_states(dag_id=run.dag_id, run_ids=[run.run_id]).get(run.run_id, {})
    failed = sorted(task for task, state in states.items() if state == "failed")
    return f"failed: {', '.join(failed)}" if failed else "the run was ended before it was finished"
