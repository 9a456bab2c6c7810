"""The monitor's operators from captures to messages, against the AWS stand-in."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from airflow.sdk import Asset
from airflow.sdk.exceptions import AirflowSkipException
from hypothesis import given
from hypothesis import strategies as st

from slipway.drift.status import Status
from slipway.drift.store import DriftStore
from slipway.drift.training import make_reference
from slipway.errors import InvalidParamsError, PermanentError, SlipwayError
from slipway.ledger import Ledger
from slipway.platform import Platform
from slipway.release import ReleaseStore
from slipway.spec import ServiceSpec
from slipway.state import EndpointState, Serving, StateStore
from slipway_airflow.operators import drift_profile
from slipway_airflow.operators.drift_collect import DriftCollectOperator, shared_out
from slipway_airflow.operators.drift_judge import DriftJudgeOperator
from slipway_airflow.operators.drift_profile import DriftProfileOperator
from slipway_airflow.operators.drift_publish import DriftPublishOperator
from slipway_airflow.operators.drift_quality import DriftQualityOperator
from slipway_airflow.operators.drift_react import DriftReactOperator
from tests.unit.slipway.drift.capture.records import record
from tests.unit.slipway.drift.older_baseline import older_baseline
from tests.unit.slipway_airflow.conftest import BUCKET, REGION
from tests.unit.slipway_airflow.releases import make_release

SINCE = datetime(2026, 1, 1, tzinfo=UTC)
NOON = datetime(2026, 1, 10, 12, tzinfo=UTC)
MLMODEL = """
flavors: {python_function: {loader_module: x}}
signature:
  inputs: '[{"type": "double", "name": "x", "required": true}, {"type": "string", "name": "c", "required": true}]'
  outputs: '[{"type": "tensor", "tensor-spec": {"dtype": "float64", "shape": [-1]}}]'
"""
DRIFTED = Asset(name="drifted/flights", uri="slipway://flights/drifted")


def rows(count: int, *, seed: int = 0, shift: float = 0.0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame({"x": rng.normal(shift, 1, count), "c": rng.choice(["a", "b"], count)})


class World:
    """A service with a champion, its captures, and the monitor's tasks."""

    def __init__(self, aws: Callable[[str], Any], context: Callable[..., Any], spec: ServiceSpec, platform: Platform):
        self.aws, self.s3 = aws, aws("s3")
        self._context, self.platform = context, platform
        self.queue = aws("sqs").create_queue(QueueName="told")["QueueUrl"]
        self.topic = self.listen()
        self.spec = spec
        self.with_policy()
        self.release = make_release(1)
        self.release = self.release.model_copy(update={"created_from": {}})
        ReleaseStore(self.s3, BUCKET).write_once(self.release)
        champion = Serving(
            release_id=self.release.id, model_version=1, config_name="c", since=SINCE, run_id="promote_1"
        )
        StateStore(self.s3, BUCKET).update("flights-prod", lambda s: s.model_copy(update={"champion": champion}))

    def listen(self) -> str:
        """Make the topic whose messages `told` reads; returns its ARN."""
        topic = self.aws("sns").create_topic(Name="models")["TopicArn"]
        asked = self.aws("sqs").get_queue_attributes(QueueUrl=self.queue, AttributeNames=["QueueArn"])
        self.aws("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=asked["Attributes"]["QueueArn"])
        return topic

    def with_policy(self, **monitor: Any) -> None:
        changes = {"monitor": {"schedule": "@weekly", **monitor}, "notify": {"sns_topic_arn": self.topic}}
        if monitor.get("on_drift") == "retrain":
            changes["retrain"] = {"schedule": "@monthly", "data": {"s3": "s3://lake/flights/"}}
        base = self.spec.model_dump(exclude_unset=True, exclude={"retrain", "monitor", "notify"}, mode="json")
        self.spec = ServiceSpec.model_validate({**base, **changes})

    def log_baseline(self, frame: pd.DataFrame) -> None:
        body = make_reference(frame, frame.x).to_bytes()
        self.s3.put_object(Bucket=BUCKET, Key="models/flights-delay/v1/slipway/baseline.json", Body=body)

    def capture(
        self,
        frame: pd.DataFrame,
        at: datetime,
        *,
        garbage: int = 0,
        variant: str | None = None,
        began: datetime | None = None,
    ) -> None:
        columns, data = list(frame.columns), frame.to_numpy(dtype=object).tolist()
        lines = [
            record(
                {"dataframe_split": {"columns": columns, "data": data[i : i + 100]}},
                {"predictions": [row[0] for row in data[i : i + 100]]},
                at=at.strftime("%Y-%m-%dT%H:%M:%SZ"),
            )
            for i in range(0, len(data), 100)
        ] + ["garbage"] * garbage
        variant = variant or self.release.id
        key = f"captures/flights-prod/{variant}/{began or at:%Y/%m/%d/%H/%M-%S}-000-{len(lines)}.jsonl"
        self.s3.put_object(Bucket=BUCKET, Key=key, Body="\n".join(lines).encode())

    def outcomes(self, frame: pd.DataFrame, at: datetime, *, name: str = "a", wrong: float = 0.0) -> None:
        """What became of the calls: the answer was x, and was off by about ``wrong``."""
        label = frame.x + wrong + np.resize([-0.01, 0.02], len(frame))
        told = pd.DataFrame({"c": frame.c, "x": frame.x, "label": label, "time": at.isoformat()})
        self.s3.put_object(Bucket=BUCKET, Key=f"outcomes/{name}.csv", Body=told.to_csv(index=False).encode())

    def with_outcomes(self, **quality: Any) -> None:
        rules = {
            "task": "regression",
            "key": ("c", "x"),
            "slices": ("c",),
            "wait_hours": 24.0,
            "expect": ("mae <= 0.5",),
        }
        self.with_policy(labels=f"s3://{BUCKET}/outcomes/", window_hours=48.0, quality={**rules, **quality})

    def operator(self, kind: Any, task_id: str, **arguments: Any) -> Any:
        return kind(task_id=task_id, spec=self.spec, platform=self.platform, **arguments)

    def context(self, task_id: str, until: datetime) -> tuple[Any, dict[str, Any]]:
        pushed: dict[str, Any] = {}
        found = self._context(task_id, run_id=f"scheduled__{until.isoformat()}")
        found["ti"].xcom_push = lambda key, value: pushed.__setitem__(key, value)
        found["dag_run"].run_after = until
        return found, pushed

    def run(self, until: datetime, *, quality_fails: bool = False, **window: str) -> SimpleNamespace:
        """All tasks of a run, as the DAG chains them."""
        context, pushed = self.context("collect", until)
        groups = self.operator(DriftCollectOperator, "collect", **window).execute(context)
        window_ = json.loads(json.dumps(pushed["window"]))
        profiled = [
            self.operator(DriftProfileOperator, "profile", window=window_, group=group).execute({}) for group in groups
        ]
        if self.spec.monitor.labels and not quality_fails:
            self.quality = self.operator(DriftQualityOperator, "quality", window=window_).execute({})
        judged = self.operator(DriftJudgeOperator, "judge", window=window_).execute({})
        context, _ = self.context("publish", until)
        publish = self.operator(DriftPublishOperator, "publish", window=window_, judged=judged)
        published = publish.execute(context)
        return SimpleNamespace(groups=groups, profiled=profiled, published=published, window=window_, **judged)

    def react(self, run_key: str) -> Any:
        context, _ = self.context("react", NOON)
        self.operator(DriftReactOperator, "react", run_key=run_key, outlets=[DRIFTED]).execute(context)
        return context["outlet_events"][DRIFTED].extra

    def told(self) -> list[dict[str, Any]]:
        answer = self.aws("sqs").receive_message(QueueUrl=self.queue, MaxNumberOfMessages=10)
        messages = answer.get("Messages", [])
        for message in messages:
            self.aws("sqs").delete_message(QueueUrl=self.queue, ReceiptHandle=message["ReceiptHandle"])
        return [json.loads(message["Body"]) for message in messages]

    def read(self, key: str) -> bytes:
        return self.s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()

    def keys(self, prefix: str) -> list[str]:
        found = self.s3.list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", [])
        return [item["Key"] for item in found]

    def metric(self, namespace: str, name: str) -> list[dict[str, Any]]:
        found = self.aws("cloudwatch").list_metrics(Namespace=namespace)["Metrics"]
        return [each for each in found if each["MetricName"] == name]


@pytest.fixture
def world(aws: Any, context: Any, spec: ServiceSpec, platform: Platform) -> World:
    return World(aws, context, spec, platform)


def test_calm_traffic_is_stable_and_nobody_is_told(world: World) -> None:
    world.log_baseline(rows(10_000))
    world.capture(rows(2000, seed=1), NOON - timedelta(hours=3))
    world.capture(rows(2000, seed=2), NOON - timedelta(hours=1))
    found = world.run(NOON)
    assert (found.status, found.rows, found.columns) == ("STABLE", 4000, [])
    assert [each["rows"] for each in found.profiled] == [2000, 2000]
    assert world.told() == []
    assert len(world.keys("profiles/flights-prod/")) == 2
    history = pq.read_table(io.BytesIO(world.read(world.keys("drift/flights/history/")[0]))).to_pylist()
    assert {row["status"] for row in history} == {"STABLE"}
    assert {row["column"] for row in history} == {"x", "c", "prediction"}


def test_a_shift_is_named_told_once_published_and_wakes_the_retraining(world: World) -> None:
    world.with_policy(on_drift="retrain")
    world.log_baseline(rows(10_000))
    world.capture(rows(3000, seed=1, shift=1.0), NOON - timedelta(hours=1))
    found = world.run(NOON)
    assert (found.status, sorted(found.columns)) == ("DRIFTED", ["prediction", "x"])
    (message,) = world.told()
    assert message["Subject"].startswith("flights drifted in")
    assert "x: kolmogorov smirnov" in message["Message"]
    assert found.published["report_uri"].endswith(".html")
    page = gzip.decompress(world.read("drift/flights/reports/latest.html")).decode()
    assert "DRIFTED" in page
    assert "<script src" not in page
    assert "<link" not in page
    assert world.metric("Slipway/Drift", "Drifted")
    assert world.metric("/aws/sagemaker/Endpoints/data-metric", "feature_baseline_drift_x")
    violations = json.loads(world.read("drift/flights/model_monitor/constraint_violations.json"))["violations"]
    assert ("x", "baseline_drift_check") in {(v["feature_name"], v["constraint_check_type"]) for v in violations}
    assert "x" in world.react(found.run_key)["columns"]
    assert "x" in world.react(found.run_key)["columns"], "a second try of the task emits again"

    world.capture(rows(3000, seed=2, shift=1.0), NOON + timedelta(minutes=30))
    later = world.run(NOON + timedelta(hours=1))
    assert later.status == "DRIFTED"
    assert world.told() == [], "told on change of state only"
    with pytest.raises(AirflowSkipException, match="cooldown_hours"):
        world.react(later.run_key)
    actions = [found.action for found in Ledger(world.s3, BUCKET).read("flights")]
    assert actions.count("drift_status") == 1
    assert actions.count("retrain_asked") == 1


def test_drift_that_cannot_be_told_wakes_the_retraining_and_is_told_by_a_later_try(world: World) -> None:
    world.with_policy(on_drift="retrain")
    world.log_baseline(rows(10_000))
    world.capture(rows(3000, seed=1, shift=1.0), NOON - timedelta(hours=1))
    world.aws("sns").delete_topic(TopicArn=world.topic)
    with pytest.raises(SlipwayError, match="publish to arn:aws:sns"):
        world.run(NOON)
    (run_key,) = world.keys("drift/flights/runs/")
    assert "x" in world.react(run_key)["columns"]
    assert world.told() == []
    world.listen()
    assert world.run(NOON).published["changed"]
    (message,) = world.told()
    assert message["Subject"].startswith("flights drifted in")
    state = DriftStore(world.s3, BUCKET, "flights", "flights-prod").state()
    assert (state.status, state.retrains) == (Status.DRIFTED, (NOON,)), "both tasks' words are kept"
    world.capture(rows(3000, seed=2), NOON + timedelta(hours=30))
    calm = world.run(NOON + timedelta(hours=31))
    with pytest.raises(AirflowSkipException, match="The window is STABLE"):
        world.react(calm.run_key)


def test_people_are_told_though_cloudwatch_fails_and_not_again_when_it_answers(
    world: World, aws_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.with_outcomes()
    world.log_baseline(rows(10_000))
    asked = rows(1000, seed=2)
    world.capture(asked, NOON - timedelta(hours=30))
    world.outcomes(asked, NOON - timedelta(hours=20), wrong=2.0)
    world.capture(rows(9000, seed=1, shift=1.0), NOON - timedelta(hours=1))
    with monkeypatch.context() as outage:
        extra = {"region_name": REGION, "endpoint_url": aws_server, "config_kwargs": {"retries": {"max_attempts": 0}}}
        extra["service_config"] = {"cloudwatch": {"endpoint_url": "http://127.0.0.1:9"}}
        connection = {"conn_type": "aws", "login": "testing", "password": "testing-secret", "extra": extra}
        outage.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps(connection))
        with pytest.raises(SlipwayError, match="put metrics into Slipway/Drift"):
            world.run(NOON)
    subjects = sorted(each["Subject"] for each in world.told())
    assert subjects[0].startswith("flights drifted in")
    assert subjects[1:] == ["flights quality is degraded"]
    assert not world.metric("Slipway/Drift", "Drifted")

    assert world.run(NOON).published["changed"], "the second try says of the run what the first would have said"
    assert world.told() == []
    assert world.metric("Slipway/Drift", "Drifted")
    actions = [found.action for found in Ledger(world.s3, BUCKET).read("flights")]
    assert (actions.count("drift_status"), actions.count("quality_status")) == (1, 1)


def test_profiles_are_made_once_and_a_repeated_run_changes_nothing(world: World) -> None:
    world.log_baseline(rows(5000))
    world.capture(rows(3000, seed=1), NOON - timedelta(hours=2))
    first = world.run(NOON)
    before = {key: world.read(key) for key in world.keys("drift/") + world.keys("profiles/") if "latest" not in key}
    again = world.run(NOON)
    assert len(first.groups) == 1
    assert again.groups == []
    after = {key: world.read(key) for key in world.keys("drift/") + world.keys("profiles/") if "latest" not in key}
    assert after == before
    assert first.run_key == again.run_key


def test_every_hour_of_a_long_window_is_profiled_in_one_run_and_none_twice(world: World) -> None:
    world.with_policy(window_hours=168.0)
    world.log_baseline(rows(5000))
    for hour in range(60):
        world.capture(rows(30, seed=hour), NOON - timedelta(hours=hour, minutes=10))
    world.capture(rows(30, seed=100), NOON - timedelta(hours=169), variant="main")
    first = world.run(NOON)
    assert len(first.groups) == 30, "two hours each, so that there are at most 48"
    assert (first.rows, sum(each["objects"] for each in first.profiled)) == (1800, 60)
    world.capture(rows(40, seed=101), NOON - timedelta(hours=50, minutes=20))
    again = world.run(NOON + timedelta(hours=1))
    assert again.profiled == [{"objects": 1, "rows": 40, "rejected": 0}]
    assert again.rows == 1840


@given(
    st.dictionaries(st.sampled_from(["r1", "main"]), st.sets(st.integers(0, 9000), min_size=1), min_size=1),
    st.integers(2, 48),
)
def test_hours_are_shared_out_whole_and_once_to_a_bounded_number_of_tasks(found: Any, most: int) -> None:
    hours = {variant: [SINCE + timedelta(hours=each) for each in sorted(those)] for variant, those in found.items()}
    groups = shared_out(hours, most)
    assert len(groups) <= most
    for variant, those in hours.items():
        spans = [
            (datetime.fromisoformat(each["hour"]), datetime.fromisoformat(each["until"]))
            for each in groups
            if each["variant"] == variant
        ]
        assert all(begin < end for begin, end in spans)
        assert all(end <= begin for (_, end), (begin, _) in pairwise(spans))
        assert all(any(begin <= hour < end for begin, end in spans) for hour in those)
    if sum(map(len, hours.values())) <= most:
        assert len(groups) == sum(map(len, hours.values())), "an hour each while there are few"


def test_by_spark_the_hours_of_a_variant_go_together(world: World) -> None:
    world.log_baseline(rows(5000))
    world.with_policy(profiling={"engine": "spark"})
    for hours in (1, 2, 5):
        world.capture(rows(100, seed=hours), NOON - timedelta(hours=hours))
    context, pushed = world.context("collect", NOON)
    groups = world.operator(DriftCollectOperator, "collect").execute(context)
    assert groups == [
        {"variant": world.release.id, "hour": "2026-01-10T07:00:00+00:00", "until": "2026-01-10T12:00:00+00:00"}
    ]
    world.with_policy(profiling={"threads": 1})
    task = world.operator(DriftProfileOperator, "profile", window=pushed["window"], group=groups[0])
    assert task.execute({}) == {"objects": 3, "rows": 300, "rejected": 0}


@pytest.mark.spark
@pytest.mark.long
def test_spark_profiles_the_captures_as_threads_do(world: World) -> None:
    world.log_baseline(rows(5000))
    world.with_policy(profiling={"engine": "spark", "spark": {"spark.master": "local[2]"}})
    for hours in (1, 2):
        world.capture(rows(500, seed=hours), NOON - timedelta(hours=hours), garbage=hours)
    assert world.run(NOON).profiled == [{"objects": 2, "rows": 1000, "rejected": 3}]
    kept = {key: world.read(key) for key in world.keys("profiles/")}
    for key in kept:
        world.s3.delete_object(Bucket=BUCKET, Key=key)
    world.with_policy()
    world.run(NOON)
    assert {key: world.read(key) for key in world.keys("profiles/")} == kept


@pytest.mark.spark
@pytest.mark.long
def test_spark_keeps_the_profiles_of_a_group_before_the_next_and_a_try_goes_on_there(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drift_profile, "_SPARK_OBJECTS", 2)
    world.log_baseline(rows(5000))
    world.with_policy(profiling={"engine": "spark", "spark": {"spark.master": "local[2]"}})
    for hours in (1, 2, 3):
        world.capture(rows(100, seed=hours), NOON - timedelta(hours=hours))
    sign, signed = DriftStore.signed_capture, []

    def failing(store: DriftStore, found: Any, seconds: int = 3600) -> str:
        signed.append(len(world.keys("profiles/")))
        address = sign(store, found, seconds)
        return address.replace(".jsonl", ".gone") if len(signed) == 3 else address

    with monkeypatch.context() as outage:
        outage.setattr(DriftStore, "signed_capture", failing)
        with pytest.raises(SlipwayError):
            world.run(NOON)
    assert signed == [0, 0, 2], "addresses are signed when their turn comes, when the earlier profiles are kept"
    assert len(world.keys("profiles/")) == 2
    assert world.run(NOON).profiled == [{"objects": 1, "rows": 100, "rejected": 0}]


def test_recovery_is_told_too(world: World) -> None:
    world.log_baseline(rows(10_000))
    world.capture(rows(3000, seed=1, shift=1.0), NOON - timedelta(hours=1))
    world.run(NOON)
    world.told()
    world.capture(rows(3000, seed=2), NOON + timedelta(hours=30))
    found = world.run(NOON + timedelta(hours=31))
    assert found.status == "STABLE"
    (message,) = world.told()
    assert message["Subject"] == "flights is stable"
    assert "Before: DRIFTED" in message["Message"]


def test_no_traffic_is_told_after_the_quiet_hours(world: World) -> None:
    world.with_policy(quiet_hours=30)
    world.log_baseline(rows(10_000))
    world.capture(rows(3000, seed=1), NOON - timedelta(hours=1))
    world.run(NOON)
    assert world.run(NOON + timedelta(hours=25)).status == "NO_TRAFFIC"
    assert world.told() == []
    world.run(NOON + timedelta(hours=40))
    (message,) = world.told()
    assert message["Subject"] == "flights receives no traffic"


def test_captures_that_are_half_garbage_are_a_state_of_their_own(world: World) -> None:
    world.log_baseline(rows(10_000))
    world.capture(rows(3000, seed=1), NOON - timedelta(hours=1), garbage=3000)
    found = world.run(NOON)
    assert (found.status, found.rows) == ("UNREADABLE", 3000)
    (message,) = world.told()
    assert "3000 not json" in message["Subject"]
    (kept,) = [key for key in world.keys("profiles/") if key.endswith(".rejected.json")]
    first = json.loads(world.read(kept))[0]
    assert (first["reason"], first["text"]) == ("not_json", "garbage")


def test_a_model_without_a_baseline_learns_from_its_first_calls(world: World) -> None:
    world.with_policy(learning_rows=2000)
    world.s3.put_object(Bucket=BUCKET, Key="models/flights-delay/v1/MLmodel", Body=MLMODEL.encode())
    world.capture(rows(1500, seed=1), NOON - timedelta(hours=5))
    assert world.run(NOON - timedelta(hours=4)).status == "LEARNING"
    world.capture(rows(1500, seed=2), NOON - timedelta(hours=3))
    world.capture(rows(3000, seed=3, shift=1.0), NOON - timedelta(hours=1))
    found = world.run(NOON)
    assert (found.status, found.rows) == ("DRIFTED", 3000)
    assert world.keys("baselines/flights/") == [f"baselines/flights/{world.release.id}.json"]
    assert found.window["since"] > (NOON - timedelta(hours=3)).isoformat(), "not judged against itself"


@pytest.mark.parametrize("kept", [True, False])
def test_an_older_baseline_of_captures_is_learned_anew_while_they_are_there(world: World, *, kept: bool) -> None:
    world.with_policy(learning_rows=1000)
    world.s3.put_object(Bucket=BUCKET, Key="models/flights-delay/v1/MLmodel", Body=MLMODEL.encode())
    first, flags = NOON - timedelta(hours=5), rows(2000, seed=1)
    flags["x"] = (flags.x > 1.2).astype(float)
    if kept:
        world.capture(flags, first)
    place = f"baselines/flights/{world.release.id}.json"
    since = {"source": "captures", "since": first.isoformat(), "until": first.isoformat()}
    world.s3.put_object(Bucket=BUCKET, Key=place, Body=older_baseline(flags, flags.x, **since))
    world.capture(flags.assign(x=1 - flags.x), NOON - timedelta(hours=1))
    found = world.run(NOON)
    report = json.loads(world.read(found.run_key))
    if kept:
        assert (found.status, sorted(found.columns), report["blind"]) == ("DRIFTED", ["prediction", "x"], [])
        return
    assert (found.status, report["blind"]) == ("STABLE", ["x", "prediction"]), "c can be judged, and did not change"
    page = gzip.decompress(world.read("drift/flights/reports/latest.html")).decode()
    assert "did not tell its highest values apart: x, prediction." in page


def test_only_what_the_champion_answered_counts(world: World) -> None:
    world.log_baseline(rows(10_000))
    world.capture(rows(3000, seed=1, shift=2.0), NOON - timedelta(hours=1), variant="ffffffffffff")
    world.capture(rows(3000, seed=1, shift=2.0), SINCE - timedelta(hours=1))
    assert world.run(NOON, window_from="2025-12-01T00:00:00Z").status == "NO_TRAFFIC"


def test_another_window_can_be_asked_for(world: World) -> None:
    world.log_baseline(rows(10_000))
    world.capture(rows(3000, seed=1, shift=2.0), NOON - timedelta(hours=40))
    found = world.run(NOON, window_from="2026-01-08T00:00:00Z", window_until="2026-01-09T00:00:00+00:00")
    assert (found.status, found.rows) == ("DRIFTED", 3000)
    with pytest.raises(InvalidParamsError, match="Expected a time"):
        world.run(NOON, window_from="yesterday")


def test_without_a_champion_all_is_skipped(world: World) -> None:
    StateStore(world.s3, BUCKET).update("flights-prod", lambda s: EndpointState(**{**s.model_dump(), "champion": None}))
    context, pushed = world.context("collect", NOON)
    assert world.operator(DriftCollectOperator, "collect").execute(context) == []
    with pytest.raises(AirflowSkipException, match="no champion"):
        world.operator(DriftJudgeOperator, "judge", window=pushed["window"]).execute({})


def test_a_mirror_that_is_gone_is_said(world: World) -> None:
    with pytest.raises(PermanentError, match=r"flights\.deploy again"):
        world.run(NOON)


def test_on_drift_notify_wakes_nobody(world: World) -> None:
    world.log_baseline(rows(10_000))
    world.capture(rows(3000, seed=1, shift=1.0), NOON - timedelta(hours=1))
    found = world.run(NOON)
    assert found.status == Status.DRIFTED
    with pytest.raises(AirflowSkipException, match="on_drift is notify"):
        world.react(found.run_key)


def test_outcomes_that_come_late_are_joined_and_judged(world: World) -> None:
    world.log_baseline(rows(5000))
    world.with_outcomes()
    asked, later = rows(1000, seed=2), rows(1000, seed=3)
    world.capture(asked, NOON - timedelta(hours=30))
    world.capture(later, NOON - timedelta(hours=2))
    world.outcomes(asked[:900], NOON - timedelta(hours=20))
    run = world.run(NOON)
    assert world.quality["verdict"] == "GOOD"
    assert (world.quality["calls"], world.quality["rows"]) == (1000, 900), "later calls still wait for theirs"
    page = gzip.decompress(world.read("drift/flights/reports/latest.html")).decode()
    assert "900 of 1,000 calls" in page
    assert "c = a" in page
    assert world.metric("Slipway/Drift", "LabelCoverage")
    assert run.status == "STABLE"


def test_worse_answers_are_told_once_and_again_when_they_are_good(world: World) -> None:
    world.log_baseline(rows(5000))
    world.with_outcomes()
    asked = rows(1000, seed=2)
    world.capture(asked, NOON - timedelta(hours=30))
    world.outcomes(asked, NOON - timedelta(hours=20), wrong=2.0)
    world.run(NOON)
    assert world.quality["verdict"] == "DEGRADED"
    world.run(NOON + timedelta(hours=1))
    (told,) = [each for each in world.told() if "quality" in each["Subject"]]
    assert told["Subject"] == "flights quality is degraded"
    assert "mae <= 0.5: not kept" in told["Message"]
    assert "c a: mae <= 0.5" in told["Message"]
    world.outcomes(asked, NOON - timedelta(hours=10), name="b")  # corrections
    world.run(NOON + timedelta(hours=2))
    assert [each["Subject"] for each in world.told()] == ["flights quality is good"]


@pytest.mark.parametrize(("hours", "variant"), [(10, None), (27, "ffffffffffff"), (10, "ffffffffffff")])
def test_outcomes_of_other_calls_with_the_same_key_are_not_held_against_the_windows_answers(
    world: World, hours: int, variant: str | None
) -> None:
    world.log_baseline(rows(10_000))
    world.with_outcomes()
    asked = rows(500, seed=2)
    world.capture(asked, NOON - timedelta(hours=30))
    world.outcomes(asked, NOON - timedelta(hours=28))
    world.capture(asked, NOON - timedelta(hours=hours), variant=variant)  # not old enough to be counted, or a canary's
    world.outcomes(asked, NOON - timedelta(hours=9), name="b", wrong=2.0)
    world.run(NOON)
    assert (world.quality["verdict"], world.quality["calls"], world.quality["rows"]) == ("GOOD", 500, 500)


@pytest.mark.parametrize("variant", [None, "ffffffffffff"])
def test_a_call_of_the_window_in_an_object_that_began_before_it_keeps_its_outcome(
    world: World, variant: str | None
) -> None:
    world.log_baseline(rows(10_000))
    world.with_outcomes()
    half_past = NOON + timedelta(minutes=30)
    since = half_past - timedelta(hours=72)
    asked = rows(500, seed=2)
    world.capture(asked, since + timedelta(minutes=5))
    world.outcomes(asked, since + timedelta(minutes=6))
    world.capture(asked, since + timedelta(minutes=10), variant=variant, began=since - timedelta(minutes=2))
    world.outcomes(asked, since + timedelta(hours=10), name="b", wrong=2.0)
    world.run(half_past)
    assert (world.quality["verdict"], world.quality["calls"], world.quality["rows"]) == ("GOOD", 500, 500)


def test_the_largest_double_in_place_of_what_is_missing_ends_no_task(world: World) -> None:
    largest = 1.7976931348623157e308
    frame = rows(10_000)
    frame.loc[::500, "x"] = largest
    frame.loc[1::500, "x"] = -largest
    world.log_baseline(frame)
    world.capture(frame[:3000], NOON - timedelta(hours=1))
    world.capture(frame[3000:6000], NOON - timedelta(hours=2))
    found = world.run(NOON)
    assert found.status == "STABLE"
    page = world.read("drift/flights/reports/latest.html")
    assert page
    statistics = json.loads(world.read("drift/flights/model_monitor/statistics.json"), parse_constant=pytest.fail)
    (x,) = [each for each in statistics["features"] if each["name"] == "x"]
    assert x["numerical_statistics"]["max"] == largest


def test_quality_that_fails_is_told_once_and_drift_is_published_all_the_same(world: World) -> None:
    world.with_policy(on_drift="notify")
    world.log_baseline(rows(10_000))
    world.with_outcomes()
    world.capture(rows(1000, seed=2), NOON - timedelta(hours=60))
    world.capture(rows(3000, seed=1, shift=1.0), NOON - timedelta(hours=1))
    found = world.run(NOON, quality_fails=True)
    assert found.status == "DRIFTED"
    subjects = sorted(each["Subject"] for each in world.told())
    assert subjects[0].startswith("flights drifted in")
    assert subjects[1] == "flights quality could not be measured"
    page = gzip.decompress(world.read("drift/flights/reports/latest.html")).decode()
    assert "could not be measured in this run" in page
    assert "have an outcome" not in page
    assert world.metric("Slipway/Drift", "QualityUnmeasured")
    assert not world.metric("Slipway/Drift", "QualityDegraded")
    world.run(NOON + timedelta(hours=1), quality_fails=True)
    assert world.told() == []
    world.outcomes(rows(1000, seed=2), NOON - timedelta(hours=50))
    world.run(NOON + timedelta(hours=2))
    assert world.quality["verdict"] == "GOOD"
    assert [each["Subject"] for each in world.told()] == ["flights quality is good"]


def test_nothing_judged_is_an_error_and_nothing_in_production_is_none(world: World) -> None:
    window = {"phase": "judge", "since": SINCE.isoformat(), "until": NOON.isoformat()}
    context, _ = world.context("publish", NOON)
    with pytest.raises(PermanentError, match=r"flights\.monitor judged nothing"):
        world.operator(DriftPublishOperator, "publish", window=window, judged=None).execute(context)
    with pytest.raises(AirflowSkipException, match="nothing to tell"):
        world.operator(DriftPublishOperator, "publish", window={"phase": "nothing"}, judged=None).execute(context)


def test_no_outcome_and_outcomes_that_cannot_be_read_are_no_verdict(world: World) -> None:
    world.log_baseline(rows(5000))
    world.with_outcomes()
    world.capture(rows(1000, seed=2), NOON - timedelta(hours=30))
    world.run(NOON)
    assert world.quality["verdict"] == "NO_LABELS"
    world.s3.put_object(Bucket=BUCKET, Key="outcomes/x.parquet", Body=b"garbage")
    world.run(NOON + timedelta(hours=1))
    page = gzip.decompress(world.read("drift/flights/reports/latest.html")).decode()
    assert "Outcomes in x.parquet cannot be read" in page
    assert not [each for each in world.told() if "quality" in each["Subject"]]


def test_without_labels_in_the_spec_quality_is_no_subject(world: World) -> None:
    world.log_baseline(rows(5000))
    world.capture(rows(2000, seed=2), NOON - timedelta(hours=2))
    world.run(NOON)
    assert "<h2>Quality</h2>" not in gzip.decompress(world.read("drift/flights/reports/latest.html")).decode()
    assert not world.keys("drift/flights/quality/")
