"""Spark at its limits, for real: no memory in the driver, none in an executor, and a master that is not there."""

from __future__ import annotations

import socket
from dataclasses import replace
from pathlib import Path

import pyspark
import pytest
from trainer_rows import make_rows, run_trainer

from slipway_trainer.job import DataObject

pytestmark = [pytest.mark.spark, pytest.mark.long, pytest.mark.timeout(600)]

# Each row is given 200 million numbers, 1.6 GB: more than the memory that these tests give.
_TEMPLATE = """
def make():
    from pyspark.ml import Pipeline
    from pyspark.ml.classification import LogisticRegression
    from pyspark.ml.feature import SQLTransformer, VectorAssembler
    wide = "SELECT *, size(sequence(1L, 200000000L + CAST(size AS INT))) AS wide FROM __THIS__"
    return Pipeline(stages=[
        SQLTransformer(statement=wide),
        VectorAssembler(inputCols=["wide"], outputCol="features"),
        LogisticRegression(labelCol="late", maxIter=1),
    ])
"""


@pytest.fixture
def wide_job(job, tmp_path):
    """A first training whose pipeline needs much memory for each row."""
    (tmp_path / "wide.py").write_text(_TEMPLATE)
    make_rows(200).to_parquet(tmp_path / "rows.parquet")
    return replace(
        job,
        engine="spark",
        champion=None,
        template=f"{tmp_path / 'wide.py'}:make",
        objects=(DataObject(str(tmp_path / "rows.parquet")),),
    )


def test_a_driver_out_of_memory_is_no_lost_cluster(wide_job, tmp_path):
    small = replace(wide_job, spark={"spark.master": "local[1]", "spark.driver.memory": "480m"})
    code, failure, output = run_trainer("train", small, tmp_path / "out")
    assert code == 1
    assert failure["kind"] == "permanent", (failure, output[-3000:])
    assert failure["message"].startswith("the training ran out of memory (")
    assert "spark.driver.memory" in failure["message"]


def test_an_executor_out_of_memory_is_said_to_be_so(wide_job, tmp_path):
    home = tmp_path / "spark"  # executors work in Spark's home, which is to stay as it was installed
    home.mkdir()
    for part in Path(pyspark.__file__).parent.iterdir():
        (home / part.name).symlink_to(part)
    settings = {
        "spark.master": "local-cluster[1,1,600]",  # an executor in a Java process of its own
        "spark.executor.memory": "500m",
        "spark.task.maxFailures": "1",
    }
    code, failure, output = run_trainer(
        "train", replace(wide_job, spark=settings), tmp_path / "out", SPARK_HOME=str(home)
    )
    assert code == 1
    assert failure["kind"] == "permanent", (failure, output[-3000:])
    assert failure["message"].startswith("the training ran out of memory (")
    assert "executor 0" in failure["message"]


def test_a_master_that_is_not_there_is_named_and_may_come_back(wide_job, tmp_path):
    with socket.socket() as taken:  # bound and not listening: refused, and nobody else can take it
        taken.bind(("127.0.0.1", 0))
        master = f"spark://127.0.0.1:{taken.getsockname()[1]}"
        code, failure, output = run_trainer(
            "train", replace(wide_job, spark={"spark.master": master}), tmp_path / "out"
        )
    assert code == 1
    assert failure["kind"] == "unavailable", (failure, output[-3000:])
    assert failure["message"].startswith(f"Spark does not start at {master}: the Spark cluster")
