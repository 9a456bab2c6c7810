"""State, ledger, releases and reports over the S3 protocol, with lost answers and concurrent writers."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from typing import Any

import pytest

from slipway import errors
from slipway.documents import DocumentStore
from slipway.ledger import Ledger, LedgerEntry
from slipway.release import Release, ReleaseInputs, ReleaseStore, release_id
from slipway.state import EndpointState, Flag, Serving, StateStore

pytestmark = pytest.mark.integration

NOW = datetime(2026, 1, 1, tzinfo=UTC)
INPUTS = ReleaseInputs(
    artifact_manifest_digest="a", lock_digest="l", base_image_digest="b", serving_app_digest="s", serving_spec={}
)
RELEASE = Release(
    service="flights",
    id=release_id(INPUTS),
    model="flights-delay",
    version=1,
    image_uri="repo@sha256:" + "0" * 64,
    inputs=INPUTS,
)


def counted(state: EndpointState) -> EndpointState:
    version = state.champion.model_version + 1 if state.champion else 1
    champion = Serving(release_id="r", model_version=version, config_name="c", since=NOW, run_id="run")
    return state.model_copy(update={"champion": champion})


def held(state: EndpointState) -> EndpointState:
    flags = state.flags.model_copy(update={"hold": Flag(by="ann", at=NOW)})
    return state.model_copy(update={"flags": flags})


def entry(action: str = "created") -> LedgerEntry:
    return LedgerEntry(action=action, subject="endpoint flights-dev", user="ann", detail={"a+b": "ü"})


def test_create_and_replace_are_conditional(stand_in: Any) -> None:
    documents = DocumentStore(stand_in.client("s3"), "artifacts")
    assert documents.create("test/doc.json", b"{}")
    assert not documents.create("test/doc.json", b'{"other": 1}')
    first = documents.read("test/doc.json")
    assert first is not None
    assert documents.replace("test/doc.json", b'{"n": 1}', first.etag)
    assert not documents.replace("test/doc.json", b'{"n": 2}', first.etag)
    assert documents.read("test/doc.json").body == b'{"n": 1}'  # type: ignore[union-attr]
    assert documents.read("test/none.json") is None
    assert not documents.replace("test/none.json", b"{}", first.etag)
    assert [item.key for item in documents.list("test/")] == ["test/doc.json"]


def test_no_update_of_concurrent_writers_is_lost(stand_in: Any) -> None:
    failures: list[Exception] = []

    def write() -> None:
        try:
            states = StateStore(stand_in.client("s3"), "artifacts")
            for _ in range(5):
                states.update("concurrent-prod", counted)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    state, _ = StateStore(stand_in.client("s3"), "artifacts").read("concurrent-prod")
    assert state is not None
    assert state.champion is not None
    assert state.champion.model_version == 20


def test_a_lost_answer_is_recognised(stand_in: Any) -> None:
    """botocore sends the write again and S3 refuses it: the first one went through."""
    states = StateStore(stand_in.client("s3", attempts=3), "artifacts")
    before = stand_in.now()
    for _ in range(2):
        stand_in.faults({"effect": "drop", "service": "s3", "action": "PutObject", "count": 1})
        assert states.update("lost-prod", held).flags.hold is not None
    assert stand_in.writes(before) == []  # the one write that was done had no good answer


def test_running_again_writes_nothing(stand_in: Any) -> None:
    s3 = stand_in.client("s3")
    states, ledger, releases = (kind(s3, "artifacts") for kind in (StateStore, Ledger, ReleaseStore))

    def run() -> None:
        releases.write_once(RELEASE)
        states.update("again-prod", held)
        ledger.record("again", "manual__2026-01-01T00:00:00+00:00", "step_1.judge", entry("looked"))
        ledger.record("again", "manual__2026-01-01T00:00:00+00:00", "step_1.judge", entry("passed"))

    run()
    before = stand_in.now()
    run()
    assert stand_in.writes(before) == []
    newest, oldest = ledger.read("again")
    assert (newest.action, oldest.action, newest.task_id) == ("passed", "looked", "step_1.judge")
    assert newest.run_id == "manual__2026-01-01T00:00:00+00:00"
    assert releases.read("flights", RELEASE.id) == RELEASE


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ({"effect": "down"}, errors.StorageUnavailableError),
        ({"effect": "throttle"}, errors.ThrottledError),
        ({"effect": "error", "status": 403, "code": "ExpiredToken"}, errors.AccessDeniedError),
    ],
)
def test_s3_in_trouble(stand_in: Any, fault: dict[str, Any], expected: type[Exception]) -> None:
    stand_in.faults({**fault, "service": "s3"})
    with pytest.raises(expected, match=r"s3://artifacts/endpoints/trouble-prod/state.json"):
        StateStore(stand_in.client("s3"), "artifacts").update("trouble-prod", held)


def test_a_bucket_that_does_not_exist(stand_in: Any) -> None:
    with pytest.raises(errors.PermanentError, match="NoSuchBucket"):
        StateStore(stand_in.client("s3"), "no-such-bucket").read("flights-prod")
