"""Watch a step of a canary until it is decided."""

from __future__ import annotations

import time
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk import conf

from slipway import errors
from slipway.canary.asking import question_text
from slipway.canary.evaluation import StepRules
from slipway.canary.metric_source import WRONG
from slipway.canary.policy import judge_policies
from slipway.canary.progress import Question, find_step
from slipway.canary.reference import whole_periods
from slipway.canary.step import Action
from slipway.endpoints.resource import describe
from slipway.errors import CanaryFailedError, EndpointMissingError, SlipwayError
from slipway.transition import ask, stop
from slipway_airflow.canary_outcomes import outcomes_request, window_to_dict
from slipway_airflow.canary_watch import WatchRequest, is_bake, open_watch, rules_to_dict
from slipway_airflow.hooks.slipway_aws import SlipwayAwsHook
from slipway_airflow.notifiers.service_topic import ServiceTopicNotifier
from slipway_airflow.operators.canary import FINAL, CanaryOperator, CanaryUnderWay
from slipway_airflow.operators.promotion_begin import LEASE_SECONDS
from slipway_airflow.task_run import TaskRun
from slipway_airflow.triggers.canary import CanaryStepTrigger

if TYPE_CHECKING:
    from airflow.sdk import Context

    from slipway.canary.window import MetricWindow

#: Stands for "no objective": beyond it SageMaker itself gives up on an answer.
NO_LATENCY_SLO_MS = 60_000.0


class CanaryJudgeOperator(CanaryOperator):
    """Judge a step until it passes, fails, or a person decides.

    Looks at the counts of both variants each time another metric period has closed. Every
    look is in the log, the endpoint's state and the ledger. The flags ``hold``, ``abort`` and
    ``approve_now`` are obeyed within seconds. A failure fails the task, so that the promotion's
    teardown takes the release back. When a step stays unsettled and the spec says ``ask``, the task tells
    people how to answer (the service's topic, its log, the XCom ``question``) and goes on.
    Skips when the promotion's plan has no such step.

    :param step: Number of the step from 1, or ``final`` for the bake at 100 %.
    :param poll_seconds: Time in seconds between two reads of the flags. (default: 3)
    :param deferrable: Whether to watch in the triggerer, without a worker. (default: Airflow's
        ``[operators] default_deferrable``)
    :param spec: The service.
    :param platform: The installation.
    :param bucket_conn_id: The Airflow connection of the artifact bucket; ``aws_conn_id`` when None. (templated)
    :param aws_conn_id: The Airflow connection of the endpoint's account. (templated, default: aws_default)
    :param region_name: AWS region; the connection's when None. (templated)
    :param verify: Whether to verify TLS certificates, or the path of a CA bundle. (templated)
    :param botocore_config: Configuration of the botocore clients.
    :return: ``step``, ``verdict``, ``looks``, ``reason``, and ``comparisons``: for each of them a line with counts,
        rates, intervals, evidence and the requests still needed.
    """

    def __init__(
        self,
        *,
        poll_seconds: float = 3.0,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.poll_seconds = poll_seconds
        self.deferrable = deferrable

    def execute(self, context: Context) -> dict[str, Any]:
        """Watch: here, or in the triggerer."""
        return self._watch_step(context)

    def watch(self, context: Context, request: WatchRequest) -> dict[str, Any]:
        """Watch until it is decided.

        :param context: The task's context.
        :param request: What is watched.
        """
        if self.deferrable:
            self.defer(
                trigger=CanaryStepTrigger(
                    request=request.to_dict(),
                    poll_seconds=self.poll_seconds,
                    aws_conn_id=self.aws_conn_id,
                    bucket_conn_id=self.bucket_conn_id,
                    region_name=self.region_name,
                    verify=self.verify,
                    botocore_config=self.botocore_config,
                ),
                method_name="execute_complete",
            )
        watch = open_watch(request, self.hook, self._bucket_hook())
        while (decision := watch.tick()) is None or decision.action is Action.ASK:
            if decision:
                self.ask_people(context, decision.reason)
            time.sleep(self.poll_seconds)
        return self.conclude(TaskRun.of(context), str(decision.action), decision.reason)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """Go on after the trigger has fired."""
        if event["status"] != "success":
            kind = getattr(errors, event["error"], SlipwayError)
            raise kind(event["message"])
        if event["action"] == Action.ASK:
            self.ask_people(context, event["reason"])
            return self._watch_step(context)
        return self.conclude(TaskRun.of(context), event["action"], event["reason"])

    def ask_people(self, context: Context, reason: str) -> None:
        """Tell people that a step stays unsettled and how they answer; once, whoever watches after it.

        They are told before it is noted: a task that is killed in between tells them again.

        :param context: The task's context.
        :param reason: Why it is unsettled.
        """
        run = TaskRun.of(context)
        canary = self.under_way(run)
        number = canary.number_of(self.step)
        step = find_step(canary.promotion.steps, number)
        if step is None or step.question:
            return
        question = Question(asked_at=datetime.now(UTC), hours=self.spec.approval.timeout_hours)
        text = question_text(self.spec.name, canary.promotion.release_id, step, reason, question.hours)
        self.log.warning("%s", text)
        context["ti"].xcom_push(key="question", value=text)
        topic = self._tell(context, text)
        about = f"step {number} of {self.endpoint}"
        self.bucket.note(self.spec.name, run, "asked", about, question=text, topic=topic, hours=question.hours)
        self.bucket.states.update(self.endpoint, lambda state: ask(state, run.run_id, number, question))

    def _tell(self, context: Context, text: str) -> str | None:
        topic = self.spec.notify.sns_topic_arn
        if topic is not None:
            subject = f"{self.spec.name}: a promotion needs an answer"
            conn_id = self.platform.aws_conn_id
            notifier = ServiceTopicNotifier(topic_arn=topic, subject=subject, message=text, aws_conn_id=conn_id)
            notifier.notify(context)  # not called as a template: the reason is not our text
        return topic

    def _watch_step(self, context: Context) -> dict[str, Any]:
        run = TaskRun.of(context)
        canary = self.under_way(run)
        return self.watch(context, self.request_for(run, canary, canary.number_of(self.step)))

    def conclude(self, run: TaskRun, action: str, reason: str) -> dict[str, Any]:
        """End the task as it was decided: the end of both paths.

        :param run: The task's run.
        :param action: The decision.
        :param reason: Why.
        """
        canary = self.under_way(run)
        step = find_step(canary.promotion.steps, canary.number_of(self.step))
        for line in step.shown if step else ():
            self.log.info("%s", line)
        if action != Action.ADVANCE:
            self.bucket.states.update(self.endpoint, lambda state: stop(state, run.run_id, reason))
            raise CanaryFailedError(f"Release {canary.promotion.release_id} is taken back: {reason}")
        self.log.info("Step decided: %s", reason)
        return {
            "step": canary.number_of(self.step),
            "verdict": str(step.verdict) if step else None,
            "looks": step.looks if step else 0,
            "reason": reason,
            "comparisons": list(step.shown) if step else [],
        }

    def request_for(self, run: TaskRun, canary: CanaryUnderWay, number: int) -> WatchRequest:
        """Return what is watched.

        :param run: The task's run.
        :param canary: The canary.
        :param number: The step that has the traffic.
        """
        promote = self.spec.promote
        found = describe(self.hook.client("sagemaker"), "endpoint", self.endpoint)
        if found is None:
            raise EndpointMissingError(f"{self.endpoint} was deleted in the middle of its canary.")
        rules = StepRules(
            policies=judge_policies(promote, canary.plan, number),
            bake_seconds=canary.plan.bake_seconds,
            max_hold_seconds=canary.plan.max_hold_seconds,
            on_inconclusive=promote.on_inconclusive,
            period_seconds=promote.metrics.period_seconds,
            settle_seconds=promote.metrics.settle_seconds,
            dry_run=tuple(promote.metrics.dry_run),
        )
        reference = self._reference(canary) if is_bake(canary.weight_pct(number)) else None
        return WatchRequest(
            step=self.watched(run, number),
            rules=rules_to_dict(rules),
            bucket=self.bucket.name,
            config_name=found["EndpointConfigName"],
            weights=canary.weights(number),
            challenger=canary.challenger,
            champion=canary.champion,
            latency_slo_ms=promote.latency_slo_ms or NO_LATENCY_SLO_MS,
            reference=None if reference is None else [window_to_dict(window) for window in reference],
            alarm=canary.promotion.alarm,
            source=canary.plan.source,
            outcomes=self._outcomes(canary, number) if WRONG in rules.policies else None,
        )

    def _outcomes(self, canary: CanaryUnderWay, number: int) -> dict[str, Any]:
        state, _ = self.bucket.states.read(self.endpoint)
        champion = state.champion if state else None
        together = not is_bake(canary.weight_pct(number))
        return asdict(outcomes_request(self.spec, canary.promotion, champion, number, together=together))

    def watched(self, run: TaskRun, number: int) -> dict[str, Any]:
        """Return the step, as :class:`slipway.canary.watch.WatchedStep` takes it.

        :param run: The task's run.
        :param number: Its number.
        """
        return {
            "service": self.spec.name,
            "endpoint": self.endpoint,
            "run_id": run.run_id,
            "task_id": run.task_id,
            "user": run.user,
            "number": number,
            "holder": run.holder,
            "lease_seconds": LEASE_SECONDS,
        }

    def _reference(self, canary: CanaryUnderWay) -> tuple[MetricWindow, ...]:
        """Return the periods of the steps before, in which the champion had traffic."""
        bake = canary.number_of(FINAL)
        last = find_step(canary.promotion.steps, bake - 1)
        if last is None or last.ended_at is None:
            raise CanaryFailedError(f"The last step of {self.endpoint}'s canary has not ended.")
        period_seconds = self.spec.promote.metrics.period_seconds
        windows = whole_periods(canary.promotion.steps, bake, period_seconds=period_seconds)
        if not windows:
            self.log.warning(
                "No step lasted for a whole metric period (%d s): there is nothing of the champion to hold the release "
                "against while it has all traffic.", period_seconds,
            )  # fmt: skip
        return windows

    def _bucket_hook(self) -> SlipwayAwsHook:
        if not self.bucket_conn_id:
            return self.hook
        return SlipwayAwsHook(**{**self._hook_parameters, "aws_conn_id": self.bucket_conn_id})
