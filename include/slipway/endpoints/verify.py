"""Does an endpoint answer as the original model did?

The golden rows' answers were made by ``mlflow.pyfunc`` on the model's unpatched files. The endpoint, built from patched
files in a container, has to give the same, asked in JSON and in CSV, and has to refuse what no client should send.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from slipway.aws_errors import aws_call, error_code, error_message
from slipway.endpoints.comparison import JSON, RELATIVE_TOLERANCE, Answer, compare_answer
from slipway.endpoints.report import BadInput, Form, FormResult, Latency, Mismatch, VerificationReport
from slipway.errors import EndpointMissingError

if TYPE_CHECKING:
    from mypy_boto3_sagemaker_runtime import SageMakerRuntimeClient

    from slipway.artifacts.golden import GoldenRows

CSV = "text/csv"

_FORMS: tuple[tuple[Form, str], ...] = (("JSON", JSON), ("CSV", CSV))
_KEPT_MISMATCHES = 50
_LATENCY_REQUESTS = 100
_LATENCY_SECONDS = 30.0
_WARM_UP_REQUESTS = 3
_BAD_INPUTS: tuple[tuple[str, str, bytes], ...] = (
    ("An unknown content type", "application/x-slipway-unknown", b"1"),
    ("A body that is cut off", JSON, b'{"dataframe_split": {"columns": ["a"'),
)


Ask = Callable[[str, bytes], Answer]
"""Asks the endpoint: content type and body."""


def run_verification(
    runtime: SageMakerRuntimeClient,
    endpoint: str,
    golden: GoldenRows,
    *,
    variant: str | None = None,
    relative_tolerance: float = RELATIVE_TOLERANCE,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> VerificationReport:
    """Ask an endpoint the golden rows and compare.

    Args:
        runtime: a boto3 sagemaker-runtime client.
        endpoint: the endpoint's name.
        golden: the golden rows.
        variant: the variant to ask; None lets the weights choose.
        relative_tolerance: see `RELATIVE_TOLERANCE`.
        now: the clock, with time zone.

    Returns:
        The report. A failed check is in it, not raised: see `VerificationReport.require_passed`.

    Raises:
        EndpointMissingError: there is no such endpoint or variant.
        SlipwayError: AWS does not answer, or refuses the credentials.
    """
    ask = make_asker(runtime, endpoint, variant)
    forms: list[FormResult] = []
    mismatches: list[Mismatch] = []
    notes: list[str] = []
    for form, content_type in _FORMS:
        if content_type not in golden.payloads:
            notes.append(f"{form} was not asked: {golden.csv_problem or 'the golden rows have no such form'}.")
            continue
        answer = ask(content_type, golden.payloads[content_type])
        result, found = compare_answer(form, golden.expected(content_type), answer, relative_tolerance)
        forms.append(result)
        mismatches += found[:_KEPT_MISMATCHES]
    return VerificationReport(
        endpoint=endpoint,
        variant=variant,
        at=now(),
        relative_tolerance=relative_tolerance,
        forms=tuple(forms),
        mismatches=tuple(mismatches),
        bad_inputs=tuple(BadInput(name=name, status=ask(kind, body).status) for name, kind, body in _BAD_INPUTS),
        latency_ms=measure_latency(ask, golden),
        notes=tuple(notes),
    )


def measure_latency(
    ask: Ask, golden: GoldenRows, *, requests: int = _LATENCY_REQUESTS, clock: Callable[[], float] = time.monotonic
) -> Latency | None:
    """Time requests of one row each, after some that only warm the endpoint up.

    Args:
        ask: asks the endpoint.
        golden: its rows are taken in turn.
        requests: how many to time; fewer when they take longer than half a minute together.
        clock: seconds.

    Returns:
        Percentiles, or None when a single row is not answered with status 200.
    """
    bodies = [json.dumps(payload).encode() for payload in single_rows(golden.json)]
    if not bodies:
        return None
    seconds: list[float] = []
    until = clock() + _LATENCY_SECONDS
    for number in range(_WARM_UP_REQUESTS + requests):
        answer = ask(JSON, bodies[number % len(bodies)])
        if answer.status != 200:
            return None
        if number >= _WARM_UP_REQUESTS:
            seconds.append(answer.seconds)
        if seconds and clock() > until:
            break
    p50, p90, p99 = (percentile(seconds, share) * 1000 for share in (0.5, 0.9, 0.99))
    return Latency(requests=len(seconds), p50=p50, p90=p90, p99=p99)


def percentile(values: list[float], share: float) -> float:
    """Return the nearest-rank percentile: the smallest value that at least ``share`` of all values do not exceed.

    Args:
        values: at least one.
        share: between 0 (exclusive) and 1.
    """
    # Without the correction 0.9 * 10 is 9.000000000000002 in binary and takes the tenth value.
    rank = max(1, math.ceil(share * len(values) - 1e-9))
    return sorted(values)[rank - 1]


def single_rows(payload: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Split a request into requests of one row each; a form without rows stays whole."""
    if "dataframe_split" in payload:
        frame = payload["dataframe_split"]
        rest = {key: value for key, value in frame.items() if key not in {"data", "index"}}
        return [{**payload, "dataframe_split": {**rest, "data": [row]}} for row in frame["data"]]
    if isinstance(payload.get("inputs"), list):
        return [{**payload, "inputs": [row]} for row in payload["inputs"]]
    return [dict(payload)]


def make_asker(
    runtime: SageMakerRuntimeClient, endpoint: str, variant: str | None, inference_id: str | None = None
) -> Ask:
    """Return what asks an endpoint.

    Args:
        runtime: a boto3 sagemaker-runtime client.
        endpoint: the endpoint's name.
        variant: the variant to ask; None lets the weights choose.
        inference_id: what the captured call shall be known by; None for SageMaker's own id.
    """
    target: dict[str, Any] = {"TargetVariant": variant} if variant else {}
    if inference_id:
        target["InferenceId"] = inference_id

    def ask(content_type: str, body: bytes) -> Answer:
        begin = time.perf_counter()
        with aws_call(f"invoke {endpoint}"):
            try:
                response = runtime.invoke_endpoint(
                    EndpointName=endpoint, ContentType=content_type, Accept=JSON, Body=body, **target
                )
                content = response["Body"].read()
            except ClientError as error:
                return _refusal(error, endpoint, time.perf_counter() - begin)
            return Answer(200, response.get("ContentType", ""), content, time.perf_counter() - begin)

    return ask


def _refusal(error: ClientError, endpoint: str, seconds: float) -> Answer:
    """A ModelError carries the container's own status and words; anything else is about the endpoint."""
    response: Mapping[str, Any] = error.response
    if error_code(error) == "ModelError":
        message = str(response.get("OriginalMessage") or error_message(error))
        return Answer(int(response.get("OriginalStatusCode") or 500), "text/plain", message.encode(), seconds)
    if error_code(error) == "ValidationError":
        raise EndpointMissingError(f"Cannot invoke {endpoint}: {error_message(error)}") from error
    raise error
