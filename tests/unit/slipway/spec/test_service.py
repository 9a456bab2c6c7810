from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from slipway.spec import InstancesSpec, PromoteSpec, RetrainSpec, ServiceSpec

TOPIC = "arn:aws:sns:eu-central-1:123456789012:models"
MINIMAL: dict[str, Any] = {"name": "flights", "model": "flights-delay", "owner": "ml@example.com"}


def service(**more: Any) -> ServiceSpec:
    return ServiceSpec.model_validate({**MINIMAL, **more})


def test_three_fields_are_enough_and_the_rest_is_safe_for_production() -> None:
    spec = service()
    assert spec.stages.prod.instances.min == 2
    assert not spec.stages.prod.instances.scales
    assert spec.approval.required
    assert spec.promote.strategy == "canary"
    assert spec.promote.weights_pct == (5, 25, 50)
    assert spec.security.network_isolation
    assert spec.monitor.capture_pct == 100
    assert not spec.serving.allow_missing_signature
    assert spec.retrain is None


def test_a_stage_keeps_its_own_defaults_when_one_field_is_given() -> None:
    spec = service(stages={"dev": {"instance_type": "ml.c5.large"}, "prod": {"instance_type": "ml.c5.xlarge"}})
    assert spec.stages.dev.keep_hours == 24
    assert (spec.stages.dev.instances.min, spec.stages.prod.instances.min) == (1, 2)
    assert spec.stage("prod").instance_type == "ml.c5.xlarge"
    assert spec.stage("dev") is spec.stages.dev


def test_max_instances_follow_min_when_left_out() -> None:
    assert InstancesSpec.model_validate({"min": 5}) == InstancesSpec(min=5, max=5)
    prod = service(stages={"prod": {"instances": {"max": 4, "invocations_per_instance": 750}}}).stages.prod.instances
    assert (prod.min, prod.max, prod.scales) == (2, 4, True)


def test_endpoints_are_named_after_service_and_stage() -> None:
    assert service().endpoint_name("dev") == "flights-dev"
    assert len(service(name="a" * 32).endpoint_name("prod")) <= 63


def test_a_spec_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        service().name = "other"


def test_the_release_depends_on_what_is_in_the_image_and_on_nothing_else() -> None:
    plain = service().serving_digest_fields()
    assert service(serving={"environment": {"A": "1"}}).serving_digest_fields() != plain
    assert service(serving={"python": "3.12"}).serving_digest_fields() != plain
    assert service(serving={"explain": "contributions"}).serving_digest_fields() != plain
    assert service(golden_rows={"max_rows": 7}).serving_digest_fields() != plain
    same = service(promote={"alpha": 0.05}, approval={"required": False}, tags={"a": "b"}, description="x")
    assert same.serving_digest_fields() == plain


def _on_spark(properties: object) -> dict[str, object]:
    return {"retrain": {"data": {"s3": "s3://a-b/"}, "spark": properties}}


def _prepared(how: object) -> dict[str, object]:
    return {"retrain": {"data": {"s3": "s3://a-b/"}, "prepare": how}}


def test_the_order_of_environment_variables_does_not_matter_to_the_release() -> None:
    one = service(serving={"environment": {"A": "1", "B": "2"}}).serving_digest_fields()
    other = service(serving={"environment": {"B": "2", "A": "1"}}).serving_digest_fields()
    assert list(one["environment"]) == list(other["environment"])


def test_explanations_are_switched_on_in_the_container() -> None:
    explained = service(serving={"explain": "contributions", "environment": {"A": "1", "Z": "2"}}).serving
    assert list(explained.variables().items()) == [("A", "1"), ("SLIPWAY_EXPLAIN", "contributions"), ("Z", "2")]
    assert service(serving={"environment": {"A": "1"}}).serving.variables() == {"A": "1"}


def test_changed_fields_are_those_that_differ_from_the_defaults() -> None:
    assert PromoteSpec().changed_fields() == set()
    assert PromoteSpec(alpha=0.01, bake_minutes=20).changed_fields() == {"bake_minutes"}


BAD: list[tuple[dict[str, Any], str, str]] = [
    ({"name": "Flights"}, "name", "did you mean 'flights'"),
    ({"name": "a--b"}, "name", "single '-'"),
    ({"name": "a" * 33}, "name", "at most 32 characters"),
    ({"name": "1st"}, "name", "did you mean 'st'"),
    ({"model": "a/b"}, "model", "registered model"),
    ({"model": " padded "}, "model", "registered model"),
    ({"owner": "<script>"}, "owner", "a person, team"),
    ({"stages": {"prod": {"instance_type": "m5.large"}}}, "stages.prod.instance_type", "did you mean 'ml.m5.large'"),
    ({"stages": {"prod": {"keep_hours": 3}}}, "stages.prod.keep_hours", "Extra inputs"),
    ({"stages": {"prod": {"instances": {"max": 1}}}}, "stages.prod.instances", "at least min, which is 2"),
    ({"stages": {"dev": {"instances": {"min": 1, "max": 3}}}}, "stages.dev.instances", "invocations_per_instance"),
    ({"stages": {"dev": {"execution_role": "no spaces"}}}, "stages.dev.execution_role", "IAM role"),
    ({"promote": {"weights_pct": [5, 5]}}, "promote.weights_pct", "increase"),
    ({"promote": {"weights_pct": [50, 25]}}, "promote.weights_pct", "increase"),
    ({"promote": {"weights_pct": [50, 100]}}, "promote.weights_pct", "below 100"),
    ({"promote": {"weights_pct": [0, 50]}}, "promote.weights_pct", "above 0"),
    ({"promote": {"weights_pct": []}}, "promote.weights_pct", "at least 1"),
    ({"promote": {"strategy": "all_at_once", "weights_pct": [10]}}, "promote", "no weights_pct"),
    ({"promote": {"strategy": "yolo"}}, "promote.strategy", "'canary' or 'all_at_once'"),
    ({"promote": {"alpha": 0}}, "promote.alpha", "greater than 0"),
    ({"promote": {"alpha": float("nan")}}, "promote.alpha", "finite"),
    ({"promote": {"metrics": {"period_seconds": 45}}}, "promote.metrics.period_seconds", "multiple of 60"),
    ({"promote": {"bake_minutes": 0.5}}, "promote", "one metric period"),
    ({"promote": {"metrics": {"dry_run": ["error", "rejected"]}}}, "promote.metrics", "one of error, rejected decides"),
    ({"promote": {"metrics": {"dry_run": ["errors"]}}}, "promote.metrics.dry_run.0", "'error', 'slow'"),
    ({"promote": {"metrics": {"source": "both"}}, "monitor": {"capture_pct": 0}}, "", "capture_pct above 0"),
    ({"promote": {"metrics": {"wrong": {}}}}, "", "monitor.labels and a monitor.capture_pct above 0"),
    (
        {"promote": {"metrics": {"wrong": {}}}, "monitor": {"labels": "s3://lake/l/", "capture_pct": 0}},
        "",
        "monitor.labels and a monitor.capture_pct above 0",
    ),
    (
        {
            "promote": {"metrics": {"wrong": {}}},
            "monitor": {"labels": "s3://lake/l/", "quality": {"task": "regression"}},
        },
        "",
        "a tolerance with monitor.quality.task: regression",
    ),
    (
        {"promote": {"metrics": {"wrong": {"tolerance": 1}}}, "monitor": {"labels": "s3://lake/l/"}},
        "",
        "and with no other task",
    ),
    ({"promote": {"gates": ["soon"]}}, "promote.gates.0", "before, between, after"),
    ({"promote": {"gates": [True]}}, "promote.gates.0", "number of a step"),
    ({"promote": {"gates": ["after", "after"]}}, "promote.gates", "each value once"),
    (
        {"promote": {"gates": ["before", 1, 1, "before"]}},
        "promote.gates",
        "each value once; 1, 'before' comes more than once",
    ),
    (
        {"promote": {"hooks": [{"name": "a", "url": "https://x", "at": [1, "after", 1, "after"]}]}},
        "promote.hooks.0.at",
        "each value once; 1, 'after' comes more than once",
    ),
    ({"promote": {"gates": [3], "weights_pct": [50]}}, "promote", "a step from 1 to 2, which is all traffic"),
    ({"promote": {"gates": ["before"], "strategy": "all_at_once"}}, "promote", "only after with strategy"),
    ({"promote": {"hooks": [{"name": "a", "url": "https://x/"}] * 2}}, "promote", "each hook's name once"),
    ({"promote": {"hooks": [{"name": "a"}]}}, "promote.hooks.0", "exactly one of function, url and connection"),
    ({"promote": {"hooks": [{"name": "a", "url": "https://x", "at": [9]}]}}, "promote", "a step from 1 to 4"),
    ({"promote": {"hooks": [{"name": "a", "url": "https://x", "path": "/y"}]}}, "promote.hooks.0", "beside connection"),
    ({"promote": {"hooks": [{"name": "a", "url": "ftp://x/"}]}}, "promote.hooks.0.url", "such as https"),
    ({"promote": {"hooks": [{"name": "a", "url": "https:///x"}]}}, "promote.hooks.0.url", "with a host"),
    ({"promote": {"hooks": [{"name": "a", "url": "https://u:p@x/"}]}}, "promote.hooks.0.url", "no name or password"),
    ({"promote": {"hooks": [{"name": "A b", "url": "https://x/"}]}}, "promote.hooks.0.name", "lower-case"),
    ({"promote": {"hooks": [{"name": "a", "function": "../x.py:f"}]}}, "promote.hooks.0.function", "file.py:function"),
    ({"retrain": {}}, "retrain.data", "Field required"),
    ({"retrain": {"data": {}}}, "retrain.data", "exactly one of s3, jdbc and table"),
    ({"retrain": {"data": {"s3": "s3://a-b/", "table": "t"}}}, "retrain.data", "found s3 and table"),
    ({"retrain": {"data": {"s3": "s3://lake/flights"}}}, "retrain.data.s3", "did you mean 's3://lake/flights/'"),
    ({"retrain": {"data": {"s3": "s3a://lake/flights/"}}}, "retrain.data.s3", "did you mean 's3://lake/flights/'"),
    ({"retrain": {"data": {"s3": "s3://lake/*/"}}}, "retrain.data.s3", "no wildcards"),
    ({"retrain": {"data": {"s3": "https://lake/"}}}, "retrain.data.s3", "a folder in S3"),
    ({"retrain": {"data": {"table": "t", "min_objects": 3}}}, "retrain.data", "no min_objects beside table"),
    ({"retrain": {"data": {"s3": "s3://a-b/", "arrivals_queue": "my-queue"}}}, "retrain.data.arrivals_queue", "SQS"),
    ({"retrain": {"data": {"s3": "s3://a-b/", "late_within": 3}}}, "retrain.data", "no late_within beside s3"),
    (_on_spark({"master": "local"}), "retrain.spark.master.[key]", "a property of Spark"),
    (_on_spark({"spark.remote": "spark:15002"}), "retrain.spark", "such as sc://spark.example.com:15002"),
    (_on_spark({"spark.remote": "sc://spark/;use_ssl=true;token=x"}), "retrain.spark", "no token in a spec"),
    (_on_spark({"spark.remote": "sc://spark", "spark.master": "yarn"}), "retrain.spark", "has its own master"),
    (_on_spark({"spark.submit.deployMode": "cluster"}), "retrain.spark", "the driver runs beside the task"),
    (_prepared({}), "retrain.prepare", "exactly one of function and image"),
    (_prepared({"function": "a.py:f", "image": "clean:4"}), "retrain.prepare", "found function and image"),
    (_prepared({"function": "a.py:f", "command": ["sh"]}), "retrain.prepare", "no command beside function"),
    (_prepared({"image": "Clean:4"}), "retrain.prepare", "the name of an image"),
    (_prepared({"image": "--privileged"}), "retrain.prepare.image", "the name of an image"),
    (_prepared({"image": "clean", "environment": {"API_KEY": "x"}}), "retrain.prepare.environment", "no secrets"),
    (_prepared({"image": "clean", "arguments": ["a\0"]}), "retrain.prepare.arguments.0", "without control characters"),
    (_prepared("clean.py:prepare"), "retrain.prepare", "a valid dictionary or instance"),
    ({"retrain": {"data": {"table": "t"}}}, "retrain", "a time_column beside data.table"),
    ({"retrain": {"data": {"table": "t"}, "engine": "python"}}, "retrain", "engine: spark, because data.table"),
    (
        {"retrain": {"data": {"jdbc": {"connection": "db", "table": "t"}}}},
        "retrain.data.jdbc.watermark_column",
        "required",
    ),
    ({"retrain": {"data": {"table": "drop table x"}}}, "retrain.data.table", "name of a table"),
    ({"retrain": {"data": {"s3": "s3://a-b/"}, "deploy": "threshold"}}, "retrain", "comparisons under when"),
    (
        {"retrain": {"data": {"s3": "s3://a-b/"}, "deploy": "automatic", "when": ["f1 > 0"]}},
        "retrain",
        "no when beside",
    ),
    ({"retrain": {"data": {"s3": "s3://a-b/"}, "when": ["  "]}}, "retrain.when.0", "a comparison"),
    ({"retrain": {"data": {"s3": "s3://a-b/"}, "when": ["f1 > 0", "f1 > 0"]}}, "retrain.when", "each value once"),
    ({"retrain": {"data": {"s3": "s3://a-b/"}, "when": ["f1 is good"]}}, "retrain.when.0", "'areaUnderROC >= 0.70'"),
    (
        {"retrain": {"data": {"s3": "s3://a-b/"}, "when": ["auc >= 0.7"]}},
        "retrain",
        "a metric of task binary: areaUnder",
    ),
    ({"retrain": {"data": {"s3": "s3://a-b/"}, "window": "last_days"}}, "retrain", "window_days together"),
    ({"retrain": {"data": {"s3": "s3://a-b/"}, "window_days": 3}}, "retrain", "window_days together"),
    ({"retrain": {"data": {"s3": "s3://a-b/"}, "schedule": "@monthy"}}, "retrain.schedule", "did you mean '@monthly'"),
    ({"retrain": {"data": {"s3": "s3://a-b/"}, "schedule": "@once"}}, "retrain.schedule", "one of @hourly"),
    (
        {"monitor": {"profiling": {"spark": {"spark.remote": "sc://spark"}}}},
        "monitor.profiling.spark.spark.remote.[key]",
        "only retrainings use Spark Connect",
    ),
    ({"monitor": {"schedule": "61 * * * *"}}, "monitor.schedule", "cron expression"),
    ({"monitor": {"schedule": "0 0 * * * *"}}, "monitor.schedule", "five fields"),
    ({"monitor": {"schedule": "every hour"}}, "monitor.schedule", "cron expression"),
    ({"monitor": {"schedule": "0 0 31 2 *"}}, "monitor.schedule", "a cron expression that comes at some time"),
    ({"retrain": {"data": {"s3": "s3://a-b/"}, "schedule": "0 0 30 FEB *"}}, "retrain.schedule", "no such date"),
    ({"monitor": {"timezone": "Europe/Berln"}}, "monitor.timezone", "did you mean 'Europe/Berlin'"),
    ({"monitor": {"timezone": "../etc/passwd"}}, "monitor.timezone", "time zone"),
    ({"monitor": {"on_drift": "retrain"}}, "", "a retrain section"),
    ({"monitor": {"tolerance": 0}}, "monitor.tolerance", "greater than 0"),
    ({"monitor": {"rate_tolerance": 0}}, "monitor.rate_tolerance", "greater than 0"),
    ({"monitor": {"capture_pct": 101}}, "monitor.capture_pct", "less than or equal to 100"),
    ({"security": {"subnets": ["subnet-1"]}}, "security", "security_group_ids as well"),
    ({"security": {"security_group_ids": ["sg-1"]}}, "security", "subnets as well"),
    ({"security": {"subnets": ["vpc-1"], "security_group_ids": ["sg-1"]}}, "security.subnets.0", "subnet id"),
    ({"notify": {"sns_topic_arn": "models"}}, "notify.sns_topic_arn", "ARN of a standard SNS topic"),
    ({"notify": {"sns_topic_arn": f"{TOPIC}.fifo"}}, "notify.sns_topic_arn", "no FIFO topic (.fifo)"),
    ({"serving": {"python": "3"}}, "serving.python", "in quotes"),
    ({"serving": {"environment": {"1A": "x"}}}, "serving.environment.1A.[key]", "variable name"),
    ({"serving": {"explain": "contributions", "engine": "pyfunc"}}, "serving", "engine: auto"),
    ({"serving": {"environment": {"DB_PASSWORD": "x"}}}, "serving.environment", "no secrets"),
    ({"serving": {"environment": {"AWS_SECRET_ACCESS_KEY": "x"}}}, "serving.environment", "no secrets"),
    ({"serving": {"environment": {"PYTHONPATH": "x"}}}, "serving.environment", "which the image sets itself"),
    ({"approval": {"approver_ids": ["a", "a"]}}, "approval.approver_ids", "each value once"),
    ({"tags": {"aws:x": "y"}}, "tags.aws:x.[key]", "neither aws: nor slipway:"),
    ({"tags": {"slipway:service": "y"}}, "tags.slipway:service.[key]", "neither aws: nor slipway:"),
    ({"golden_rows": {"max_rows": 0}}, "golden_rows.max_rows", "greater than or equal to 1"),
    ({"stages": {"prod": {"instances": {"min": "2"}}}}, "stages.prod.instances.min", "valid integer"),
    ({"approval": {"required": "yes"}}, "approval.required", "valid boolean"),
    ({"approval": {"required": 1}}, "approval.required", "valid boolean"),
]


@pytest.mark.parametrize(("fields", "place", "words"), BAD)
def test_what_is_refused(fields: dict[str, Any], place: str, words: str) -> None:
    with pytest.raises(ValidationError) as caught:
        service(**fields)
    findings = {".".join(map(str, each["loc"])): each["msg"] for each in caught.value.errors()}
    assert words in findings[place]


def test_hooks_and_gates_name_places() -> None:
    promote = PromoteSpec.model_validate(
        {
            "weights_pct": [5, 50],
            "gates": ["before", 3, "after"],
            "hooks": [
                {"name": "one", "url": "https://x/"},
                {"name": "two", "connection": "c", "at": ["between", "after"]},
            ],
        }
    )
    assert [place for place in (1, 2, 3, "after") if promote.asks_at(place)] == [1, 3, "after"]  # type: ignore[arg-type]
    assert [[hook.name for hook in promote.hooks_at(place)] for place in (1, 2, 3, "after")] == [  # type: ignore[arg-type]
        ["one"],
        ["two"],
        ["two"],
        ["two"],
    ]


@pytest.mark.parametrize("name", ["MAX_TOKENS", "TOKENIZERS_PARALLELISM", "OMP_NUM_THREADS", "KEYBOARD"])
def test_names_that_only_sound_like_secrets_are_fine(name: str) -> None:
    assert service(serving={"environment": {name: "4"}}).serving.environment == {name: "4"}


@pytest.mark.parametrize(
    "schedule",
    ["@monthly", "0 3 * * 1-5", "*/15 * * * *", "0 0 1 JAN,JUL *", "0 2 * * MON", "0 0 29 2 *", "0 0 31 2 1"],
)
def test_schedules_that_airflow_takes(schedule: str) -> None:
    spec = RetrainSpec.model_validate(
        {"data": {"s3": "s3://a-b/"}, "schedule": schedule, "timezone": "America/New_York"}
    )
    assert spec.schedule == schedule


def test_a_standard_topic_is_taken() -> None:
    assert service(notify={"sns_topic_arn": TOPIC}).notify.sns_topic_arn == TOPIC
