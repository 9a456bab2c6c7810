import io
import json
import random
from datetime import UTC, datetime

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.drift.capture import CaptureCounts, Reason, lines, read_captures, reader
from slipway.drift.capture.lines import lines_of
from slipway.drift.schema import Column, ModelSchema
from slipway.endpoints.probe import PROBE_ID
from tests.unit.slipway.drift.capture.records import record, stream

SCHEMA = ModelSchema(
    inputs=(Column("x", "double"), Column("n", "long"), Column("c", "string"), Column("t", "datetime")),
    outputs=(Column("prediction", "double"),),
)
T = "2013-04-01T00:00:00"
ROW = [1.5, 2, "a", T]
NAMES = ["x", "n", "c", "t"]
EXPECTED = {"x": 1.5, "n": 2, "c": "a", "t": datetime.fromisoformat(T), "prediction": 0.25}


def read(*lines_: str | bytes, schema: ModelSchema = SCHEMA, events: bool = False):
    counts = CaptureCounts()
    return list(read_captures(stream(*lines_), schema, counts, events=events)), counts


def rows_of(batches):
    return [row for batch in batches for row in batch.rows.to_pylist()]


@pytest.mark.parametrize(
    "request_",
    [
        {"dataframe_split": {"columns": NAMES, "data": [ROW]}},
        {"dataframe_split": {"index": [7], "columns": NAMES, "data": [ROW]}, "params": {"p": 1}},
        {"dataframe_records": [dict(zip(NAMES, ROW, strict=True))]},
        {"instances": [dict(zip(NAMES, ROW, strict=True))]},
        {"instances": [ROW]},
        {"inputs": [ROW]},
        {"inputs": {name: [value] for name, value in zip(NAMES, ROW, strict=True)}},
        {"inputs": {name: [[value]] for name, value in zip(NAMES, ROW, strict=True)}},
        {"columns": NAMES, "data": [ROW]},
        [dict(zip(NAMES, ROW, strict=True))],
        dict(zip(NAMES, ROW, strict=True)),
    ],
)
def test_every_json_form_gives_the_same_typed_row(request_):
    batches, counts = read(record(request_, {"predictions": [0.25]}))
    assert rows_of(batches) == [EXPECTED]
    assert (counts.records, counts.rows, dict(counts.rejected)) == (1, 1, {})
    kinds = [batches[0].rows.schema.field(name).type for name in ("x", "n", "c", "t")]
    assert kinds == [pa.float64(), pa.int64(), pa.string(), pa.timestamp("us")]


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (f"x,n,c,t\n1.5,2,a,{T}\n", {"media": "text/csv", "encoding": "CSV"}),
        (f"1.5,2,a,{T}\n", {"media": "text/csv", "encoding": "CSV"}),
        (f'x,n,c,t\n1.5,2,"a",{T}\n', {"media": "text/csv", "encoding": "CSV"}),
        (f"t,c,n,x\r\n{T},a,2,1.5\r\n", {"media": "text/csv; charset=utf-8", "encoding": "CSV"}),
        (f"1.5,2,a,{T}", {"media": "text/csv", "encoding": "BASE64"}),
        (json.dumps({"instances": [ROW]}), {"media": "application/json", "encoding": "BASE64"}),
        (json.dumps(ROW) + "\n", {"media": "application/jsonlines", "encoding": "JSON"}),
        (json.dumps(dict(zip(NAMES, ROW, strict=True))), {"media": "application/jsonlines", "encoding": "JSON"}),
    ],
)
def test_csv_base64_and_json_lines_give_it_too(body, kind):
    batches, counts = read(record(body, {"predictions": [0.25]}, **kind))
    assert dict(counts.rejected) == {}
    assert rows_of(batches) == [EXPECTED]


@pytest.mark.parametrize(
    ("answer", "columns"),
    [
        ({"predictions": [0.25, 0.5]}, {"prediction": [0.25, 0.5]}),
        ([0.25, 0.5], {"prediction": [0.25, 0.5]}),
        ({"predictions": [[0.25], [0.5]]}, {"prediction": [0.25, 0.5]}),
        ({"predictions": [{"prediction": 0.25}, {"prediction": 0.5}]}, {"prediction": [0.25, 0.5]}),
        ({"predictions": [{"score": 0.25}, {"score": 0.5}]}, {"prediction": [0.25, 0.5]}),
    ],
)
def test_answers_of_one_column(answer, columns):
    batches, _ = read(record({"instances": [ROW, ROW]}, answer))
    assert {name: batches[0].rows.column(name).to_pylist() for name in columns} == columns


def test_answers_of_many_columns_and_of_unknown_shape():
    schema = ModelSchema(SCHEMA.inputs)
    batches, _ = read(record({"instances": [ROW]}, {"predictions": [[0.25, 0.75]]}), schema=schema)
    assert rows_of(batches)[0]["prediction[1]"] == 0.75
    batches, _ = read(record({"instances": [ROW]}, {"predictions": [{"a": 1.0, "b": "x"}]}), schema=schema)
    assert rows_of(batches)[0]["prediction[b]"] == "x"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{not json", Reason.NOT_JSON),
        (b"\xff\xfe", Reason.NOT_JSON),
        ("[]", Reason.NO_REQUEST),
        ("null", Reason.NO_REQUEST),
        ('{"captureData": {"endpointOutput": {}}}', Reason.NO_REQUEST),
        ('{"captureData": {"endpointInput": {"data": 5, "encoding": "JSON"}}}', Reason.BAD_REQUEST),
        (record("{oops", {"predictions": [1]}), Reason.BAD_REQUEST),
        (record({"dataframe_split": {"columns": ["x", "n"], "data": [[1]]}}), Reason.BAD_REQUEST),
        (record({"instances": []}), Reason.BAD_REQUEST),
        (record("1,2\n3\n", media="text/csv", encoding="CSV"), Reason.BAD_REQUEST),
        (record(b"\xff\xfe", media="text/csv", encoding="BASE64"), Reason.BAD_REQUEST),
        (record('{"instances": [[1.5, 2, "\\ud800", null]]}', {"predictions": [1]}), Reason.BAD_REQUEST),
        (record(b'[{"x": 1, "\xed\xa0\x80": 2}]', encoding="BASE64"), Reason.BAD_REQUEST),
        (record({"instances": [[1, 2]]}), Reason.OTHER_COLUMNS),
        (record({"dataframe_records": [{"other": 1}]}), Reason.OTHER_COLUMNS),
        (record({"instances": [ROW]}, {"error_code": "BAD_REQUEST", "message": "no"}), Reason.ERROR_ANSWER),
        (record({"instances": [ROW]}, '{"predictions": ["\\udfff"]}'), Reason.ERROR_ANSWER),
        (record({"instances": [ROW]}, {"predictions": [1, 2]}), Reason.ANSWER_COUNT),
    ],
)
def test_a_bad_record_is_set_aside_with_its_reason_and_the_others_are_read(line, reason):
    good = record({"instances": [ROW]}, {"predictions": [0.25]})
    batches, counts = read(good, line, good)
    assert rows_of(batches) == [EXPECTED, EXPECTED]
    assert dict(counts.rejected) == {reason.value: 1}
    assert counts.records == 3
    (kept,) = counts.kept
    assert (kept.line, kept.reason) == (2, reason)
    assert kept.detail


def test_values_of_another_type_become_text_and_missing_ones_null():
    bad = [{"x": "fast", "n": 2.5, "c": 7, "t": "yesterday"}, {"x": None, "c": None}]
    batches, counts = read(record({"dataframe_records": bad}))
    assert rows_of(batches) == [
        {"x": "fast", "n": 2.5, "c": "7", "t": "yesterday"},
        {"x": None, "n": None, "c": None, "t": None},
    ]
    assert not counts.rejected


def test_numbers_that_json_does_not_know_are_read():
    batches, _ = read(record('{"instances": [[NaN, 2, "a", null], [Infinity, 3, "b", null]]}'))
    values = batches[0].rows.column("x").to_pylist()
    assert values[0] != values[0]
    assert values[1] == float("inf")


def test_unknown_columns_are_counted_and_passed_over():
    _, counts = read(record({"dataframe_records": [{"x": 1.0, "extra": 2}, {"x": 2.0, "extra": 3}]}))
    assert dict(counts.unknown_columns) == {"extra": 2}


def test_events_carry_id_row_and_time():
    lines_ = (
        record({"instances": [ROW, ROW]}, inference_id="mine", at="2013-04-01T10:00:05Z"),
        record({"instances": [ROW]}, at="2013-04-01T10:00:01Z"),
    )
    batches, _ = read(*lines_, events=True)
    assert batches[0].events.to_pylist() == [
        {"inference_id": "mine", "row": 0, "time": datetime(2013, 4, 1, 10, 0, 5, tzinfo=UTC)},
        {"inference_id": "mine", "row": 1, "time": datetime(2013, 4, 1, 10, 0, 5, tzinfo=UTC)},
        {"inference_id": "e-1", "row": 0, "time": datetime(2013, 4, 1, 10, 0, 1, tzinfo=UTC)},
    ]
    assert batches[0].first == datetime(2013, 4, 1, 10, 0, 1, tzinfo=UTC)
    assert batches[0].last == datetime(2013, 4, 1, 10, 0, 5, tzinfo=UTC)


def test_batches_stay_small(monkeypatch):
    monkeypatch.setattr(reader, "BATCH_ROWS", 10)
    lines_ = [record({"instances": [ROW] * 4}) for _ in range(10)]
    batches, counts = read(*lines_)
    assert [batch.rows.num_rows for batch in batches] == [12, 12, 12, 4]
    assert counts.rows == 40


def test_rows_keep_their_answers_when_forms_are_mixed():
    lines_ = []
    for number in range(50):
        row = [float(number), 1, "a", None]
        form = number % 3
        if form == 0:
            request = {"instances": [row]}
        elif form == 1:
            request = {"dataframe_records": [dict(zip(NAMES, row, strict=True))]}
        else:
            request = {"dataframe_split": {"columns": NAMES[::-1], "data": [row[::-1]]}}
        lines_.append(record(request, {"predictions": [number * 2.0]}))
    random.Random(0).shuffle(lines_)
    batches, _ = read(*lines_)
    found = {row["x"]: row["prediction"] for row in rows_of(batches)}
    assert found == {float(number): number * 2.0 for number in range(50)}


@given(st.lists(st.binary(max_size=30)), st.integers(1, 7))
def test_lines_are_split_wherever_the_chunks_end(parts, size):
    data = b"\n".join(parts)

    class Slow:
        stream = io.BytesIO(data)

        def read(self, amount: int) -> bytes:
            return self.stream.read(min(amount, size))

    assert list(lines_of(Slow())) == [line for line in data.split(b"\n") if line.strip()]


def test_an_endless_line_costs_no_memory_and_one_record(monkeypatch):
    monkeypatch.setattr(lines, "MAX_LINE_BYTES", 3 << 20)
    good = record({"instances": [ROW]}, {"predictions": [0.25]})
    batches, counts = read(good, "x" * (9 << 20), good)
    assert dict(counts.rejected) == {"too_long": 1}
    assert rows_of(batches) == [EXPECTED, EXPECTED]


@given(st.lists(st.binary(max_size=200), max_size=10))
def test_no_bytes_whatever_stop_the_reader(lines_):
    counts = CaptureCounts()
    list(read_captures(stream(*lines_), SCHEMA, counts))
    assert counts.records == sum(counts.rejected.values())


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*NAMES, "data", "instances"]), inner),
    max_leaves=12,
)


@given(st.sampled_from(["dataframe_split", "dataframe_records", "instances", "inputs", "x"]), json_values, json_values)
def test_no_json_whatever_stops_it_either(form, request_, answer):
    line = record({form: request_}, {"predictions": answer})
    counts = CaptureCounts()
    batches = list(read_captures(stream(line), SCHEMA, counts))
    assert counts.rows == sum(batch.rows.num_rows for batch in batches)


def test_slipways_own_probes_are_no_traffic_and_no_garbage() -> None:
    request = {"dataframe_split": {"columns": NAMES, "data": [ROW]}}
    answered = record(request, {"predictions": [0.25]}, inference_id=PROBE_ID)
    refused = record(request, {"error_code": "x", "message": "down"}, inference_id=PROBE_ID)
    batches, counts = read(answered, refused, record(request, {"predictions": [0.25]}))
    assert len(rows_of(batches)) == 1
    assert (counts.rows, counts.probes, dict(counts.rejected)) == (1, 2, {})
