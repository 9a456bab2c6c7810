"""Spark: the unfitted champion is fitted again; what is logged brings the unfitted pipeline for the next time."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from trainer_rows import FEATURES, make_rows, run_trainer

from slipway_trainer.job import Champion

pytestmark = [pytest.mark.spark, pytest.mark.long, pytest.mark.timeout(600)]

# Spark 4.3 takes ``python -c`` for a doctest and ends the process, so the champion is made by a file.
HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def spark_champion(tmp_path_factory):
    folder = tmp_path_factory.mktemp("spark")
    make_rows(300, seed=9).to_parquet(folder / "rows.parquet")
    done = subprocess.run(
        [sys.executable, HERE / "save_champion.py", folder / "rows.parquet", folder],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return Champion(1, str(folder / "model"))


def test_the_refit_is_judged_beside_the_champion(job, spark_champion, tmp_path):
    spark_job = replace(
        job,
        engine="spark",
        champion=spark_champion,
        spark={"spark.master": "local[2]"},
        hyperparameters={"maxIter": 6},
    )
    code, result, output = run_trainer("train", spark_job, tmp_path / "train")
    assert code == 0, (result, output[-3000:])
    assert sum(result["rows"].values()) == 1400
    assert abs(result["rows"]["holdout"] - 280) <= 2  # the cutoff is an approximate percentile
    assert result["estimator"] == "champion"
    assert result["losses"] == []
    assert 0.7 < result["metrics"]["candidate"]["areaUnderROC"] < 1.0
    assert result["metrics"]["champion"]["areaUnderROC"] != result["metrics"]["candidate"]["areaUnderROC"]
    assert result["improvements"][0]["low"] < result["improvements"][0]["high"]
    assert "stage GBTClassifier" in output
    assert set(FEATURES) == {"colour", "size", "weight"}
