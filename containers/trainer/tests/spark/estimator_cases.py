"""Every estimator of pyspark.ml, once or more, with parameters that are not the defaults where that matters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pyspark.ml import Pipeline
from pyspark.ml.classification import (
    DecisionTreeClassifier,
    FMClassifier,
    GBTClassifier,
    LinearSVC,
    LogisticRegression,
    MultilayerPerceptronClassifier,
    NaiveBayes,
    OneVsRest,
    RandomForestClassifier,
)
from pyspark.ml.clustering import LDA, BisectingKMeans, GaussianMixture, KMeans
from pyspark.ml.evaluation import BinaryClassificationEvaluator, RegressionEvaluator
from pyspark.ml.feature import (
    IDF,
    PCA,
    BucketedRandomProjectionLSH,
    ChiSqSelector,
    CountVectorizer,
    Imputer,
    MaxAbsScaler,
    MinHashLSH,
    MinMaxScaler,
    OneHotEncoder,
    QuantileDiscretizer,
    RFormula,
    RobustScaler,
    StandardScaler,
    StringIndexer,
    TargetEncoder,
    UnivariateFeatureSelector,
    VarianceThresholdSelector,
    VectorAssembler,
    VectorIndexer,
    Word2Vec,
)
from pyspark.ml.fpm import FPGrowth
from pyspark.ml.recommendation import ALS
from pyspark.ml.regression import (
    AFTSurvivalRegression,
    DecisionTreeRegressor,
    FMRegressor,
    GBTRegressor,
    GeneralizedLinearRegression,
    IsotonicRegression,
    LinearRegression,
    RandomForestRegressor,
)
from pyspark.ml.tuning import CrossValidator, ParamGridBuilder, TrainValidationSplit

ROWS = 120


def make_data(spark: Any) -> Any:
    """One frame with every kind of column, the same in every process."""
    from pyspark.ml.linalg import Vectors, VectorUDT
    from pyspark.sql import types

    words = ["late", "early", "wind", "snow", "gate", "crew"]
    rows = []
    for i in range(ROWS):
        a, b, c = (i * 37 % 101) / 10.0, (i * 53 % 97) / 10.0, float(i * 29 % 11)
        label = float((a + b + (i % 5)) > 11)
        rows.append(
            (
                Vectors.dense([a, b, c]),
                Vectors.dense([abs(a), abs(b), c]),
                label,
                float(i % 3),
                2.0 + a + 0.5 * b + c / 10,
                a,
                None if i % 9 == 0 else b,
                "abcde"[i % 5],
                "xyz"[i * 7 % 3],
                [words[(i + k) % 6] for k in range(1 + i % 4)],
                i % 12,
                i * 5 % 9,
                float(1 + i % 5),
                float(i % 4 != 0),
                Vectors.dense([float(i % 2), float((i // 2) % 2), 1.0]),
            )
        )
    fields = [
        ("features", VectorUDT()),
        ("positive", VectorUDT()),
        ("label", types.DoubleType()),
        ("three", types.DoubleType()),
        ("target", types.DoubleType()),
        ("x", types.DoubleType()),
        ("gaps", types.DoubleType()),
        ("letter", types.StringType()),
        ("other", types.StringType()),
        ("words", types.ArrayType(types.StringType())),
        ("user", types.IntegerType()),
        ("item", types.IntegerType()),
        ("rating", types.DoubleType()),
        ("censor", types.DoubleType()),
        ("binary", VectorUDT()),
    ]
    schema = types.StructType([types.StructField(name, kind) for name, kind in fields])
    return spark.createDataFrame(rows, schema).coalesce(1).cache()


def cases() -> dict[str, Callable[[], Any]]:
    """Estimators by name."""
    grid = ParamGridBuilder()
    ridge = LinearRegression(labelCol="target", maxIter=5)
    logistic = LogisticRegression(maxIter=5)
    return {
        "DecisionTreeClassifier": lambda: DecisionTreeClassifier(maxDepth=3),
        "FMClassifier": lambda: FMClassifier(maxIter=3, factorSize=2),
        "GBTClassifier": lambda: GBTClassifier(maxIter=3, subsamplingRate=0.7),
        "LinearSVC": lambda: LinearSVC(maxIter=5, regParam=0.02),
        "LogisticRegression": lambda: LogisticRegression(maxIter=5, elasticNetParam=0.3, regParam=0.01, threshold=0.4),
        "LogisticRegression (multinomial)": lambda: LogisticRegression(
            labelCol="three", family="multinomial", maxIter=5
        ),
        "MultilayerPerceptronClassifier": lambda: MultilayerPerceptronClassifier(layers=[3, 4, 2], maxIter=5),
        "NaiveBayes": lambda: NaiveBayes(featuresCol="positive", smoothing=0.5),
        "OneVsRest": lambda: OneVsRest(classifier=logistic, labelCol="three", parallelism=2),
        "RandomForestClassifier": lambda: RandomForestClassifier(numTrees=4, maxDepth=3),
        "BisectingKMeans": lambda: BisectingKMeans(k=3),
        "GaussianMixture": lambda: GaussianMixture(k=2, maxIter=5),
        "KMeans": lambda: KMeans(k=3),
        "LDA (online)": lambda: LDA(featuresCol="positive", k=2, maxIter=3),
        "LDA (em)": lambda: LDA(featuresCol="positive", k=2, maxIter=3, optimizer="em"),
        "BucketedRandomProjectionLSH": lambda: BucketedRandomProjectionLSH(
            inputCol="features", outputCol="out", bucketLength=2.0, seed=5
        ),
        "ChiSqSelector": lambda: ChiSqSelector(featuresCol="positive", numTopFeatures=2, outputCol="out"),
        "CountVectorizer": lambda: CountVectorizer(inputCol="words", outputCol="out", minDF=2.0),
        "IDF": lambda: IDF(inputCol="positive", outputCol="out", minDocFreq=2),
        "Imputer": lambda: Imputer(inputCols=["gaps"], outputCols=["out"], strategy="median"),
        "MaxAbsScaler": lambda: MaxAbsScaler(inputCol="features", outputCol="out"),
        "MinHashLSH": lambda: MinHashLSH(inputCol="binary", outputCol="out", seed=5),
        "MinMaxScaler": lambda: MinMaxScaler(inputCol="features", outputCol="out", min=-1.0),
        "OneHotEncoder": lambda: OneHotEncoder(inputCols=["three"], outputCols=["out"], dropLast=False),
        "PCA": lambda: PCA(inputCol="features", outputCol="out", k=2),
        "QuantileDiscretizer": lambda: QuantileDiscretizer(inputCol="x", outputCol="out", numBuckets=4),
        "RFormula": lambda: RFormula(formula="target ~ x + letter", featuresCol="out", labelCol="out_label"),
        "RobustScaler": lambda: RobustScaler(inputCol="features", outputCol="out", lower=0.1),
        "StandardScaler": lambda: StandardScaler(inputCol="features", outputCol="out", withMean=True),
        "StringIndexer": lambda: StringIndexer(inputCol="letter", outputCol="out", stringOrderType="alphabetDesc"),
        "StringIndexer (two columns)": lambda: StringIndexer(
            inputCols=["letter", "other"], outputCols=["out", "out2"], handleInvalid="keep"
        ),
        "TargetEncoder": lambda: TargetEncoder(
            inputCols=["three"], outputCols=["out"], labelCol="label", smoothing=2.0
        ),
        "UnivariateFeatureSelector": lambda: (
            UnivariateFeatureSelector(outputCol="out", labelCol="label")
            .setFeatureType("continuous")
            .setLabelType("categorical")
            .setSelectionThreshold(2)
        ),
        "VarianceThresholdSelector": lambda: VarianceThresholdSelector(outputCol="out", varianceThreshold=1.0),
        "VectorIndexer": lambda: VectorIndexer(inputCol="binary", outputCol="out", maxCategories=3),
        "Word2Vec": lambda: Word2Vec(inputCol="words", outputCol="out", vectorSize=3, minCount=1),
        "FPGrowth": lambda: FPGrowth(itemsCol="words", minSupport=0.3),
        "ALS": lambda: ALS(
            userCol="user", itemCol="item", ratingCol="rating", maxIter=3, regParam=0.2, nonnegative=True
        ),
        "AFTSurvivalRegression": lambda: AFTSurvivalRegression(labelCol="target", censorCol="censor", maxIter=5),
        "DecisionTreeRegressor": lambda: DecisionTreeRegressor(labelCol="target", maxDepth=3),
        "FMRegressor": lambda: FMRegressor(labelCol="target", maxIter=3, factorSize=2),
        "GBTRegressor": lambda: GBTRegressor(labelCol="target", maxIter=3),
        "GeneralizedLinearRegression": lambda: GeneralizedLinearRegression(
            labelCol="target", family="gamma", link="log"
        ),
        "IsotonicRegression": lambda: IsotonicRegression(labelCol="target", featuresCol="x"),
        "LinearRegression": lambda: LinearRegression(labelCol="target", regParam=0.1, solver="l-bfgs", maxIter=5),
        "RandomForestRegressor": lambda: RandomForestRegressor(labelCol="target", numTrees=3),
        "CrossValidator": lambda: CrossValidator(
            estimator=logistic,
            estimatorParamMaps=grid.addGrid(logistic.regParam, [0.01, 0.1]).build(),
            evaluator=BinaryClassificationEvaluator(),
            numFolds=2,
            seed=3,
            parallelism=2,
        ),
        "TrainValidationSplit": lambda: TrainValidationSplit(
            estimator=ridge,
            estimatorParamMaps=ParamGridBuilder().addGrid(ridge.regParam, [0.0, 0.5]).build(),
            evaluator=RegressionEvaluator(labelCol="target"),
            trainRatio=0.7,
            seed=3,
        ),
        "Pipeline (nested)": lambda: Pipeline(
            stages=[
                StringIndexer(inputCol="letter", outputCol="index"),
                Pipeline(
                    stages=[
                        OneHotEncoder(inputCol="index", outputCol="hot"),
                        Imputer(inputCols=["gaps"], outputCols=["filled"]),
                    ]
                ),
                VectorAssembler(inputCols=["hot", "filled", "x"], outputCol="assembled"),
                RandomForestClassifier(featuresCol="assembled", numTrees=3),
            ]
        ),
    }


#: Refits that may differ from the original, with the most by which they do, and why.
KNOWN_DIFFERENCES = {
    "LDA (em)": (1e-3, "the sum over documents is not in a fixed order"),
    "BucketedRandomProjectionLSH": (float("inf"), "the model does not keep its seed"),
    "MinHashLSH": (float("inf"), "the model does not keep its seed"),
    "QuantileDiscretizer": (1.0, "the model does not keep relativeError"),
    "ALS": (float("inf"), "the model keeps little but columns and rank"),
}


def outputs(model: Any, data: Any) -> list[list[float]]:
    """All numeric output columns of a fitted model, as rows of floats."""
    if type(model).__name__ == "FPGrowthModel":
        rows = model.freqItemsets.collect()
        return sorted([float(row["freq"]), float(sum(len(item) for item in row["items"]))] for row in rows)
    scored = model.transform(data)
    fresh = [name for name in scored.columns if name not in data.columns]
    return [_flat([row[name] for name in fresh]) for row in scored.select(*fresh).collect()]


def _flat(value: Any) -> list[float]:
    if value is None:
        return [-1e9]
    if isinstance(value, bool | int | float):
        return [float(value)]
    if isinstance(value, str):
        return []
    if hasattr(value, "toArray"):
        return [float(item) for item in value.toArray()]
    if isinstance(value, list | tuple):
        return [number for item in value for number in _flat(item)]
    return []
