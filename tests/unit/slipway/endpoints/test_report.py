"""The report as the approver reads it, and as it is kept."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from slipway.endpoints.report import (
    BadInput,
    FormResult,
    Latency,
    Mismatch,
    ReleaseFacts,
    VerificationReport,
    VerificationStore,
)

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def report(bad: int = 0, p50: float = 3.0, **changes: Any) -> VerificationReport:
    """A report on five rows in both forms, of which ``bad`` differ."""
    forms = ("JSON", "CSV")
    fields: dict[str, Any] = {
        "endpoint": "flights-dev",
        "variant": None,
        "at": NOW,
        "relative_tolerance": 1e-9,
        "forms": tuple(FormResult(form=form, rows=5, mismatch_count=bad) for form in forms),  # type: ignore[arg-type]
        "mismatches": tuple(
            Mismatch(form=form, row=row, field="", expected=float(row), found=row + 1.0)  # type: ignore[arg-type]
            for form in forms
            for row in range(bad)
        ),
        "bad_inputs": (
            BadInput(name="An unknown content type", status=415),
            BadInput(name="A body that is cut off", status=400),
        ),
        "latency_ms": Latency(requests=100, p50=p50, p90=8.0, p99=9.0),
    }
    return VerificationReport(**(fields | changes))


def test_a_report_passes_only_when_everything_was_asked_and_answered_right() -> None:
    assert report().passed
    assert not report(bad=1).passed
    assert not report(forms=()).passed
    assert not report(latency_ms=None).passed
    assert not report(bad_inputs=(BadInput(name="x", status=500),)).passed
    assert not report(forms=(FormResult(form="JSON", rows=5, mismatch_count=0, problem="status 500"),)).passed


def test_rows_and_mismatches_are_counted_over_the_forms() -> None:
    found = report(bad=2)
    assert (found.rows_compared, found.mismatch_count) == (5, 4)
    unanswered = FormResult(form="CSV", rows=9, mismatch_count=0, problem="status 500")
    assert report(forms=(report().forms[0], unanswered)).rows_compared == 5


FACTS = ReleaseFacts(
    service="flights",
    stage="dev",
    release_id="0123456789ab",
    model="flights-delay",
    version=3,
    image_uri="repo@sha256:abc",
    metrics={"auc": 0.8125, "new": 1.0},
    champion_version=2,
    champion_metrics={"auc": 0.8, "old": 2.0},
)


def test_the_approver_sees_release_metrics_change_and_verdict() -> None:
    text = report().markdown(FACTS)
    assert text.startswith("**Verification of flights-dev passed** (2026-03-01 12:00 UTC)\n")
    assert "| Version | 3 | 2 |" in text
    assert "| auc | 0.8125 (+0.0125) | 0.8 |" in text
    assert "| new | 1 |  |" in text
    assert "| old |  | 2 |" in text
    assert "| Answers to JSON equal the original model's | 5 rows, 0 mismatches | ✓ |" in text
    assert "| An unknown content type is refused | status 415 | ✓ |" in text


def test_a_first_release_says_that_there_is_no_champion() -> None:
    facts = FACTS.model_copy(update={"champion_version": None, "champion_metrics": {}})
    assert "| Champion (none yet) |" in report().markdown(facts)


def test_a_failed_report_shows_the_first_mismatches() -> None:
    text = report(bad=5).markdown()
    assert "**Verification of flights-dev FAILED**" in text
    assert "| JSON | 0 |  | 0.0 | 1.0 |" in text
    assert "5 rows, 5 mismatches | ✗ |" in text


@given(name=st.text(min_size=1, max_size=30), value=st.floats(allow_nan=False))
def test_names_from_models_cannot_break_the_table(name: str, value: float) -> None:
    facts = FACTS.model_copy(update={"metrics": {name: value}, "champion_metrics": {}})
    rows = [line for line in report().markdown(facts).splitlines() if line.startswith("|")]
    assert len(rows) == (2 + 4 + 1) + (2 + 5)  # heading, model … image, the metric; heading, checks
    for row in rows:
        assert re.sub(r"\\.", "", row).count("|") == 4
        assert not re.search(r"[<>`\[\]]", re.sub(r"\\.", "", row))


def test_a_report_stays_small_whatever_the_model_says() -> None:
    facts = FACTS.model_copy(update={"metrics": {f"m{number}" * 100: 1.0 for number in range(500)}})
    long = Mismatch(form="JSON", row=1, field="x" * 5000, expected="y" * 5000, found="z" * 5000)
    big = report().model_copy(update={"mismatches": (long,) * 100})
    assert len(big.markdown(facts).encode()) < 16_000


def test_reports_are_kept_once_per_verdict(memory_s3: Any) -> None:
    store = VerificationStore(memory_s3, "bucket")
    assert store.read("flights", "0123456789ab", "dev") is None
    good, again, bad = report(), report(p50=7.0), report(bad=5)
    assert store.write(good, "flights", "0123456789ab", "dev")
    assert not store.write(again, "flights", "0123456789ab", "dev")
    assert store.read("flights", "0123456789ab", "dev") == good
    assert store.write(bad, "flights", "0123456789ab", "dev")
    assert store.read("flights", "0123456789ab", "dev") == bad
    assert list(memory_s3.objects) == ["releases/flights/0123456789ab/verify/dev.json"]
    assert len(memory_s3.writes()) == 2
