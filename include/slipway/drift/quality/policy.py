"""How outcomes are matched with answers, and how good the answers have to be."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from slipway.drift.quality.tally import Task
from slipway.spec.monitor import MonitorSpec

INFERENCE_ID = "inference_id"


@dataclass(frozen=True)
class QualityPolicy:
    """The rules of one service.

    Args:
        task: What kind of answer it gives.
        label: Column of the outcomes that holds the outcome.
        key: Columns, of the outcomes and of the requests, that say which call an outcome belongs to; empty for the
            inference id.
        prediction: Column of the answer that is compared; None for the last one.
        wait: How long after a call its outcome may come.
        slices: Features by whose values quality is looked at, too.
        expect: Bounds as ``(metric, comparator, number)``.
        min_coverage: Share of calls whose outcome has to be known, 0 to 1.
    """

    task: Task
    label: str
    key: tuple[str, ...]
    prediction: str | None
    wait: timedelta
    slices: tuple[str, ...]
    expect: tuple[tuple[str, str, float], ...]
    min_coverage: float

    @property
    def exact(self) -> bool:
        """Whether a key names one call."""
        return not self.key

    @property
    def keys(self) -> tuple[str, ...]:
        """Columns that every file of outcomes has to have."""
        return self.key or (INFERENCE_ID,)


def quality_policy(monitor: MonitorSpec) -> QualityPolicy:
    """Return the policy of a service."""
    from slipway.training.gate_expression import Threshold, parse_expression

    quality = monitor.quality
    bounds = [parse_expression(text) for text in quality.expect]
    return QualityPolicy(
        task=quality.task,
        label=quality.label,
        key=tuple(quality.key),
        prediction=quality.prediction,
        wait=timedelta(hours=quality.wait_hours),
        slices=tuple(quality.slices),
        expect=tuple((b.metric, b.comparator, float(b.bound)) for b in bounds if isinstance(b, Threshold)),  # type: ignore[arg-type]  # the spec admits numbers only
        min_coverage=quality.min_coverage_pct / 100,
    )
