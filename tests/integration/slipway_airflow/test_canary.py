"""A canary from its first task to its teardown, under traffic, with everything that can go wrong beside it."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowSkipException
from mlflow import MlflowClient

from slipway.endpoints.traffic import ensure_instances, instances_of
from slipway.errors import (
    AlarmMissingError,
    CanaryFailedError,
    CapacityError,
    EndpointBusyError,
    EndpointMissingError,
    EndpointRollbackFailedError,
    EndpointRolledBackError,
    HookRefusedError,
    SlipwayError,
    ThrottledError,
)
from slipway.ledger import Ledger
from slipway.state import Flag
from slipway.transition import FlagName, raise_flag
from tests.integration.slipway_airflow.canaries import (
    TASKS,
    Canary,
    approved_canary,
    canary_spec,
    mirror_models,
    telling_users_of,
    users_of,
)
from tests.integration.slipway_airflow.conftest import BUCKET, Service, delete_endpoint
from tests.integration.slipway_airflow.kills import run_with_kills
from tests.integration.slipway_airflow.promotions import Promotion, approved

pytestmark = pytest.mark.integration

MakeCanary = Callable[..., Canary]


@pytest.fixture
def topic(service: Service) -> str:
    """A topic whose messages a queue keeps."""
    sns, sqs = service.aws.client("sns"), service.aws.client("sqs")
    arn = str(sns.create_topic(Name=service.spec.name)["TopicArn"])
    queue = sqs.create_queue(QueueName=service.spec.name)["QueueUrl"]
    attributes = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]
    sns.subscribe(TopicArn=arn, Protocol="sqs", Endpoint=attributes["QueueArn"])
    return arn


@pytest.fixture
def canary(promotion: Callable[..., Promotion], service: Service, topic: str) -> MakeCanary:
    """Canaries that have not begun, of the spec's `promote` with changes."""

    def make(**promote: Any) -> Canary:
        spec = canary_spec(service, **promote)
        spec = spec.model_copy(update={"notify": spec.notify.model_copy(update={"sns_topic_arn": topic})})
        return approved_canary(promotion, service, spec)

    return make


def alarms(service: Service) -> list[str]:
    found = service.aws.client("cloudwatch").describe_alarms(AlarmNamePrefix=f"slipway-{service.spec.name}")
    return [each["AlarmName"] for each in found["MetricAlarms"]]


def flag(service: Service, name: FlagName) -> None:
    raised = Flag(by="ann", at=datetime.now(UTC), reason="looks odd")
    service.states.update(f"{service.spec.name}-prod", lambda state: raise_flag(state, name, raised))


def require_champion_alone(service: Service, config: str) -> None:
    """The champion of before serves, on its own config, and nothing of the canary is left."""
    found = service.describe("prod")
    assert (found["EndpointStatus"], found["EndpointConfigName"]) == ("InService", config)
    assert service.ask("prod", 3.0) == 6.0
    state = service.state()
    assert (state.champion.model_version, state.promotion, state.lease) == (1, None, None)
    assert state.history[-1].event == "rolled_back"
    assert alarms(service) == []


@pytest.mark.long
def test_a_good_release_is_promoted_and_nobody_notices(
    canary: MakeCanary, service: Service, registry: MlflowClient
) -> None:
    run = canary()
    with users_of(service) as users:
        release_id = run.through("prepare")
        assert len(alarms(service)) == 1
        run.execute("step_1.shift", release_id)
        before = users.variants.copy()
        run.execute("step_1.judge", release_id)
        arms = users.variants - before
        for name in TASKS[4:]:
            run.execute(name, release_id)
        assert run.execute("roll_back", "")["rolled_back"] is None
    assert users.failed == []
    assert alarms(service) == []
    total, challenger = arms.total(), arms[release_id]
    assert abs(challenger - total / 2) <= 5 * math.sqrt(total) / 2, "the share of requests is not the weight"
    state = service.state()
    assert (state.champion.model_version, state.previous.model_version, state.lease) == (2, 1, None)
    found = service.describe("prod")
    assert found["EndpointConfigName"] == state.champion.config_name
    assert [each["VariantName"] for each in found["ProductionVariants"]] == [state.champion.release_id]
    assert service.ask("prod", 3.0) == 15.0
    assert int(registry.get_model_version_by_alias(service.spec.model, "champion").version) == 2


def test_a_canary_begins_with_the_size_that_its_champion_has_come_to(canary: MakeCanary, service: Service) -> None:
    run = canary()
    release_id, champion = run.through(), service.state().champion.release_id
    ensure_instances(service.aws.client("sagemaker"), f"{service.spec.name}-prod", champion, 2)
    run.execute("prepare", release_id)
    assert instances_of(service.describe("prod")) == {champion: 2, release_id: 1}
    assert service.state().promotion.recorded.variants[champion].instances == 2
    ensure_instances(service.aws.client("sagemaker"), f"{service.spec.name}-prod", champion, 3)
    run.execute("prepare", release_id)
    assert service.state().promotion.recorded.variants[champion].instances == 2, "another try asks for nothing else"


@pytest.mark.parametrize(
    ("fault", "promote"),
    [
        pytest.param({"effect": "error", "status": 500}, {}, id="errors"),
        pytest.param(
            {"effect": "error", "status": 400, "code": "ModelError"}, {}, id="refusals", marks=pytest.mark.long
        ),
        pytest.param(
            {"effect": "latency", "latency_ms": 300}, {"latency_slo_ms": 200}, id="slow", marks=pytest.mark.long
        ),
    ],
)
def test_a_bad_release_is_taken_back(
    canary: MakeCanary, service: Service, fault: dict[str, Any], promote: dict[str, Any]
) -> None:
    run = canary(**promote)
    config = service.describe("prod")["EndpointConfigName"]
    challenger = service.state().approved.release_id
    service.aws.faults({**fault, "endpoint": f"{service.spec.name}-prod", "variant": challenger, "probability": 0.6})
    with users_of(service), pytest.raises(CanaryFailedError, match="the challenger is worse"):
        run.run_canary()
    service.aws.faults()
    require_champion_alone(service, config)
    why = service.state().history[-1].reason
    assert why.startswith("failed: step_1.judge; ")
    assert "the challenger is worse" in why


@pytest.mark.long
@pytest.mark.timeout(900)
def test_each_task_killed_after_each_change_ends_the_same_with_two_updates(
    canary: MakeCanary, service: Service, registry: MlflowClient
) -> None:
    run = canary()
    since = service.aws.position()
    release_id = service.state().approved.release_id
    kills = {}
    with users_of(service) as users:
        for name in (*TASKS, "roll_back"):
            made = _task_maker(run, name, release_id)
            # A judge writes at each look, and another period is closed by the next: killed for ever it would look for
            # ever. It is killed at its first looks, and at its decision when that comes among them.
            spare = name.endswith(".judge")
            kills[name] = run_with_kills(made, run.context(name, run_id=run.run_id), then_spare=spare)
    assert users.failed == []
    assert kills["prepare"] >= 4
    assert all(
        kills[name] >= 2 for name in ("record", "step_1.shift", "step_1.judge", "finish.shift", "finish.champion")
    )
    changes = service.aws.changes(since)
    assert changes.count("UpdateEndpoint") == 2, "one to bring the challenger, one to let the champion go"
    assert changes.count("PutMetricAlarm") == 1
    assert alarms(service) == []
    state = service.state()
    assert (state.champion.model_version, state.promotion, state.lease) == (2, None, None)
    assert [entry.event for entry in state.history][-2:] == ["begun", "promoted"]
    actions = [action for action, _ in service.ledger()]
    assert (actions.count("promoted"), actions.count("rolled_back")) == (2, 0)
    assert service.ask("prod", 3.0) == 15.0


def _task_maker(run: Canary, name: str, release_id: str) -> Callable[[], Any]:
    return lambda: run.task(name, release_id)


@pytest.mark.long
def test_a_rollback_in_mid_canary_killed_after_each_change_updates_once(canary: MakeCanary, service: Service) -> None:
    run = canary()
    config = service.describe("prod")["EndpointConfigName"]
    with users_of(service) as users:
        run.through("prepare", "step_1.shift")
        since = service.aws.position()
        kills = run_with_kills(
            _task_maker(run, "roll_back", ""),
            run.context("roll_back", run_id=run.run_id, states={"step_1.judge": "failed"}),
        )
    assert kills >= 4
    assert users.failed == []
    assert service.aws.changes(since).count("UpdateEndpoint") == 1
    require_champion_alone(service, config)


@pytest.mark.long
@pytest.mark.parametrize(
    ("faults", "error"),
    [
        ([{"effect": "silent_rollback"}], EndpointRolledBackError),
        ([{"effect": "no_capacity"}], CapacityError),
        ([{"effect": "never_healthy"}], EndpointRolledBackError),
    ],
    ids=["silent rollback", "no capacity", "never healthy"],
)
def test_what_aws_cannot_bring_up_leaves_the_champion(
    canary: MakeCanary, service: Service, faults: list[dict[str, Any]], error: type[SlipwayError]
) -> None:
    run = canary()
    config = service.describe("prod")["EndpointConfigName"]
    since = service.aws.position()
    service.aws.faults(*({**fault, "endpoint": f"{service.spec.name}-prod", "count": 1} for fault in faults))
    with users_of(service) as users, pytest.raises(error):
        run.run_canary()
    assert users.failed == []
    assert service.aws.changes(since).count("UpdateEndpoint") == 1
    require_champion_alone(service, config)


@pytest.mark.long
def test_a_rollback_of_sagemaker_that_fails_is_named_and_left_to_a_person(canary: MakeCanary, service: Service) -> None:
    run = canary()
    where = {"endpoint": f"{service.spec.name}-prod", "count": 1}
    service.aws.faults({"effect": "never_healthy", **where}, {"effect": "rollback_failed", **where})
    with users_of(service) as users:
        run.through()
        with pytest.raises(EndpointRollbackFailedError):
            run.execute("prepare", service.state().promotion.release_id)
        with pytest.raises(EndpointRollbackFailedError, match="Update it by hand"):
            run.execute("roll_back", "", prepare="failed")
    assert users.failed == []
    assert service.ask("prod", 3.0) == 6.0
    assert service.state().promotion is not None, "the task can be cleared when the endpoint is mended"


@pytest.mark.long
def test_throttling_is_tried_again_and_changes_nothing_twice(canary: MakeCanary, service: Service) -> None:
    run = canary()
    run.through("prepare")
    action = "UpdateEndpointWeightsAndCapacities"
    service.aws.faults({"effect": "throttle", "service": "sagemaker", "action": action, "count": 5})
    with pytest.raises(ThrottledError, match="slow down"):
        run.task("step_1.shift", "").execute(run.context("step_1.shift", run_id=run.run_id))
    service.aws.faults()
    since = service.aws.position()
    run.execute("step_1.shift", "")
    assert service.aws.changes(since).count(action) == 1


@pytest.mark.long
def test_weights_that_somebody_else_changes_end_the_canary(canary: MakeCanary, service: Service) -> None:
    run = canary()
    config = service.describe("prod")["EndpointConfigName"]
    run.through("prepare", "step_1.shift")
    plan = service.state().promotion.plan
    service.aws.client("sagemaker").update_endpoint_weights_and_capacities(
        EndpointName=f"{service.spec.name}-prod",
        DesiredWeightsAndCapacities=[{"VariantName": plan.challenger, "DesiredWeight": 70.0}],
    )
    time.sleep(1)
    with pytest.raises(EndpointBusyError, match="somebody else changed them"):
        run.execute("step_1.judge", "")
    run.execute("roll_back", "", **{"step_1.judge": "failed"})
    require_champion_alone(service, config)


@pytest.mark.long
def test_an_endpoint_that_somebody_deletes_ends_the_canary_and_can_be_launched_anew(
    canary: MakeCanary, service: Service, promotion: Callable[..., Promotion]
) -> None:
    run = canary()
    run.through("prepare", "step_1.shift")
    sagemaker = service.aws.client("sagemaker")
    delete_endpoint(sagemaker, f"{service.spec.name}-prod")
    with pytest.raises(EndpointMissingError, match="in the middle of its canary"):
        run.execute("step_1.judge", "")
    assert run.execute("roll_back", "", **{"step_1.judge": "failed"})["restored_config"] is None
    state = service.state()
    assert (state.promotion, state.lease) == (None, None)
    assert alarms(service) == []
    approved(service, 3, weight=7.0, answers=7.0)
    promotion("promote_3").run()
    assert service.ask("prod", 3.0) == 21.0


@pytest.mark.long
def test_an_alarm_that_somebody_deletes_ends_the_canary(canary: MakeCanary, service: Service) -> None:
    run = canary()
    config = service.describe("prod")["EndpointConfigName"]
    run.through("prepare", "step_1.shift")
    service.aws.client("cloudwatch").delete_alarms(AlarmNames=alarms(service))
    with pytest.raises(AlarmMissingError, match="was deleted in the middle of its canary"):
        run.execute("step_1.judge", "")
    run.execute("roll_back", "", **{"step_1.judge": "failed"})
    require_champion_alone(service, config)


@pytest.mark.long
def test_the_alarm_tells_people_while_nobody_looks(canary: MakeCanary, service: Service) -> None:
    run = canary()
    run.through("prepare", "step_1.shift")
    plan = service.state().promotion.plan
    service.aws.faults(
        {"effect": "error", "status": 500, "endpoint": f"{service.spec.name}-prod", "variant": plan.challenger}
    )
    sqs = service.aws.client("sqs")
    queue, messages = sqs.get_queue_url(QueueName=service.spec.name)["QueueUrl"], []
    deadline = time.monotonic() + 60
    with users_of(service):
        while not messages:
            assert time.monotonic() < deadline, "nobody was told"
            messages = sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=2).get("Messages", [])
    told = json.loads(json.loads(messages[0]["Body"])["Message"])
    assert (told["AlarmName"], told["NewStateValue"]) == (alarms(service)[0], "ALARM")
    assert plan.challenger in told["AlarmDescription"]


@pytest.mark.long
def test_a_hook_that_says_no_takes_the_release_back_with_its_reason(
    canary: MakeCanary, service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "hooks").mkdir()
    (tmp_path / "hooks" / "checks.py").write_text("def freeze(question):\n    return False\n")
    monkeypatch.setenv("SLIPWAY_PROJECT", str(tmp_path))
    run = canary(hooks=[{"name": "freeze", "function": "checks.py:freeze"}])
    config = service.describe("prod")["EndpointConfigName"]
    run.through("prepare")
    with pytest.raises(HookRefusedError, match="hook freeze said no"):
        run.execute("step_1.hook_freeze", "")
    run.execute("roll_back", "", **{"step_1.hook_freeze": "failed"})
    require_champion_alone(service, config)
    assert service.state().history[-1].reason == ("failed: step_1.hook_freeze; hook freeze said no: no reason given")
    assert "hook_refused" in [action for action, _ in service.ledger()]


@pytest.mark.long
def test_a_release_that_turns_bad_while_a_person_is_asked_is_taken_back(canary: MakeCanary, service: Service) -> None:
    run = canary(gates=["between"])
    config = service.describe("prod")["EndpointConfigName"]
    challenger = service.state().approved.release_id
    with users_of(service):
        run.through("prepare", "step_1.shift", "step_1.judge")
        service.aws.faults(
            {"effect": "error", "status": 500, "endpoint": f"{service.spec.name}-prod", "variant": challenger}
        )
        with pytest.raises(CanaryFailedError, match="while a person was asked at step 2: error: the challenger is wor"):
            run.execute("finish.guard", "")
        weights = {
            each["VariantName"]: each["CurrentWeight"] for each in service.describe("prod")["ProductionVariants"]
        }
        assert weights[challenger] == 0, "the harm is stopped before the teardown runs"
    run.execute("roll_back", "", **{"finish.guard": "failed"})
    service.aws.faults()
    require_champion_alone(service, config)
    assert "while a person was asked" in service.state().history[-1].reason


@pytest.mark.long
def test_a_release_whose_answers_are_no_numbers_is_taken_back_by_what_was_captured(
    canary: MakeCanary, service: Service
) -> None:
    run = canary(metrics={"period_seconds": 1, "settle_seconds": 4, "source": "captures"})
    approved(service, 3, weight="float('nan')", answers=5.0)
    config = service.describe("prod")["EndpointConfigName"]
    with users_of(service) as users, pytest.raises(CanaryFailedError, match="answer: the challenger is worse"):
        run.run_canary()
    assert users.failed == [], "to CloudWatch all was well"
    require_champion_alone(service, config)


BY_OUTCOMES = {"period_seconds": 1, "settle_seconds": 4, "wrong": {"tolerance": 1, "min_outcomes": 50}}


@pytest.mark.long
def test_a_release_that_turns_out_to_answer_wrongly_is_taken_back_by_its_outcomes(
    canary: MakeCanary, service: Service
) -> None:
    """It answers 2.25 x where 2 x would be right: off by more than 1 for four requests of ten."""
    run = canary(metrics=BY_OUTCOMES)
    approved(service, 3, weight=2.25, answers=2.25)
    mirror_models(service, 1, 3)
    config = service.describe("prod")["EndpointConfigName"]
    with (
        telling_users_of(service, surprises=0.1),
        pytest.raises(CanaryFailedError, match=r"wrong: the challenger is worse: [345]\d"),
    ):
        run.run_canary()
    require_champion_alone(service, config)


@pytest.mark.long
def test_a_release_that_answers_rightly_passes_by_its_outcomes_in_each_step_and_in_the_bake(
    canary: MakeCanary, service: Service
) -> None:
    run = canary(metrics=BY_OUTCOMES)
    approved(service, 3, weight=2.01, answers=2.01)
    mirror_models(service, 1, 3)
    with telling_users_of(service):
        run.run_canary()
    assert service.state().champion.model_version == 3
    shown = [line for look in _looks(service) for line in look["shown"] if line.startswith("wrong ")]
    assert any(line.startswith("wrong PASS: ") for line in shown)


def _looks(service: Service) -> list[dict[str, Any]]:
    records = Ledger(service.aws.client("s3"), BUCKET).read(service.spec.name)
    return [dict(record.detail) for record in records if record.action == "looked"]


@pytest.mark.long
def test_without_traffic_nothing_is_promoted_and_the_hold_ends_in_a_rollback(
    canary: MakeCanary, service: Service
) -> None:
    run = canary(max_hold_hours=0.001)
    config = service.describe("prod")["EndpointConfigName"]
    with pytest.raises(CanaryFailedError, match="NO_DATA at the end of the hold"):
        run.run_canary()
    require_champion_alone(service, config)


def test_an_abort_takes_the_release_back_and_the_reason_is_kept(canary: MakeCanary, service: Service) -> None:
    run = canary()
    config = service.describe("prod")["EndpointConfigName"]
    run.through("prepare", "step_1.shift")
    flag(service, "abort")
    with pytest.raises(CanaryFailedError, match="aborted by ann"):
        run.execute("step_1.judge", "")
    with pytest.raises(CanaryFailedError, match="aborted by ann: looks odd"):
        run.execute("finish.shift", "")
    run.execute("roll_back", "", **{"step_1.judge": "failed"})
    require_champion_alone(service, config)


@pytest.mark.long
def test_approve_now_lets_one_step_go_on_without_evidence(canary: MakeCanary, service: Service) -> None:
    run = canary(max_hold_hours=1)
    run.through("prepare", "step_1.shift")
    flag(service, "approve_now")
    assert "by ann: looks odd" in run.execute("step_1.judge", "")["reason"]
    assert service.state().flags.approve_now is None, "it is about one step"


@pytest.mark.long
def test_three_approvals_while_one_canary_runs_become_one_promotion_of_the_newest(
    canary: MakeCanary, service: Service, promotion: Callable[..., Promotion]
) -> None:
    run = canary()
    run.through("prepare", "step_1.shift")
    for number in (3, 4, 5):
        approved(service, number, weight=float(number), answers=float(number))
    with pytest.raises(SlipwayError):  # one promotion at a time, also without Airflow's limit
        promotion("promote_3").begin()
    run.execute("roll_back", "")
    begun = promotion("promote_3").begin()
    assert begun["model_version"] == 5
    promotion("promote_3").roll_back()
    with pytest.raises(AirflowSkipException, match="no approved release"):
        promotion("promote_4").begin()
    superseded = [entry.event for entry in service.state().history].count("superseded")
    assert superseded == 2
