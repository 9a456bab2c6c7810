"""What a test of one column can tell, and from how many rows on."""

import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.drift.judge import DriftPolicy, DriftVerdict, judge
from slipway.drift.profiling import profile_batch
from slipway.drift.significance import RateTest, rows_needed
from slipway.drift.training import make_reference

HOURLY = 1 / 8766
BASELINE_ROWS = 200_000


def rate(before: float, after: float, rows: int, *, tolerance: float = 0.05) -> RateTest:
    return RateTest("missing_rate", tolerance, round(before * BASELINE_ROWS), BASELINE_ROWS, round(after * rows), rows)


@pytest.mark.parametrize("share", [0.0, 0.04, 0.5, 0.9, 0.92, 0.9499, 0.95, 0.96, 0.999, 1.0])
def test_a_share_that_stays_is_told_from_a_few_thousand_rows_whatever_it_is(share):
    needed = rows_needed(rate(share, share, 10), HOURLY)
    assert needed is not None
    assert 100 < needed < 5000


@given(st.integers(0, BASELINE_ROWS), st.floats(0.01, 0.99))
def test_a_change_of_twice_the_tolerance_is_found_in_every_direction_that_has_room_for_it(count, tolerance):
    """What ``tells`` promises: STABLE is never said of a window that could not have shown the change."""
    needed = rows_needed(RateTest("missing_rate", tolerance, count, BASELINE_ROWS, 0, 1), HOURLY)
    if needed is None:
        return
    lower = math.floor((count / BASELINE_ROWS - 2 * tolerance) * needed)
    upper = math.ceil((count / BASELINE_ROWS + 2 * tolerance) * needed)
    for after in (lower, upper):
        if 0 <= after <= needed:
            changed = RateTest("missing_rate", tolerance, count, BASELINE_ROWS, after, needed)
            assert changed.p_value <= HOURLY


def test_a_sparse_column_that_fills_up_needs_rows_to_be_called_stable_and_is_named():
    few = rate(0.96, 0.96, 60)
    assert not few.tells(HOURLY, few.rows)
    assert rate(0.96, 0.5, 2000).p_value < HOURLY


def test_no_window_proves_that_nothing_at_all_changed():
    assert rows_needed(rate(0.0, 0.0, 10, tolerance=0.0), HOURLY) is None


def test_a_tolerance_beyond_which_nothing_can_change_has_nothing_to_tell():
    assert rate(0.5, 0.5, 10, tolerance=0.5).tells(HOURLY, 10)
    assert not rate(0.0, 0.0, 5, tolerance=0.6).tells(HOURLY, 5), "five rows do not show that sixty percent are missing"


@pytest.mark.parametrize("sparse", [0.96, 0.98, 1.0])
def test_a_table_with_a_sparse_column_is_stable_when_nothing_changed(sparse):
    rng = np.random.default_rng(0)
    policy = DriftPolicy(runs_per_year=365)

    def draw(rows: int, missing: float) -> pa.RecordBatch:
        values = rng.normal(size=rows)
        return pa.record_batch(
            {"x": rng.normal(size=rows), "rare": np.where(rng.random(rows) < missing, np.nan, values)}
        )

    baseline = make_reference(pa.Table.from_batches([draw(100_000, sparse)]), chunks=13).baseline
    found = judge(baseline, profile_batch(draw(60_000, sparse), baseline.bins), policy)
    assert found.verdict is DriftVerdict.STABLE
    filled = judge(baseline, profile_batch(draw(60_000, 0.5), baseline.bins), policy)
    assert [(each.column, each.statistic) for each in filled.drifted] == [("rare", "missing_rate")]
