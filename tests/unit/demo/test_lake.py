"""The demo's lake: the committed expectations let its months pass and refuse the dirty file, for its reasons."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from demo import flights, lake

EXPECTATIONS = Path(__file__).resolve().parents[3] / "include" / "expectations"


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory):
    """What the trainer says about March and about the dirty file, by the suite of a service."""
    import subprocess
    import sys

    folder = tmp_path_factory.mktemp("lake")
    march = lake.rows_of(3)
    march.to_parquet(folder / "march.parquet", index=False)
    lake.dirty(march).to_parquet(folder / "dirty.parquet", index=False)

    def judge(service: str) -> dict[str, list[str]]:
        job = {
            "service": service,
            "model": service,
            "job_id": service,
            "engine": "python",
            "objects": [{"uri": str(folder / f"{name}.parquet")} for name in ("march", "dirty")],
            "target": flights.TARGET,
            "time_column": lake.TIME,
            "suite": json.loads((EXPECTATIONS / f"{service}.json").read_text()),
        }
        (folder / "job.json").write_text(json.dumps(job))
        command = [sys.executable, "-m", "slipway_trainer", "validate", "--job", folder / "job.json", "--out", folder]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        found = json.loads((folder / "result.json").read_text())["objects"]
        return {Path(each["uri"]).stem: each["problems"] for each in found}

    return judge


def test_a_month_has_the_models_columns_the_target_and_the_time_of_each_row() -> None:
    rows = lake.rows_of(2)
    assert set(rows.columns) == {*flights.FEATURES, flights.TARGET, lake.TIME}
    assert rows[lake.TIME].min().month == rows[lake.TIME].max().month == 2
    assert rows[lake.TIME].is_monotonic_increasing


@pytest.mark.parametrize("service", ["flights", "flights-spark"])
def test_the_committed_expectations_let_march_pass_and_refuse_the_dirty_file(judged, service: str) -> None:
    found = judged(service)
    assert found["march"] == []
    assert "50 rows have no 'late'" in found["dirty"]
    assert any(problem.startswith("distance: column values to be between") for problem in found["dirty"])
