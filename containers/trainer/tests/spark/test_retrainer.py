"""Spark: the unfitted champion is fitted again; what is logged brings the unfitted pipeline for the next time."""

from __future__ import annotations

from dataclasses import replace

import pytest
from trainer_rows import FEATURES, make_rows, run_trainer

from slipway_trainer.job import Champion

pytestmark = [pytest.mark.spark, pytest.mark.long, pytest.mark.timeout(600)]

_CHAMPION = """
import sys
from pathlib import Path
import mlflow, pandas as pd
from mlflow.models import infer_signature
from pyspark.ml import Pipeline
from pyspark.ml.classification import GBTClassifier
from pyspark.ml.feature import OneHotEncoder, StringIndexer, VectorAssembler
from slipway_trainer.spark.session import start_session
rows, out = pd.read_parquet(sys.argv[1]), Path(sys.argv[2])
spark = start_session("champion", cache_dir=out)
frame = spark.createDataFrame(rows.drop(columns="at"))
stages = [StringIndexer(inputCol="colour", outputCol="colour_index", handleInvalid="keep"),
          OneHotEncoder(inputCol="colour_index", outputCol="colour_hot"),
          VectorAssembler(inputCols=["colour_hot", "size", "weight"], outputCol="features"),
          GBTClassifier(labelCol="late", maxIter=5, maxDepth=3, seed=7)]
fitted = Pipeline(stages=stages).fit(frame)
features = rows[["colour", "size", "weight"]]
mlflow.spark.save_model(fitted, str(out / "model"), signature=infer_signature(features, pd.Series([0.0])),
                        pip_requirements=["mlflow", "pyspark"])
spark.stop()
"""


@pytest.fixture(scope="module")
def spark_champion(tmp_path_factory):
    import subprocess
    import sys

    folder = tmp_path_factory.mktemp("spark")
    make_rows(300, seed=9).to_parquet(folder / "rows.parquet")
    done = subprocess.run(
        [sys.executable, "-c", _CHAMPION, folder / "rows.parquet", folder], capture_output=True, text=True, check=False
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
