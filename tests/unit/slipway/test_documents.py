"""Documents are created only where there is none and replaced only when they are still the ones that were read."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from slipway import errors
from slipway.documents import DocumentStore, parse_document


def refuse(code: str, status: int) -> Any:
    def call(**_: Any) -> None:
        response: dict[str, Any] = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
        raise ClientError(response, "PutObject")  # type: ignore[arg-type]

    return call


def test_a_document_is_created_once(memory_s3: Any) -> None:
    documents = DocumentStore(memory_s3, "bucket")
    assert documents.create("a.json", b"1")
    assert not documents.create("a.json", b"2")
    assert memory_s3.objects == {"a.json": b"1"}


def test_only_the_document_that_was_read_is_replaced(memory_s3: Any) -> None:
    documents = DocumentStore(memory_s3, "bucket")
    documents.create("a.json", b"1")
    read = documents.read("a.json")
    assert read is not None
    assert documents.replace("a.json", b"2", read.etag)
    assert not documents.replace("a.json", b"3", read.etag)
    memory_s3.objects.clear()
    assert not documents.replace("a.json", b"4", read.etag)
    assert documents.read("a.json") is None


def test_every_page_of_a_listing_is_followed(memory_s3: Any) -> None:
    documents = DocumentStore(memory_s3, "bucket")
    for number in range(10):
        documents.create(f"a/{number}.json", b"")
    documents.create("b/0.json", b"")
    assert [item.key for item in documents.list("a/")] == [f"a/{number}.json" for number in range(10)]
    assert list(documents.list("c/")) == []


@pytest.mark.parametrize(("code", "status"), [("PreconditionFailed", 412), ("ConditionalRequestConflict", 409)])
def test_a_lost_race_is_no_error(memory_s3: Any, code: str, status: int) -> None:
    memory_s3.put_object = refuse(code, status)
    assert not DocumentStore(memory_s3, "bucket").create("a.json", b"1")


def test_a_missing_bucket_is_not_taken_for_a_lost_race(memory_s3: Any) -> None:
    memory_s3.put_object = refuse("NoSuchBucket", 404)
    with pytest.raises(errors.PermanentError, match=r"Cannot write s3://bucket/a.json: NoSuchBucket"):
        DocumentStore(memory_s3, "bucket").replace("a.json", b"1", "etag")


def test_a_missing_key_on_create_is_not_taken_for_a_lost_race(memory_s3: Any) -> None:
    memory_s3.put_object = refuse("NoSuchKey", 404)
    with pytest.raises(errors.PermanentError):
        DocumentStore(memory_s3, "bucket").create("a.json", b"1")


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[1]", b"null", b'"text"'])
def test_what_is_no_json_object_is_named(body: bytes) -> None:
    with pytest.raises(errors.PermanentError, match=r"s3://bucket/a.json"):
        parse_document(body, "s3://bucket/a.json")


def test_a_json_object_is_read() -> None:
    assert parse_document(b'{"a": 1}', "s3://bucket/a.json") == {"a": 1}
