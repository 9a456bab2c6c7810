"""What a run's document says in words."""

from slipway.drift.status import Status
from tests.unit.slipway.drift.test_history import finding, run


def test_rows_that_are_needed_count_the_empty_ones_of_a_sparse_column():
    few = finding("rare", 0.02).model_copy(update={"verdict": "INCONCLUSIVE", "rows": 10, "rows_needed": 400})
    report = run(0, [finding("x", 0.0), few], status=Status.INCONCLUSIVE, rows=1000)
    assert report.headline() == "flights has too few rows for a verdict (1000; 40000 are needed)"


def test_what_no_number_of_rows_decides_is_said():
    never = finding("x", 0.02).model_copy(update={"verdict": "INCONCLUSIVE", "rows_needed": None})
    assert "more than any window has" in run(0, [never], status=Status.INCONCLUSIVE).headline()
