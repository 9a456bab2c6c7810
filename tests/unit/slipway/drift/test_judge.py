import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.drift.baseline import Baseline, Spread, make_baseline
from slipway.drift.bins import BinSet, CategoryBins, NumericBins
from slipway.drift.effect import Effect
from slipway.drift.judge import DriftPolicy, DriftVerdict, WindowJudgement, benjamini_hochberg, judge
from slipway.drift.profiling import empty_profile, profile_batch
from slipway.drift.significance import DistanceTest
from slipway.errors import InvalidInputError

WEEKLY = DriftPolicy(runs_per_year=52, false_alarms_per_year=1)


def make(rows: dict[str, np.ndarray], chunks: int = 20) -> Baseline:
    bins = BinSet(
        {
            name: NumericBins.of(values[np.isfinite(values)])
            if values.dtype.kind == "f"
            else CategoryBins.of(dict.fromkeys(values, 1))
            for name, values in rows.items()
        }
    )
    size = len(next(iter(rows.values())))
    parts = [slice(size * i // chunks, size * (i + 1) // chunks) for i in range(chunks)]
    return make_baseline(bins, [window(bins, {n: v[part] for n, v in rows.items()}) for part in parts])


def window(bins: BinSet, rows: dict[str, np.ndarray]):
    return profile_batch(pa.record_batch({name: pa.array(values) for name, values in rows.items()}), bins)


def test_the_same_distribution_is_stable_and_a_real_shift_is_named():
    rng = np.random.default_rng(0)
    baseline = make({"x": rng.normal(size=20_000), "y": rng.normal(size=20_000)})
    assert baseline.spreads["x"].variance == 0
    calm = judge(baseline, window(baseline.bins, {"x": rng.normal(size=5000), "y": rng.normal(size=5000)}), WEEKLY)
    assert calm.verdict is DriftVerdict.STABLE
    moved = judge(baseline, window(baseline.bins, {"x": rng.normal(0.6, 1, 5000), "y": rng.normal(size=5000)}), WEEKLY)
    assert moved.verdict is DriftVerdict.DRIFTED
    assert [(f.column, f.statistic) for f in moved.drifted] == [("x", "kolmogorov_smirnov")]
    assert moved.drifted[0].lower_bound > 0.1


def test_a_proven_but_immaterial_shift_is_stable():
    rng = np.random.default_rng(1)
    baseline = make({"x": rng.normal(size=200_000)})
    found = judge(baseline, window(baseline.bins, {"x": rng.normal(0.05, 1, 200_000)}), WEEKLY)
    assert found.verdict is DriftVerdict.STABLE


def test_too_few_rows_are_inconclusive_and_say_how_many_are_needed():
    rng = np.random.default_rng(2)
    baseline = make({"x": rng.normal(size=20_000)})
    few = judge(baseline, window(baseline.bins, {"x": rng.normal(size=60)}), WEEKLY)
    assert few.verdict is DriftVerdict.INCONCLUSIVE
    needed = max(f.rows_needed or 0 for f in few.findings)
    assert 200 < needed < 2000
    enough = judge(baseline, window(baseline.bins, {"x": rng.normal(size=needed)}), WEEKLY)
    assert enough.verdict is DriftVerdict.STABLE


def sparse(rng: np.random.Generator, rows: int, filled: int, shift: float = 0.0) -> np.ndarray:
    values = np.full(rows, np.nan)
    values[rng.permutation(rows)[:filled]] = rng.normal(shift, 1, filled)
    return values


def test_a_column_that_the_baseline_hardly_knows_is_named_and_hides_no_other():
    rng = np.random.default_rng(7)
    baseline = make({"x": rng.normal(size=20_000), "rare": sparse(rng, 20_000, 200)})

    def judged(rows: int, filled: int, *, shift: float = 0.0, rare: float = 0.0) -> WindowJudgement:
        columns = {"x": rng.normal(shift, 1, rows), "rare": sparse(rng, rows, filled, rare)}
        return judge(baseline, window(baseline.bins, columns), DriftPolicy())

    calm = judged(20_000, 200)
    assert calm.verdict is DriftVerdict.STABLE
    (unjudged,) = calm.unjudged
    assert (unjudged.column, unjudged.statistic, unjudged.verdict) == ("rare", "kolmogorov_smirnov", "INCONCLUSIVE")
    assert (unjudged.baseline_rows, unjudged.baseline_needed, unjudged.rows_needed) == (200, 489, None)
    moved = judged(20_000, 200, shift=1.0)
    assert (moved.verdict, [each.column for each in moved.drifted]) == (DriftVerdict.DRIFTED, ["x"])
    assert judged(60, 1).verdict is DriftVerdict.INCONCLUSIVE, "the other column lacks rows in the window"
    gross = judged(20_000, 200, rare=4.0)
    assert [each.column for each in gross.drifted] == ["rare"], "what is plain needs few values"


@pytest.mark.parametrize("filled", [489, 600])
def test_with_the_values_that_are_needed_some_window_gives_a_verdict(filled):
    rng = np.random.default_rng(7)
    baseline = make({"rare": sparse(rng, 20_000, filled)})
    columns = {"rare": sparse(rng, 20_000, 200)}
    (found,) = [f for f in judge(baseline, window(baseline.bins, columns), DriftPolicy()).findings if f.rows == 200]
    assert (found.verdict, found.baseline_needed) == (DriftVerdict.INCONCLUSIVE, None)
    enough = DistanceTest(Effect(found.statistic, 0.0, 0.0, filled, found.rows_needed), 0.1, Spread())
    assert enough.tells(DriftPolicy().alpha, found.rows_needed)


def test_categories_that_are_too_many_for_the_baseline_are_not_judged_for_ever():
    rng = np.random.default_rng(8)
    names = np.array([f"v{index}" for index in range(1000)])
    baseline = make({"x": rng.normal(size=4000), "c": rng.choice(names, 4000)})
    columns = {"x": rng.normal(size=200_000), "c": rng.choice(names, 200_000)}
    found = judge(baseline, window(baseline.bins, columns), WEEKLY)
    assert found.verdict is DriftVerdict.STABLE
    (unjudged,) = found.unjudged
    assert (unjudged.column, unjudged.baseline_rows) == ("c", 4000)
    # Of a larger baseline more categories are seen, which asks for some more rows.
    more = make({"c": rng.choice(names, unjudged.baseline_needed * 6 // 5)})
    columns = {"c": rng.choice(names, 2_000_000)}
    assert judge(more, window(more.bins, columns), WEEKLY).unjudged == ()


def test_where_no_distance_can_be_judged_nor_can_the_whole():
    rng = np.random.default_rng(9)
    baseline = make({"x": rng.normal(size=480)})
    found = judge(baseline, window(baseline.bins, {"x": rng.normal(size=200_000)}), DriftPolicy())
    assert {f.verdict for f in found.findings if f.statistic != "kolmogorov_smirnov"} == {DriftVerdict.STABLE}
    assert found.verdict is DriftVerdict.INCONCLUSIVE


def test_no_rows_are_no_data():
    baseline = make({"x": np.random.default_rng(3).normal(size=2000)})
    assert judge(baseline, empty_profile(baseline.bins), WEEKLY).verdict is DriftVerdict.NO_DATA


@pytest.mark.parametrize(
    ("change", "statistic"),
    [
        (lambda c, x: (np.where(np.arange(len(c)) % 4 == 0, "new", c), x), "new_category_rate"),
        (lambda c, x: (np.where(c == "a", "b", c), x), "total_variation"),
        (lambda c, x: (c, np.where(np.arange(len(x)) % 4 == 0, np.nan, x)), "missing_rate"),
        (lambda c, x: (c, np.where(np.arange(len(x)) % 4 == 0, np.inf, x)), "infinite_rate"),
    ],
)
def test_each_kind_of_change_is_found_by_its_statistic(change, statistic):
    rng = np.random.default_rng(4)
    draw = lambda n: (rng.choice(["a", "b", "c"], size=n, p=[0.5, 0.3, 0.2]), rng.normal(size=n))  # noqa: E731
    letters, numbers = draw(20_000)
    baseline = make({"c": letters, "x": numbers})
    letters, numbers = change(*draw(4000))
    found = judge(baseline, window(baseline.bins, {"c": letters, "x": numbers}), WEEKLY)
    assert statistic in {finding.statistic for finding in found.drifted}


def test_a_healthy_stream_with_memory_raises_few_alarms_in_a_year():
    """An AR(1) level that wanders by 0.5 standard deviations: plain tests call nearly every week drifted."""
    rng = np.random.default_rng(5)
    weeks, rows = 40 + 52, 1000
    level = np.zeros(weeks)
    for week in range(1, weeks):
        level[week] = 0.6 * level[week - 1] + rng.normal(0, 0.3)
    stream = np.concatenate([rng.normal(level[week], 1, rows) for week in range(weeks)])
    baseline = make({"x": stream[: 40 * rows]}, chunks=40)
    assert baseline.spreads["x"].variance > 0
    alarms = 0
    for week in range(40, weeks):
        part = {"x": stream[week * rows : (week + 1) * rows]}
        alarms += judge(baseline, window(baseline.bins, part), WEEKLY).verdict is DriftVerdict.DRIFTED
    assert alarms <= 2


@given(st.lists(st.floats(0, 1), min_size=1, max_size=50))
def test_adjusted_p_values_are_never_below_the_raw_ones_and_keep_their_order(p_values):
    adjusted = benjamini_hochberg(p_values)
    assert all(raw <= corrected <= 1 for raw, corrected in zip(p_values, adjusted, strict=True))
    ranked = [adjusted[i] for i in sorted(range(len(p_values)), key=p_values.__getitem__)]
    assert ranked == sorted(ranked)


def test_adjustment_of_a_worked_example():
    assert benjamini_hochberg([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.02, 0.04, 0.04, 0.02])


def test_a_baseline_without_rows_is_refused():
    bins = BinSet({"x": NumericBins.of(np.array([1.0, 2.0]))})
    with pytest.raises(InvalidInputError, match="needs rows"):
        make_baseline(bins, [empty_profile(bins)])


def test_alpha_divides_the_budget_of_a_year():
    assert DriftPolicy(runs_per_year=8760, false_alarms_per_year=2).alpha == pytest.approx(2 / 8760)
    assert math.isclose(DriftPolicy(runs_per_year=1, false_alarms_per_year=9).alpha, 0.5)
