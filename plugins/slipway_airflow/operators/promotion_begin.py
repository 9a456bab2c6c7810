"""The first task of a promotion: what is there to promote, and what is the way back?"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.providers.amazon.aws.utils.mixins import aws_template_fields
from airflow.sdk.exceptions import AirflowSkipException

from slipway.aws_errors import aws_call
from slipway.canary.plan import CanaryPlan
from slipway.endpoints.resource import describe
from slipway.endpoints.restore import ensure_solo_config, recorded_from
from slipway.endpoints.two_variants import challenger_variant_name, champion_variant_name
from slipway.errors import EndpointBusyError, EndpointFailedError, SlipwayError, SupersededError
from slipway.state import EndpointState, Place, Promotion, Recorded
from slipway.transition import begin, refuse_second_promotion
from slipway_airflow.operators.stage import StageOperator
from slipway_airflow.task_run import TaskRun

if TYPE_CHECKING:
    from airflow.sdk import Context

    from slipway.state import Serving

FIRST_LAUNCH = "first_launch"
ALL_AT_ONCE = "all_at_once"
CANARY = "canary"
LEASE_SECONDS = 3 * 3600.0


class PromotionBeginOperator(StageOperator):
    """Take the newest approved release, the lease of the production endpoint, and note the way back.

    Skips when nothing waits. What the endpoint serves now is written into its state before anything
    is changed; :class:`PromotionRollBackOperator` brings it back from there.

    Airflow runs this task again with each later one that is cleared "downstream", and skips all of them
    when it skips. So in a run whose release is the champion it says the same as before, and takes the
    lease again; a run whose promotion ended otherwise is refused, whatever waits now.

    :param weights_pct: Weights of the spec's plan that this run keeps; None keeps all. (templated)
    :param spec: The service.
    :param platform: The installation.
    :param bucket_conn_id: The Airflow connection of the artifact bucket; ``aws_conn_id`` when None. (templated)
    :param aws_conn_id: The Airflow connection of the endpoint's account. (templated, default: aws_default)
    :param region_name: AWS region; the connection's when None. (templated)
    :param verify: Whether to verify TLS certificates, or the path of a CA bundle. (templated)
    :param botocore_config: Configuration of the botocore clients.
    :return: ``release_id``, ``model_version``, ``strategy``, ``recorded_config`` (None before a first launch).
    """

    template_fields = aws_template_fields("bucket_conn_id", "weights_pct")

    def __init__(self, *, weights_pct: list[float] | None = None, **kwargs: Any) -> None:
        super().__init__(**{"stage": "prod", **kwargs})
        self.weights_pct = weights_pct

    def execute(self, context: Context) -> dict[str, Any]:
        """Begin, or skip."""
        run = TaskRun.of(context)
        state, _ = self.bucket.states.read(self.endpoint)
        if state and state.champion and state.champion.run_id == run.run_id:
            return self._take_up_again(run, state, state.champion)
        if reason := _nothing_to_do(state, run):
            raise AirflowSkipException(f"{self.endpoint}: {reason}.")
        granted = self.bucket.states.take_lease(
            self.endpoint, run.holder, purpose=f"promote a release of {self.spec.name}", seconds=LEASE_SECONDS
        )
        if granted.taken_from:
            self.log.warning("The lease of %s had run out and was taken over.", granted.taken_from.holder)
        try:
            promotion = self._begin(run)
        except SlipwayError:
            self.bucket.states.release_lease(self.endpoint, run.holder)
            raise
        self.log.info("Release %s, %s; the way back: %s", promotion.release_id, promotion.strategy, promotion.recorded)
        return {
            "release_id": promotion.release_id,
            "model_version": promotion.model_version,
            "strategy": promotion.strategy,
            "recorded_config": promotion.recorded.config_name if promotion.recorded else None,
        }

    def _take_up_again(self, run: TaskRun, state: EndpointState, champion: Serving) -> dict[str, Any]:
        """Let the tasks behind it do what is left to do after the champion was recorded."""
        if state.promotion:
            raise EndpointBusyError(
                f"{self.endpoint}: release {champion.release_id} of this run is the champion, and "
                f"{state.promotion.run_id} promotes release "
                f"{state.promotion.release_id} beside it. Clear the task again when that has ended."
            )
        purpose = f"finish the promotion of release {champion.release_id}"
        self.bucket.states.take_lease(self.endpoint, run.holder, purpose=purpose, seconds=LEASE_SECONDS)
        begun, previous = state.begun_by(run.run_id), state.previous
        self.log.info(
            "Release %s of this run is the champion: only what comes after that is left.", champion.release_id
        )
        return {
            "release_id": champion.release_id,
            "model_version": champion.model_version,
            "strategy": begun.reason if begun else "",
            "recorded_config": previous.config_name if previous else None,
        }

    def _begin(self, run: TaskRun) -> Promotion:
        recorded, now = self._way_back(run), datetime.now(UTC)
        place = self._place() if recorded else None

        def change(state: EndpointState) -> EndpointState:
            if state.promotion and state.promotion.run_id == run.run_id:
                return state
            if state.approved is None:
                raise SupersededError(f"{self.endpoint}: the release that waited has been taken by another run.")
            plan = self._plan(state.approved.release_id, recorded)
            promotion = Promotion(
                run_id=run.run_id,
                release_id=state.approved.release_id,
                model_version=state.approved.model_version,
                strategy=self._strategy(recorded),
                begun_at=now,
                plan=plan,
                recorded=recorded,
                place=place,
            )
            return begin(state, promotion, by=run.user)

        promotion = self.bucket.states.update(self.endpoint, change, holder=run.holder).promotion
        if promotion is None:
            raise SupersededError(f"{self.endpoint}: the promotion of {run.run_id} was ended by somebody else.")
        self.bucket.note(
            self.spec.name, run, "began", f"promotion of release {promotion.release_id}", strategy=promotion.strategy
        )
        return promotion

    def _strategy(self, recorded: Recorded | None) -> str:
        if recorded is None:
            return FIRST_LAUNCH
        return CANARY if self.spec.promote.strategy == "canary" else ALL_AT_ONCE

    def _plan(self, release_id: str, recorded: Recorded | None) -> CanaryPlan | None:
        """Freeze the plan: later tasks read it from the state, whatever becomes of the spec."""
        if recorded is None or self._strategy(recorded) != CANARY:
            return None
        promote, champion = self.spec.promote, champion_variant_name(self.endpoint, recorded)
        plan = CanaryPlan(
            challenger=challenger_variant_name(self.spec, release_id, champion),
            champion=champion,
            weights_pct=promote.weights_pct,
            bake_seconds=promote.bake_minutes * 60,
            max_hold_seconds=promote.max_hold_hours * 3600,
            alpha=promote.alpha,
            source=promote.metrics.source,
            outcomes=promote.metrics.wrong is not None,
        )
        return plan.shortened(self.weights_pct) if self.weights_pct else plan

    def _way_back(self, run: TaskRun) -> Recorded | None:
        """What serves now, alone: a release that stands beside it at weight 0 may have the weight in the config."""
        state, _ = self.bucket.states.read(self.endpoint)
        if state and state.promotion and state.promotion.run_id == run.run_id:
            return state.promotion.recorded
        recorded = self._recorded()
        if recorded is None or len(recorded.variants) == 1:
            return recorded
        sagemaker, champion = self.hook.client("sagemaker"), champion_variant_name(self.endpoint, recorded)
        with aws_call(f"read endpoint config {recorded.config_name}"):
            config = sagemaker.describe_endpoint_config(EndpointConfigName=recorded.config_name)
        share = recorded.variants[champion]
        alone = ensure_solo_config(sagemaker, self.spec.name, config, champion, share.instances)
        return Recorded(config_name=alone, variants={champion: share})

    def _recorded(self) -> Recorded | None:
        description = describe(self.hook.client("sagemaker"), "endpoint", self.endpoint)
        if description is None or description["EndpointStatus"] != "Failed":
            return recorded_from(description)
        state, _ = self.bucket.states.read(self.endpoint)
        if state and state.champion:
            raise EndpointFailedError(
                f"{self.endpoint} has failed while release {state.champion.release_id} was its champion. SageMaker can "
                "only delete it; delete it by hand, then promote again."
            )
        return None

    def _place(self) -> Place | None:
        """Note how the endpoint is reached: housekeeping needs it when the spec is gone."""
        found = describe(self.hook.client("sagemaker"), "endpoint", self.endpoint)
        if found is None:
            return None
        _, _, _, region_name, account_id, _ = str(found["EndpointArn"]).split(":", 5)
        return Place(aws_conn_id=self.aws_conn_id, account_id=account_id, region_name=region_name)


def _nothing_to_do(state: EndpointState | None, run: TaskRun) -> str | None:
    if state and state.promotion and state.promotion.run_id == run.run_id:
        return None
    if state:
        refuse_second_promotion(state, run.run_id)
    if state is None or state.approved is None:
        return "no approved release waits for its promotion"
    return None
