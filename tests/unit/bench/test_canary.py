"""The reach of the judge that the benchmark publishes, held as a test over 4,000 simulated canaries a case."""

import math

import numpy as np
import pytest

from bench.canary import ALPHA, ALPHA_OF_ERROR, argo_rollouts, draw, flagger, shown_of, slipway
from bench.report import Row

RUNS = 4000


def caught(rule, **cell) -> np.ndarray:
    return rule(draw(np.random.default_rng(11), RUNS, **cell))


@pytest.mark.parametrize("base_rate", [0.002, 0.01, 0.05])
@pytest.mark.parametrize("requests", [50, 200, 4000])
def test_healthy_releases_are_rolled_back_no_more_often_than_alpha(base_rate, requests):
    found = caught(slipway, base_rate=base_rate, share=0.25, requests=requests, factor=1.0)
    assert (found > 0).mean() <= ALPHA_OF_ERROR + 2 * math.sqrt(ALPHA_OF_ERROR / RUNS)


def test_the_published_reach():
    cell = {"base_rate": 0.01, "share": 0.05, "requests": 4000}
    assert (caught(slipway, **cell, factor=2.0) > 0).mean() >= 0.9
    at_five = caught(slipway, **cell, factor=5.0)
    assert ((at_five > 0) & (at_five <= 2)).mean() >= 0.9


def test_at_low_traffic_thresholds_roll_back_healthy_releases_and_the_judge_does_not():
    """50 requests a look with 99.5 % good answers: at such traffic one bad answer is a rate of several percent."""
    cell = {"base_rate": 0.005, "share": 0.5, "requests": 100, "factor": 1.0}
    assert (caught(slipway, **cell) > 0).mean() <= ALPHA
    assert (caught(argo_rollouts, **cell) > 0).mean() > 0.9
    assert (caught(flagger, **cell) > 0).mean() > 0.5


def test_the_page_shows_the_worst_cell_of_each_rule():
    rows = [Row("a, 1x", "slipway", "false rollbacks", value, "%") for value in (0.1, 0.4, 0.2)]
    assert shown_of(rows)[0].value == 0.4
