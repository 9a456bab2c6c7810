from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from slipway.cli.airflow_api import SETTLE_SECONDS, AirflowApi
from slipway.cli.settings import AirflowSettings
from slipway.errors import (
    AccessDeniedError,
    AirflowRequestError,
    AirflowUnavailableError,
    InvalidParamsError,
    UnknownServiceError,
)

if TYPE_CHECKING:
    from .conftest import FakeAirflow

RUN = "manual__2026-11-21T10:06:57.767297+00:00"


@pytest.fixture
def api(airflow: FakeAirflow) -> AirflowApi:
    return AirflowApi.from_environment()


def as_user(airflow: FakeAirflow, name: str) -> AirflowApi:
    return AirflowApi(AirflowSettings(airflow.url, name, name))


def test_a_run_is_started_with_its_conf(airflow: FakeAirflow, api: AirflowApi) -> None:
    run = api.trigger("flights.deploy", {"model_version": "3"}, note="why", run_id="my run+1")
    assert (run.dag_id, run.run_id, run.state, run.finished) == ("flights.deploy", "my run+1", "queued", False)
    assert (run.conf, run.note, run.triggered_by) == ({"model_version": "3"}, "why", "admin")
    assert api.dag_run("flights.deploy", "my run+1") == run


def test_a_token_is_asked_for_once(airflow: FakeAirflow, api: AirflowApi) -> None:
    api.dags()
    api.dags()
    assert airflow.requests.count(("POST", "/auth/token")) == 1


def test_an_expired_token_is_renewed(airflow: FakeAirflow, api: AirflowApi) -> None:
    api.dags()
    airflow.tokens.clear()
    assert len(api.dags()) == 2
    assert airflow.requests.count(("POST", "/auth/token")) == 2


def test_a_given_token_is_used_and_not_renewed(airflow: FakeAirflow) -> None:
    airflow.tokens["mine"] = "op"
    api = AirflowApi(AirflowSettings(airflow.url, token="mine"))
    assert api.trigger("flights.deploy").triggered_by == "op"
    airflow.tokens.clear()
    with pytest.raises(AccessDeniedError, match="fresh SLIPWAY_AIRFLOW_TOKEN"):
        api.dags()
    assert ("POST", "/auth/token") not in airflow.requests


def test_dags_by_prefix_and_tag_over_many_pages(airflow: FakeAirflow, api: AirflowApi) -> None:
    for n in range(230):
        airflow.add_dag(f"service{n:03}.deploy", tags=("deploy",))
    airflow.add_dag("flights-spark.deploy", tags=("deploy",))  # of another service, though Airflow finds it, too
    assert len(api.dags(tag="deploy")) == 232
    assert [dag.dag_id for dag in api.dags(prefix="flights.")] == ["flights.deploy", "flights.promote"]


def test_runs_come_newest_first(airflow: FakeAirflow, api: AirflowApi) -> None:
    for hour in (1, 3, 2):
        airflow.add_run("flights.deploy", f"r{hour}", run_after=f"2026-11-21T0{hour}:00:00Z")
    assert [run.run_id for run in api.dag_runs("flights.deploy", limit=2)] == ["r3", "r2"]


def test_tasks_come_in_the_order_of_the_dag(airflow: FakeAirflow, api: AirflowApi) -> None:
    airflow.add_run("flights.deploy", RUN)
    for task, state in (("resolve_model", "success"), ("build_image", "running"), ("approve", None)):
        airflow.add_task(RUN, task, state)
    tasks = api.task_instances("flights.deploy", RUN)
    assert [(task.task_id, task.state) for task in tasks] == [
        ("resolve_model", "success"),
        ("build_image", "running"),
        ("approve", None),
    ]


def test_what_a_task_left_behind(airflow: FakeAirflow, api: AirflowApi) -> None:
    airflow.xcoms["resolve_model", "return_value"] = {"version": 3}
    assert api.xcom("flights.deploy", RUN, "resolve_model") == {"version": 3}
    assert api.xcom("flights.deploy", RUN, "resolve_model", "other") is None


def test_the_log_of_a_failed_task_and_its_error(airflow: FakeAirflow, api: AirflowApi) -> None:
    airflow.add_run("flights.deploy", RUN, "failed")
    airflow.add_task(RUN, "fails", "failed", try_number=1)
    airflow.add_task(RUN, "later", "upstream_failed", try_number=0)
    failed, later = api.task_instances("flights.deploy", RUN)
    assert api.task_error(failed) == "ValueError: no endpoint"
    assert "2026-11-21T10:07:08 Task failed with exception\nValueError: no endpoint" in api.task_log(failed)
    assert (api.task_error(later), api.task_log(later)) == (None, "")


def test_a_paused_dag_is_not_triggered(airflow: FakeAirflow, api: AirflowApi) -> None:
    airflow.add_dag("flights.deploy", paused=True)
    with pytest.raises(AirflowRequestError, match=r"flights\.deploy is paused.*; unpause it in Airflow's UI$"):
        api.trigger("flights.deploy")
    assert airflow.runs == []
    api.set_paused("flights.deploy", False)
    assert api.trigger("flights.deploy").state == "queued"


def test_an_unknown_service_lists_those_there_are(airflow: FakeAirflow, api: AirflowApi) -> None:
    airflow.add_dag("churn.deploy", tags=("deploy",))
    with pytest.raises(UnknownServiceError, match=r"no DAG fligths\.deploy.*services: churn, flights$"):
        api.trigger("fligths.deploy")


def test_airflow_s_own_words_on_one_line(airflow: FakeAirflow, api: AirflowApi) -> None:
    with pytest.raises(InvalidParamsError) as caught:
        api.trigger("flights.deploy", {"overrides": {"bad": [1]}})
    assert str(caught.value) == "Invalid input for param overrides: [1] is not of type 'string', 'integer'"
    with pytest.raises(AirflowRequestError, match=r"answers 404 .*run_id: `nope` was not found"):
        api.dag_run("flights.deploy", "nope")


def test_a_run_id_that_is_taken(airflow: FakeAirflow, api: AirflowApi) -> None:
    api.trigger("flights.deploy", run_id="one")
    with pytest.raises(AirflowRequestError, match="has a run one already"):
        api.trigger("flights.deploy", run_id="one")


@pytest.mark.parametrize("ill", ["refuses", "loses the answer"])
def test_a_server_error_starts_neither_no_run_nor_two(airflow: FakeAirflow, api: AirflowApi, ill: Any) -> None:
    airflow.ill = [ill, ill, "refuses"]
    run = api.trigger("flights.deploy", {"model_version": "3"})
    assert [(each["dag_run_id"], each["conf"]) for each in airflow.runs] == [(run.run_id, {"model_version": "3"})]


def test_a_run_id_of_the_user_s_own_is_asked_for_once(airflow: FakeAirflow, api: AirflowApi) -> None:
    airflow.ill = ["refuses"]
    with pytest.raises(AirflowUnavailableError, match=r"answers 500 to POST .*: Database error"):
        api.trigger("flights.deploy", run_id="one")
    assert airflow.runs == []


def test_who_may_not_is_told_so(airflow: FakeAirflow) -> None:
    with pytest.raises(AccessDeniedError, match="viewer may not do this in Airflow: Forbidden"):
        as_user(airflow, "viewer").trigger("flights.deploy")
    with pytest.raises(AccessDeniedError, match=r"refuses the user 'stranger'.*SLIPWAY_AIRFLOW_PASSWORD"):
        as_user(airflow, "stranger").dags()


def test_a_server_that_is_away_or_ill(airflow: FakeAirflow, api: AirflowApi) -> None:
    airflow.broken = 503
    with pytest.raises(AirflowUnavailableError, match="answers 503"):
        api.dags()
    closed = AirflowApi(AirflowSettings("http://127.0.0.1:9", "a", "b"))
    with pytest.raises(AirflowUnavailableError, match=r"does not answer at http://127.0.0.1:9: start .*`make up`"):
        closed.dags()


@pytest.mark.parametrize("answer", ["<!doctype html>", {}, {"dags": None}, []])
def test_something_else_than_airflow(
    airflow: FakeAirflow, api: AirflowApi, monkeypatch: pytest.MonkeyPatch, answer: object
) -> None:
    fresh = AirflowApi(AirflowSettings(airflow.url, "admin", "admin"))
    api.dags()
    monkeypatch.setattr(type(airflow), "answer", lambda *_: (200, answer))
    for one in (api, fresh):
        with pytest.raises(AirflowRequestError, match="does not answer like Airflow"):
            one.dags()


def test_a_silent_server_is_not_waited_for_long() -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(AirflowUnavailableError, match=r"no answer within 0\.2 seconds"):
            AirflowApi(AirflowSettings(url, "a", "b"), timeout_seconds=0.2).dags()


def test_proxies_are_not_asked_for_this_machine(airflow: FakeAirflow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    assert len(AirflowApi.from_environment().dags()) == 2


def test_questions_that_wait(airflow: FakeAirflow, api: AirflowApi) -> None:
    airflow.add_run("flights.deploy", RUN)
    airflow.ask(RUN)
    (approval,) = api.pending_approvals("flights.")
    assert (approval.dag_id, approval.run_id, approval.task_id) == ("flights.deploy", RUN, "approve")
    assert approval.options == ("Approve", "Reject")
    assert (approval.fields, approval.approver_ids) == ({"reason": ""}, ("admin",))
    assert api.pending_approvals("churn.") == []
    airflow.questions[0]["task_instance"]["dag_id"] = "flights-spark.deploy"
    assert api.pending_approvals("flights.") == [], "another service's question is not this one's to answer"


def test_an_answer_fills_in_the_form(airflow: FakeAirflow, api: AirflowApi) -> None:
    airflow.add_run("flights.deploy", RUN)
    airflow.ask(RUN)
    (approval,) = api.pending_approvals()
    api.answer_approval(approval, "Approve", {"reason": "looks good"})
    given = {"chosen_options": ["Approve"], "params_input": {"reason": "looks good"}}
    assert airflow.answers == [{"user": "admin", "dag_run_id": RUN, "map_index": "-1", **given}]
    assert api.pending_approvals() == []
    with pytest.raises(AirflowRequestError, match="answered already"):
        api.answer_approval(approval, "Reject")


@pytest.mark.parametrize(
    ("option", "fields", "words"),
    [("Maybe", {}, "no option 'Maybe'; accepted: Approve, Reject"), ("Approve", {"raeson": "x"}, "no field 'raeson'")],
)
def test_what_the_form_does_not_have_is_not_sent(
    airflow: FakeAirflow, api: AirflowApi, option: str, fields: dict[str, Any], words: str
) -> None:
    airflow.add_run("flights.deploy", RUN)
    airflow.ask(RUN)
    with pytest.raises(InvalidParamsError, match=words):
        api.answer_approval(api.pending_approvals()[0], option, fields)
    assert airflow.answers == []


def test_only_approvers_answer(airflow: FakeAirflow) -> None:
    airflow.add_run("flights.deploy", RUN)
    airflow.ask(RUN)
    operator = as_user(airflow, "op")
    with pytest.raises(AccessDeniedError, match="not a respondent"):
        operator.answer_approval(operator.pending_approvals()[0], "Approve")


@pytest.mark.parametrize(("age", "waits"), [(0.0, True), (1.5, True), (5.0, False), (-30.0, False)])
def test_a_fresh_question_is_left_alone_for_a_moment(airflow: FakeAirflow, age: float, waits: bool) -> None:
    pauses: list[float] = []
    api = AirflowApi(AirflowSettings(airflow.url, "admin", "admin"), sleep=pauses.append)
    airflow.add_run("flights.deploy", RUN)
    airflow.ask(RUN, created_at=(datetime.now(UTC) - timedelta(seconds=age)).isoformat())
    api.answer_approval(api.pending_approvals()[0], "Approve")
    assert bool(pauses) == waits
    assert all(0 < pause <= SETTLE_SECONDS - age for pause in pauses)


def test_following_outlives_a_restart_of_airflow(airflow: FakeAirflow, api: AirflowApi) -> None:
    from slipway.cli.watch import follow

    run = airflow.add_run("flights.deploy", RUN)

    def fall_ill() -> None:
        airflow.broken = 503

    def recover(_: float) -> None:
        airflow.broken = None
        if airflow.requests.count(("GET", f"/api/v2/dags/flights.deploy/dagRuns/{RUN}")) > 4:
            run["state"] = "success"

    airflow.on_look = [fall_ill]
    looks = list(follow(api, "flights.deploy", RUN, sleep=recover))
    assert [look.run.state for look in looks] == ["running", "success"]


def test_following_gives_up_when_airflow_stays_away(airflow: FakeAirflow, api: AirflowApi) -> None:
    from slipway.cli.watch import follow

    airflow.broken = 503
    with pytest.raises(AirflowUnavailableError):
        list(follow(api, "flights.deploy", RUN, patience_seconds=0, sleep=lambda _: None))


def test_settings_repeat_no_secret(airflow: FakeAirflow) -> None:
    shown = repr(AirflowSettings("http://x", "user", "hunter2", "token-x"))
    assert "hunter2" not in shown
    assert "token-x" not in shown
