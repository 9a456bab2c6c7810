from __future__ import annotations

import json
from pathlib import Path

import pytest

from slipway.artifacts.mlmodel import read_mlmodel
from slipway.artifacts.requirements import ModelRequirements
from slipway.artifacts.spark_pipeline import (
    is_spark,
    names_spark,
    needs_spark,
    spark_folder,
    uncovered_stages,
    without_spark,
)
from slipway.errors import DependencyLockError, ModelNotDeployableError

MLMODEL = """
flavors:
  python_function: {data: sparkml, loader_module: mlflow.spark}
  spark: {model_data: sparkml, pyspark_version: 4.3.0}
"""


def save(folder: Path, kind: str, **params: object) -> None:
    (folder / "metadata").mkdir(parents=True)
    document = {"class": f"org.apache.spark.ml.{kind}", "paramMap": params, "defaultParamMap": {}}
    (folder / "metadata" / "part-00000").write_text(json.dumps(document) + "\n")


def pipeline(folder: Path, *kinds: str) -> Path:
    uids = [f"stage_{number}" for number in range(len(kinds))]
    save(folder, "PipelineModel", stageUids=uids)
    for number, (uid, kind) in enumerate(zip(uids, kinds, strict=True)):
        save(folder / "stages" / f"{number}_{uid}", kind)
    return folder


def test_a_spark_model_is_known_by_what_loads_it() -> None:
    assert is_spark(read_mlmodel(MLMODEL))
    assert spark_folder(read_mlmodel(MLMODEL)) == "sparkml"
    assert not is_spark(read_mlmodel("flavors: {python_function: {loader_module: mlflow.sklearn}}"))


def test_covered_stages_need_no_spark(tmp_path: Path) -> None:
    kinds = ("feature.ImputerModel", "feature.StringIndexerModel", "feature.VectorAssembler")
    saved = pipeline(tmp_path, *kinds, "classification.GBTClassificationModel")
    assert uncovered_stages(saved) == []


def test_uncovered_stages_are_named(tmp_path: Path) -> None:
    saved = pipeline(tmp_path, "feature.SQLTransformer", "feature.VectorAssembler", "feature.IndexToString")
    assert uncovered_stages(saved) == ["SQLTransformer", "IndexToString"]


def test_a_folder_without_metadata_is_told(tmp_path: Path) -> None:
    with pytest.raises(ModelNotDeployableError, match="no metadata"):
        uncovered_stages(tmp_path)


def test_spark_is_left_out_only_where_every_stage_is_compiled() -> None:
    stated = ModelRequirements(("mlflow-skinny==3.17.2", "pandas", "pyspark[connect]==4.3.0"))
    slim = without_spark(stated, [])
    assert slim.requirements == ("mlflow-skinny==3.17.2", "pandas")
    assert "pyspark[connect]==4.3.0" in slim.notes[0]
    assert without_spark(stated, ["SQLTransformer"]) == stated
    assert names_spark(stated.requirements)
    assert not names_spark(slim.requirements)


def test_the_error_names_the_stages_and_what_to_do() -> None:
    error = str(needs_spark(["SQLTransformer", "ALSModel", "ALSModel"], DependencyLockError("no wheels of pyspark")))
    assert "(ALSModel, SQLTransformer)" in error
    assert "docs/serving.md" in error
    assert error.endswith("no wheels of pyspark")
