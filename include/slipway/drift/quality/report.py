"""How good the answers were: ``drift/<service>/quality/<end of the window>.json``."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from datetime import datetime
from enum import StrEnum

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from slipway.drift.quality.interval import Estimate
from slipway.drift.quality.measure import WHOLE
from slipway.drift.quality.policy import QualityPolicy
from slipway.drift.quality.tally import Tally, metrics_of

#: Intervals that are shown miss the truth once in twenty; verdicts use the run's own, smaller chance.
SHOWN_ALPHA = 0.05
#: Slices with fewer known outcomes say nothing.
MIN_SLICE_ROWS = 30


class QualityVerdict(StrEnum):
    """What the outcomes say."""

    GOOD = "GOOD"
    DEGRADED = "DEGRADED"
    INCONCLUSIVE = "INCONCLUSIVE"
    NO_LABELS = "NO_LABELS"
    NO_DATA = "NO_DATA"
    FAILED = "FAILED"


#: Verdicts whose change is told.
TOLD = (QualityVerdict.GOOD, QualityVerdict.DEGRADED, QualityVerdict.FAILED)


class Metric(BaseModel):
    """A metric with its 95 % interval."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    value: float
    low: float
    high: float
    rows: int


class Bound(BaseModel):
    """A bound of the spec: kept (True), broken (False), or not to be told (None)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    text: str
    kept: bool | None


class SliceQuality(BaseModel):
    """Quality of all rows, or of those with one value of a feature."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    feature: str
    value: str
    calls: int
    rows: int = Field(description="calls whose outcome is known")
    metrics: dict[str, Metric]
    broken: tuple[str, ...] = Field((), description="bounds that this slice provably breaks")


class QualityReport(BaseModel):
    """One window of calls whose outcomes have had time to arrive."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: int = 1
    since: AwareDatetime
    until: AwareDatetime
    verdict: QualityVerdict
    bounds: tuple[Bound, ...]
    slices: tuple[SliceQuality, ...] = Field(description="the first is all rows")
    refused: dict[str, str] = Field(description="files of outcomes that could not be read, with the reason")

    @property
    def whole(self) -> SliceQuality:
        """All rows."""
        return self.slices[0]

    @classmethod
    def failed(cls, until: datetime) -> QualityReport:
        """The report of a run in which quality could not be measured.

        Args:
            until: End of the run's window.
        """
        nothing = SliceQuality(feature=WHOLE[0], value=WHOLE[1], calls=0, rows=0, metrics={}, broken=())
        verdict = QualityVerdict.FAILED
        return cls(since=until, until=until, verdict=verdict, bounds=(), slices=(nothing,), refused={})

    def headline(self) -> str:
        """One sentence."""
        if self.verdict is QualityVerdict.FAILED:
            return "quality FAILED: it could not be measured; the log of the task quality says why"
        known = f"{self.whole.rows:,} of {self.whole.calls:,} outcomes known"
        values = ", ".join(
            f"{name} {each.value:.3f} ({each.low:.3f} to {each.high:.3f})" for name, each in self._shown()
        )
        return f"quality {self.verdict}: {known}{'; ' if values else ''}{values}"

    def _shown(self) -> Iterable[tuple[str, Metric]]:
        named = {bound.text.split()[0] for bound in self.bounds}
        return [(name, each) for name, each in self.whole.metrics.items() if not named or name in named]


def judge_quality(
    slices: Mapping[tuple[str, str], Tally], policy: QualityPolicy, alpha: float
) -> tuple[QualityVerdict, tuple[Bound, ...], tuple[SliceQuality, ...]]:
    """Judge tallies against the bounds of the spec.

    A bound is broken or kept only when the whole interval says so; the chance of error is shared by the bounds (and,
    for slices, by the slices too).

    Args:
        slices: Tallies; :data:`WHOLE` among them.
        policy: The rules.
        alpha: Chance of a false alarm of this run.
    """
    whole = slices[WHOLE]
    found = metrics_of(whole, policy.task)
    each_alpha = alpha / max(1, len(policy.expect))
    bounds = tuple(
        Bound(text=f"{metric} {comparator} {number:g}", kept=_kept(found.get(metric), comparator, number, each_alpha))
        for metric, comparator, number in policy.expect
    )
    rest = sorted((name for name in slices if name != WHOLE), key=lambda name: (name[0], -slices[name].calls, name[1]))
    shown = [_slice(WHOLE, whole, policy, each_alpha)]
    shown += [_slice(name, slices[name], policy, each_alpha / len(rest)) for name in rest]
    return _verdict(whole, bounds, policy), bounds, tuple(shown)


def _verdict(whole: Tally, bounds: tuple[Bound, ...], policy: QualityPolicy) -> QualityVerdict:
    if not whole.calls:
        return QualityVerdict.NO_DATA
    if not whole.rows:
        return QualityVerdict.NO_LABELS
    kept = {bound.kept for bound in bounds}
    if False in kept and whole.rows >= policy.min_coverage * whole.calls:
        return QualityVerdict.DEGRADED
    if not bounds or kept != {True} or whole.rows < policy.min_coverage * whole.calls:
        return QualityVerdict.INCONCLUSIVE
    return QualityVerdict.GOOD


def _slice(name: tuple[str, str], tally: Tally, policy: QualityPolicy, alpha: float) -> SliceQuality:
    found = metrics_of(tally, policy.task) if tally.rows >= MIN_SLICE_ROWS or name == WHOLE else {}
    metrics = {}
    for metric, estimate in found.items():
        low, high = estimate.interval(SHOWN_ALPHA)
        if math.isinf(low) or math.isinf(high):  # too few rows, or rows without any spread
            continue
        metrics[metric] = Metric(value=estimate.value, low=low, high=high, rows=estimate.rows)
    broken = tuple(
        f"{metric} {comparator} {number:g}"
        for metric, comparator, number in policy.expect
        if _kept(found.get(metric), comparator, number, alpha) is False
    )
    return SliceQuality(
        feature=name[0], value=name[1], calls=tally.calls, rows=tally.rows, metrics=metrics, broken=broken
    )


def _kept(estimate: Estimate | None, comparator: str, number: float, alpha: float) -> bool | None:
    if estimate is None:
        return None
    low, high = estimate.interval(alpha)
    if comparator in {">=", ">"}:
        return True if low >= number else False if high < number else None
    return True if high <= number else False if low > number else None
