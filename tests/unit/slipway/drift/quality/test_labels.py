"""Files of outcomes."""

from __future__ import annotations

import io
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.parquet as pq

from slipway.drift.quality.labels import LabelFile, micros, read_labels
from tests.unit.slipway.drift.quality.test_report import policy

ARRIVED = datetime(2026, 1, 2, tzinfo=UTC)
KNOWN = datetime(2026, 1, 1, 10, tzinfo=UTC)


def read(name: str, body: bytes, **rules: object) -> tuple[list[dict[str, object]], dict[str, str]]:
    table, refused = read_labels([LabelFile(name, body, ARRIVED)], policy(**rules))
    return table.to_pylist(), refused


def test_csv_by_inference_id() -> None:
    body = b"inference_id,row,late,time\na,0,1,2026-01-01T10:00:00Z\na,1,0,2026-01-01T10:00:00Z\n"
    rows, _ = read("x.csv", body)
    assert rows == [
        {"key": "a#0", "time": micros(KNOWN), "label": 1},
        {"key": "a#1", "time": micros(KNOWN), "label": 0},
    ]


def test_json_lines_without_time_count_from_their_arrival() -> None:
    rows, _ = read("x.jsonl", b'{"inference_id": "a", "late": true}\n')
    assert rows == [{"key": "a#0", "time": micros(ARRIVED), "label": True}]


def test_parquet_by_key() -> None:
    sink = io.BytesIO()
    pq.write_table(pa.table({"customer": [7], "late": [1.0], "time": [KNOWN]}), sink)
    rows, _ = read("x.parquet", sink.getvalue(), key=("customer",))
    assert rows == [{"key": "7", "time": micros(KNOWN), "label": 1.0}]


def test_a_bad_file_is_said_and_the_others_count() -> None:
    files = [
        LabelFile("bad.parquet", b"no", ARRIVED),
        LabelFile("other.csv", b"id,late\n1,1\n", ARRIVED),
        LabelFile("good.csv", b"inference_id,late\na,1\n", ARRIVED),
    ]
    table, refused = read_labels(files, policy())
    assert table["key"].to_pylist() == ["a#0"]
    assert set(refused) == {"bad.parquet", "other.csv"}
    assert "expected the columns ['inference_id', 'late'], found ['id', 'late']" in refused["other.csv"]


def test_no_file_is_an_empty_table() -> None:
    table, refused = read_labels([], policy())
    assert (table.num_rows, refused) == (0, {})
