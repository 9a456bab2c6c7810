"""Compiled forms of ``pyspark.ml``'s classifiers, regressors and clusterings: their ``prediction`` column."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from slipway_serving.convert.builder import Builder, CannotCompileError, Matrix
from slipway_serving.convert.spark_saved import SavedStage, matrix, number, vector
from slipway_serving.program.forest import Tree, flatten

if TYPE_CHECKING:
    from collections.abc import Callable

    Maker = Callable[[Builder, SavedStage, Matrix], Matrix]
    _OfNode = Callable[[dict[str, Any]], list[float]]

MODELS: dict[str, Maker] = {}

_SMALLEST = 1e-16
_LARGEST = 1.7976931348623157e308


def _compiles(*names: str) -> Callable[[Maker], Maker]:
    def register(maker: Maker) -> Maker:
        MODELS.update(dict.fromkeys(names, maker))
        return maker

    return register


def _dot(builder: Builder, features: Matrix, weights: np.ndarray, bias: Any) -> Matrix:
    if weights.shape[0] != features.width:
        raise CannotCompileError(f"a model over {weights.shape[0]} features where {features.width} come")
    register = builder.step("linear", features.register, weights=weights, bias=np.atleast_1d(np.asarray(bias, float)))
    return Matrix(register, weights.shape[1])


def _position(builder: Builder, positions: str) -> Matrix:
    """Return positions as Spark returns class labels: numbers 0.0, 1.0, …"""
    return Matrix(builder.step("column", positions), 1)


def _largest_share(builder: Builder, stage: SavedStage, scores: Matrix, shares: Callable[[Matrix], Matrix]) -> Matrix:
    """Choose the class: the largest score or, with ``thresholds``, the largest share in proportion to them."""
    if not stage.is_set("thresholds"):
        return _position(builder, builder.step("largest", scores.register))
    limits = np.array([number(limit) for limit in stage.params["thresholds"]])
    return _position(builder, builder.step("largest_ratio", shares(scores).register, by=limits))


def _normalized(builder: Builder) -> Callable[[Matrix], Matrix]:
    return lambda scores: builder.apply("share_of_row", scores)


@_compiles("LogisticRegressionModel")
def _logistic_regression(builder: Builder, stage: SavedStage, features: Matrix) -> Matrix:
    weights, bias = matrix(stage.row["coefficientMatrix"]), vector(stage.row["interceptVector"])
    scores = _dot(builder, features, weights.T, bias)
    if stage.row["isMultinomial"]:
        return _largest_share(builder, stage, scores, lambda value: builder.apply("softmax", value))
    if stage.is_set("thresholds"):
        low, high = (number(limit) for limit in stage.params["thresholds"])
        threshold = 1.0 / (1.0 + low / high)
    else:
        threshold = number(stage.params["threshold"])
    limit = -math.inf if threshold == 0.0 else math.inf if threshold == 1.0 else math.log(threshold / (1.0 - threshold))
    return _position(builder, builder.step("above", scores.register, limit=limit, inclusive=False))


@_compiles("LinearSVCModel")
def _linear_svc(builder: Builder, stage: SavedStage, features: Matrix) -> Matrix:
    scores = _dot(builder, features, vector(stage.row["coefficients"])[:, None], stage.row["intercept"])
    limit = number(stage.params["threshold"])
    return _position(builder, builder.step("above", scores.register, limit=limit, inclusive=False))


@_compiles("LinearRegressionModel")
def _linear_regression(builder: Builder, stage: SavedStage, features: Matrix) -> Matrix:
    return _dot(builder, features, vector(stage.row["coefficients"])[:, None], stage.row["intercept"])


@_compiles("AFTSurvivalRegressionModel")
def _survival(builder: Builder, stage: SavedStage, features: Matrix) -> Matrix:
    scores = _dot(builder, features, vector(stage.row["coefficients"])[:, None], stage.row["intercept"])
    return builder.apply("function", scores, name="exp")


_CANONICAL_LINKS = {"gaussian": "identity", "binomial": "logit", "poisson": "log", "gamma": "inverse"}
_INVERSE_LINKS = {"identity": "identity", "log": "exp", "logit": "logistic", "inverse": "reciprocal", "sqrt": "square"}
_LINK_POWERS = {0.0: "exp", 1.0: "identity", -1.0: "reciprocal", 0.5: "square"}
_RANGES = {
    "gaussian": (-_LARGEST, _LARGEST),
    "binomial": (_SMALLEST, 1.0 - _SMALLEST),
    "poisson": (_SMALLEST, _LARGEST),
    "gamma": (_SMALLEST, _LARGEST),
    "tweedie": (_SMALLEST, _LARGEST),
}


@_compiles("GeneralizedLinearRegressionModel")
def _generalized(builder: Builder, stage: SavedStage, features: Matrix) -> Matrix:
    if stage.params.get("offsetCol"):
        raise CannotCompileError("GeneralizedLinearRegression with an offset column")
    family = stage.params["family"].lower()
    if family == "tweedie":
        variance = number(stage.params["variancePower"])
        power = number(stage.params["linkPower"]) if "linkPower" in stage.params else 1.0 - variance
        # Tweedie of power 0, 1 and 2 is Spark's Gaussian, Poisson and Gamma family.
        family = {0.0: "gaussian", 1.0: "poisson", 2.0: "gamma"}.get(variance, "tweedie")
        name = _LINK_POWERS.get(power, "")
    else:
        link = (stage.params.get("link") or _CANONICAL_LINKS[family]).lower()
        name = _INVERSE_LINKS.get(link, "")
    if not name:
        raise CannotCompileError("GeneralizedLinearRegression with a link that has no compiled form")
    scores = _dot(builder, features, vector(stage.row["coefficients"])[:, None], stage.row["intercept"])
    low, high = _RANGES[family]
    return builder.apply("clip", builder.apply("function", scores, name=name), low=low, high=high)


@_compiles("NaiveBayesModel")
def _naive_bayes(builder: Builder, stage: SavedStage, features: Matrix) -> Matrix:
    prior, theta = vector(stage.row["pi"]), matrix(stage.row["theta"])
    kind = stage.params["modelType"]
    if kind == "multinomial":
        checked = builder.apply("not_negative", features)
        scores = _dot(builder, checked, theta.T, prior)
    elif kind == "bernoulli":
        checked = builder.apply("zero_or_one", features)
        absent = np.log1p(-np.exp(theta))
        scores = _dot(builder, checked, (theta - absent).T, prior + absent.sum(axis=1))
    else:
        raise CannotCompileError(f"NaiveBayes of type {kind}")
    return _largest_share(builder, stage, scores, lambda value: builder.apply("softmax", value))


@_compiles("MultilayerPerceptronClassificationModel")
def _perceptron(builder: Builder, stage: SavedStage, features: Matrix) -> Matrix:
    layers, weights = stage.params["layers"], vector(stage.row["weights"])
    value, start = features, 0
    for index, (inputs, outputs) in enumerate(pairwise(layers)):
        end = start + inputs * outputs
        if index:
            value = builder.apply("function", value, name="logistic")
        value = _dot(builder, value, weights[start:end].reshape(inputs, outputs), weights[end : end + outputs])
        start = end + outputs
    return _largest_share(builder, stage, value, lambda scores: builder.apply("softmax", scores))


@_compiles("KMeansModel")
def _k_means(builder: Builder, stage: SavedStage, features: Matrix) -> Matrix:
    if stage.params["distanceMeasure"] != "euclidean":
        raise CannotCompileError(f"KMeans by {stage.params['distanceMeasure']} distance")
    rows = sorted(stage.rows(), key=lambda row: int(row["clusterIdx"]))
    centers = np.stack([vector(row["clusterCenter"]) for row in rows])
    positions = builder.step("nearest", features.register, centers=centers)
    return Matrix(builder.step("column", positions, whole=True), 1)


def _trees(stage: SavedStage, value: _OfNode) -> list[Tree]:
    """Read the nodes of a saved tree or ensemble.

    A node's ``impurityStats`` are the weights of the classes or, for numbers, weight, sum and sum of squares.
    """
    weigh: Callable[[dict[str, Any]], float] = _prediction_weight if value is _prediction else _class_weight
    by_tree: dict[int, list[dict[str, Any]]] = {}
    for row in stage.rows():
        by_tree.setdefault(row.get("treeID", 0), []).append(row.get("nodeData", row))
    return [
        _tree(sorted(nodes, key=lambda node: int(node["id"])), value, weigh) for _, nodes in sorted(by_tree.items())
    ]


def _tree(nodes: list[dict[str, Any]], value: _OfNode, weigh: Callable[[dict[str, Any]], float]) -> Tree:
    if [node["id"] for node in nodes] != list(range(len(nodes))):
        raise CannotCompileError("a tree whose nodes are not numbered in order")
    inner = [node["leftChild"] >= 0 for node in nodes]
    by_category = [
        is_inner and node["split"]["numCategories"] >= 0 for is_inner, node in zip(inner, nodes, strict=True)
    ]
    threshold = np.zeros(len(nodes))
    members: dict[int, np.ndarray] = {}
    for index, node in enumerate(nodes):
        if by_category[index]:
            members[index] = np.array(sorted(node["split"]["leftCategoriesOrThreshold"]))
        elif inner[index]:
            threshold[index] = node["split"]["leftCategoriesOrThreshold"][0]
    return Tree(
        feature=np.array([max(node["split"]["featureIndex"], 0) for node in nodes]),
        threshold=threshold,
        left=np.array([node["leftChild"] for node in nodes]),
        right=np.array([node["rightChild"] for node in nodes]),
        value=np.array([value(node) for node in nodes], dtype=np.float64),
        members=members,
        cover=np.array([weigh(node) for node in nodes], dtype=np.float64),
    )


def _categories(stage: SavedStage) -> dict[int, int]:
    """Return the number of categories of each feature that some node splits by category."""
    found: dict[int, int] = {}
    for row in stage.rows():
        split = row.get("nodeData", row)["split"]
        if split["numCategories"] >= 0 and split["featureIndex"] >= 0:
            found[split["featureIndex"]] = split["numCategories"]
    return found


def _forest(
    builder: Builder, stage: SavedStage, features: Matrix, trees: list[Tree], weights: np.ndarray | None
) -> Matrix:
    categories = _categories(stage)
    if categories:
        columns, sizes = list(categories), list(categories.values())
        features = builder.apply("known_categories", features, columns=columns, sizes=sizes)
    extra = {} if weights is None else {"weights": weights}
    register = builder.step("forest", features.register, trees=flatten(trees, features.width), **extra)
    return Matrix(register, trees[0].value.shape[1])


def _class_counts(node: dict[str, Any]) -> list[float]:
    counts: list[float] = node["impurityStats"]
    return counts


def _class_shares(node: dict[str, Any]) -> list[float]:
    total = sum(node["impurityStats"])
    return [count / total if total else 0.0 for count in node["impurityStats"]]


def _prediction(node: dict[str, Any]) -> list[float]:
    return [node["prediction"]]


def _class_weight(node: dict[str, Any]) -> float:
    return float(sum(node["impurityStats"]))


def _prediction_weight(node: dict[str, Any]) -> float:
    return float(node["impurityStats"][0])


@_compiles("DecisionTreeClassificationModel")
def _tree_classifier(builder: Builder, stage: SavedStage, features: Matrix) -> Matrix:
    scores = _forest(builder, stage, features, _trees(stage, _class_counts), None)
    return _largest_share(builder, stage, scores, _normalized(builder))


@_compiles("RandomForestClassificationModel")
def _forest_classifier(builder: Builder, stage: SavedStage, features: Matrix) -> Matrix:
    scores = _forest(builder, stage, features, _trees(stage, _class_shares), None)
    return _largest_share(builder, stage, scores, _normalized(builder))


@_compiles("DecisionTreeRegressionModel")
def _tree_regressor(builder: Builder, stage: SavedStage, features: Matrix) -> Matrix:
    return _forest(builder, stage, features, _trees(stage, _prediction), None)


@_compiles("RandomForestRegressionModel")
def _forest_regressor(builder: Builder, stage: SavedStage, features: Matrix) -> Matrix:
    trees = _trees(stage, _prediction)
    return builder.apply("divide", _forest(builder, stage, features, trees, None), by=float(len(trees)))


def _tree_weights(stage: SavedStage) -> np.ndarray:
    rows = sorted(stage.rows("treesMetadata"), key=lambda row: int(row.get("_1", row.get("treeID", 0))))
    return np.array([row.get("_3", row.get("weights")) for row in rows], dtype=np.float64)


@_compiles("GBTRegressionModel")
def _boosted_regressor(builder: Builder, stage: SavedStage, features: Matrix) -> Matrix:
    return _forest(builder, stage, features, _trees(stage, _prediction), _tree_weights(stage))


@_compiles("GBTClassificationModel")
def _boosted_classifier(builder: Builder, stage: SavedStage, features: Matrix) -> Matrix:
    margin = _forest(builder, stage, features, _trees(stage, _prediction), _tree_weights(stage))
    if not stage.is_set("thresholds"):
        return _position(builder, builder.step("above", margin.register, limit=0.0, inclusive=False))
    share = builder.apply("function", builder.apply("multiply", margin, by=2.0), name="logistic")
    both = Matrix(builder.step("two_shares", share.register), 2)
    limits = np.array([number(limit) for limit in stage.params["thresholds"]])
    return _position(builder, builder.step("largest_ratio", both.register, by=limits))


@_compiles("IsotonicRegressionModel")
def _isotonic(builder: Builder, stage: SavedStage, features: Matrix) -> Matrix:
    boundaries, predictions = np.array(stage.row["boundaries"]), np.array(stage.row["predictions"])
    if len(np.unique(boundaries)) != len(boundaries):
        raise CannotCompileError("IsotonicRegression with steps")
    index = int(stage.params["featureIndex"]) if features.width > 1 else 0
    source = Matrix(builder.step("take", features.register, columns=[index]), 1)
    return builder.apply("interpolate", builder.apply("no_null", source), at=boundaries, values=predictions)
