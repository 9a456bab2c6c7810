"""Canaries under traffic, task by task, and the traffic itself."""

from __future__ import annotations

import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from airflow.sdk.exceptions import TaskDeferred

from slipway.canary.comparison import Verdict
from slipway.canary.progress import find_step, with_step
from slipway.errors import SlipwayError
from slipway.spec import ServiceSpec
from slipway.state import EndpointState
from slipway_airflow.operators.canary import FINAL
from slipway_airflow.operators.canary_guard import CanaryGuardOperator
from slipway_airflow.operators.canary_judge import CanaryJudgeOperator
from slipway_airflow.operators.canary_prepare import CanaryPrepareOperator
from slipway_airflow.operators.canary_shift import CanaryShiftOperator
from slipway_airflow.operators.promotion_begin import PromotionBeginOperator
from slipway_airflow.operators.promotion_finish import PromotionFinishOperator
from slipway_airflow.operators.promotion_hook import PromotionHookOperator
from slipway_airflow.operators.promotion_retire import PromotionRetireOperator
from slipway_airflow.operators.promotion_roll_back import PromotionRollBackOperator
from tests.integration.slipway_airflow.conftest import BUCKET, Service
from tests.integration.slipway_airflow.promotions import Promotion, approved

#: Settles with some 70 requests of each arm: a rate of 5 % is never held against a release.
CANARY = {
    "strategy": "canary",
    "weights_pct": [50],
    "bake_minutes": 0.02,
    "ignore_errors_below_pct": 5,
    "min_requests": 30,
    "keep_warm_minutes": 0,
    "max_hold_hours": 0.01,
    "on_inconclusive": "roll_back",
    "metrics": {"period_seconds": 1, "settle_seconds": 2},
}


def canary_spec(service: Service, **promote: Any) -> ServiceSpec:
    """The service with a canary of one step and the bake at 100 %."""
    document = service.spec.model_dump(mode="json", exclude_defaults=True)
    metrics = promote.get("metrics", {})
    monitor: dict[str, Any] = {}
    if metrics.get("source", "cloudwatch") != "cloudwatch" or "wrong" in metrics:
        monitor["capture_pct"] = 100
    if "wrong" in metrics:
        monitor |= {"labels": labels_of(service), "quality": {"task": "regression", "label": "true"}}
    changed = {"monitor": monitor} if monitor else {}
    return ServiceSpec.model_validate({**document, **changed, "promote": {**CANARY, **promote}})


def labels_of(service: Service) -> str:
    """The folder in which outcomes arrive."""
    return f"s3://{BUCKET}/labels/{service.spec.name}/"


def mirror_models(service: Service, *versions: int) -> None:
    """What a deployment keeps of each model version, as far as a canary reads it."""
    body = b'flavors: {python_function: {}}\nsignature: {inputs: \'[{"name": "x", "type": "double"}]\'}\n'
    for version in versions:
        key = f"models/{service.spec.model}/v{version}/MLmodel"
        service.aws.client("s3").put_object(Bucket=BUCKET, Key=key, Body=body)


@dataclass
class Canary(Promotion):
    """One run of ``<service>.promote`` with the strategy canary."""

    @property
    def spec_in_use(self) -> ServiceSpec:
        """The run's spec, or the service's."""
        return self.spec or self.service.spec

    def task(self, name: str, release_id: str, **changed: Any) -> Any:
        """Make a task's operator anew, as a new process would, with some arguments of the test's own."""
        number: int | str = FINAL if name.startswith("finish") else 1
        fields: dict[str, Any] = {}
        kind: Any = PromotionBeginOperator
        if name in {"prepare", "finish.retire"}:
            kind = CanaryPrepareOperator if name == "prepare" else PromotionRetireOperator
            fields = {"release_id": release_id, "waiter_delay": 1, "deferrable": False}
        elif name.endswith(".shift"):
            kind, fields = CanaryShiftOperator, {"step": number, "poll_seconds": 0.2, "deferrable": False}
        elif name.endswith(".judge"):
            kind, fields = CanaryJudgeOperator, {"step": number, "poll_seconds": 0.2, "deferrable": False}
        elif name == "finish.champion":
            found = self.service.describe("prod") or {}
            kind, fields = PromotionFinishOperator, {"config_name": found.get("EndpointConfigName", "")}
        elif name == "roll_back":
            kind = PromotionRollBackOperator
        elif ".hook_" in name:
            asked = next(hook for hook in self.spec_in_use.promote.hooks if name.endswith(f"hook_{hook.name}"))
            kind, fields = PromotionHookOperator, {"asked": asked, "step": number}
        elif name.endswith(".guard"):
            kind, fields = CanaryGuardOperator, {"step": number, "poll_seconds": 0.2, "deferrable": False}
        return self.make(kind, name, **{**fields, **changed})

    def resume(self, name: str, release_id: str, deferred: TaskDeferred, **changed: Any) -> Any:
        """Go on with a deferred task when its trigger has fired for a success, in a new process."""
        method = getattr(self.task(name, release_id, **changed), deferred.method_name)
        context = self.context(name, run_id=self.run_id)
        return method(context, event={"status": "success"}, **(deferred.kwargs or {}))

    def execute(self, name: str, release_id: str, **states: str) -> Any:
        """Run one task."""
        return self.task(name, release_id).execute(self.context(name, run_id=self.run_id, states=states))

    def through(self, *names: str) -> str:
        """Run ``record`` and then these tasks; return the release."""
        release_id = str(self.execute("record", "")["release_id"])
        for name in names:
            self.execute(name, release_id)
        return release_id

    def pass_step(self, number: int) -> None:
        """Let a step pass without traffic, as its judge would write it down."""

        def passed(state: EndpointState) -> EndpointState:
            assert state.promotion is not None
            step = find_step(state.promotion.steps, number)
            assert step is not None
            done = step.model_copy(update={"verdict": Verdict.PASS, "ended_at": datetime.now(UTC)})
            steps = with_step(state.promotion.steps, done)
            return state.model_copy(update={"promotion": state.promotion.model_copy(update={"steps": steps})})

        self.service.states.update(f"{self.service.spec.name}-prod", passed)

    def to_champion(self) -> str:
        """All tasks until the champion is recorded; the judges' words are put in their mouths."""
        release_id = self.through("prepare", "step_1.shift")
        self.pass_step(1)
        self.execute("finish.shift", release_id)
        self.pass_step(2)
        self.execute("finish.champion", release_id)
        return release_id

    def run_canary(self) -> dict[str, Any]:
        """All tasks as the DAG orders them; the teardown runs in any case."""
        release_id, name = "", "record"
        try:
            for name in TASKS:
                result = self.execute(name, release_id)
                release_id = release_id or str(result["release_id"])
        except SlipwayError:
            self.execute("roll_back", release_id, **{name: "failed"})
            raise
        return dict(self.execute("roll_back", release_id))


TASKS = (
    "record",
    "prepare",
    "step_1.shift",
    "step_1.judge",
    "finish.shift",
    "finish.judge",
    "finish.champion",
    "finish.retire",
)


def approved_canary(promotion: Callable[..., Promotion], service: Service, spec: ServiceSpec) -> Canary:
    """Version 1 is launched and version 2 approved; the canary has not begun."""
    approved(service, 1)
    promotion().run()
    approved(service, 2, weight=5.0, answers=5.0)
    base = promotion("promote_2", spec)
    return Canary(base.service, base.platform, base.context, "promote_2", spec)


@dataclass
class Users:
    """What users of the production endpoint were answered."""

    variants: Counter[str] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)
    answers: set[float] = field(default_factory=set)


def outcomes_of_users(service: Service, name: str, surprises: float, stop: threading.Event) -> None:
    """Call with ids of one's own, and tell the outcome of every 20 calls later on: twice x, but for some surprises."""
    runtime, s3 = service.aws.client("sagemaker-runtime"), service.aws.client("s3")
    chance, told = random.Random(name), 0
    while not stop.is_set():
        lines = []
        for _ in range(20):
            x, call = chance.uniform(1, 6), f"{name}-{told}"
            true = 2 * x + (10 if chance.random() < surprises else 0)
            body = f"x\n{x}\n"
            runtime.invoke_endpoint(
                EndpointName=f"{service.spec.name}-prod", ContentType="text/csv", Body=body, InferenceId=call
            )["Body"].read()
            lines.append(json.dumps({"inference_id": call, "true": true}) + "\n")
            told += 1
        bucket, _, folder = labels_of(service).removeprefix("s3://").partition("/")
        s3.put_object(Bucket=bucket, Key=f"{folder}{name}-{told}.jsonl", Body="".join(lines).encode())


@contextmanager
def telling_users_of(service: Service, *, threads: int = 2, surprises: float = 0.0) -> Iterator[None]:
    """Send requests all the time whose outcomes become known; a share of them is no one's fault."""
    stop = threading.Event()
    with ThreadPoolExecutor(threads) as pool:
        running = [
            pool.submit(outcomes_of_users, service, f"user{number}", surprises, stop) for number in range(threads)
        ]
        try:
            yield
        finally:
            stop.set()
    for each in running:
        each.result()


@contextmanager
def users_of(service: Service, *, threads: int = 2, pause_seconds: float = 0.01) -> Iterator[Users]:
    """Send requests to the production endpoint all the time."""
    seen, stop = Users(), threading.Event()

    def send() -> None:
        runtime = service.aws.client("sagemaker-runtime")
        while not stop.is_set():
            try:
                answer = runtime.invoke_endpoint(
                    EndpointName=f"{service.spec.name}-prod", ContentType="text/csv", Body="x\n3.0\n"
                )
                answer["Body"].read()
                seen.variants[answer["InvokedProductionVariant"]] += 1
            except Exception as error:
                seen.failed.append(str(error))
            time.sleep(pause_seconds)

    workers = [threading.Thread(target=send, daemon=True) for _ in range(threads)]
    for worker in workers:
        worker.start()
    try:
        yield seen
    finally:
        stop.set()
        for worker in workers:
            worker.join(10)
