"""Saved Spark stages, written here as Spark writes them: what needs no Java to be tried."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from slipway_serving.convert.spark_model import compile_saved
from slipway_serving.convert.spark_saved import SavedStage
from slipway_serving.forms.batch import Batch, NotCoveredError
from slipway_serving.program.program import Program

COLUMNS = [("a", "double"), ("b", "double")]
SPLITS = ["-Infinity", -0.5, 0.0, 0.7, "Infinity"]


def saved(folder: Path, kind: str, version: str, **params: Any) -> SavedStage:
    (folder / "metadata").mkdir(parents=True)
    metadata = {
        "class": f"org.apache.spark.ml.feature.{kind}",
        "sparkVersion": version,
        "paramMap": params,
        "defaultParamMap": {"handleInvalid": "error"},
    }
    (folder / "metadata" / "part-00000").write_text(json.dumps(metadata) + "\n")
    return SavedStage(folder)


def bucketizer(folder: Path, version: str = "3.5.9", **params: Any) -> Program:
    return Program(compile_saved(saved(folder, "Bucketizer", version, **params), COLUMNS))


def batch(*rows: list[float]) -> Batch:
    return Batch(len(rows), np.array(rows), {})


NAN = float("nan")


def test_buckets_of_what_is_no_number(tmp_path: Path):
    one = {"inputCol": "a", "outputCol": "prediction", "splits": SPLITS}
    rows = batch([-1.0, NAN], [NAN, 0.0], [0.7, NAN])
    with pytest.raises(NotCoveredError):
        bucketizer(tmp_path / "error", **one).score(rows)
    assert bucketizer(tmp_path / "keep", **one, handleInvalid="keep").score(rows).tolist() == [0.0, 4.0, 3.0]
    assert bucketizer(tmp_path / "skip", **one, handleInvalid="skip").score(rows).tolist() == [0.0, 3.0]


@pytest.mark.parametrize(("zero", "below", "above"), [(0.0, 1.0, 2.0), (-0.0, 2.0, 2.0)])
def test_minus_zero_is_below_zero_as_in_java(tmp_path: Path, zero: float, below: float, above: float):
    splits = [-1.0, -0.5, zero, 0.7, "Infinity"]
    stage = {"inputCol": "a", "outputCol": "prediction", "splits": splits}
    rows = batch([-0.0, 0.0], [0.0, 0.0], [-5e-324, 0.0], [5e-324, 0.0])
    assert bucketizer(tmp_path / "model", **stage).score(rows).tolist() == [below, above, 1.0, 2.0]


@pytest.mark.parametrize("splits", [[0.0, 1.0, 2.0], [-2.0, -1.0, 0.0]])
def test_minus_zero_is_outside_splits_that_begin_with_zero_and_inside_those_that_end_there(
    tmp_path: Path, splits: list[float]
):
    program = bucketizer(tmp_path / "model", inputCol="a", outputCol="prediction", splits=splits)
    if splits[0] == 0.0:
        assert program.score(batch([0.0, 0.0])).tolist() == [0.0]
        with pytest.raises(NotCoveredError):
            program.score(batch([-0.0, 0.0]))
    else:
        assert program.score(batch([-0.0, 0.0], [0.0, 0.0])).tolist() == [1.0, 1.0]


def test_a_null_stays_a_null_since_spark_4_2(tmp_path: Path):
    one = {"inputCol": "a", "outputCol": "prediction", "splits": SPLITS}
    rows = batch([-1.0, NAN], [NAN, 0.0], [0.7, NAN])
    for invalid in ("error", "keep"):
        found = bucketizer(tmp_path / invalid, "4.3.0", **one, handleInvalid=invalid).score(rows)
        np.testing.assert_array_equal(found, [0.0, NAN, 3.0])
    assert bucketizer(tmp_path / "4.1", "4.1.2", **one, handleInvalid="keep").score(rows).tolist() == [0.0, 4.0, 3.0]
    assert bucketizer(tmp_path / "skip", "4.3.0", **one, handleInvalid="skip").score(rows).tolist() == [0.0, 3.0]


def encoder(folder: Path, version: str, **params: Any) -> Program:
    stage = saved(folder, "OneHotEncoderModel", version, inputCol="a", outputCol="prediction", dropLast=True, **params)
    (folder / "data").mkdir()
    pyarrow.parquet.write_table(pyarrow.table({"categorySizes": [[1]]}), folder / "data" / "part-00000.parquet")
    return Program(compile_saved(stage, COLUMNS))


def test_a_null_is_no_invalid_category_since_spark_4_2(tmp_path: Path):
    rows, keep = batch([0.0, 1.0], [NAN, 0.0], [7.0, 0.0]), {"handleInvalid": "keep"}
    assert encoder(tmp_path / "3.5", "3.5.9", **keep).score(rows).tolist() == [1.0, 0.0, 0.0]
    np.testing.assert_array_equal(encoder(tmp_path / "4.3", "4.3.0", **keep).score(rows), [1.0, NAN, 0.0])


def test_a_row_is_skipped_for_any_of_the_columns_that_go_into_buckets(tmp_path: Path):
    several = {"inputCols": ["b", "a"], "outputCols": ["other", "prediction"], "splitsArray": [SPLITS, [0.0, 1.0, 2.0]]}
    rows = batch([0.5, 0.0], [NAN, 0.0], [1.5, NAN], [1.5, 0.0], [2.0, 9.0])
    assert bucketizer(tmp_path / "skip", **several, handleInvalid="skip").score(rows).tolist() == [0.0, 1.0, 1.0]


@pytest.mark.parametrize("invalid", ["error", "keep", "skip"])
@pytest.mark.parametrize("outside", [-0.1, 2.1, np.inf])
def test_numbers_outside_the_splits_are_refused_in_any_case(tmp_path: Path, invalid: str, outside: float):
    stage = {"inputCol": "a", "outputCol": "prediction", "splits": [0.0, 1.0, 2.0], "handleInvalid": invalid}
    program = bucketizer(tmp_path / "model", **stage)
    assert program.score(batch([2.0, 0.0])).tolist() == [1.0]
    with pytest.raises(NotCoveredError):
        program.score(batch([outside, 0.0]))
