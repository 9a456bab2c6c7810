import json

import numpy as np

from bench.drift import CASES, prepare
from bench.drift_calibration import measure, rates, write_page
from slipway.drift.reference import read_reference


def test_every_case_counts_all_rows(tmp_path):
    prepare(tmp_path, 2000)
    reference = read_reference((tmp_path / "baseline.json").read_bytes())
    rows = {name: run(tmp_path, reference) for name, (_, _, run) in CASES.items()}
    calls = dict.fromkeys(("single", "single_csv", "batch", "batch_csv"), 20_000)
    assert rows == {"ours": 2000, "duckdb": 2000, **calls, "hour": 2}
    assert json.loads((tmp_path / "single.jsonl").read_text().splitlines()[0])["eventVersion"] == "0"


def test_rules_are_told_apart_where_their_answer_is_known():
    rng = np.random.default_rng(0)
    few = rates(rng, 20, 50, 5)
    assert few["Evidently"] == 100, "fires nearly always at 50 rows"
    assert few["slipway"] == 0
    big = rates(rng, 20, 5000, 2, shift=1.0)
    assert set(big.values()) == {100.0}


def test_the_page_is_written_whole(tmp_path, monkeypatch):
    monkeypatch.setattr("bench.drift_calibration.rates", lambda rng, *_, **__: {"slipway": 1.0, "PSI>=.1": 2.0})
    write_page(measure(10), 10, tmp_path / "page.md")
    text = (tmp_path / "page.md").read_text()
    assert "unchanged, 50000 rows, 200 columns" in text
    assert "| slipway |" in text
