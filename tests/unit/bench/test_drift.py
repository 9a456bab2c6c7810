import json

import numpy as np
import pytest

import bench.drift
from bench.drift import CASES, prepare
from bench.drift_calibration import measure, rates, write_page
from bench.drift_streams import Change, daily, make_world, numbers, steady, wandering, words
from slipway.drift.reference import read_reference


def test_every_case_counts_all_rows(tmp_path):
    prepare(tmp_path, 2000, calls=1000)
    reference = read_reference((tmp_path / "baseline.json").read_bytes())
    rows = {name: run(tmp_path, reference) for name, (_, _, run) in CASES.items() if name != "spark"}
    calls = {"single": 1000, "single_csv": 1000, "batch": 10_000, "batch_csv": 10_000}
    assert rows == {"ours": 2000, "threads": 2000, "duckdb": 2000, **calls, "hour": 2}
    assert json.loads((tmp_path / "single.jsonl").read_text().splitlines()[0])["eventVersion"] == "0"


def test_a_case_does_not_answer_for_the_memory_of_who_started_it(tmp_path):
    prepare(tmp_path, 100, calls=100)
    ballast = np.ones(400 << 17)  # 400 MB
    rows = bench.drift.measure(tmp_path, ["single"])
    peak = next(row.value for row in rows if row.metric == "peak memory")
    assert 10 < peak < 400 <= bench.drift.peak_megabytes()
    assert ballast[-1] == 1


def test_rules_are_told_apart_where_their_answer_is_known():
    rng = np.random.default_rng(0)
    few = rates(rng, 20, 50, 5)
    assert few["Evidently"] == 100, "fires nearly always at 50 rows"
    assert few["slipway"] == 0
    big = rates(rng, 20, 5000, 2, change=Change(shift=1.0))
    assert set(big.values()) == {100.0}
    words_moved = rates(rng, 20, 5000, 2, change=Change(moved=0.3), bins=words())
    assert set(words_moved.values()) == {100.0}
    gaps = rates(rng, 20, 5000, 2, change=Change(missing=0.3))
    assert (gaps["slipway"], gaps["Model Monitor"], gaps["PSI>=.1"]) == (100, 100, 0)


@pytest.mark.parametrize("levels", [wandering, daily])
def test_a_level_that_moves_healthily_is_in_the_baseline(levels):
    rng = np.random.default_rng(0)
    world = make_world(rng, numbers(), levels)
    assert world.baseline.spreads["x"].variance > 0
    assert make_world(rng, numbers(), steady).baseline.spreads["x"].variance == 0
    assert np.std(np.concatenate([levels(rng, 50) for _ in range(200)])) == pytest.approx(
        0.3 if levels is wandering else 0.354, rel=0.1
    )


def test_the_page_is_written_whole(tmp_path, monkeypatch):
    monkeypatch.setattr("bench.drift_calibration.rates", lambda rng, *_, **__: {"slipway": 1.0, "PSI>=.1": 2.0})
    write_page(measure(10), 10, tmp_path / "page.md")
    text = (tmp_path / "page.md").read_text()
    assert "unchanged, 50000 rows, 200 columns" in text
    assert "| slipway |" in text
