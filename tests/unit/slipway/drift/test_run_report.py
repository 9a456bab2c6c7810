"""What a run's document says in words."""

from slipway.drift.run_report import FindingRecord, RunReport
from slipway.drift.status import Status
from tests.unit.slipway.drift.test_history import finding, run


def test_rows_that_are_needed_count_the_empty_ones_of_a_sparse_column():
    few = finding("rare", 0.02).model_copy(update={"verdict": "INCONCLUSIVE", "rows": 10, "rows_needed": 400})
    report = run(0, [finding("x", 0.0), few], status=Status.INCONCLUSIVE, rows=1000)
    assert report.headline() == "flights has too few rows for a verdict (1000; 40000 are needed)"


def test_what_no_number_of_rows_decides_is_said():
    never = finding("x", 0.02).model_copy(update={"verdict": "INCONCLUSIVE", "rows_needed": None})
    assert "more than any window has" in run(0, [never], status=Status.INCONCLUSIVE).headline()


def unknown(column: str, has: int, statistic: str = "kolmogorov_smirnov") -> FindingRecord:
    changes = {"verdict": "INCONCLUSIVE", "rows_needed": None, "baseline_rows": has, "baseline_needed": 489}
    return finding(column, 0.02, statistic).model_copy(update=changes)


def test_a_column_that_the_baseline_hardly_knows_is_named_beside_the_verdict_on_the_rest():
    report = run(0, [finding("x", 0.0), unknown("rare", 200)], status=Status.STABLE)
    assert report.headline() == "flights is stable"
    wanted = "Not judged, because the baseline has too few rows: rare has 200 of at least 489 (kolmogorov smirnov)"
    assert wanted in report.text().splitlines()


def test_lacking_rows_of_the_window_are_counted_without_columns_that_no_window_decides():
    few = finding("x", 0.02).model_copy(update={"verdict": "INCONCLUSIVE", "rows": 60, "rows_needed": 500})
    report = run(0, [few, unknown("rare", 200)], status=Status.INCONCLUSIVE, rows=60)
    assert report.headline() == "flights has too few rows for a verdict (60; 500 are needed)"


def test_a_baseline_that_decides_nothing_is_what_the_headline_names():
    report = run(0, [unknown("x", 300), unknown("x", 350, "missing_rate")], status=Status.INCONCLUSIVE)
    said = "flights has too few rows in its baseline for a verdict: x has 350 of at least 489 (missing rate)"
    assert report.headline() == said
    assert "log one of more rows" in report.advice()


def test_documents_of_before_baselines_were_counted_are_still_read():
    document = run(0, [finding("x", 0.0)]).model_dump(mode="json")
    for each in document["findings"]:
        del each["baseline_rows"], each["baseline_needed"]
    assert RunReport.model_validate(document).unjudged == ()


def test_columns_that_an_older_baseline_hides_changes_of_are_named_with_what_to_do():
    hidden = finding("flag", 0.0).model_copy(update={"verdict": "INCONCLUSIVE", "rows_needed": None})
    report = run(0, [finding("x", 0.0), hidden], status=Status.STABLE, blind=("flag",))
    assert report.headline() == "flights is stable"
    (line,) = [line for line in report.text().splitlines() if line.startswith("Not judged")]
    assert "did not tell its highest values apart: flag." in line
    assert "log_baseline" in line
    alone = run(0, [hidden], status=Status.INCONCLUSIVE, blind=("flag",))
    assert alone.headline() == ("flights cannot be judged: its baseline does not tell the highest values of flag apart")
    rates = finding("flag", 0.0, "missing_rate").model_copy(update={"verdict": "INCONCLUSIVE", "rows_needed": 2000})
    few = run(0, [hidden, rates], status=Status.INCONCLUSIVE, blind=("flag",))
    assert few.headline() == "flights has too few rows for a verdict (1000; 2000 are needed)"
