from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.canary.comparison import JudgePolicy
from slipway.canary.judge import judge
from slipway.canary.shown import line_of, lines_of
from tests.unit.slipway.canary.test_judge import counts

POLICY = JudgePolicy(alpha=0.003)


def shown(*period: int, share: float | None = None, **options: object) -> tuple[str, ...]:
    found = counts(tuple(period))  # type: ignore[arg-type]
    return lines_of(judge({"error": found}, {"error": POLICY}, planned_share=share, **options))  # type: ignore[arg-type]


def test_a_line_has_counts_rates_intervals_evidence_and_what_is_missing() -> None:
    (line,) = shown(400, 2, 7600, 23)
    assert line.startswith("error INCONCLUSIVE: 2 of 400 = 0.50% (")
    assert "against 23 of 7,600 = 0.30% (" in line
    evidence = r"worse: e [\d.]+ of 333, below 1\.\d\d%: e [\d.]+ of 20; about [\d,]+ more requests needed$"
    assert re.search(evidence, line)


def test_a_failure_shows_its_evidence_and_a_pass_needs_no_more() -> None:
    (failed,) = shown(4000, 400, 76000, 228)
    assert failed.startswith("error FAIL: 400 of 4,000 = 10.00% (")
    assert re.search(r"worse: e \de\+\d+ of 333", failed)
    (passed,) = shown(4000, 12, 76000, 228)
    assert passed.startswith("error PASS")
    assert "needed" not in passed


def test_what_is_only_shown_says_so() -> None:
    assert shown(400, 2, 7600, 23, dry_run=frozenset({"error"}))[0].startswith("error INCONCLUSIVE (only shown): ")


def test_a_comparison_that_no_step_waits_for_says_so() -> None:
    policy = replace(POLICY, waited_for=False, counted="outcomes")
    (result,) = judge({"wrong": counts((400, 2, 7600, 23))}, {"wrong": policy}, planned_share=0.05).comparisons
    assert line_of(result).startswith("wrong INCONCLUSIVE (not waited for): 2 of 400 = ")
    assert line_of(result).endswith(" more outcomes needed")


def test_shares_that_do_not_fit_have_their_own_line() -> None:
    lines = shown(9000, 9, 51000, 51, share=0.05)
    assert len(lines) == 2
    assert "arms cannot be compared" in lines[1]


@pytest.mark.parametrize("period", [(0, 0, 0, 0), (1, 1, 1, 1), (10**9, 0, 10**9, 10**9)])
def test_extremes_have_a_line_too(period: tuple[int, ...]) -> None:
    assert len(shown(*period)) == 1


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.floats(0, 1), st.floats(0, 1))
def test_the_intervals_hold_the_observed_rates(one: int, other: int, bad: float, champion_bad: float) -> None:
    found = counts((one, round(one * bad), other, round(other * champion_bad)))
    (result,) = judge({"error": found}, {"error": POLICY}, planned_share=None).comparisons
    for arm, (low, high) in (
        (result.challenger, result.challenger_interval),
        (result.champion, result.champion_interval),
    ):
        assert 0 <= low <= arm.rate + 1e-12
        assert arm.rate - 1e-12 <= high <= 1
