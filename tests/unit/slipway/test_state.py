"""state.json under concurrent writers, lost answers, kills and clocks."""

from __future__ import annotations

import json
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from slipway.canary.plan import CanaryPlan
from slipway.errors import LeaseHeldError, PermanentError, StateConflictError, StorageUnavailableError
from slipway.lease import Lease
from slipway.state import (
    Approval,
    EndpointState,
    Flag,
    Flags,
    HistoryEntry,
    Promotion,
    Recorded,
    Serving,
    StateStore,
    VariantShare,
)

KEY = "endpoints/flights-prod/state.json"
NOW = datetime(2026, 1, 1, tzinfo=UTC)

times = st.integers(0, 10**15).map(lambda microseconds: NOW + timedelta(microseconds=microseconds))
words = st.text(min_size=1, max_size=12)
flags = st.builds(Flag, by=words, at=times, reason=words)
servings = st.builds(
    Serving, release_id=words, model_version=st.integers(1, 99), config_name=words, since=times, run_id=words
)
plans = st.just(
    CanaryPlan(challenger="b", champion="a", weights_pct=(5, 25), bake_seconds=600.5, max_hold_seconds=3600, alpha=0.01)
)
shares = st.builds(VariantShare, weight=st.floats(0, 100), instances=st.integers(0, 10))
recorded = st.builds(Recorded, config_name=words, variants=st.dictionaries(words, shares, max_size=2))
states = st.builds(
    EndpointState,
    endpoint=st.just("flights-prod"),
    champion=st.none() | servings,
    previous=st.none() | servings,
    approved=st.none()
    | st.builds(Approval, release_id=words, model_version=st.integers(1), by=words, at=times, run_id=words),
    promotion=st.none()
    | st.builds(
        Promotion,
        run_id=words,
        release_id=words,
        model_version=st.integers(1),
        strategy=words,
        begun_at=times,
        plan=st.none() | plans,
        recorded=st.none() | recorded,
    ),
    lease=st.none() | st.builds(Lease, holder=words, purpose=words, taken_at=times, expires_at=times),
    flags=st.builds(Flags, hold=st.none() | flags, abort=st.none() | flags, frozen=st.none() | flags),
    history=st.lists(
        st.builds(
            HistoryEntry, event=st.just("begun"), release_id=words, at=times, by=words, run_id=words, reason=words
        ),
        max_size=3,
    ).map(tuple),
)


def store(s3: Any, **options: Any) -> StateStore:
    return StateStore(s3, "bucket", **{"sleep": lambda seconds: None, "now": lambda: NOW, **options})


def counted(state: EndpointState) -> EndpointState:
    """A change that shows each application: the champion's version counts up."""
    version = state.champion.model_version + 1 if state.champion else 1
    champion = Serving(release_id="r", model_version=version, config_name="c", since=NOW, run_id="run")
    return state.model_copy(update={"champion": champion})


@given(state=states)
def test_any_state_survives_being_written_and_read(new_memory_s3: Any, state: EndpointState) -> None:
    s3 = new_memory_s3()
    assert store(s3).update("flights-prod", lambda _: state) == state
    assert store(s3).read("flights-prod")[0] == state or state == EndpointState(endpoint="flights-prod")


@given(state=states)
def test_a_change_that_changes_nothing_writes_nothing(new_memory_s3: Any, state: EndpointState) -> None:
    s3 = new_memory_s3()
    store(s3).update("flights-prod", lambda _: state)
    s3.calls.clear()
    store(s3).update("flights-prod", lambda present: present.model_copy())
    store(s3).update("flights-prod", lambda _: state)
    assert s3.writes() == []


def test_the_latest_entry_of_a_run_tells_how_it_ended() -> None:
    events = (("rolled_back", "one"), ("promoted", "one"), ("begun", "two"))
    history = tuple(HistoryEntry(event=e, release_id="r", at=NOW, by="ann", run_id=run) for e, run in events)
    state = EndpointState(endpoint="flights-prod", history=history)
    assert [entry and entry.event for entry in map(state.last_of, ("one", "two", "three"))] == [
        "promoted",
        "begun",
        None,
    ]


def test_an_empty_state_is_not_written(memory_s3: Any) -> None:
    assert store(memory_s3).read("flights-prod") == (None, None)
    store(memory_s3).update("flights-prod", lambda state: state)
    assert memory_s3.objects == {}


@pytest.mark.parametrize("writers", [2, 6])
def test_no_update_of_concurrent_writers_is_lost(memory_s3: Any, writers: int) -> None:
    barrier, failures = threading.Barrier(writers), []
    memory_s3.before_put = lambda key: time.sleep(0.001)  # long enough for the others to read the same state

    def write() -> None:
        barrier.wait()
        try:
            for _ in range(10):
                StateStore(memory_s3, "bucket", sleep=lambda s: time.sleep(s / 20)).update("flights-prod", counted)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=write) for _ in range(writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    state, _ = store(memory_s3).read("flights-prod")
    assert state is not None
    assert state.champion is not None
    assert state.champion.model_version == 10 * writers
    assert len(memory_s3.writes()) > 10 * writers  # some lost their race, were refused and came again


@given(schedule=st.lists(st.booleans(), max_size=12))
def test_an_update_includes_whatever_others_wrote_in_between(new_memory_s3: Any, schedule: list[bool]) -> None:
    """At each attempt, another writer may slip in between the read and the write."""
    s3, others = new_memory_s3(), iter(schedule)
    interloper = store(s3)
    in_between = 0

    def maybe_write(key: str) -> None:
        nonlocal in_between
        if next(others, False):
            hook, s3.before_put = s3.before_put, lambda key: None
            interloper.update("flights-prod", counted)
            in_between += 1
            s3.before_put = hook

    s3.before_put = maybe_write
    result = store(s3).update("flights-prod", counted)
    assert result.champion is not None
    assert result.champion.model_version == in_between + 1


def test_endless_conflicts_end_in_a_clear_error(memory_s3: Any) -> None:
    pauses: list[float] = []

    def always_first(key: str) -> None:
        hook, memory_s3.before_put = memory_s3.before_put, lambda key: None
        store(memory_s3).update("flights-prod", counted)
        memory_s3.before_put = hook

    memory_s3.before_put = always_first
    with pytest.raises(StateConflictError, match="flights-prod was changed by others"):
        store(memory_s3, sleep=pauses.append).update("flights-prod", counted)
    assert 0 <= min(pauses) <= max(pauses) <= 2


def test_a_write_whose_answer_is_lost_is_recognised(memory_s3: Any) -> None:
    """botocore sends such a write again; S3 then refuses it, because the first one went through."""
    flag = Flag(by="ann", at=NOW)

    def hold(state: EndpointState) -> EndpointState:
        return state.model_copy(update={"flags": Flags(hold=flag)}) if state.flags.hold is None else state

    def lose_the_answer(key: str) -> None:
        memory_s3.after_put = lambda key: None
        response = {"Error": {"Code": "PreconditionFailed"}, "ResponseMetadata": {"HTTPStatusCode": 412}}
        raise ClientError(response, "PutObject")  # type: ignore[arg-type]

    memory_s3.after_put = lose_the_answer
    assert store(memory_s3).update("flights-prod", hold).flags.hold == flag
    assert len(memory_s3.writes()) == 1


def test_a_deleted_state_is_written_anew(memory_s3: Any) -> None:
    store(memory_s3).update("flights-prod", counted)

    def delete(key: str) -> None:
        memory_s3.before_put = lambda key: None
        memory_s3.objects.clear()

    memory_s3.before_put = delete
    result = store(memory_s3).update("flights-prod", counted)
    assert result.champion is not None
    assert result.champion.model_version == 1


def test_nothing_is_written_when_the_change_raises(memory_s3: Any) -> None:
    def refuse(state: EndpointState) -> EndpointState:
        raise PermanentError("no")

    with pytest.raises(PermanentError, match="no"):
        store(memory_s3).update("flights-prod", refuse)
    assert memory_s3.writes() == []


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"schema_version": 2, "endpoint": "flights-prod", "novelty": 1}, "written by a newer Slipway"),
        ({"schema_version": 1, "endpoint": "flights-prod", "novelty": 1}, "novelty"),
        ({"schema_version": 1, "endpoint": "other-prod"}, "is the state of other-prod"),
        ([], "expected an object"),
    ],
)
def test_a_state_that_is_not_understood_is_refused_and_kept(memory_s3: Any, body: Any, message: str) -> None:
    memory_s3.objects[KEY] = json.dumps(body).encode()
    with pytest.raises(PermanentError, match=message) as caught:
        store(memory_s3).update("flights-prod", counted)
    assert f"s3://bucket/{KEY}" in str(caught.value)
    assert json.loads(memory_s3.objects[KEY]) == body


def test_s3_down_is_a_transient_error(memory_s3: Any) -> None:
    def down(**_: Any) -> None:
        raise EndpointConnectionError(endpoint_url="http://s3")

    memory_s3.get_object = down
    with pytest.raises(StorageUnavailableError, match="read s3://bucket/endpoints/flights-prod"):
        store(memory_s3).read("flights-prod")


class Leases(RuleBasedStateMachine):
    """Leases against a model: who may change the endpoint at each moment, whatever the order of events."""

    new_s3: Any = None

    @initialize()
    def begin(self) -> None:
        self.s3 = self.new_s3()
        self.clock = NOW
        self.store = store(self.s3, now=lambda: self.clock)
        self.holder: str | None = None
        self.until = NOW

    @rule(seconds=st.integers(0, 400))
    def time_passes(self, seconds: int) -> None:
        self.clock += timedelta(seconds=seconds)

    @rule(who=st.sampled_from("abc"), seconds=st.integers(1, 300))
    def take(self, who: str, seconds: int) -> None:
        free = self.holder in {None, who} or self.clock >= self.until
        if not free:
            with pytest.raises(LeaseHeldError, match=f"{self.holder} may change"):
                self.store.take_lease("flights-prod", who, purpose="test", seconds=seconds)
            return
        granted = self.store.take_lease("flights-prod", who, purpose="test", seconds=seconds)
        lost = self.holder if self.holder not in {None, who} else None
        assert (granted.taken_from.holder if granted.taken_from else None) == lost
        assert granted.lease.holder == who
        assert granted.lease.expires_at - self.clock > timedelta(seconds=seconds / 2)
        self.holder, self.until = who, granted.lease.expires_at

    @rule(who=st.sampled_from("abc"))
    def give_back(self, who: str) -> None:
        writes = len(self.s3.writes())
        assert self.store.release_lease("flights-prod", who) == (self.holder == who)
        assert len(self.s3.writes()) == writes + (self.holder == who)
        self.holder = None if self.holder == who else self.holder

    @rule(who=st.sampled_from("abc"))
    def change(self, who: str) -> None:
        if who == self.holder:
            self.store.update("flights-prod", counted, holder=who)
        else:
            with pytest.raises(LeaseHeldError):
                self.store.update("flights-prod", counted, holder=who)

    @precondition(lambda self: self.s3.objects)
    @invariant()
    def the_document_says_who(self) -> None:
        state, _ = self.store.read("flights-prod")
        assert state is not None
        assert (state.lease.holder if state.lease else None) == self.holder


def test_leases_exclude_each_other(new_memory_s3: Any) -> None:
    from hypothesis.stateful import run_state_machine_as_test

    Leases.new_s3 = new_memory_s3
    run_state_machine_as_test(Leases, settings=settings(max_examples=60, stateful_step_count=25, deadline=None))


def test_only_one_of_many_takers_gets_the_lease(memory_s3: Any) -> None:
    barrier, winners, losers = threading.Barrier(6), [], []

    def take(who: str) -> None:
        barrier.wait()
        try:
            StateStore(memory_s3, "bucket").take_lease("flights-prod", who, purpose="race", seconds=60)
            winners.append(who)
        except LeaseHeldError:
            losers.append(who)

    threads = [threading.Thread(target=take, args=(f"run-{number}",)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(winners) == 1
    assert len(losers) == 5


def test_asking_often_does_not_write_often(memory_s3: Any) -> None:
    clock = [NOW]
    leases = store(memory_s3, now=lambda: clock[0])
    for _ in range(60):
        leases.take_lease("flights-prod", "run", purpose="poll", seconds=600)
        clock[0] += timedelta(seconds=10)
    assert len(memory_s3.writes()) == 2  # taken, and prolonged at half time


def test_a_lease_taken_over_is_told_even_when_the_answer_is_lost(memory_s3: Any) -> None:
    clock = [NOW]
    leases = store(memory_s3, now=lambda: clock[0])
    leases.take_lease("flights-prod", "lost", purpose="x", seconds=10)
    clock[0] += timedelta(seconds=11)

    def lose_the_answer(key: str) -> None:
        memory_s3.after_put = lambda key: None
        response = {"Error": {"Code": "PreconditionFailed"}, "ResponseMetadata": {"HTTPStatusCode": 412}}
        raise ClientError(response, "PutObject")  # type: ignore[arg-type]

    memory_s3.after_put = lose_the_answer
    granted = leases.take_lease("flights-prod", "next", purpose="x", seconds=10)
    assert granted.taken_from is not None
    assert granted.taken_from.holder == "lost"
