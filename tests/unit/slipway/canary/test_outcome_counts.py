"""Answers whose outcomes arrive late, as counts, and what the test on them may do."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from slipway.canary.counts import ArmCounts
from slipway.canary.e_process import log_e_value_of_ratio
from slipway.canary.outcome_counts import CHALLENGER, CHAMPION, NOTHING_KNOWN, KnownAnswers, count_answers
from slipway.canary.window import MetricWindow

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
PERIOD = 60


def window(first: int, periods: int) -> MetricWindow:
    return MetricWindow(START + timedelta(seconds=PERIOD * first), PERIOD, periods)


def answers(*rows: tuple[int, float, float, bool]) -> KnownAnswers:
    """Rows of arm, and minutes from the start at which it was called and known, and whether it was wrong."""
    arm, called, known, wrong = zip(*rows, strict=True) if rows else ((), (), (), ())
    base = START.timestamp()
    return KnownAnswers(
        np.array(arm, dtype=np.int64),
        base + PERIOD * np.array(called, dtype=float),
        base + PERIOD * np.array(known, dtype=float),
        np.array(wrong, dtype=bool),
    )


def test_answers_are_counted_in_the_period_in_which_their_outcome_became_known() -> None:
    found = count_answers(
        answers(
            (CHALLENGER, 0.2, 2.5, True), (CHAMPION, 1.9, 2.1, False), (CHAMPION, 0, 4.2, True), (CHAMPION, 0, 5, True)
        ),
        [window(0, 5)],
        window(0, 5),
    )
    assert [(each.challenger, each.champion) for each in found.periods] == [
        (ArmCounts(1, 1), ArmCounts(1, 0)),
        (ArmCounts(0, 0), ArmCounts(1, 1)),
    ]
    assert found.together


def test_outcomes_of_earlier_steps_count_apart_from_those_of_the_present_one() -> None:
    found = count_answers(
        answers((CHALLENGER, 0.5, 7.1, True), (CHALLENGER, 6.5, 7.2, False), (CHAMPION, 4, 7.3, True)),
        [window(0, 3), window(6, 4)],
        window(6, 4),
    )
    assert [each.challenger for each in found.periods] == [ArmCounts(1, 1), ArmCounts(1, 0)]
    assert found.champion == ArmCounts(0, 0), "between the steps the weights change"


def test_an_outcome_before_its_call_is_known_with_the_call() -> None:
    found = count_answers(answers((CHALLENGER, 3.5, 1.0, True)), [window(0, 3)], window(0, 3))
    assert found.periods == ()
    assert count_answers(answers((CHALLENGER, 3.5, 1.0, True)), [window(0, 4)], window(0, 4)).challenger.bad == 1


def test_without_periods_steps_or_answers_there_is_nothing() -> None:
    known = answers((CHALLENGER, 0, 1, True))
    for found in (
        count_answers(known, [window(0, 0)], window(0, 0)),
        count_answers(known, [], window(0, 5)),
        count_answers(answers(), [window(0, 5)], window(0, 5)),
    ):
        assert found == NOTHING_KNOWN


minutes = st.integers(0, 20 * 4).map(lambda quarters: quarters / 4)
rows = st.tuples(st.sampled_from([CHALLENGER, CHAMPION]), minutes, minutes, st.booleans())


@settings(deadline=None)
@given(st.lists(rows, max_size=40), st.integers(6, 19))
def test_what_is_closed_stays_as_it_was_and_every_answer_counts_once(
    known: list[tuple[int, float, float, bool]], looks: int
) -> None:
    """The e-value of a later look is that of the earlier one times what became known since."""
    steps = [window(0, 3), window(5, 15)]
    earlier = count_answers(answers(*known), [steps[0], window(5, looks - 5)], window(5, looks - 5))
    later = count_answers(answers(*known), steps, window(5, 15))
    assert later.periods[: len(earlier.periods)] == earlier.periods
    inside = [(arm, c, k) for arm, c, k, _ in known if (c < 3 or c >= 5) and c < 20 and max(c, k) < 20]
    assert later.challenger.requests + later.champion.requests == len(inside)


def test_equal_releases_fail_by_outcomes_no_more_often_than_alpha_allows_over_all_looks() -> None:
    """Outcomes come late, bad ones later, in bundles; hours differ in difficulty; the weights rise by steps."""
    runs, looks, alpha, hits = 400, 20, 0.05, 0
    rng = np.random.default_rng(20261122)
    for _ in range(runs):
        steps, known = [window(0, 8), window(9, 11)], _traffic(rng, factor=1.0)
        hits += any(_evidence(known, steps, look) >= math.log(1 / alpha) for look in range(2, looks + 20))
    assert hits / runs <= alpha + 2 * math.sqrt(alpha * (1 - alpha) / runs)


def test_a_release_that_is_wrong_twice_as_often_is_caught_by_its_outcomes() -> None:
    rng = np.random.default_rng(5)
    steps = [window(0, 8), window(9, 11)]
    caught = [
        any(_evidence(known, steps, look) >= math.log(1 / 0.001) for look in range(2, 40))
        for known in (_traffic(rng, factor=2.0) for _ in range(40))
    ]
    assert np.mean(caught) >= 0.9


def _traffic(rng: np.random.Generator, *, factor: float, calls: int = 3000) -> KnownAnswers:
    called = rng.uniform(0, 20, calls)
    arm = np.where(rng.random(calls) < np.where(called < 8, 0.1, 0.5), CHALLENGER, CHAMPION)
    rate = np.where(called < 10, 0.1, 0.3) * np.where(arm == CHALLENGER, factor, 1.0)
    wrong = rng.random(calls) < rate
    delay = rng.exponential(np.where(wrong, 6.0, 2.0))
    known = np.ceil((called + delay) / 2) * 2
    base = START.timestamp()
    return KnownAnswers(arm, base + PERIOD * called, base + PERIOD * known, wrong)


def _evidence(known: KnownAnswers, steps: list[MetricWindow], look: int) -> float:
    """The e-value at a look: in the first step, in the second, and in the bake after it, where outcomes still come."""
    present = [step for step in steps if step.start < window(look, 0).start]
    last = present[-1]
    until = MetricWindow(last.start, PERIOD, round((window(look, 0).start - last.start).total_seconds() / PERIOD))
    if last.end > until.end:
        present[-1] = until
    counts = count_answers(known, present, until)
    return float(log_e_value_of_ratio(*counts.arrays(), max_ratio=1.0)) if counts.periods else 0.0
