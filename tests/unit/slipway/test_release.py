"""Release ids follow content; records are written once."""

from __future__ import annotations

import copy
import hashlib
from typing import Any

import pytest
from pydantic import ValidationError

from slipway.errors import PermanentError, ResourceConflictError
from slipway.release import Release, ReleaseInputs, ReleaseStore, release_id

A, B, C = "a" * 64, "b" * 64, "c" * 64
INPUTS = ReleaseInputs(
    artifact_manifest_digest=A,
    lock_digest=B,
    base_image_digest="scratch",
    serving_app_digest=C,
    serving_spec={"engine": "auto", "environment": {"LOG": "1"}},
)


def release(**changes: Any) -> Release:
    inputs = changes.pop("inputs", INPUTS)
    fields = {
        "service": "flights",
        "id": release_id(inputs),
        "model": "flights-delay",
        "version": 1,
        "image_uri": "123.dkr.ecr.us-east-1.amazonaws.com/slipway/flights@sha256:" + "0" * 64,
        "inputs": inputs,
        "created_from": {"run_id": "r1"},
    }
    return Release(**(fields | changes))


def test_the_id_is_pinned() -> None:
    """Spelt by hand here: another spelling would rename every release that exists."""
    spelt = (
        f'{{"artifact_manifest_digest":"{A}","base_image_digest":"scratch","lock_digest":"{B}",'
        f'"serving_app_digest":"{C}","serving_spec":{{"engine":"auto","environment":{{"LOG":"1"}}}}}}'
    )
    assert release_id(INPUTS) == hashlib.sha256(spelt.encode()).hexdigest()[:12] == "c9cb453962a1"


def test_the_id_has_twelve_hex_digits_and_every_input_counts() -> None:
    ids = {release_id(INPUTS)}
    for field in ("artifact_manifest_digest", "lock_digest", "base_image_digest", "serving_app_digest"):
        ids.add(release_id(INPUTS.model_copy(update={field: "d" * 64})))
    ids.add(release_id(INPUTS.model_copy(update={"serving_spec": {"engine": "pyfunc"}})))
    ids.add(release_id(INPUTS.model_copy(update={"image_builder": "docker"})))
    assert len(ids) == 7
    assert all(len(identifier) == 12 and int(identifier, 16) >= 0 for identifier in ids)


def test_a_release_is_written_once_and_read_back(memory_s3: Any) -> None:
    store = ReleaseStore(memory_s3, "bucket")
    assert store.read("flights", release().id) is None
    assert store.write_once(release()) == (release(), True)
    assert store.read("flights", release().id) == release()
    assert list(memory_s3.objects) == [f"releases/flights/{release().id}/release.json"]


def test_writing_it_again_puts_nothing(memory_s3: Any) -> None:
    store = ReleaseStore(memory_s3, "bucket")
    store.write_once(release())
    memory_s3.calls.clear()
    assert store.write_once(release()) == (release(), False)
    assert memory_s3.writes() == []


def test_the_first_record_stands_when_only_the_lineage_differs(memory_s3: Any) -> None:
    store = ReleaseStore(memory_s3, "bucket")
    store.write_once(release(version=1))
    memory_s3.calls.clear()
    recorded, written = store.write_once(release(version=2, created_from={"run_id": "r2"}))
    assert (recorded.version, written) == (1, False)
    assert memory_s3.writes() == []


def test_another_image_under_the_same_id_is_refused_and_nothing_is_written(memory_s3: Any) -> None:
    store = ReleaseStore(memory_s3, "bucket")
    store.write_once(release())
    before = copy.deepcopy(memory_s3.objects)
    with pytest.raises(ResourceConflictError, match="image_uri"):
        store.write_once(release(image_uri="repo@sha256:" + "1" * 64))
    assert memory_s3.objects == before


def test_two_builders_at_once_agree_on_one_record(memory_s3: Any) -> None:
    store = ReleaseStore(memory_s3, "bucket")
    other = release(created_from={"run_id": "the other"})

    def let_the_other_win(key: str) -> None:
        memory_s3.before_put = lambda key: None
        store.write_once(other)

    memory_s3.before_put = let_the_other_win
    assert store.write_once(release()) == (other, False)


def test_an_id_that_is_not_that_of_the_inputs_is_refused(memory_s3: Any) -> None:
    with pytest.raises(PermanentError, match="its inputs give the id"):
        ReleaseStore(memory_s3, "bucket").write_once(release(id="0" * 12))
    assert memory_s3.calls == []


@pytest.mark.parametrize("identifier", ["", "../x", "ABCDEF012345", "abc", "0" * 13])
def test_only_release_ids_become_keys(memory_s3: Any, identifier: str) -> None:
    with pytest.raises(PermanentError, match="12 hex digits"):
        ReleaseStore(memory_s3, "bucket").read("flights", identifier)


@pytest.mark.parametrize("body", [b"", b"[]", b'{"service": "flights"}', b"\xff"])
def test_a_broken_record_is_named(memory_s3: Any, body: bytes) -> None:
    key = f"releases/flights/{release().id}/release.json"
    memory_s3.objects[key] = body
    with pytest.raises(PermanentError, match=f"s3://bucket/{key}"):
        ReleaseStore(memory_s3, "bucket").read("flights", release().id)


@pytest.mark.parametrize("uri", ["repo:tag", "repo@sha256:12", "", "a b@sha256:" + "0" * 64])
def test_an_image_is_recorded_by_digest_only(uri: str) -> None:
    with pytest.raises(ValidationError):
        release(image_uri=uri)
