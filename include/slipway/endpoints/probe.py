"""The synthetic probe: golden rows asked on a schedule, so that a fault shows before a user meets it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from slipway.endpoints.comparison import JSON, compare_answer
from slipway.endpoints.verify import make_asker
from slipway.errors import SlipwayError

if TYPE_CHECKING:
    from mypy_boto3_sagemaker_runtime import SageMakerRuntimeClient

    from slipway.artifacts.golden import GoldenRows

#: By this id captured probes are known: they are no traffic and are left out of every profile.
PROBE_ID = "slipway-probe"
_KEPT = 5


@dataclass(frozen=True)
class Probe:
    """One probe.

    Args:
        problem: What is wrong; empty when all golden rows were answered as the model answers them.
        latency_ms: Time of the whole request, milliseconds.
        rows: Golden rows asked.
    """

    problem: str
    latency_ms: float
    rows: int

    @property
    def failed(self) -> bool:
        """Whether anything is wrong."""
        return bool(self.problem)


def probe_endpoint(
    runtime: SageMakerRuntimeClient, endpoint: str, golden: GoldenRows, *, variant: str | None = None
) -> Probe:
    """Ask an endpoint its golden rows once. An endpoint that does not answer is a finding, not an error.

    Args:
        runtime: A boto3 sagemaker-runtime client.
        endpoint: Its name.
        golden: The golden rows of the release that it serves.
        variant: The variant to ask; None lets the weights choose.
    """
    try:
        answer = make_asker(runtime, endpoint, variant, PROBE_ID)(JSON, golden.payloads[JSON])
    except SlipwayError as error:
        return Probe(str(error), 0.0, 0)
    result, mismatches = compare_answer("JSON", golden.expected(JSON), answer)
    problem = result.problem
    if not problem and mismatches:
        shown = "; ".join(f"row {each.row}: {each.found}, not {each.expected}" for each in mismatches[:_KEPT])
        problem = f"{result.mismatch_count} values differ from the model's own: {shown}"
    return Probe(problem, answer.seconds * 1000, result.rows)
