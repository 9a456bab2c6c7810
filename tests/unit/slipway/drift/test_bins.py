"""What numeric bins tell apart: every value that is not rare, whatever else the column holds."""

import math

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from slipway.drift.bins import NUMERIC_BINS, NumericBins
from slipway.drift.engines.threads import profile_batches
from slipway.drift.judge import DriftPolicy, DriftVerdict, judge
from slipway.drift.reference import read_reference
from slipway.drift.training import make_reference
from slipway.endpoints.comparison import ABSOLUTE_TOLERANCE

HOURLY = DriftPolicy()
FINITE = st.floats(allow_nan=False, allow_infinity=False)


def drawn(values: list[float], shares: list[float], seed: int, rows: int = 5000) -> np.ndarray:
    return np.random.default_rng(seed).choice(np.array(values), rows, p=shares)


def verdict(before: np.ndarray, after: np.ndarray) -> DriftVerdict:
    reference = read_reference(make_reference(pd.DataFrame({"flag": before})).to_bytes())
    window = profile_batches([pa.record_batch({"flag": after})], reference.bins)
    (found,) = [each for each in judge(reference.baseline, window, HOURLY).findings if "smirnov" in each.statistic]
    return found.verdict


@pytest.mark.parametrize("kind", [np.int64, np.float64, np.float32])
@pytest.mark.parametrize(
    ("values", "before", "after"),
    [
        ([0, 1], [0.9, 0.1], [0.1, 0.9]),
        ([0, 1], [1.0, 0.0], [0.5, 0.5]),
        ([0, 1], [0.0, 1.0], [0.5, 0.5]),
        ([3, 5], [0.0, 1.0], [1.0, 0.0]),
        ([0, 1, 2], [0.2, 0.7, 0.1], [0.2, 0.1, 0.7]),
        ([0, 1, 2], [0.7, 0.2, 0.1], [0.1, 0.2, 0.7]),
        ([0, 5, 10], [0.5, 0.0, 0.5], [0.0, 1.0, 0.0]),
        ([-1, 0, 1], [0.997, 0.0, 0.003], [0.5, 0.0, 0.5]),
    ],
)
def test_a_change_among_few_values_is_seen(kind, values, before, after):
    learned = drawn(values, before, 0).astype(kind)
    assert verdict(learned, drawn(values, after, 1).astype(kind)) is DriftVerdict.DRIFTED
    assert verdict(learned, drawn(values, before, 2).astype(kind)) is DriftVerdict.STABLE


def test_a_value_between_two_that_fill_the_baseline_is_neither_of_them():
    flags = drawn([0.0, 1.0], [0.9, 0.1], 0)
    assert verdict(flags, np.full(5000, 0.3)) is DriftVerdict.DRIFTED
    assert verdict(np.full(5000, 5.0), np.full(5000, 5.5)) is DriftVerdict.DRIFTED


def test_answers_that_differ_as_much_as_engines_may_are_the_same_value():
    leaves = drawn([0.1, 1 / 3, 2 / 3, 1e6], [0.4, 0.3, 0.2, 0.1], 0)
    for factor in (1 - 1e-9, 1 + 1e-9):
        assert verdict(leaves, leaves * factor) is DriftVerdict.STABLE


def answers_verdict(before: np.ndarray, after: np.ndarray) -> DriftVerdict:
    asked = pd.DataFrame({"c": ["a"] * len(before)})
    reference = read_reference(make_reference(asked, before).to_bytes())
    window = profile_batches([pa.record_batch({"c": asked["c"], "prediction": after})], reference.bins)
    findings = judge(reference.baseline, window, HOURLY).findings
    (found,) = [each for each in findings if each.column == "prediction" and "smirnov" in each.statistic]
    return found.verdict


def test_answers_near_zero_that_differ_as_much_as_engines_may_are_the_same_value():
    answers = drawn([0.0, 1.0], [0.5, 0.5], 0)
    for zero in (2.8e-17, -2.8e-17, ABSOLUTE_TOLERANCE, -ABSOLUTE_TOLERANCE):
        assert answers_verdict(answers, np.where(answers == 0, zero, answers)) is DriftVerdict.STABLE
    assert answers_verdict(answers, np.where(answers == 0, 1e-9, answers)) is DriftVerdict.DRIFTED


def test_small_answers_that_the_baseline_tells_apart_stay_apart():
    small = drawn([0.0, 1e-13], [0.5, 0.5], 0)
    assert answers_verdict(small, np.zeros(5000)) is DriftVerdict.DRIFTED
    assert answers_verdict(small, drawn([0.0, 1e-13], [0.5, 0.5], 1)) is DriftVerdict.STABLE


def test_features_are_what_was_sent_and_no_engines_rounding():
    assert verdict(np.zeros(5000), np.full(5000, 1e-13)) is DriftVerdict.DRIFTED


@pytest.mark.parametrize("kind", [np.int32, np.int64])
def test_neighbours_among_large_whole_numbers_are_two_values(kind):
    first = 2_000_000_001 if kind is np.int32 else 4_000_000_001
    before, after = np.full(5000, first, kind), np.full(5000, first + 1, kind)
    assert verdict(before, after) is DriftVerdict.DRIFTED
    assert verdict(before, before) is DriftVerdict.STABLE
    assert answers_verdict(before, after) is DriftVerdict.DRIFTED


def test_times_are_the_same_within_the_millisecond_in_which_they_may_be_sent():
    before = np.full(5000, np.datetime64("2026-03-01T10:00:00.123456"))
    assert verdict(before, before.astype("datetime64[ms]")) is DriftVerdict.STABLE
    assert verdict(before, before + np.timedelta64(1, "s")) is DriftVerdict.DRIFTED


@given(
    st.lists(FINITE, min_size=1, max_size=40, unique=True),
    st.lists(st.integers(1, 1000), min_size=40, max_size=40),
)
@settings(deadline=None)
def test_two_values_that_are_not_rare_never_share_a_bin(values: list[float], times: list[int]) -> None:
    repeats = np.array(times[: len(values)])
    bins = NumericBins.of(np.repeat(np.array(values), repeats))
    frequent = [value for value, share in zip(values, repeats / repeats.sum(), strict=True) if share > 1 / NUMERIC_BINS]
    places = [int(np.argmax(bins.counts(np.array([value])))) for value in frequent]
    assert len(set(places)) == len(frequent)
    assert list(bins.edges) == sorted(set(bins.edges))
    assert len(bins) <= NUMERIC_BINS + 2
    assert all(map(math.isfinite, bins.edges)), "the baseline is stored as JSON"


@given(st.lists(FINITE, min_size=1, max_size=5, unique=True), FINITE)
@settings(deadline=None)
def test_a_value_that_fills_a_bin_shares_it_with_no_other(values: list[float], other: float) -> None:
    near = [abs(other - value) <= 4e-9 * abs(value) for value in values]
    assume(not any(near) and other not in values)
    bins = NumericBins.of(np.repeat(np.array(values), 100))
    place = int(np.argmax(bins.counts(np.array([other]))))
    assert place not in {int(np.argmax(bins.counts(np.array([value])))) for value in values}


def test_a_column_whose_values_do_not_repeat_is_cut_at_its_quantiles():
    values = np.random.default_rng(0).normal(size=100_000)
    edges = np.array(NumericBins.of(values).edges)
    assert len(edges) == NUMERIC_BINS + 1
    shares = np.diff([np.mean(values < edge) for edge in edges])
    assert shares == pytest.approx(1 / NUMERIC_BINS, abs=2e-5)


def test_numbers_of_short_floats_are_learned_as_such():
    rows = pd.DataFrame({"price": np.full(500, 9.99, np.float32)})
    assert make_reference(rows).schema.inputs[0].kind == "float"
