"""The unfitted pipeline of the first version of ``flights-spark``; later versions refit the champion's."""

from __future__ import annotations

from typing import Any

TEXTS = ["carrier", "origin", "dest"]
NUMBERS = ["dep_delay", "sched_dep_minute", "sched_arr_minute", "distance", "weekday"]


def make_pipeline() -> Any:
    """Numbers with their gaps filled, one-hot categories, logistic regression."""
    from pyspark.ml import Pipeline
    from pyspark.ml.classification import LogisticRegression
    from pyspark.ml.feature import Imputer, OneHotEncoder, StringIndexer, VectorAssembler

    indexed, hot, filled = (
        [f"{name}_index" for name in TEXTS],
        [f"{name}_hot" for name in TEXTS],
        [f"{name}_filled" for name in NUMBERS],
    )
    return Pipeline(
        stages=[
            Imputer(inputCols=NUMBERS, outputCols=filled, strategy="median"),
            StringIndexer(inputCols=TEXTS, outputCols=indexed, handleInvalid="keep"),
            OneHotEncoder(inputCols=indexed, outputCols=hot),
            VectorAssembler(inputCols=[*filled, *hot], outputCol="features"),
            LogisticRegression(labelCol="late", maxIter=25, regParam=0.0001),
        ]
    )
