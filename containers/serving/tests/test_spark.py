"""Spark ML pipelines scored without a JVM give Spark's own predictions."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from serving_process import serving

from slipway_serving.convert.builder import CannotCompileError
from slipway_serving.convert.spark_model import compile_saved, uncovered_stages
from slipway_serving.convert.spark_saved import SavedStage
from slipway_serving.forms.batch import Batch, Layout, NotCoveredError, columns_to_batch
from slipway_serving.program.program import Program
from slipway_serving.program.store import load_program, save_program

pytestmark = [
    pytest.mark.spark,
    pytest.mark.long,
    pytest.mark.skipif(shutil.which("java") is None, reason="needs Java 17 or later"),
]

COLUMNS = [("a", "double"), ("b", "double"), ("c", "double"), ("count", "long"), ("city", "string"), ("kind", "string")]
NAMES = [name for name, _ in COLUMNS]
CITIES = ["Bern", "Oslo", "Rome", "Lima", "Quito"]


def make_frame(size: int, seed: int) -> pd.DataFrame:
    generator = np.random.default_rng(seed)
    frame = pd.DataFrame(generator.normal(size=(size, 3)), columns=["a", "b", "c"])
    frame["count"] = generator.integers(0, 5, size)
    frame["city"] = generator.choice(CITIES, size, p=[0.4, 0.25, 0.15, 0.12, 0.08])
    frame["kind"] = generator.choice(["p", "q"], size, p=[0.6, 0.4])
    return frame


@pytest.fixture(scope="module")
def spark() -> Iterator[Any]:
    os.environ["PYSPARK_PYTHON"] = sys.executable
    os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"
    warnings.filterwarnings("ignore", message="PySpark does not yet fully support pandas")
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false")
    builder = builder.config("spark.driver.memory", "1g").config("spark.driver.host", "127.0.0.1")
    session = builder.config("spark.sql.shuffle.partitions", "1").getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    yield session
    session.stop()


@pytest.fixture(scope="module")
def train(spark: Any) -> Any:
    frame = make_frame(300, 1)
    score = frame["a"] + 0.5 * frame["b"] + (frame["city"] == "Oslo") + 0.3 * frame["count"]
    frame["label"] = (score > score.median()).astype(float)
    frame["three"] = pd.cut(score, 3, labels=False).astype(float)
    frame["amount"] = np.exp(score / 3)
    return spark.createDataFrame(frame).cache()


def prepared() -> list[Any]:
    from pyspark.ml import feature as f

    return [
        f.StringIndexer(inputCols=["city", "kind"], outputCols=["cityIndex", "kindIndex"], handleInvalid="keep"),
        f.OneHotEncoder(inputCols=["cityIndex"], outputCols=["cityHot"]),
        f.Imputer(inputCols=["a", "b"], outputCols=["aFull", "bFull"], strategy="median"),
        f.VectorAssembler(inputCols=["aFull", "bFull", "c", "count", "cityHot", "kindIndex"], outputCol="features"),
    ]


def indexed() -> list[Any]:
    """Features that trees split by category."""
    from pyspark.ml import feature as f

    return [
        f.StringIndexer(inputCols=["city", "kind"], outputCols=["cityIndex", "kindIndex"], handleInvalid="keep"),
        f.VectorAssembler(
            inputCols=["a", "b", "cityIndex", "kindIndex", "count"], outputCol="features", handleInvalid="keep"
        ),
    ]


def model_cases() -> dict[str, Any]:
    from pyspark.ml import classification as c
    from pyspark.ml import clustering as k
    from pyspark.ml import regression as r

    return {
        "LogisticRegression": [*prepared(), c.LogisticRegression()],
        "LogisticRegression, threshold": [*prepared(), c.LogisticRegression(threshold=0.3)],
        "LogisticRegression, thresholds": [*prepared(), c.LogisticRegression(thresholds=[0.2, 0.8])],
        "LogisticRegression, three classes": [*prepared(), c.LogisticRegression(labelCol="three")],
        "LogisticRegression, three thresholds": [
            *prepared(),
            c.LogisticRegression(labelCol="three", thresholds=[0.5, 0.2, 0.3]),
        ],
        "LinearSVC": [*prepared(), c.LinearSVC(maxIter=10, threshold=0.2)],
        "NaiveBayes": [*positive(), c.NaiveBayes()],
        "MultilayerPerceptron": [
            *positive(),
            c.MultilayerPerceptronClassifier(layers=[4, 5, 3], labelCol="three", seed=1),
        ],
        "DecisionTreeClassifier": [*indexed(), c.DecisionTreeClassifier()],
        "DecisionTreeClassifier, thresholds": [*indexed(), c.DecisionTreeClassifier().setThresholds([0.7, 0.3])],
        "RandomForestClassifier": [*indexed(), c.RandomForestClassifier(numTrees=10, labelCol="three", seed=1)],
        "GBTClassifier": [*indexed(), c.GBTClassifier(maxIter=5, seed=1)],
        "LinearRegression": [*prepared(), r.LinearRegression(labelCol="amount")],
        "DecisionTreeRegressor": [*indexed(), r.DecisionTreeRegressor(labelCol="amount")],
        "RandomForestRegressor": [*indexed(), r.RandomForestRegressor(labelCol="amount", numTrees=7, seed=1)],
        "GBTRegressor": [*indexed(), r.GBTRegressor(labelCol="amount", maxIter=5, seed=1)],
        "GLR gamma log": [*prepared(), r.GeneralizedLinearRegression(labelCol="amount", family="gamma", link="log")],
        "GLR poisson": [*prepared(), r.GeneralizedLinearRegression(labelCol="amount", family="poisson")],
        "GLR binomial": [*prepared(), r.GeneralizedLinearRegression(family="binomial", regParam=0.1)],
        "GLR tweedie": [
            *prepared(),
            r.GeneralizedLinearRegression(labelCol="amount", family="tweedie", variancePower=1.5, linkPower=0.0),
        ],
        "IsotonicRegression": [*prepared(), r.IsotonicRegression(labelCol="amount", featureIndex=1)],
        "KMeans": [*prepared(), k.KMeans(k=4, seed=1)],
    }


def positive() -> list[Any]:
    from pyspark.ml import feature as f

    return [
        f.VectorAssembler(inputCols=["a", "b", "c", "count"], outputCol="raw"),
        f.MinMaxScaler(inputCol="raw", outputCol="features"),
    ]


def feature_cases() -> dict[str, Any]:
    from pyspark.ml import feature as f
    from pyspark.ml.linalg import Vectors

    one = {"inputCol": "raw", "outputCol": "features"}
    raw = f.VectorAssembler(inputCols=["a", "b", "c", "count"], outputCol="raw")
    limits = [-np.inf, -0.5, 0.0, 0.7, np.inf]
    return {
        "StandardScaler": [raw, f.StandardScaler(withMean=True, **one)],
        "MinMaxScaler": [raw, f.MinMaxScaler(min=-1.0, max=2.0, **one)],
        "MaxAbsScaler": [raw, f.MaxAbsScaler(**one)],
        "RobustScaler": [raw, f.RobustScaler(withCentering=True, **one)],
        "Normalizer": [raw, f.Normalizer(p=1.0, **one)],
        "Binarizer": [raw, f.Binarizer(threshold=0.1, **one)],
        "PCA": [raw, f.PCA(k=2, **one)],
        "PolynomialExpansion": [raw, f.PolynomialExpansion(degree=3, **one)],
        "ElementwiseProduct": [raw, f.ElementwiseProduct(scalingVec=Vectors.dense([0.5, 2.0, -1.0, 3.0]), **one)],
        "VectorSlicer": [raw, f.VectorSlicer(indices=[2, 0], **one)],
        "VarianceThresholdSelector": [
            raw,
            f.VarianceThresholdSelector(featuresCol="raw", outputCol="features", varianceThreshold=0.9),
        ],
        "Bucketizer": [
            f.Bucketizer(splits=limits, inputCol="a", outputCol="bucket"),
            f.VectorAssembler(inputCols=["bucket", "b"], outputCol="features"),
        ],
        "QuantileDiscretizer": [
            f.QuantileDiscretizer(numBuckets=4, inputCol="b", outputCol="bucket"),
            f.VectorAssembler(inputCols=["bucket", "a"], outputCol="features"),
        ],
        "StringIndexer over whole numbers": [
            f.StringIndexer(inputCol="count", outputCol="countIndex", handleInvalid="keep"),
            f.OneHotEncoder(inputCols=["countIndex"], outputCols=["hot"], handleInvalid="keep", dropLast=False),
            f.VectorAssembler(inputCols=["hot", "a"], outputCol="features"),
        ],
    }


MODEL_NAMES = [
    "LogisticRegression", "LogisticRegression, threshold", "LogisticRegression, thresholds",
    "LogisticRegression, three classes", "LogisticRegression, three thresholds", "LinearSVC", "NaiveBayes",
    "MultilayerPerceptron", "DecisionTreeClassifier", "DecisionTreeClassifier, thresholds", "RandomForestClassifier",
    "GBTClassifier", "LinearRegression", "DecisionTreeRegressor", "RandomForestRegressor", "GBTRegressor",
    "GLR gamma log", "GLR poisson", "GLR binomial", "GLR tweedie", "IsotonicRegression", "KMeans",
]  # fmt: skip
FEATURE_NAMES = [
    "StandardScaler", "MinMaxScaler", "MaxAbsScaler", "RobustScaler", "Normalizer", "Binarizer", "PCA",
    "PolynomialExpansion", "ElementwiseProduct", "VectorSlicer", "VarianceThresholdSelector", "Bucketizer",
    "QuantileDiscretizer", "StringIndexer over whole numbers",
]  # fmt: skip


def batch_of(frame: pd.DataFrame) -> Batch:
    return columns_to_batch(Layout(COLUMNS), lambda _, name: frame[name].tolist(), len(frame))


def assert_same_as_spark(spark: Any, stages: list[Any], train: Any, folder: Path) -> None:
    from pyspark.ml import Pipeline

    fitted = Pipeline(stages=stages).fit(train)
    fitted.write().overwrite().save(str(folder / "model"))
    fresh = make_frame(400, 2)
    expected = [row.prediction for row in fitted.transform(spark.createDataFrame(fresh)).select("prediction").collect()]
    save_program(folder, compile_saved(SavedStage(folder / "model"), COLUMNS))
    found = Program(load_program(folder)).score(batch_of(fresh))
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert len(set(expected)) > 1


@pytest.mark.parametrize("name", MODEL_NAMES)
def test_models(spark: Any, train: Any, tmp_path: Path, name: str):
    assert_same_as_spark(spark, model_cases()[name], train, tmp_path)


@pytest.mark.parametrize("name", FEATURE_NAMES)
def test_features(spark: Any, train: Any, tmp_path: Path, name: str):
    from pyspark.ml.regression import LinearRegression

    stages = [*feature_cases()[name], LinearRegression(labelCol="amount")]
    assert_same_as_spark(spark, stages, train, tmp_path)


def test_nested_pipelines(spark: Any, train: Any, tmp_path: Path):
    from pyspark.ml import Pipeline
    from pyspark.ml.classification import LogisticRegression

    assert_same_as_spark(spark, [Pipeline(stages=[Pipeline(stages=prepared())]), LogisticRegression()], train, tmp_path)


def test_a_stage_without_compiled_form_is_named(spark: Any, train: Any, tmp_path: Path):
    from pyspark.ml import Pipeline
    from pyspark.ml.feature import SQLTransformer

    pipeline = Pipeline(stages=[SQLTransformer(statement="SELECT *, a * 2 AS prediction FROM __THIS__")]).fit(train)
    pipeline.write().overwrite().save(str(tmp_path / "model"))
    assert uncovered_stages(SavedStage(tmp_path / "model")) == ["SQLTransformer"]
    with pytest.raises(CannotCompileError, match="SQLTransformer"):
        compile_saved(SavedStage(tmp_path / "model"), COLUMNS)


@pytest.mark.parametrize("invalid", ["error", "keep", "skip"])
def test_invalid_rows_meet_the_same_fate(spark: Any, train: Any, tmp_path: Path, invalid: str):
    from pyspark.ml import Pipeline
    from pyspark.ml import feature as f
    from pyspark.ml.regression import DecisionTreeRegressor

    stages = [
        f.StringIndexer(inputCol="city", outputCol="cityIndex", handleInvalid=invalid),
        f.VectorAssembler(inputCols=["a", "cityIndex"], outputCol="features", handleInvalid=invalid),
        DecisionTreeRegressor(labelCol="amount"),
    ]
    fitted = Pipeline(stages=stages).fit(train)
    fitted.write().overwrite().save(str(tmp_path / "model"))
    program = Program(compile_saved(SavedStage(tmp_path / "model"), COLUMNS))
    fresh = make_frame(60, 3)
    fresh.loc[::7, "city"] = "Atlantis"
    fresh.loc[::5, "a"] = np.nan
    outcome = fitted.transform(spark.createDataFrame(fresh)).select("prediction")
    if invalid == "error":
        with pytest.raises(Exception, match=r"(?i)unseen|null|invalid"):
            outcome.collect()
        with pytest.raises(NotCoveredError):
            program.score(batch_of(fresh))
    else:
        expected = [row.prediction for row in outcome.collect()]
        np.testing.assert_allclose(program.score(batch_of(fresh)), expected, rtol=1e-12)


@pytest.mark.parametrize("invalid", ["error", "keep", "skip"])
@pytest.mark.parametrize("arrow", [True, False], ids=["nulls", "not-a-numbers"])
def test_what_is_no_number_meets_the_same_fate_in_buckets(
    spark: Any, train: Any, tmp_path: Path, invalid: str, arrow: bool
):
    from pyspark.ml import Pipeline
    from pyspark.ml import feature as f
    from pyspark.ml.regression import LinearRegression

    limits = [-np.inf, -1.0, -0.5, 0.0, 0.7, 1.0, np.inf]
    stages = [
        f.QuantileDiscretizer(
            numBuckets=4, inputCols=["b", "c"], outputCols=["bBucket", "cBucket"], handleInvalid=invalid
        ),
        f.Bucketizer(splits=limits, inputCol="a", outputCol="aBucket", handleInvalid=invalid),
        f.VectorAssembler(inputCols=["aBucket", "bBucket", "cBucket"], outputCol="features", handleInvalid=invalid),
        LinearRegression(labelCol="amount"),  # a tree takes buckets for categories, of which one more is not covered
    ]
    fitted = Pipeline(stages=stages).fit(train)
    fitted.write().overwrite().save(str(tmp_path / "model"))
    if not arrow:  # as before Spark 4.2, when pandas' not-a-number came as such
        for file in (tmp_path / "model").glob("stages/*/metadata/part-*"):
            file.write_text(re.sub(r'"sparkVersion":"[^"]*"', '"sparkVersion":"3.5.9"', file.read_text()))
    program = Program(compile_saved(SavedStage(tmp_path / "model"), COLUMNS))
    fresh = make_frame(60, 3)
    for step, name in ((7, "a"), (5, "b"), (11, "c")):
        fresh.loc[::step, name] = np.nan
    spark.conf.set("spark.sql.execution.arrow.pyspark.enabled", arrow)
    try:
        outcome = fitted.transform(spark.createDataFrame(fresh)).select("prediction")
    finally:
        spark.conf.unset("spark.sql.execution.arrow.pyspark.enabled")
    if invalid == "error":
        with pytest.raises(Exception, match=r"(?i)nan|null|invalid"):
            outcome.collect()
        with pytest.raises(NotCoveredError):
            program.score(batch_of(fresh))
    else:
        expected = [row.prediction for row in outcome.collect()]
        np.testing.assert_allclose(program.score(batch_of(fresh)), expected, rtol=1e-12)
        complete = int(fresh[["a", "b", "c"]].notna().all(axis=1).sum())
        assert len(expected) == (60 if invalid == "keep" else complete)


@pytest.mark.parametrize("encoder", ["error", "keep"])
@pytest.mark.parametrize("invalid", ["error", "keep", "skip"])
@pytest.mark.parametrize("direct", [True, False], ids=["encoder", "bucketizer and encoder"])
def test_nulls_meet_the_same_fate_in_encoders(
    spark: Any, train: Any, tmp_path: Path, encoder: str, invalid: str, direct: bool
):
    from pyspark.ml import Pipeline
    from pyspark.ml import feature as f
    from pyspark.ml.regression import LinearRegression

    train = train.withColumn("a", train["count"].cast("double")) if direct else train
    buckets = f.Bucketizer(splits=[-np.inf, -1.0, -0.5, 0.0, 0.7, np.inf], inputCol="a", outputCol="bucket")
    hot = f.OneHotEncoder(inputCols=["a" if direct else "bucket"], outputCols=["hot"], handleInvalid=encoder)
    stages = [
        *([] if direct else [buckets]),
        hot,
        f.VectorAssembler(inputCols=["hot", "b"], outputCol="features", handleInvalid=invalid),
        LinearRegression(labelCol="amount"),
    ]
    fitted = Pipeline(stages=stages).fit(train)
    fitted.write().overwrite().save(str(tmp_path / "model"))
    program = Program(compile_saved(SavedStage(tmp_path / "model"), COLUMNS))
    fresh = make_frame(40, 3)
    if direct:
        fresh["a"] = fresh["count"].astype(float)
        if encoder == "keep":
            fresh.loc[::5, "a"] = 17.0
    fresh.loc[::7, "a"] = np.nan
    assert_same_fate(spark, fitted, program, fresh, refused=invalid == "error")


@pytest.mark.parametrize("encoder", ["error", "keep"])
def test_a_vector_that_is_null_is_refused_by_whatever_comes_next(spark: Any, train: Any, tmp_path: Path, encoder: str):
    from pyspark.ml import Pipeline
    from pyspark.ml import feature as f
    from pyspark.ml.regression import LinearRegression

    stages = [
        f.Bucketizer(splits=[-np.inf, 0.0, np.inf], inputCol="a", outputCol="bucket"),
        f.OneHotEncoder(inputCols=["bucket"], outputCols=["features"], handleInvalid=encoder, dropLast=False),
        LinearRegression(labelCol="amount"),
    ]
    fitted = Pipeline(stages=stages).fit(train)
    fitted.write().overwrite().save(str(tmp_path / "model"))
    program = Program(compile_saved(SavedStage(tmp_path / "model"), COLUMNS))
    fresh = make_frame(10, 3)
    assert_same_fate(spark, fitted, program, fresh, refused=False)
    fresh.loc[4, "a"] = np.nan
    assert_same_fate(spark, fitted, program, fresh, refused=True)


def assert_same_fate(spark: Any, fitted: Any, program: Program, rows: pd.DataFrame, *, refused: bool) -> None:
    """Whatever Spark does with nulls, which pandas' not-a-number stands for, the program does too."""
    spark.conf.set("spark.sql.execution.arrow.pyspark.enabled", True)
    try:
        outcome = fitted.transform(spark.createDataFrame(rows)).select("prediction")
    finally:
        spark.conf.unset("spark.sql.execution.arrow.pyspark.enabled")
    if refused:
        with pytest.raises(Exception, match=r"(?i)null|udf"):
            outcome.collect()
        with pytest.raises(NotCoveredError):
            program.score(batch_of(rows))
    else:
        expected = [row.prediction for row in outcome.collect()]
        np.testing.assert_allclose(program.score(batch_of(rows)), expected, rtol=1e-12)


def test_an_mlflow_model_is_converted_proven_and_served_without_java(spark: Any, train: Any, tmp_path: Path):
    import mlflow
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema
    from pyspark.ml import Pipeline
    from pyspark.ml.classification import GBTClassifier

    from slipway_serving.convert.convert import convert

    fitted = Pipeline(stages=[*indexed(), GBTClassifier(maxIter=5, seed=1)]).fit(train)
    schema = Schema([ColSpec(kind, name) for name, kind in COLUMNS])
    signature = ModelSignature(inputs=schema, outputs=Schema([ColSpec("double")]))
    model = tmp_path / "model"
    mlflow.spark.save_model(fitted, str(model), signature=signature, pip_requirements=["pyspark"])
    record = convert(model, model)
    assert record["engine"] == "native", record["tried"]
    assert record["parity"]["rows"] > 400
    rows = make_frame(20, 5)
    expected = mlflow.pyfunc.load_model(str(model)).predict(rows)
    nothing = {"PATH": "/nonexistent", "JAVA_HOME": "/nonexistent"}
    with serving(model, tmp_path, **nothing) as server:
        split = {"columns": NAMES, "data": json.loads(rows.to_json(orient="values"))}
        assert server.invoke({"dataframe_split": split}).json() == {"predictions": expected}
        # Odd forms go through MLflow's parser and still need no Java.
        odd = {
            "inputs": {
                name: rows[name].iloc[0] if name in {"city", "kind"} else float(rows[name].iloc[0]) for name in NAMES
            }
        }
        assert server.invoke(odd).json() == {"predictions": expected[:1]}
        assert server.invoke({"inputs": {"a": 1}}).status_code == 400
