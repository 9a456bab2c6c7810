"""Fit a Spark pipeline on the rows of a file and save it as MLflow would: ``save_champion.py ROWS FOLDER``."""

import sys
from pathlib import Path

import mlflow
import pandas as pd
from mlflow.models import infer_signature
from pyspark.ml import Pipeline
from pyspark.ml.classification import GBTClassifier
from pyspark.ml.feature import OneHotEncoder, StringIndexer, VectorAssembler

from slipway_trainer.spark.session import start_session

rows, out = pd.read_parquet(sys.argv[1]), Path(sys.argv[2])
spark = start_session("champion", cache_dir=out)
frame = spark.createDataFrame(rows.drop(columns="at"))
stages = [
    StringIndexer(inputCol="colour", outputCol="colour_index", handleInvalid="keep"),
    OneHotEncoder(inputCol="colour_index", outputCol="colour_hot"),
    VectorAssembler(inputCols=["colour_hot", "size", "weight"], outputCol="features"),
    GBTClassifier(labelCol="late", maxIter=5, maxDepth=3, seed=7),
]
fitted = Pipeline(stages=stages).fit(frame)
features = rows[["colour", "size", "weight"]]
mlflow.spark.save_model(
    fitted,
    str(out / "model"),
    signature=infer_signature(features, pd.Series([0.0])),
    pip_requirements=["mlflow", "pyspark"],
)
spark.stop()
