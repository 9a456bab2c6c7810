"""Counts from outcomes that arrive while a canary is on: which answers turned out wrong."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np

from slipway.canary.counts import ComparisonCounts
from slipway.canary.metric_source import WRONG
from slipway.canary.outcome_counts import CHALLENGER, CHAMPION, NOTHING_KNOWN, KnownAnswers, count_answers
from slipway.canary.window import MetricWindow
from slipway.drift.capture.reader import CaptureCounts, read_captures
from slipway.drift.objects import CaptureObject
from slipway.drift.quality.calls import calls_of, outcomes_of
from slipway.drift.quality.labels import read_labels
from slipway.drift.quality.policy import QualityPolicy
from slipway.drift.quality.window import label_files
from slipway.drift.quality.wrong import comparable, wrong_answers
from slipway.drift.schema import ModelSchema
from slipway.drift.store import DriftStore

if TYPE_CHECKING:
    import pyarrow as pa
    from mypy_boto3_s3 import S3Client

log = logging.getLogger(__name__)
_MICROS = 1_000_000


@dataclass(frozen=True)
class OutcomeRules:
    """How answers are held against outcomes.

    Args:
        labels: The folder of the outcomes, ``s3://bucket/folder/``.
        policy: Which outcome belongs to which answer, as the monitor takes it.
        tolerance: Difference up to which a number is right; None unless the task is regression.
    """

    labels: str
    policy: QualityPolicy
    tolerance: float | None = None


@dataclass
class _LabelFolder:
    """The outcomes in a folder. A file is read once, and again when it was written anew."""

    s3: S3Client
    rules: OutcomeRules
    arrived: dict[str, datetime] = field(default_factory=dict)
    tables: dict[str, pa.Table] = field(default_factory=dict)

    def table(self, since: datetime, until: datetime) -> pa.Table | None:
        """Key, time, outcome and arrival (seconds since 1970) of what arrived; None when nothing did."""
        import pyarrow as pa

        for file in label_files(self.s3, self.rules.labels, since, self.arrived):
            found, refused = read_labels([file], self.rules.policy)
            for name, reason in refused.items():
                log.warning("Outcomes in %s%s cannot be read: %s", self.rules.labels, name, reason)
            self.arrived[file.name] = file.arrived
            self.tables[file.name] = pa.table(
                {
                    "key": found["key"],
                    "time": found["time"],
                    "label": comparable(found["label"], self.rules.policy.task),
                    "arrived": pa.array(np.full(found.num_rows, file.arrived.timestamp())),
                }
            )
        there = [table for name, table in self.tables.items() if table.num_rows and self.arrived[name] < until]
        return pa.concat_tables(there).combine_chunks() if there else None


class OutcomeMetricSource:
    """Captured answers of two variants, held against the outcomes that have arrived.

    One row of each request counts, its first: the rows of one request may have much in common, and the test takes each
    answer for a draw of its own. Each capture object is read once in the life of the source.

    Args:
        store: Where the captures lie.
        s3: A boto3 S3 client that may read the outcomes.
        rules: How both are compared.
        challenger: The challenger's variant and the schema of its model.
        champion: The champion's variant and the schema of its model.
        steps: The steps that are over: whole periods in which both arms were served at unchanging weights.
        together: Whether both arms are served at present. If not, only the calls of the steps that are over count,
            whose outcomes go on arriving.
    """

    def __init__(
        self,
        store: DriftStore,
        s3: S3Client,
        rules: OutcomeRules,
        *,
        challenger: tuple[str, ModelSchema],
        champion: tuple[str, ModelSchema],
        steps: Sequence[MetricWindow] = (),
        together: bool = True,
    ) -> None:
        self._store = store
        self._rules = rules
        self._labels = _LabelFolder(s3, rules)
        self._arms = {challenger[0]: (CHALLENGER, challenger[1]), champion[0]: (CHAMPION, champion[1])}
        self._steps = tuple(steps)
        self._together = together
        self._seen: set[str] = set()
        self._calls: list[pa.Table] = []

    def describe(self) -> str:
        """Where the counts come from, for the task page."""
        return f"outcomes in {self._rules.labels}"

    def counts(self, window: MetricWindow) -> Mapping[str, ComparisonCounts]:
        """Counts of ``wrong``, one entry for each step and period in which something became known.

        Args:
            window: The closed periods of the present step.

        Raises:
            SlipwayError: S3 does not answer or refuses.
        """
        steps = (*self._steps, window) if self._together else self._steps
        if window.periods == 0 or not steps:
            return {WRONG: NOTHING_KNOWN}
        since = min(step.start for step in steps)
        self._read(since, max(step.end for step in steps))
        answers = self._known(self._labels.table(since, window.end))
        return {WRONG: count_answers(answers, steps, window) if answers else NOTHING_KNOWN}

    def _read(self, since: datetime, until: datetime) -> None:
        """Read what is new. An object is named after its first call, and none spans two hours."""
        hour = since.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
        for found in self._store.captures(self._arms, hour, until):
            if found.path not in self._seen:
                self._calls += self._answered(found)
                self._seen.add(found.path)

    def _answered(self, found: CaptureObject) -> list[pa.Table]:
        import pyarrow as pa

        arm, schema = self._arms[found.variant]
        tables = []
        with self._store.open_capture(found) as stream:
            for batch in read_captures(stream, schema, CaptureCounts(), events=True):
                table = calls_of(batch, schema, self._rules.policy)
                if table is None or batch.events is None:
                    continue
                answer = comparable(table["answer"].combine_chunks(), self._rules.policy.task)
                columns = {"key": table["key"], "time": table["time"], "answer": answer}
                arms = pa.array(np.full(table.num_rows, arm, dtype=np.int8))
                tables.append(pa.table({**columns, "row": batch.events.column("row"), "arm": arms}))
        return tables

    def _known(self, labels: pa.Table | None) -> KnownAnswers | None:
        import pyarrow as pa

        if labels is None or not self._calls:
            return None
        calls = pa.concat_tables(self._calls).combine_chunks()
        self._calls = [calls]
        policy = self._rules.policy
        outcome = outcomes_of(calls, labels, policy)
        joined = np.flatnonzero((outcome >= 0) & (calls["row"].to_numpy() == 0))
        answers, labels = calls.take(pa.array(joined)), labels.take(pa.array(outcome[joined]))
        said, true = answers["answer"].combine_chunks(), labels["label"].combine_chunks()
        known, wrong = wrong_answers(said, true, policy.task, self._rules.tolerance)
        return KnownAnswers(
            arm=answers["arm"].to_numpy()[known].astype(np.int64),
            called=answers["time"].to_numpy()[known] / _MICROS,
            known=labels["arrived"].to_numpy()[known],
            wrong=wrong[known],
        )
