"""A retraining as one would write it by hand: ``bare_pyspark.py train|champion ROWS_FOLDER WORK_FOLDER``.

The same reading, splitting, fitting, judging beside the champion and logging as Slipway's trainer does, with PySpark
and MLflow alone. Prints what it found as one line of JSON.
"""

import json
import sys
import time
from pathlib import Path

import mlflow
from mlflow.models import infer_signature
from pyspark.ml import Pipeline, PipelineModel
from pyspark.ml.classification import LogisticRegression
from pyspark.ml.evaluation import BinaryClassificationEvaluator, MulticlassClassificationEvaluator
from pyspark.ml.feature import Imputer, OneHotEncoder, StringIndexer, VectorAssembler
from pyspark.sql import SparkSession
from pyspark.sql import functions as fn

TEXTS, NUMBERS = ["carrier", "dest"], ["delay", "distance", "minute", "weekday"]
FEATURES = [*TEXTS, *NUMBERS]


def session():
    """Spark on two cores, with the settings that Slipway gives it here."""
    builder = SparkSession.builder.appName("bare").master("local[2]")
    for name, value in {
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.ui.enabled": "false",
        "spark.sql.shuffle.partitions": "2",
        "spark.log.level": "ERROR",
    }.items():
        builder = builder.config(name, value)
    return builder.getOrCreate()


def pipeline():
    """Gaps filled, one-hot categories, logistic regression."""
    indexed, hot = [f"{name}_index" for name in TEXTS], [f"{name}_hot" for name in TEXTS]
    filled = [f"{name}_filled" for name in NUMBERS]
    return Pipeline(
        stages=[
            Imputer(inputCols=NUMBERS, outputCols=filled, strategy="median"),
            StringIndexer(inputCols=TEXTS, outputCols=indexed, handleInvalid="keep"),
            OneHotEncoder(inputCols=indexed, outputCols=hot),
            VectorAssembler(inputCols=[*filled, *hot], outputCol="features"),
            LogisticRegression(labelCol="late", maxIter=25, regParam=0.0001),
        ]
    )


def make_champion(spark, rows: Path, work: Path) -> None:
    """Fit on the first file and save as MLflow saves it."""
    frame = spark.read.parquet(str(sorted(rows.glob("*.parquet"))[0]))
    fitted = pipeline().fit(frame)
    example = frame.select(*FEATURES).limit(5).toPandas()
    answers = fitted.transform(frame.limit(5)).select("prediction").toPandas()["prediction"]
    mlflow.spark.save_model(
        fitted,
        str(work / "champion"),
        signature=infer_signature(example, answers),
        pip_requirements=["mlflow", "pyspark"],
        dfs_tmpdir=(work / "tmp").as_uri(),
    )


def train(spark, rows: Path, work: Path) -> dict[str, float]:
    """Read, split, fit, judge both, log."""
    frame = spark.read.parquet(str(rows)).cache()
    cutoff = frame.agg(fn.percentile_approx("at", 0.8, 10_000)).first()[0]
    training, holdout = frame.where(fn.col("at") < cutoff), frame.where(fn.col("at") >= cutoff)
    counted = {"train": training.count(), "holdout": holdout.count()}
    fitted = pipeline().fit(training)
    champion = PipelineModel.load((work / "champion" / "sparkml").as_uri())
    metrics = {f"champion.{name}": value for name, value in judge(champion, holdout).items()}
    metrics |= judge(fitted, holdout)
    example = training.select(*FEATURES).limit(20).toPandas()
    answers = fitted.transform(training.limit(20)).select("prediction").toPandas()["prediction"]
    with mlflow.start_run():
        mlflow.log_params({"rows": counted["train"], "parent": 1})
        mlflow.log_metrics(metrics)
        mlflow.spark.log_model(
            fitted,
            artifact_path="model",
            signature=infer_signature(example, answers),
            input_example=example,
            pip_requirements=["mlflow", "pyspark"],
            dfs_tmpdir=(work / "tmp").as_uri(),
        )
    return {**counted, "areaUnderROC": metrics["areaUnderROC"]}


def judge(model, holdout) -> dict[str, float]:
    """Spark's own evaluators."""
    answers = model.transform(holdout).cache()
    found = {
        name: BinaryClassificationEvaluator(labelCol="late", metricName=name).evaluate(answers)
        for name in ("areaUnderROC", "areaUnderPR")
    }
    for name in ("accuracy", "f1", "logLoss"):
        found[name] = MulticlassClassificationEvaluator(labelCol="late", metricName=name).evaluate(answers)
    answers.unpersist()
    return found


def main() -> None:
    """One command."""
    command, rows, work = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    mlflow.set_tracking_uri(f"sqlite:///{work}/mlflow.db")
    mlflow.set_experiment("bare")
    spark = session()
    began = time.perf_counter()
    if command == "champion":
        make_champion(spark, rows, work)
        print(json.dumps({}))
    else:
        print(json.dumps({**train(spark, rows, work), "after_start": time.perf_counter() - began}))
    spark.stop()


main()
