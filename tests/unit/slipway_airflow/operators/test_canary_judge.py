"""A step that stays unsettled: people are told, once, and their answer is obeyed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import TaskDeferred

from slipway.canary.progress import StepProgress, with_step
from slipway.errors import CanaryFailedError
from slipway.platform import Platform
from slipway.spec import ServiceSpec
from slipway.state import EndpointState, Flag
from slipway.transition import FlagName, raise_flag
from slipway_airflow.operators import canary_judge
from slipway_airflow.operators.canary_judge import CanaryJudgeOperator
from slipway_airflow.triggers.canary import CanaryStepTrigger
from tests.unit.slipway_airflow.operators.canaries import (
    CHALLENGER,
    CHAMPION,
    ENDPOINT,
    begin_canary,
    ledger_of,
    promotion_of,
    states,
)

TASK = "step_1.judge"


@pytest.fixture
def inbox(aws: Callable[[str], Any]) -> tuple[str, Callable[[], list[dict[str, Any]]]]:
    """A topic, and what its subscriber gets."""
    sqs, topic = aws("sqs"), str(aws("sns").create_topic(Name="models")["TopicArn"])
    queue = sqs.create_queue(QueueName="inbox")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    aws("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)

    def receive() -> list[dict[str, Any]]:
        found = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", [])
        return [json.loads(message["Body"]) for message in found]

    return topic, receive


@pytest.fixture
def judge(aws: Callable[[str], Any], spec: ServiceSpec, platform: Platform) -> Callable[..., CanaryJudgeOperator]:
    """The judge of a first step that has had no traffic for an hour, beyond the end of its hold."""
    serve(aws("sagemaker"))
    begin_canary(aws)
    step = StepProgress(number=1, weight_pct=5, began_at=datetime.now(UTC) - timedelta(hours=1))
    states(aws).update(ENDPOINT, lambda state: with_first_step(state, step))

    def make(topic: str | None = None, *, deferrable: bool = True) -> CanaryJudgeOperator:
        told = spec.model_copy(update={"notify": spec.notify.model_copy(update={"sns_topic_arn": topic})})
        return CanaryJudgeOperator(
            task_id="judge", step=1, spec=told, platform=platform, deferrable=deferrable, poll_seconds=0.01
        )

    return make


@pytest.fixture
def pushed() -> dict[str, Any]:
    return {}


@pytest.fixture
def task(context: Callable[..., Any], pushed: dict[str, Any]) -> Any:
    found = context(TASK)
    found["ti"].xcom_push = lambda key, value: pushed.update({key: value})
    found["dag_run"].dag_id = "flights.promote"
    return found


def serve(sagemaker: Any) -> None:
    """An endpoint whose weights are those of the first step."""
    sagemaker.create_model(ModelName="m", PrimaryContainer={"Image": "i"}, ExecutionRoleArn="arn:aws:iam::1:role/r")
    variants = [
        {
            "VariantName": name,
            "ModelName": "m",
            "InstanceType": "ml.m5.large",
            "InitialInstanceCount": 1,
            "InitialVariantWeight": weight,
        }
        for name, weight in ((CHAMPION, 95.0), (CHALLENGER, 5.0))
    ]
    sagemaker.create_endpoint_config(EndpointConfigName="both", ProductionVariants=variants)
    sagemaker.create_endpoint(EndpointName=ENDPOINT, EndpointConfigName="both")


def with_first_step(state: EndpointState, step: StepProgress) -> EndpointState:
    assert state.promotion
    steps = with_step(state.promotion.steps, step)
    return state.model_copy(update={"promotion": state.promotion.model_copy(update={"steps": steps})})


def wish(aws: Callable[[str], Any], name: FlagName) -> None:
    flag = Flag(by="ann", at=datetime.now(UTC), reason="seen")
    states(aws).update(ENDPOINT, lambda state: raise_flag(state, name, flag))


def fired(deferred: TaskDeferred) -> dict[str, Any]:
    """What the triggerer resumes the task with."""
    _, arguments = deferred.trigger.serialize()

    async def first_event() -> dict[str, Any]:
        return dict((await anext(CanaryStepTrigger(**arguments).run())).payload)

    return asyncio.run(asyncio.wait_for(first_event(), 60))


def test_people_are_told_once_how_to_answer_and_the_step_waits_on_for_them(
    aws: Callable[[str], Any], judge: Callable[..., CanaryJudgeOperator], inbox: Any, task: Any, pushed: dict[str, Any]
) -> None:
    topic, receive = inbox
    with pytest.raises(TaskDeferred) as first:
        judge(topic).execute(task)
    event = fired(first.value)
    assert (event["status"], event["action"]) == ("success", "ask")
    with pytest.raises(TaskDeferred) as second:
        judge(topic).execute_complete(task, event)
    with pytest.raises(TaskDeferred):  # killed after it was noted, and resumed by the same event
        judge(topic).execute_complete(task, event)

    (message,) = receive()
    assert message["Subject"] == "flights: a promotion needs an answer"
    assert "still NO_DATA at the end of the hold" in message["Message"]
    assert "`slipway approve-now flights`" in message["Message"]
    assert "`slipway abort flights`" in message["Message"]
    assert pushed["question"] in message["Message"]
    (asked,) = [record for record in ledger_of(aws) if record.action == "asked"]
    assert (asked.subject, asked.detail["topic"], asked.detail["hours"]) == (f"step 1 of {ENDPOINT}", topic, 2)
    question = promotion_of(aws).steps[0].question
    assert question is not None
    assert question.hours == 2

    wish(aws, "approve_now")
    event = fired(second.value)
    assert (event["status"], event["action"]) == ("success", "advance")
    assert judge(topic).execute_complete(task, event)["reason"] == "approved at verdict NO_DATA by ann: seen"


def test_nobody_answers_in_time_and_the_release_goes_back(
    aws: Callable[[str], Any], judge: Callable[..., CanaryJudgeOperator], task: Any
) -> None:
    operator = judge()
    operator.ask_people(task, "still NO_DATA at the end of the hold")
    long_ago = promotion_of(aws).steps[0]
    assert long_ago.question is not None
    asked = long_ago.question.model_copy(update={"asked_at": datetime.now(UTC) - timedelta(hours=2)})
    states(aws).update(ENDPOINT, lambda state: with_first_step(state, long_ago.model_copy(update={"question": asked})))
    with pytest.raises(TaskDeferred) as deferred:
        operator.execute(task)
    with pytest.raises(CanaryFailedError, match="nobody answered within 2 h; still NO_DATA"):
        operator.execute_complete(task, fired(deferred.value))


@pytest.mark.parametrize("told", [True, False])
def test_a_worker_that_waits_itself_asks_too_with_and_without_a_topic(
    aws: Callable[[str], Any],
    judge: Callable[..., CanaryJudgeOperator],
    inbox: Any,
    task: Any,
    pushed: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    told: bool,
) -> None:
    topic, receive = inbox
    waited: list[float] = []

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == 3:
            wish(aws, "abort")

    monkeypatch.setattr(canary_judge, "time", SimpleNamespace(sleep=sleep))
    with pytest.raises(CanaryFailedError, match="aborted by ann: seen"):
        judge(topic if told else None, deferrable=False).execute(task)
    assert len(receive()) == told
    assert "slipway approve-now flights" in pushed["question"]
    assert [record.detail["topic"] for record in ledger_of(aws) if record.action == "asked"] == [
        topic if told else None
    ]
