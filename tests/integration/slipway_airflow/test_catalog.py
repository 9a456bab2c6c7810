"""A table of Spark's own catalog, kept in a metastore on disk, is landed by the task and validated like other data."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from slipway.spec import ServiceSpec
from slipway_airflow.sensors.catalog_new_data import CatalogNewDataSensor

from .retraining import Retraining, make_rows, retrain_section

pytestmark = [pytest.mark.integration, pytest.mark.spark, pytest.mark.long, pytest.mark.timeout(300)]

# Spark 4.3 takes ``python -c`` for a doctest and ends the process, so this is run from a file.
MAKE_TABLE = """
import json, sys
from pathlib import Path
from slipway_trainer.spark.session import start_session

spark = start_session("make", cache_dir=Path(sys.argv[1]), configuration=json.loads(sys.argv[2]))
spark.sql("create database if not exists sales")
spark.read.parquet(sys.argv[3]).write.saveAsTable("sales.parcels")
spark.stop()
"""


def test_a_table_of_the_catalog_is_landed_by_spark(service, platform, mlflow_server, tmp_path):
    spark = {
        "spark.master": "local[2]",
        "spark.sql.catalogImplementation": "hive",
        "spark.sql.warehouse.dir": str(tmp_path / "warehouse"),
        "spark.hadoop.javax.jdo.option.ConnectionURL": f"jdbc:derby:;databaseName={tmp_path}/metastore;create=true",
    }
    section = retrain_section(service.spec.name, data={"table": "sales.parcels"}, engine="spark", spark=spark)
    spec = ServiceSpec.model_validate({**service.spec.model_dump(exclude_defaults=True), "retrain": section})
    retraining = Retraining(spec, platform, service.aws.client("s3"), mlflow_server.client)
    make_table(tmp_path, spark, make_rows(300))
    sensor = CatalogNewDataSensor(task_id="await_data", spec=spec, platform=platform)
    found = sensor.execute(retraining.context("await_data"))
    assert found["new"] >= 1
    assert retraining.run("validate_data")["rows"] == 300
    # Cleared and run again, the task finds its batch: Spark is not started.
    assert sensor.execute(retraining.context("await_data")) == found


def make_table(folder, spark, rows) -> None:
    """Make the table, as another program does."""
    rows.to_parquet(folder / "rows.parquet", index=False, coerce_timestamps="us")
    (folder / "make.py").write_text(MAKE_TABLE)
    line = [sys.executable, folder / "make.py", folder, json.dumps(spark), folder / "rows.parquet"]
    done = subprocess.run(line, capture_output=True, text=True, check=False, cwd=folder)
    assert done.returncode == 0, done.stderr[-3000:]
