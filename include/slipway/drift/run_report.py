"""What one run of the monitor found: the document from which everything is published.

``drift/<service>/runs/<end of the window>.json`` in the artifact bucket.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from math import ceil
from typing import Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from slipway.drift.judge import Finding, WindowJudgement
from slipway.drift.measures import measures_of
from slipway.drift.profile import Profile
from slipway.drift.reference import Reference
from slipway.drift.status import Status


class FindingRecord(BaseModel):
    """One test of one column; see :class:`slipway.drift.judge.Finding`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    column: str
    statistic: str
    value: float
    tolerance: float
    lower_bound: float
    p_value: float
    p_adjusted: float
    rows: int
    rows_needed: int | None
    verdict: str
    baseline_rows: int | None = Field(None, description="None in documents of Slipway before these were counted")
    baseline_needed: int | None = None


class RunReport(BaseModel):
    """One window of one service, judged."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: int = 1
    service: str
    endpoint: str
    release_id: str
    model: str
    model_version: int
    since: AwareDatetime
    until: AwareDatetime
    status: Status
    verdict: str
    rows: int
    calls: int | None = Field(None, description="calls that brought the rows; None in older documents")
    objects: int = Field(description="capture objects in the window")
    rejected: dict[str, int] = Field(description="calls that could not be read, by reason")
    unknown_columns: dict[str, int]
    last_traffic: AwareDatetime | None
    alpha: float = Field(description="chance of a false alarm of this run")
    baseline: dict[str, Any] = Field(description="where the baseline came from")
    findings: tuple[FindingRecord, ...]
    measures: dict[str, dict[str, float]]
    blind: tuple[str, ...] = Field((), description="columns among whose highest values the baseline hides changes")

    @property
    def drifted_columns(self) -> tuple[str, ...]:
        """Columns with at least one finding that is drift, largest excess first."""
        found = [finding for finding in self.findings if finding.verdict == "DRIFTED"]
        found.sort(key=lambda finding: finding.tolerance - finding.value)
        return tuple(dict.fromkeys(finding.column for finding in found))

    @property
    def unjudged(self) -> tuple[FindingRecord, ...]:
        """The findings that no window can decide, because the baseline has too few rows; the worst of each column."""
        found = [finding for finding in self.findings if finding.baseline_needed is not None]
        found.sort(key=lambda finding: finding.baseline_needed or 0)
        return tuple({finding.column: finding for finding in found}.values())

    def headline(self) -> str:
        """One sentence for subject lines and logs."""
        what = {
            Status.DRIFTED: f"drifted in {', '.join(self.drifted_columns)}",
            Status.STABLE: "is stable",
            Status.INCONCLUSIVE: self._undecided(),
            Status.NO_TRAFFIC: "receives no traffic",
            Status.UNREADABLE: f"receives calls that cannot be read ({_reasons(self.rejected)})",
            Status.LEARNING: f"is learning its baseline from captured traffic ({self.rows} rows so far)",
        }[self.status]
        return f"{self.service} {what}"

    def _undecided(self) -> str:
        """What a verdict lacks, in words; of a sparse column only some rows have a value."""
        open_ = [each for each in self.findings if each.verdict == "INCONCLUSIVE" and each.baseline_needed is None]
        wanted = [each for each in open_ if each.rows_needed is not None or each.column not in self.blind]
        if self.unjudged and not wanted:
            return f"has too few rows in its baseline for a verdict: {baseline_text(self.unjudged)}"
        if open_ and not wanted:
            return f"cannot be judged: its baseline does not tell the highest values of {', '.join(self.blind)} apart"
        most = max((ceil((each.rows_needed or 0) * self.rows / each.rows) for each in wanted), default=0)
        needed = "more than any window has" if any(each.rows_needed is None for each in wanted) else str(most)
        return f"has too few rows for a verdict ({self.rows}; {needed} are needed)"

    def text(self) -> str:
        """The message for people: what, where, how much, what to do."""
        lines = [
            f"{self.headline()}.",
            "",
            f"Endpoint {self.endpoint}, release {self.release_id} ({self.model} version {self.model_version})",
            f"Window {self.since:%Y-%m-%d %H:%M} to {self.until:%Y-%m-%d %H:%M} UTC, {self.rows} rows",
            *_finding_lines(self.findings),
        ]
        if self.unjudged:
            lines.append(f"Not judged, because the baseline has too few rows: {baseline_text(self.unjudged)}")
        if self.blind:
            lines.append(blind_text(self.blind))
        if self.rejected:
            lines.append(f"Calls that could not be read: {_reasons(self.rejected)}")
        return "\n".join([*lines, "", f"What to do: {self.advice()}"])

    def advice(self) -> str:
        """What to do next."""
        return {
            Status.DRIFTED: "is the change real, or a fault upstream of the model? A fault is mended there. After a "
            f"real change the model has to learn from data that contains it: `slipway retrain {self.service}`, where "
            "monitor.on_drift has not set that off already.",
            Status.STABLE: "nothing.",
            Status.INCONCLUSIVE: "widen monitor.window_hours, or wait for more traffic; where the baseline has too few "
            "rows, log one of more rows with the model (docs/drift.md).",
            Status.NO_TRAFFIC: "ask the callers; look at the endpoint's Invocations and at capture_pct.",
            Status.UNREADABLE: "look at the rejected records beside the profiles: the callers send another form than "
            "the model's.",
            Status.LEARNING: "nothing; to have verdicts at once, log a baseline with the model (docs/drift.md).",
        }[self.status]


def make_run_report(
    judgement: WindowJudgement, reference: Reference, window: Profile, *, status: Status, **facts: Any
) -> RunReport:
    """Put together what a run found; ``facts`` are the remaining fields of :class:`RunReport`."""
    findings = tuple(
        FindingRecord(
            column=each.column,
            statistic=each.statistic,
            value=each.value,
            tolerance=each.tolerance,
            lower_bound=each.lower_bound,
            p_value=each.p_value,
            p_adjusted=each.p_adjusted,
            rows=each.rows,
            rows_needed=each.rows_needed,
            verdict=each.verdict.value,
            baseline_rows=each.baseline_rows,
            baseline_needed=each.baseline_needed,
        )
        for each in judgement.findings
    )
    return RunReport(
        status=status,
        verdict=judgement.verdict.value,
        rows=window.rows,
        calls=window.calls,
        rejected=dict(window.rejected),
        unknown_columns=dict(window.unknown_columns),
        last_traffic=window.last,
        alpha=judgement.alpha,
        findings=findings,
        baseline=dict(reference.origin),
        measures=measures_of(reference.baseline, window) if window.rows else {},
        blind=reference.blind,
        **facts,
    )


def baseline_text(unjudged: Iterable[Finding | FindingRecord]) -> str:
    """Which columns the baseline knows too little of, in words: how many rows with a value it has, and needs."""
    return ", ".join(
        f"{each.column} has {each.baseline_rows} of at least {each.baseline_needed} "
        f"({each.statistic.replace('_', ' ')})"
        for each in unjudged
    )


def blind_text(columns: Iterable[str]) -> str:
    """Which columns an older baseline hides changes of, in words, and what to do."""
    return (
        "Not judged, because the baseline was made by a Slipway that did not tell its highest values apart: "
        f"{', '.join(columns)}. The next version of the model brings one that does, from a retraining or log_baseline "
        "(docs/drift.md)"
    )


def stamp(at: datetime) -> str:
    """Time as it stands in keys; sorts as time does."""
    return at.strftime("%Y%m%dT%H%M%S%fZ")


def _reasons(rejected: dict[str, int]) -> str:
    ranked = sorted(rejected.items(), key=lambda item: -item[1])
    return ", ".join(f"{count} {reason.replace('_', ' ')}" for reason, count in ranked)


def _finding_lines(findings: tuple[FindingRecord, ...]) -> Iterator[str]:
    for each in findings:
        if each.verdict == "DRIFTED":
            yield (
                f"{each.column}: {each.statistic.replace('_', ' ')} {each.value:.3f}, at least {each.lower_bound:.3f}, "
                f"tolerance {each.tolerance:g}"
            )
