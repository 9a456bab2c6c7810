from datetime import UTC, datetime, timedelta

import pytest

from slipway.drift.judge import DriftVerdict, WindowJudgement
from slipway.drift.policy import policy_of, runs_per_year
from slipway.drift.profile import Profile
from slipway.drift.status import MonitorState, Status, advance, decide, status_of, unreadable_share
from slipway.spec.monitor import MonitorSpec

NOON = datetime(2026, 1, 10, 12, tzinfo=UTC)
SPEC = MonitorSpec(quiet_hours=24, cooldown_hours=48, max_retrains_per_month=2, on_drift="retrain")
RELEASE = "0123456789ab"


def after(state: MonitorState, status: Status, hours: float, *, columns=(), release=RELEASE, traffic=True):
    until = NOON + timedelta(hours=hours)
    return advance(state, status, tuple(columns), release, until, until if traffic else None, SPEC)


def test_a_first_calm_look_is_no_news_and_a_first_alarm_is():
    assert not after(MonitorState(), Status.STABLE, 0).changed
    assert not after(MonitorState(), Status.LEARNING, 0).changed
    assert after(MonitorState(), Status.DRIFTED, 0, columns=["x"]).changed
    assert after(MonitorState(), Status.NO_TRAFFIC, 0, traffic=False).changed


def test_an_alarm_is_told_once_until_other_columns_drift():
    first = after(MonitorState(), Status.DRIFTED, 0, columns=["x"])
    same = after(first.state, Status.DRIFTED, 1, columns=["x"])
    more = after(same.state, Status.DRIFTED, 2, columns=["y", "x"])
    assert (same.changed, more.changed) == (False, True)
    assert more.state.columns == ("x", "y")
    assert same.state.since == NOON
    assert more.state.since == NOON + timedelta(hours=2)


def test_too_few_rows_do_not_end_an_alarm_and_stable_ones_do():
    alarm = after(MonitorState(), Status.DRIFTED, 0, columns=["x"]).state
    unsure = after(alarm, Status.INCONCLUSIVE, 1)
    assert (unsure.changed, unsure.state.status, unsure.state.columns) == (False, Status.DRIFTED, ("x",))
    calm = after(unsure.state, Status.STABLE, 2)
    assert (calm.changed, calm.before, calm.state.columns) == (True, Status.DRIFTED, ())


def test_silence_counts_from_the_last_call():
    calm = after(MonitorState(), Status.STABLE, 0).state
    assert not after(calm, Status.NO_TRAFFIC, 23, traffic=False).changed
    assert after(calm, Status.NO_TRAFFIC, 24, traffic=False).changed


def test_a_new_champion_is_a_new_start():
    alarm = after(MonitorState(), Status.DRIFTED, 0, columns=["x"]).state
    new = after(alarm, Status.INCONCLUSIVE, 1, release="ffffffffffff")
    assert (new.changed, new.state.status) == (True, Status.INCONCLUSIVE)


def test_a_run_over_an_older_window_changes_nothing():
    alarm = after(MonitorState(), Status.DRIFTED, 5, columns=["x"]).state
    old = after(alarm, Status.STABLE, 4)
    assert (old.changed, old.state) == (False, alarm)


@pytest.mark.parametrize(
    ("retrains", "hours", "asked", "why"),
    [
        ([], 0, True, "Drift in x"),
        ([0], 47, False, "cooldown_hours"),
        ([0], 49, True, "Drift in x"),
        ([0, 50], 200, False, "max_retrains_per_month"),
        ([0, 50], 24 * 30 + 51, True, "Drift in x"),
    ],
)
def test_retraining_keeps_to_cool_down_and_budget(retrains, hours, asked, why):
    times = tuple(NOON + timedelta(hours=at) for at in retrains)
    decision = decide(Status.DRIFTED, ("x",), NOON + timedelta(hours=hours), MonitorState(retrains=times), SPEC)
    assert (decision.retrain, why in decision.reason) == (asked, True)


@pytest.mark.parametrize("on_drift", ["notify", "ignore"])
def test_other_policies_never_retrain(on_drift):
    assert not decide(Status.DRIFTED, ("x",), NOON, MonitorState(), MonitorSpec(on_drift=on_drift)).retrain


@pytest.mark.parametrize("status", [status for status in Status if status is not Status.DRIFTED])
def test_only_a_window_that_drifted_itself_sets_off_a_retraining(status):
    alarm = MonitorState(status=Status.DRIFTED, columns=("x",))
    decision = decide(status, (), NOON, alarm, SPEC)
    assert (decision.retrain, decision.reason) == (False, f"The window is {status}, not DRIFTED.")


def test_an_incident_that_was_mended_retrains_once_however_little_the_later_windows_say():
    state, asked = MonitorState(), []
    for hour in range(24 * 60):
        until = NOON + timedelta(hours=hour)
        status = Status.INCONCLUSIVE if hour else Status.DRIFTED
        state = advance(state, status, () if hour else ("x",), RELEASE, until, until, SPEC).state
        if decide(status, state.columns, until, state, SPEC).retrain:
            state = state.model_copy(update={"retrains": (*state.retrains, until)})
            asked.append(hour)
    assert asked == [0]
    assert state.status is Status.DRIFTED, "nobody was told that it is over, because nobody knows"


def test_an_older_window_that_is_judged_again_sets_nothing_off():
    later = MonitorState(looked_until=NOON + timedelta(hours=1))
    assert not decide(Status.DRIFTED, ("x",), NOON, later, SPEC).retrain
    assert decide(Status.DRIFTED, ("x",), NOON + timedelta(hours=1), later, SPEC).retrain


@pytest.mark.parametrize(
    ("schedule", "runs"),
    [
        ("@hourly", 8766),
        ("@daily", 365.25),
        ("@weekly", 52.2),
        ("@monthly", 12),
        ("@quarterly", 4),
        ("*/5 * * * *", 105192),
    ],
)
def test_runs_of_a_year(schedule, runs):
    assert runs_per_year(schedule) == pytest.approx(runs, rel=0.03)


def test_the_policy_is_the_specs():
    policy = policy_of(MonitorSpec(schedule="@weekly", tolerance=0.2, rate_tolerance=0.01, false_alarms_per_year=2))
    assert (policy.tolerance, policy.rate_tolerance) == (0.2, 0.01)
    assert policy.alpha == pytest.approx(2 / 52.2, rel=0.02)


@pytest.mark.parametrize(
    ("calls", "rejected", "found"),
    [
        (10, {"bad_request": 10}, Status.UNREADABLE),
        (10, {"not_json": 1}, Status.UNREADABLE),
        (100, {"not_json": 5}, Status.STABLE),
        (100, {"not_json": 6}, Status.UNREADABLE),
        (10, {"error_answer": 10}, Status.STABLE),
        (0, {"error_answer": 10}, Status.NO_TRAFFIC),
        (0, {"not_json": 1}, Status.UNREADABLE),
        (0, {}, Status.NO_TRAFFIC),
    ],
)
def test_unreadable_calls_are_held_against_calls_however_many_rows_these_bring(calls, rejected, found):
    window = Profile("b", rows=100 * calls, columns={}, calls=calls, rejected=rejected)
    verdict = DriftVerdict.STABLE if calls else DriftVerdict.NO_DATA
    assert status_of(WindowJudgement(verdict, window.rows, 0.01, ()), window) is found


def test_answers_that_are_errors_are_no_unreadable_calls():
    assert unreadable_share(10, {"bad_request": 10, "error_answer": 80}) == 0.5
    assert unreadable_share(0, {"error_answer": 80}) == 0.0
