"""Compiled forms of scikit-learn's estimators: linear models and tree ensembles."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from slipway_serving.convert.builder import Builder, CannotCompileError, Matrix, Value
from slipway_serving.convert.sklearn_transformers import compile_transformer
from slipway_serving.program.forest import Tree, flatten

if TYPE_CHECKING:
    from collections.abc import Callable

    Maker = Callable[[Builder, Any, Value, bool], str]

ESTIMATORS: dict[str, Maker] = {}
MAX_NODES = 20_000_000


def _compiles(*names: str) -> Callable[[Maker], Maker]:
    def register(maker: Maker) -> Maker:
        ESTIMATORS.update(dict.fromkeys(names, maker))
        return maker

    return register


def compile_estimator(builder: Builder, estimator: Any, value: Value, *, shares: bool) -> str:
    """Add the steps of a fitted estimator.

    Parameters
    ----------
    builder
        Receives the steps.
    estimator
        Fitted, with ``predict``.
    value
        Its input.
    shares
        Compile ``predict_proba`` instead of ``predict``.

    Returns
    -------
    str
        The register of the predictions.

    Raises
    ------
    CannotCompileError
        There is no compiled form.
    """
    kind = type(estimator)
    maker = ESTIMATORS.get(kind.__name__)
    if maker is None or not kind.__module__.startswith("sklearn."):
        raise CannotCompileError(f"estimator {kind.__name__}")
    return maker(builder, estimator, value, shares)


@_compiles("Pipeline")
def _pipeline(builder: Builder, pipeline: Any, value: Value, shares: bool) -> str:
    for _, step in pipeline.steps[:-1]:
        value = compile_transformer(builder, step, value)
    return compile_estimator(builder, pipeline.steps[-1][1], value, shares=shares)


@_compiles("GridSearchCV", "RandomizedSearchCV", "HalvingGridSearchCV", "HalvingRandomSearchCV")
def _search(builder: Builder, search: Any, value: Value, shares: bool) -> str:
    return compile_estimator(builder, search.best_estimator_, value, shares=shares)


def _classes(estimator: Any) -> Any:
    """Return class labels as an array of numbers, or as a list of texts or booleans."""
    classes = np.asarray(estimator.classes_)
    if classes.ndim != 1:
        raise CannotCompileError("several outputs")
    return classes if classes.dtype.kind in "iuf" else classes.tolist()


def _labels(builder: Builder, estimator: Any, positions: str) -> str:
    return builder.step("labels", positions, classes=_classes(estimator))


def _linear(builder: Builder, estimator: Any, value: Value) -> Matrix:
    matrix = builder.apply("finite", builder.matrix(value), allow_null=False)
    weights = np.atleast_2d(np.asarray(estimator.coef_, float))
    if weights.shape[1] != matrix.width:
        raise CannotCompileError("a linear model over other columns")
    bias = np.atleast_1d(np.asarray(estimator.intercept_, float))
    register = builder.step("linear", matrix.register, weights=weights.T, bias=bias)
    return Matrix(register, len(weights))


@_compiles(
    "LinearRegression", "Ridge", "RidgeCV", "Lasso", "LassoCV", "ElasticNet", "ElasticNetCV", "SGDRegressor",
    "HuberRegressor", "BayesianRidge", "ARDRegression", "LinearSVR", "QuantileRegressor", "TheilSenRegressor", "Lars",
    "LarsCV", "LassoLars", "LassoLarsCV", "OrthogonalMatchingPursuit", "PassiveAggressiveRegressor",
)  # fmt: skip
def _linear_regressor(builder: Builder, estimator: Any, value: Value, shares: bool) -> str:
    if shares:
        raise CannotCompileError("predict_proba of a regressor")
    result = _linear(builder, estimator, value)
    return result.register if np.ndim(estimator.coef_) == 2 else builder.step("ravel", result.register)


@_compiles("PoissonRegressor", "GammaRegressor", "TweedieRegressor")
def _generalized_regressor(builder: Builder, estimator: Any, value: Value, shares: bool) -> str:
    if shares:
        raise CannotCompileError("predict_proba of a regressor")
    link = type(estimator._base_loss.link).__name__
    functions = {"LogLink": "exp", "IdentityLink": "identity"}
    if link not in functions:
        raise CannotCompileError(f"link {link}")
    result = builder.apply("function", _linear(builder, estimator, value), name=functions[link])
    return builder.step("ravel", result.register)


@_compiles("LogisticRegression", "LogisticRegressionCV")
def _logistic_regression(builder: Builder, estimator: Any, value: Value, shares: bool) -> str:
    scores = _linear(builder, estimator, value)
    if not shares:
        return _label_of_scores(builder, estimator, scores)
    if scores.width == 1:
        return builder.step("two_shares", builder.step("function", scores.register, name="logistic"))
    return builder.step("softmax", scores.register)


@_compiles(
    "RidgeClassifier", "RidgeClassifierCV", "SGDClassifier", "LinearSVC", "Perceptron", "PassiveAggressiveClassifier"
)
def _linear_classifier(builder: Builder, estimator: Any, value: Value, shares: bool) -> str:
    if shares:
        raise CannotCompileError(f"predict_proba of {type(estimator).__name__}")
    return _label_of_scores(builder, estimator, _linear(builder, estimator, value))


def _label_of_scores(builder: Builder, estimator: Any, scores: Matrix) -> str:
    if scores.width == 1:
        positions = builder.step("above", scores.register, limit=0.0, inclusive=False)
    else:
        positions = builder.step("largest", scores.register)
    return _labels(builder, estimator, positions)


def _tree(tree: Any, value: np.ndarray) -> Tree:
    """Read one of scikit-learn's ``Tree`` objects."""
    missing = getattr(tree, "missing_go_to_left", None)
    return Tree(
        feature=np.maximum(tree.feature, 0),
        threshold=tree.threshold,
        left=tree.children_left,
        right=tree.children_right,
        value=value,
        missing_left=None if missing is None else np.asarray(missing, bool),
        cover=tree.weighted_n_node_samples,
    )


def _constant(value: np.ndarray) -> Tree:
    """Return a tree that gives every row the same value."""
    return Tree(np.zeros(1, int), np.zeros(1), np.full(1, -1), np.full(1, -1), value.reshape(1, -1))


def _forest_step(builder: Builder, trees: list[Tree], matrix: Matrix, weights: np.ndarray | None = None) -> Matrix:
    if sum(len(tree.left) for tree in trees) > MAX_NODES:
        raise CannotCompileError("more tree nodes than a program may hold")
    flat = flatten(trees, matrix.width)
    extra = {} if weights is None else {"weights": weights}
    return Matrix(builder.step("forest", matrix.register, trees=flat, **extra), trees[0].value.shape[1])


def _tree_input(builder: Builder, estimator: Any, value: Value) -> Matrix:
    matrix = builder.matrix(value)
    return builder.apply("as_float32", matrix, allow_null=_takes_null(estimator, matrix.width))


def _takes_null(estimator: Any, width: int) -> bool:
    """Ask the estimator itself; the answer depends on the kind of tree and on scikit-learn's version."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            estimator.predict(np.full((1, width), np.nan))
        except ValueError:
            return False
    return True


def _class_shares(tree: Any) -> np.ndarray:
    """Return class shares at every node; before scikit-learn 1.3 the tree held weights."""
    values = np.asarray(tree.value, float)
    if values.shape[1] != 1:
        raise CannotCompileError("several outputs")
    values = values[:, 0, :]
    sums = values.sum(axis=1, keepdims=True)
    return values if np.allclose(sums, 1.0) else values / np.where(sums == 0.0, 1.0, sums)


@_compiles("DecisionTreeClassifier", "ExtraTreeClassifier")
def _tree_classifier(builder: Builder, estimator: Any, value: Value, shares: bool) -> str:
    matrix = _tree_input(builder, estimator, value)
    result = _forest_step(builder, [_tree(estimator.tree_, _class_shares(estimator.tree_))], matrix)
    return result.register if shares else _labels(builder, estimator, builder.step("largest", result.register))


@_compiles("RandomForestClassifier", "ExtraTreesClassifier")
def _forest_classifier(builder: Builder, estimator: Any, value: Value, shares: bool) -> str:
    trees = [_tree(member.tree_, _class_shares(member.tree_)) for member in estimator.estimators_]
    total = _forest_step(builder, trees, _tree_input(builder, estimator, value))
    mean = builder.apply("divide", total, by=float(len(trees)))
    return mean.register if shares else _labels(builder, estimator, builder.step("largest", mean.register))


def _regression_values(tree: Any) -> np.ndarray:
    values = np.asarray(tree.value, float)
    if values.shape[1:] != (1, 1):
        raise CannotCompileError("several outputs")
    return values[:, :, 0]


@_compiles("DecisionTreeRegressor", "ExtraTreeRegressor", "RandomForestRegressor", "ExtraTreesRegressor")
def _forest_regressor(builder: Builder, estimator: Any, value: Value, shares: bool) -> str:
    if shares:
        raise CannotCompileError("predict_proba of a regressor")
    members = getattr(estimator, "estimators_", [estimator])
    trees = [_tree(member.tree_, _regression_values(member.tree_)) for member in members]
    total = _forest_step(builder, trees, _tree_input(builder, estimator, value))
    return builder.step("ravel", builder.apply("divide", total, by=float(len(trees))).register)


@_compiles("GradientBoostingClassifier", "GradientBoostingRegressor")
def _gradient_boosting(builder: Builder, estimator: Any, value: Value, shares: bool) -> str:
    matrix = _tree_input(builder, estimator, value)
    outputs = estimator.estimators_.shape[1]
    if estimator.init is not None and estimator.init != "zero":
        raise CannotCompileError("gradient boosting on top of another model")
    start = np.asarray(estimator._raw_predict_init(np.zeros((1, matrix.width), np.float32)), float)
    trees, weights = [_constant(start.reshape(-1))], [1.0]
    for stage in estimator.estimators_:
        for output, member in enumerate(stage):
            trees.append(_tree(member.tree_, _for_output(_regression_values(member.tree_), output, outputs)))
            weights.append(float(estimator.learning_rate))
    raw = _forest_step(builder, trees, matrix, np.array(weights))
    if type(estimator).__name__ == "GradientBoostingRegressor":
        return builder.step("ravel", raw.register)
    return _boosted_classes(builder, estimator, raw, shares=shares, logistic=estimator.loss == "log_loss")


def _for_output(values: np.ndarray, output: int, outputs: int) -> np.ndarray:
    """Put a tree's values into the column of the class that it speaks for."""
    spread = np.zeros((len(values), outputs))
    spread[:, output] = values[:, 0]
    return spread


def _boosted_classes(builder: Builder, estimator: Any, raw: Matrix, *, shares: bool, logistic: bool) -> str:
    if raw.width > 1:
        register = builder.step("softmax", raw.register)
        return register if shares else _labels(builder, estimator, builder.step("largest", raw.register))
    if not shares:
        return _labels(builder, estimator, builder.step("above", raw.register, limit=0.0, inclusive=True))
    if not logistic:
        raise CannotCompileError("predict_proba of exponential loss")
    return builder.step("two_shares", builder.step("function", raw.register, name="logistic"))


@_compiles("HistGradientBoostingClassifier", "HistGradientBoostingRegressor")
def _hist_gradient_boosting(builder: Builder, estimator: Any, value: Value, shares: bool) -> str:
    if getattr(estimator, "is_categorical_", None) is not None and np.any(estimator.is_categorical_):
        raise CannotCompileError("categorical splits of histogram gradient boosting")
    matrix = builder.matrix(value)
    start = np.asarray(estimator._baseline_prediction, float).reshape(-1)
    outputs = estimator.n_trees_per_iteration_
    trees = [_constant(np.broadcast_to(start, (outputs,)))]
    for iteration in estimator._predictors:
        for output, predictor in enumerate(iteration):
            trees.append(_histogram_tree(predictor.nodes, output, outputs))
    raw = _forest_step(builder, trees, matrix)
    if type(estimator).__name__ == "HistGradientBoostingRegressor":
        link = type(estimator._loss.link).__name__
        functions = {"IdentityLink": "identity", "LogLink": "exp"}
        if shares or link not in functions:
            raise CannotCompileError(f"link {link}")
        return builder.step("ravel", builder.apply("function", raw, name=functions[link]).register)
    if raw.width > 1:
        classes = builder.step("softmax", raw.register)
    else:
        classes = builder.step("two_shares", builder.step("function", raw.register, name="logistic"))
    return classes if shares else _labels(builder, estimator, builder.step("largest", classes))


def _histogram_tree(nodes: np.ndarray, output: int, outputs: int) -> Tree:
    is_leaf = nodes["is_leaf"].astype(bool)
    return Tree(
        feature=np.where(is_leaf, 0, nodes["feature_idx"]).astype(np.int64),
        threshold=nodes["num_threshold"].astype(np.float64),
        left=np.where(is_leaf, -1, nodes["left"].astype(np.int64)),
        right=np.where(is_leaf, -1, nodes["right"].astype(np.int64)),
        value=_for_output(nodes["value"].astype(np.float64).reshape(-1, 1), output, outputs),
        missing_left=nodes["missing_go_to_left"].astype(bool),
        cover=nodes["count"].astype(np.float64),
    )
