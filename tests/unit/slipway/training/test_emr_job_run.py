from __future__ import annotations

import re
import shlex
from typing import Any

import pytest

from slipway.endpoints.requests import Account
from slipway.errors import InvalidInputError
from slipway.platform import Platform
from slipway.spec import ServiceSpec
from slipway.training.emr_job_run import emr_order, job_run_request, order_document, unfit

ACCOUNT = Account("123456789012", "eu-central-1")
PLACE = "s3://bucket/retrain/flights/runs/manual__1/training"
PLATFORM = Platform(execution_role="slipway-execution", tags={"team": "ml"})
APPLICATION = {"type": "Spark", "releaseLabel": "emr-spark-8.0.0", "state": "STARTED"}


def service(retrain: dict[str, Any] | None = None, **compute: Any) -> ServiceSpec:
    section = {
        "data": {"s3": "s3://lake/flights/"},
        "compute": {"emr_serverless": {"application_id": "00f1", **compute}},
        **(retrain or {}),
    }
    return ServiceSpec.model_validate({"name": "flights", "model": "m", "owner": "o", "retrain": section})


def order(spec: ServiceSpec | None = None, **changes: Any) -> Any:
    given = {"run_id": "manual__1", "document": {"service": "flights"}, "code": {}, "place": PLACE, **changes}
    return emr_order(spec or service(), PLATFORM, ACCOUNT, **given)


def properties(request: dict[str, Any]) -> dict[str, str]:
    words = shlex.split(request["jobDriver"]["sparkSubmit"]["sparkSubmitParameters"])
    assert words[::2] == ["--conf"] * (len(words) // 2)
    return dict(word.partition("=")[::2] for word in words[1::2])


def test_the_tokens_follow_from_service_run_and_attempt_and_fit_emr():
    assert order().job_name(1) == order().job_name(1)
    assert len({order().job_name(1), order().job_name(2), order(run_id="manual__2").job_name(1)}) == 3
    long = order(service().model_copy(update={"name": "x" * 32}), run_id="scheduled__2026-11-22T00:00:00+00:00")
    assert re.fullmatch(r"[A-Za-z0-9._-]{1,64}", long.job_name(99))


def test_the_request_says_what_the_spec_says():
    spec = service(
        {"max_hours": 2.5, "spark": {"spark.executor.memory": "8g", "spark.app.words": "two 'words'"}},
        role="trainers",
        log_uri="s3://logs/emr/",
    )
    request = job_run_request(order(spec), "flights-x-1")
    folder = f"{PLACE}/flights-x-1"
    assert request["applicationId"] == "00f1"
    assert (request["clientToken"], request["name"]) == ("flights-x-1", "flights-x-1")
    assert request["executionRoleArn"] == "arn:aws:iam::123456789012:role/trainers"
    assert request["executionTimeoutMinutes"] == 150
    submit = request["jobDriver"]["sparkSubmit"]
    assert submit["entryPoint"] == f"{folder}/entry_point.py"
    assert submit["entryPointArguments"] == ["train", "--job", f"{folder}/job.json", "--out", f"{folder}/"]
    found = properties(request)
    assert (found["spark.executor.memory"], found["spark.app.words"]) == ("8g", "two 'words'")
    assert found["spark.emr-serverless.driverEnv.MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert found["spark.emr-serverless.driverEnv.AWS_DEFAULT_REGION"] == "eu-central-1"
    assert not {"spark.archives", "spark.slipway.folder"} & set(found)
    assert request["configurationOverrides"]["monitoringConfiguration"] == {
        "s3MonitoringConfiguration": {"logUri": "s3://logs/emr/"}
    }
    assert request["tags"] == {
        "team": "ml", "slipway:service": "flights", "slipway:owner": "o", "slipway:run-id": "manual__1",
    }  # fmt: skip


def test_an_archive_brings_its_own_python_to_driver_and_executors():
    found = properties(job_run_request(order(service(archive="s3://code/trainer.tar.gz")), "a"))
    assert found["spark.archives"] == "s3://code/trainer.tar.gz#environment"
    for name in ("emr-serverless.driverEnv.PYSPARK_DRIVER_PYTHON", "executorEnv.PYSPARK_PYTHON"):
        assert found[f"spark.{name}"] == "./environment/bin/python"


def test_words_are_quoted_only_where_they_would_fall_apart():
    made = order(service({"spark": {"spark.a": "x y"}}, archive="s3://code/trainer.tar.gz"))
    words = job_run_request(made, "a")["jobDriver"]["sparkSubmit"]["sparkSubmitParameters"]
    assert "--conf spark.archives=s3://code/trainer.tar.gz#environment " in words
    assert "--conf 'spark.a=x y' " in words


def test_logs_lie_beside_the_run_and_short_trainings_get_what_emr_takes():
    request = job_run_request(order(service({"max_hours": 0.01})), "a")
    logs = request["configurationOverrides"]["monitoringConfiguration"]["s3MonitoringConfiguration"]
    assert logs == {"logUri": f"{PLACE}/a/logs/"}
    assert request["executionTimeoutMinutes"] == 5


def test_the_job_names_its_code_and_the_folder_for_models_in_s3():
    document = {"template": "channel://code/own.py:make", "retrainer": None, "spark": {"spark.a": "b"}}
    made = order_document(order(service({"spark": {"spark.a": "b"}}, mlflow_secret="m"), document=document), "a")
    assert made["template"] == f"{PLACE}/a/code/own.py:make"
    assert made["retrainer"] is None
    assert made["mlflow_secret"] == "m"
    assert made["spark"] == {"spark.slipway.folder": f"{PLACE}/a/spark/", "spark.a": "b"}


def test_a_folder_for_models_of_ones_own_is_kept_and_not_given_to_spark():
    made = order(service({"spark": {"spark.slipway.folder": "s3://own/"}}))
    assert order_document(made, "a")["spark"]["spark.slipway.folder"] == "s3://own/"
    assert "spark.slipway.folder" not in properties(job_run_request(made, "a"))


def test_another_compute_is_refused():
    with pytest.raises(InvalidInputError, match=r"names no retrain\.compute\.emr_serverless"):
        order(service().model_copy(update={"retrain": None}))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, ""),
        ({"type": "SPARK", "releaseLabel": "emr-spark-8.1.0", "state": "STOPPED"}, ""),
        ({"state": "STOPPED", "autoStartConfiguration": {"enabled": True}}, ""),
        ({"state": "STARTED", "autoStartConfiguration": {"enabled": False}}, ""),
        ({"type": "Hive"}, "is of type Hive; expected one of type Spark"),
        ({"releaseLabel": "emr-7.12.0"}, "is of release emr-7.12.0, whose Spark is 3; expected emr-spark-8.0.0"),
        ({"state": "TERMINATED"}, "is terminated"),
        ({"state": "STOPPED", "autoStartConfiguration": {"enabled": False}}, "is stopped and may not start by itself"),
        ({"state": "CREATED", "autoStartConfiguration": {"enabled": False}}, "is created and may not start by itself"),
    ],
)
def test_an_application_that_cannot_train_is_told_with_what_to_do(changes, told):
    found = unfit({**APPLICATION, **changes})
    assert found.startswith(told)
    assert bool(found) == bool(told)
