"""Unfitted pipelines: the templates of first trainings."""


def make():
    from pyspark.ml import Pipeline
    from pyspark.ml.classification import LogisticRegression
    from pyspark.ml.feature import Imputer, OneHotEncoder, StringIndexer, VectorAssembler

    return Pipeline(
        stages=[
            Imputer(inputCols=["size", "weight"], outputCols=["size_full", "weight_full"]),
            StringIndexer(inputCol="colour", outputCol="colour_index", handleInvalid="keep"),
            OneHotEncoder(inputCol="colour_index", outputCol="colour_hot"),
            VectorAssembler(inputCols=["colour_hot", "size_full", "weight_full"], outputCol="features"),
            LogisticRegression(labelCol="late", maxIter=7),
        ]
    )


def make_endless():
    """A fit that goes on until somebody ends it, in Spark's own tasks."""
    from pyspark.ml import Pipeline
    from pyspark.ml.classification import LogisticRegression
    from pyspark.ml.feature import SQLTransformer, VectorAssembler

    slow = "SELECT *, length(reflect('java.lang.Thread', 'sleep', 600000L)) AS slept FROM __THIS__"
    return Pipeline(
        stages=[
            SQLTransformer(statement=slow),
            VectorAssembler(inputCols=["slept", "size"], outputCol="features"),
            LogisticRegression(labelCol="late", maxIter=1),
        ]
    )
