"""Verification of an endpoint, with the SageMaker runtime in memory."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from hypothesis import given
from hypothesis import strategies as st

from slipway import errors
from slipway.artifacts.golden import GoldenRows
from slipway.endpoints.comparison import Answer
from slipway.endpoints.report import VerificationReport
from slipway.endpoints.verify import measure_latency, percentile, run_verification, single_rows

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ROWS = [[float(number), "AA"] for number in range(5)]
GOLDEN = GoldenRows(
    columns=["distance", "carrier"],
    rows=ROWS,
    answers=[row[0] / 3 for row in ROWS],  # type: ignore[operator]
    json={"dataframe_split": {"columns": ["distance", "carrier"], "data": ROWS}},
    csv="distance,carrier\n" + "".join(f"{row[0]},{row[1]}\n" for row in ROWS),
    csv_answers=[row[0] / 3 for row in ROWS],  # type: ignore[operator]
)


def model_error(status: int, text: str) -> ClientError:
    response: dict[str, Any] = {
        "Error": {"Code": "ModelError", "Message": "Received client error"},
        "ResponseMetadata": {"HTTPStatusCode": 424},
        "OriginalStatusCode": status,
        "OriginalMessage": text,
    }
    return ClientError(response, "InvokeEndpoint")  # type: ignore[arg-type]


class Runtime:
    """sagemaker-runtime in front of a right model (a third of the distance), which a test may spoil."""

    def __init__(self, spoil: Callable[[float], Any] = lambda value: value) -> None:
        self.spoil = spoil
        self.requests: list[dict[str, Any]] = []
        self.bad_status = 400
        self.error: Exception | None = None
        self.csv_spoil: Callable[[float], Any] | None = None

    def invoke_endpoint(self, **request: Any) -> dict[str, Any]:
        self.requests.append(request)
        if self.error:
            raise self.error
        spoil, body = self.spoil, request["Body"]
        if request["ContentType"] == "application/json":
            try:
                rows = json.loads(body)["dataframe_split"]["data"]
            except ValueError:
                raise model_error(self.bad_status, "malformed") from None
        elif request["ContentType"] == "text/csv":
            rows = [line.split(",") for line in body.decode().splitlines()[1:]]
            spoil = self.csv_spoil or spoil
        else:
            raise model_error(415, "unknown content type")
        predictions = [spoil(float(row[0]) / 3) for row in rows]
        content = json.dumps({"predictions": predictions}).encode()
        return {"Body": io.BytesIO(content), "ContentType": "application/json", "InvokedProductionVariant": "a"}


def verify(runtime: Any, golden: GoldenRows = GOLDEN, **options: Any) -> VerificationReport:
    return run_verification(runtime, "flights-dev", golden, now=lambda: NOW, **options)


def test_a_right_endpoint_passes() -> None:
    runtime = Runtime()
    report = verify(runtime)
    assert report.passed
    report.require_passed()
    assert (report.rows_compared, report.mismatch_count, report.at) == (5, 0, NOW)
    assert [bad.status for bad in report.bad_inputs] == [415, 400]
    assert report.latency_ms is not None
    assert report.latency_ms.requests == 100
    assert 0 < report.latency_ms.p50 <= report.latency_ms.p90 <= report.latency_ms.p99
    assert not any("TargetVariant" in request for request in runtime.requests)


def test_the_variant_is_asked_in_every_request() -> None:
    runtime = Runtime()
    assert verify(runtime, variant="0123456789ab").variant == "0123456789ab"
    assert {request["TargetVariant"] for request in runtime.requests} == {"0123456789ab"}


def test_one_changed_weight_fails_with_rows_expected_and_found() -> None:
    report = verify(Runtime(lambda value: value * 1.000001))
    assert not report.passed
    assert report.mismatch_count == 8  # row 0 is zero in both forms
    assert (report.mismatches[0].row, report.mismatches[0].expected) == (1, pytest.approx(1 / 3))
    with pytest.raises(errors.VerificationError, match=r"JSON row 1 : expected 0\.333\d*, found 0\.3333336"):
        report.require_passed()


def test_a_server_that_is_wrong_in_csv_only_fails() -> None:
    runtime = Runtime()
    runtime.csv_spoil = lambda value: value + 1
    report = verify(runtime)
    assert [form.passed for form in report.forms] == [True, False]
    assert {mismatch.form for mismatch in report.mismatches} == {"CSV"}
    assert not report.passed


@pytest.mark.parametrize("status", [200, 302, 500, 503])
def test_bad_input_has_to_be_refused_as_the_clients_fault(status: int) -> None:
    runtime = Runtime()
    runtime.bad_status = status
    report = verify(runtime)
    assert not report.passed
    with pytest.raises(errors.VerificationError, match=f"A body that is cut off is refused: status {status}"):
        report.require_passed()


def test_an_endpoint_that_fails_on_good_rows_is_reported_with_its_words() -> None:
    runtime = Runtime()
    runtime.error = model_error(500, "KeyError: 'carrier'")
    report = verify(runtime)
    assert report.latency_ms is None
    with pytest.raises(errors.VerificationError, match="status 500: KeyError: 'carrier'"):
        report.require_passed()


def test_a_model_without_csv_is_verified_in_json_alone_and_that_is_said() -> None:
    tensors = GoldenRows(
        columns=[],
        rows=ROWS,
        answers=GOLDEN.answers,
        json=GOLDEN.json,
        csv=None,
        csv_answers=None,
        csv_problem="the model takes tensors",
    )
    report = verify(Runtime(), tensors)
    assert report.passed
    assert [form.form for form in report.forms] == ["JSON"]
    assert report.notes == ("CSV was not asked: the model takes tensors.",)
    assert "the model takes tensors" in report.markdown()


@pytest.mark.parametrize(
    ("code", "status", "expected"),
    [
        ("ValidationError", 400, errors.EndpointMissingError),
        ("AccessDeniedException", 403, errors.AccessDeniedError),
        ("ServiceUnavailable", 503, errors.AwsUnavailableError),
        ("ThrottlingException", 429, errors.ThrottledError),
    ],
)
def test_trouble_that_is_not_the_models_is_raised(code: str, status: int, expected: type[Exception]) -> None:
    runtime = Runtime()
    response: dict[str, Any] = {"Error": {"Code": code, "Message": "x"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    runtime.error = ClientError(response, "InvokeEndpoint")  # type: ignore[arg-type]
    with pytest.raises(expected, match="flights-dev"):
        verify(runtime)


def test_no_answer_at_all_can_be_tried_again() -> None:
    runtime = Runtime()
    runtime.error = EndpointConnectionError(endpoint_url="http://x")
    with pytest.raises(errors.AwsUnavailableError):
        verify(runtime)


@given(values=st.lists(st.floats(0, 100), min_size=1, max_size=200), share=st.sampled_from([0.5, 0.9, 0.99, 1.0]))
def test_nearest_rank_percentiles(values: list[float], share: float) -> None:
    found = percentile(values, share)
    assert found in values
    assert sum(value <= found for value in values) >= share * len(values) - 1e-6
    assert sum(value < found for value in values) < share * len(values) + 1e-6


def test_latency_stops_when_it_takes_too_long() -> None:
    clock = [0.0]

    def ask(content_type: str, body: bytes) -> Answer:
        clock[0] += 20.0
        return Answer(200, "application/json", b"{}", 20.0)

    latency = measure_latency(ask, GOLDEN, clock=lambda: clock[0])
    assert latency is not None
    assert (latency.requests, latency.p99) == (1, 20_000.0)


def test_single_rows_keep_everything_but_the_other_rows() -> None:
    split = {"dataframe_split": {"columns": ["a"], "data": [[1], [2]], "index": [0, 1]}, "params": {"t": 1}}
    assert single_rows(split) == [
        {"dataframe_split": {"columns": ["a"], "data": [[1]]}, "params": {"t": 1}},
        {"dataframe_split": {"columns": ["a"], "data": [[2]]}, "params": {"t": 1}},
    ]
    assert single_rows({"inputs": [[1, 2], [3, 4]]}) == [{"inputs": [[1, 2]]}, {"inputs": [[3, 4]]}]
    assert single_rows({"inputs": {"x": [1]}}) == [{"inputs": {"x": [1]}}]
