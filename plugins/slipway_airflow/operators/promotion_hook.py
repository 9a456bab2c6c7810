"""Ask a program of the service's owner whether a promotion may go on."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowTaskTimeout

from slipway.errors import HookFailedError, HookRefusedError, HookUnavailableError, SlipwayError
from slipway.hooks.exchange import HookAnswer, HookQuestion
from slipway.hooks.function import ask_function
from slipway.hooks.http import ask_http
from slipway.spec.project import project_dir
from slipway.transition import stop
from slipway_airflow.operators.canary import CanaryOperator, Stop
from slipway_airflow.task_run import TaskRun

if TYPE_CHECKING:
    from airflow.sdk import Connection, Context

    from slipway.spec import HookSpec

#: Seconds of the task beside the hook's own: the state is read, the answer written.
OWN_SECONDS = 30.0


class PromotionHookOperator(CanaryOperator):
    """Ask one hook of the spec: a function in ``hooks/``, or a service by HTTP.

    A no fails the task, so that the promotion's teardown takes the release back with the hook's reason.
    A hook that does not answer is asked again, as often as the task is tried; an answer that nobody
    understands is a no. Each answer is in the ledger. An abort, before or meanwhile, fails the task too.
    Skips when the promotion has no such step.

    :param asked: The hook, as the spec has it.
    :param step: Number of the step before which it is asked, ``final`` for all traffic, or ``after``.
    :param spec: The service.
    :param platform: The installation.
    :param bucket_conn_id: The Airflow connection of the artifact bucket; ``aws_conn_id`` when None. (templated)
    :param aws_conn_id: The Airflow connection of the endpoint's account. (templated, default: aws_default)
    :param region_name: AWS region; the connection's when None. (templated)
    :param verify: Whether to verify TLS certificates, or the path of a CA bundle. (templated)
    :param botocore_config: Configuration of the botocore clients.
    :return: ``hook``, ``place``, ``reason``.
    """

    def __init__(self, *, asked: HookSpec, **kwargs: Any) -> None:
        longest = timedelta(seconds=asked.timeout_seconds + OWN_SECONDS)
        super().__init__(**{"execution_timeout": longest, **kwargs})
        self.asked = asked

    def execute(self, context: Context) -> dict[str, Any]:
        """Ask once."""
        run = TaskRun.of(context)
        self.view(run).refuse_after_abort()
        here = self.view(run).stop(self.step)
        question = self._question(here, run)
        try:
            answer = self._ask(question, f"{run.dag_id}/{run.run_id}/{run.task_id}")
        except AirflowTaskTimeout:
            error = HookFailedError(
                f"Hook {self.asked.name} did not answer within {self.asked.timeout_seconds:g} seconds."
            )
            self._stop(run, here, "hook_failed", str(error))
            raise error from None
        except HookUnavailableError as unavailable:
            if context["ti"].try_number > context["ti"].max_tries:
                self._stop(run, here, "hook_failed", str(unavailable))
            raise
        except SlipwayError as failed:
            self._stop(run, here, "hook_failed", str(failed))
            raise
        if not answer.allow:
            reason = f"hook {self.asked.name} said no: {answer.reason or 'no reason given'}"
            self._stop(run, here, "hook_refused", reason)
            raise HookRefusedError(f"Release {here.promotion.release_id} is taken back: {reason}")
        self._note(run, here, "hook_allowed", answer.reason)
        self.view(run).refuse_after_abort()
        self.log.info("Hook %s says yes. %s", self.asked.name, answer.reason)
        return {"hook": self.asked.name, "place": here.place, "reason": answer.reason}

    def _ask(self, question: HookQuestion, key: str) -> HookAnswer:
        hook = self.asked
        if hook.function:
            return ask_function(project_dir(), hook.function, question)
        limits: dict[str, Any] = {"timeout_seconds": hook.timeout_seconds, "key": key}
        if hook.url:
            return ask_http(hook.url, question, **limits)
        connection = BaseHook.get_connection(str(hook.connection))
        auth = (connection.login, connection.password or "") if connection.login else None
        headers = {str(name): str(value) for name, value in connection.extra_dejson.get("headers", {}).items()}
        return ask_http(_address(connection) + (hook.path or ""), question, headers=headers, auth=auth, **limits)

    def _question(self, here: Stop, run: TaskRun) -> HookQuestion:
        promotion, kept = here.promotion, {"number", "weight_pct", "verdict", "looks", "said"}
        return HookQuestion(
            hook=self.asked.name,
            service=self.spec.name,
            model=self.spec.model,
            endpoint=self.endpoint,
            run_id=run.run_id,
            place=here.place,
            strategy=promotion.strategy,
            release_id=promotion.release_id,
            model_version=promotion.model_version,
            champion=promotion.plan.champion if promotion.plan else None,
            weight_pct=here.weight_pct,
            next_weight_pct=here.next_weight_pct,
            steps=tuple(step.model_dump(mode="json", include=kept) for step in promotion.steps),
        )

    def _stop(self, run: TaskRun, here: Stop, action: str, reason: str) -> None:
        """Write down why; the teardown reads it from the state."""
        self._note(run, here, action, reason)
        self.bucket.states.update(self.endpoint, lambda state: stop(state, run.run_id, reason))

    def _note(self, run: TaskRun, here: Stop, action: str, said: str) -> None:
        release = f"release {here.promotion.release_id}"
        self.bucket.note(self.spec.name, run, action, release, hook=self.asked.name, place=here.place, said=said)


def _address(connection: Connection) -> str:
    host = connection.host or ""
    if not host:
        raise HookFailedError(f"The Airflow connection {connection.conn_id} has no host; expected the hook's address.")
    if "://" not in host:
        host = f"{connection.schema or 'https'}://{host}"
    return host.rstrip("/") + (f":{connection.port}" if connection.port else "")
