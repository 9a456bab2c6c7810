"""The ledger keeps everything once, under keys that follow from run and task."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.errors import PermanentError
from slipway.ledger import Ledger, LedgerEntry

RUN = "manual__2026-01-01T10:00:00+00:00"
words = st.text(min_size=1, max_size=10)
entries = st.builds(
    LedgerEntry,
    action=words,
    subject=words,
    user=words,
    reason=st.text(max_size=10),
    detail=st.dictionaries(
        words, st.none() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | words, max_size=3
    ),
)


def entry(action: str = "created", **changes: Any) -> LedgerEntry:
    fields = {"action": action, "subject": "flights-dev", "user": "ann", "reason": "first", "detail": {"n": 1}}
    return LedgerEntry(**(fields | changes))


def test_keys_are_numbered_within_the_task(memory_s3: Any) -> None:
    ledger = Ledger(memory_s3, "bucket")
    keys = [ledger.record("flights", RUN, "step_1.shift", entry(action)) for action in ("a", "b", "c")]
    assert keys == [f"ledger/flights/{RUN}/step_1.shift/{n}.json" for n in range(3)]
    assert ledger.record("flights", RUN, "step_1.judge", entry("a")) == f"ledger/flights/{RUN}/step_1.judge/0.json"


def test_a_task_that_records_much_reads_each_entry_once(memory_s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    get = memory_s3.get_object
    monkeypatch.setattr(memory_s3, "get_object", lambda **what: read.append(what["Key"]) or get(**what))
    ledger = Ledger(memory_s3, "bucket")
    looks = [entry("looked", detail={"look": number}) for number in range(20)]
    keys = [ledger.record("flights", RUN, "judge", look) for look in looks]
    assert ledger.record("flights", RUN, "judge", looks[3]) == keys[3]
    assert len(read) == len(set(read)) == 20


def test_an_entry_says_what_who_why_where_and_when(memory_s3: Any) -> None:
    now = datetime(2026, 5, 1, 12, tzinfo=UTC)
    key = Ledger(memory_s3, "bucket", now=lambda: now).record("flights", RUN, "launch", entry())
    assert json.loads(memory_s3.objects[key]) == {
        "action": "created",
        "subject": "flights-dev",
        "user": "ann",
        "reason": "first",
        "detail": {"n": 1},
        "service": "flights",
        "run_id": RUN,
        "task_id": "launch",
        "n": 0,
        "at": "2026-05-01T12:00:00Z",
    }


@given(story=st.lists(entries, max_size=6))
def test_a_task_that_runs_again_writes_nothing_new(new_memory_s3: Any, story: list[LedgerEntry]) -> None:
    s3 = new_memory_s3()
    ledger = Ledger(s3, "bucket")
    first = [ledger.record("flights", RUN, "launch", one) for one in story]
    before, s3.calls = dict(s3.objects), []
    assert [ledger.record("flights", RUN, "launch", one) for one in story] == first
    assert (s3.objects, s3.writes()) == (before, [])
    distinct = {one.model_dump_json() for one in story}
    assert len(ledger.read("flights")) == len(distinct) == len(s3.objects)


@given(story=st.lists(entries, max_size=8), limit=st.integers(0, 10), seconds=st.lists(st.integers(0, 2)))
def test_reading_is_newest_first_and_limits_without_losing_the_newest(
    new_memory_s3: Any, story: list[LedgerEntry], limit: int, seconds: list[int]
) -> None:
    s3, clock = new_memory_s3(), [datetime(2026, 1, 1, tzinfo=UTC)]
    ledger = Ledger(s3, "bucket", now=lambda: clock[0])
    for number, one in enumerate(story):
        ledger.record("flights", f"run-{number % 3}", "task", one.model_copy(update={"detail": {"number": number}}))
        clock[0] += timedelta(seconds=seconds[number] if number < len(seconds) else 0, milliseconds=1)
        s3.now = clock[0].replace(microsecond=0)  # S3 keeps whole seconds
    everything = [record.detail["number"] for record in ledger.read("flights")]
    assert everything == list(range(len(story)))[::-1]
    assert [record.detail["number"] for record in ledger.read("flights", limit=limit)] == everything[:limit]


def test_a_limit_reads_only_what_it_needs(memory_s3: Any) -> None:
    ledger = Ledger(memory_s3, "bucket")
    for number in range(20):
        ledger.record("flights", f"run-{number}", "task", entry())
        memory_s3.pass_time(seconds=1)
    memory_s3.calls.clear()
    assert len(ledger.read("flights", limit=2)) == 2
    assert [operation for operation, _ in memory_s3.calls].count("get") == 2


def test_more_than_ten_entries_keep_their_order(memory_s3: Any) -> None:
    ledger = Ledger(memory_s3, "bucket", now=lambda: datetime(2026, 1, 1, tzinfo=UTC))
    for number in range(12):
        ledger.record("flights", RUN, "judge", entry("looked", detail={"look": number}))
    assert [record.n for record in ledger.read("flights")] == list(range(12))[::-1]


def test_concurrent_tasks_of_one_name_lose_no_entry(memory_s3: Any) -> None:
    barrier, failures = threading.Barrier(4), []

    def write(number: int) -> None:
        barrier.wait()
        try:
            Ledger(memory_s3, "bucket").record("flights", RUN, "judge", entry(detail={"writer": number}))
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert {record.detail["writer"] for record in Ledger(memory_s3, "bucket").read("flights")} == {0, 1, 2, 3}


@given(first=st.tuples(words, words, words), second=st.tuples(words, words, words), action=st.sampled_from(["a", "b"]))
def test_no_name_reaches_into_anothers_place(
    new_memory_s3: Any, first: tuple[str, str, str], second: tuple[str, str, str], action: str
) -> None:
    ledger = Ledger(new_memory_s3(), "bucket")
    try:
        keys = [ledger.record(*names, entry(action)) for names in (first, second)]
    except PermanentError:
        assert {".", ".."} & {*first, *second}
        return
    assert (keys[0] == keys[1]) == (first == second)
    assert all(key.count("/") == 4 for key in keys)
    assert [record.task_id for record in ledger.read(first[0]) if record.run_id == first[1]].count(first[2]) == 1


@pytest.mark.parametrize("name", ["", ".", ".."])
def test_names_that_are_no_names_are_refused(memory_s3: Any, name: str) -> None:
    with pytest.raises(PermanentError, match="cannot be part of a ledger key"):
        Ledger(memory_s3, "bucket").record("flights", RUN, name, entry())
    assert memory_s3.calls == []


def test_a_number_that_json_cannot_say_is_null(memory_s3: Any) -> None:
    """A rate without data must not stop a rollback from being recorded."""
    ledger = Ledger(memory_s3, "bucket")
    keys = {ledger.record("flights", RUN, "task", entry(detail={"rate": float("nan"), "at": (1, 2)})) for _ in range(2)}
    assert len(keys) == len(memory_s3.objects) == 1
    assert ledger.read("flights")[0].detail == {"rate": None, "at": [1, 2]}


def test_a_foreign_object_is_named(memory_s3: Any) -> None:
    memory_s3.objects["ledger/flights/r/t/0.json"] = b'{"action": "x"}'
    memory_s3.modified["ledger/flights/r/t/0.json"] = memory_s3.now
    with pytest.raises(PermanentError, match=r"s3://bucket/ledger/flights/r/t/0.json is not a ledger entry"):
        Ledger(memory_s3, "bucket").read("flights")
