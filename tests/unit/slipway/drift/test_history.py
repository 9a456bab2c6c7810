"""The history of the columns' distances."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from slipway.drift.history import change_text, changes_of
from slipway.drift.run_report import FindingRecord, RunReport
from slipway.drift.status import Status

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


def finding(column: str, value: float, statistic: str = "kolmogorov_smirnov") -> FindingRecord:
    return FindingRecord(
        column=column,
        statistic=statistic,
        value=value,
        tolerance=0.1,
        lower_bound=0.0,
        p_value=1.0,
        p_adjusted=1.0,
        rows=1000,
        rows_needed=100,
        verdict="STABLE",
    )


def run(day: int, findings: list[FindingRecord], **changes: Any) -> RunReport:
    facts: dict[str, Any] = {
        "service": "flights",
        "endpoint": "flights-prod",
        "release_id": "r1",
        "model": "m",
        "model_version": 1,
        "since": BEGIN + timedelta(days=day),
        "until": BEGIN + timedelta(days=day + 1),
        "status": Status.STABLE,
        "verdict": "STABLE",
        "rows": 1000,
        "objects": 1,
        "rejected": {},
        "unknown_columns": {},
        "last_traffic": None,
        "alpha": 0.01,
        "baseline": {},
        "findings": tuple(findings),
        "measures": {},
    }
    return RunReport(**{**facts, **changes})


def days(level: Any) -> list[RunReport]:
    noise = np.random.default_rng(0).normal(0.02, 0.005, (30, 3))
    return [
        run(
            day,
            [
                finding("moved", level(day) + noise[day, 0]),
                finding("calm", float(noise[day, 1])),
                finding("calm", level(day) + noise[day, 2], "missing_rate"),
            ],
        )
        for day in range(30)
    ]


def test_the_column_that_moved_is_dated_and_rates_do_not_count() -> None:
    found = changes_of(days(lambda day: 0.2 if day >= 22 else 0.0))
    assert list(found) == ["moved"]
    (change,) = found["moved"]
    assert change.by == BEGIN + timedelta(days=23)
    assert "moved: the distance went from 0.0" in change_text("moved", change)
    assert "between 2026-01-23 00:00 and 2026-01-24 00:00 UTC" in change_text("moved", change)


def test_less_than_half_the_tolerance_is_not_worth_a_word() -> None:
    assert changes_of(days(lambda day: 0.04 if day >= 15 else 0.0)) == {}


def test_another_release_begins_another_history() -> None:
    runs = days(lambda day: 0.2 if day >= 22 else 0.0)
    later = [each.model_copy(update={"release_id": "r2"}) for each in runs[22:]]
    assert changes_of([*runs[:22], *later]) == {}
    assert changes_of([]) == {}
