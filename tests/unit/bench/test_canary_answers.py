"""What the benchmark of answers publishes, held as a test over fewer simulated canaries."""

from __future__ import annotations

import numpy as np
import pytest

from bench.canary import slipway
from bench.canary_answers import (
    ALPHA_OF_UNLIKE,
    ALPHA_OF_WRONG,
    IGNORE_BELOW,
    LIKE,
    LOOKS,
    OTHER,
    draw_answers,
    draw_outcomes,
    measure,
)
from slipway.canary.policy import UNLIKE_IGNORE_BELOW

CELL = {"share": 0.5, "requests": 200}


def rolled_back_by_outcomes(factor: float, runs: int) -> float:
    draws = draw_outcomes(np.random.default_rng(3), runs, base_rate=0.3, factor=factor, **CELL)  # type: ignore[arg-type]
    return float((slipway(draws, alpha=ALPHA_OF_WRONG, ignore_below=IGNORE_BELOW) > 0).mean())


def rolled_back_by_answers(old: str, new: str, runs: int) -> float:
    draws = draw_answers(np.random.default_rng(4), runs, old=LIKE[old], new={**LIKE, **OTHER}[new], **CELL)  # type: ignore[arg-type]
    return float((slipway(draws, alpha=ALPHA_OF_UNLIKE, ignore_below=UNLIKE_IGNORE_BELOW) > 0).mean())


def test_a_release_that_is_wrong_half_as_often_again_is_caught_and_an_equal_one_is_not() -> None:
    assert rolled_back_by_outcomes(1.0, 300) <= 1 / 300
    assert rolled_back_by_outcomes(1.5, 60) >= 0.9


@pytest.mark.parametrize("name", list(LIKE))
def test_answers_alike_are_not_rolled_back_however_they_are_distributed(name: str) -> None:
    assert rolled_back_by_answers(name, name, 100) <= 1 / 100


def test_other_answers_are_caught_and_what_the_page_says_is_not_seen_is_not() -> None:
    assert rolled_back_by_answers("normal", "2 sd higher", 60) == 1
    assert rolled_back_by_answers("normal", "always the middle", 60) == 0


def test_every_outcome_that_is_known_in_time_is_in_one_look() -> None:
    draws = draw_outcomes(np.random.default_rng(1), 20, base_rate=0.1, factor=1.0, **CELL)  # type: ignore[arg-type]
    known = draws.challenger_requests.sum(axis=1) + draws.champion_requests.sum(axis=1)
    assert draws.challenger_requests.shape == (20, LOOKS)
    assert (known > 0.4 * LOOKS * 200).all()
    assert (known < 0.6 * LOOKS * 200).all()


def test_all_cases_are_measured() -> None:
    rows = measure(1)
    assert {row.unit for row in rows} == {"%", "looks"}
    assert len({row.case for row in rows}) == 16 + 2 * (len(LIKE) + len(OTHER))
