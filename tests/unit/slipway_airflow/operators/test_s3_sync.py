from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from slipway.errors import InvalidInputError, StorageUnavailableError
from slipway_airflow.operators.s3_sync import S3SyncOperator
from tests.unit.slipway_airflow.conftest import BUCKET

FILES = {"MLmodel": b"flavors: {}", "model.skops": b"weights", "data/example.json": b"[1]"}


@pytest.fixture
def source(aws: Callable[[str], Any]) -> str:
    for path, body in FILES.items():
        aws("s3").put_object(Bucket=BUCKET, Key=f"mlflow/m-1/{path}", Body=body)
    return f"s3://{BUCKET}/mlflow/m-1"


def objects(aws: Callable[[str], Any], prefix: str) -> dict[str, bytes]:
    s3 = aws("s3")
    keys = [item["Key"] for item in s3.list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", [])]
    return {key.removeprefix(prefix): s3.get_object(Bucket=BUCKET, Key=key)["Body"].read() for key in keys}


def sync(source: str, **fields: Any) -> S3SyncOperator:
    destination = "s3://slipway-{account_id}-{region}/models/flights/v1/"
    return S3SyncOperator(**{"task_id": "sync", "source_uri": source, "destination_uri": destination, **fields})


def test_a_prefix_is_mirrored_and_named_by_its_content(source: str, aws: Any, context: Any) -> None:
    result = sync(source).execute(context("sync"))
    assert objects(aws, "models/flights/v1/") == FILES
    assert result["destination_uri"] == f"s3://{BUCKET}/models/flights/v1/"
    assert (result["copied"], result["skipped"], result["deleted"]) == (3, 0, 0)
    assert result["bytes_copied"] == sum(map(len, FILES.values()))
    assert len(result["manifest_digest"]) == 64


def test_a_second_run_copies_nothing_and_gives_the_same_digest(source: str, context: Any) -> None:
    first, second = (sync(source).execute(context("sync")) for _ in range(2))
    assert (second["copied"], second["skipped"], second["bytes_copied"]) == (0, 3, 0)
    assert second["manifest_digest"] == first["manifest_digest"]


def test_what_the_source_lost_is_deleted_only_when_asked(source: str, aws: Any, context: Any) -> None:
    sync(source).execute(context("sync"))
    aws("s3").delete_object(Bucket=BUCKET, Key="mlflow/m-1/data/example.json")
    assert sync(source).execute(context("sync"))["deleted"] == 0
    assert sync(source, delete=True).execute(context("sync"))["deleted"] == 1
    assert set(objects(aws, "models/flights/v1/")) == {"MLmodel", "model.skops"}


def test_a_dry_run_tells_and_changes_nothing(source: str, aws: Any, context: Any) -> None:
    sync(source, dry_run=True).execute(context("sync"))
    assert objects(aws, "models/flights/v1/") == {}


def test_patterns_choose_what_takes_part(source: str, aws: Any, context: Any) -> None:
    sync(source, include=["data/*"]).execute(context("sync"))
    assert set(objects(aws, "models/flights/v1/")) == {"data/example.json"}


def test_a_folder_can_be_either_side(source: str, context: Any, tmp_path: Path) -> None:
    sync(source, destination_uri=str(tmp_path / "model")).execute(context("sync"))
    assert (tmp_path / "model" / "data" / "example.json").read_bytes() == b"[1]"


def test_settings_of_botocore_reach_every_byte(source: str, context: Any, tmp_path: Path) -> None:
    nobody = {"http": "http://127.0.0.1:1"}
    operator = sync(
        source,
        destination_uri=str(tmp_path),
        botocore_config={"proxies": nobody, "retries": {"total_max_attempts": 1}},
    )
    with pytest.raises(StorageUnavailableError, match=r"127\.0\.0\.1:1"):
        operator.execute(context("sync"))


def test_an_empty_source_is_an_error(aws: Any, context: Any) -> None:
    with pytest.raises(InvalidInputError):
        sync(f"s3://{BUCKET}/nothing/here").execute(context("sync"))
