"""Contributions: exact terms for linear models, Shapley values for trees; off, they cost nothing."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path
from typing import Any

import models
import numpy as np
import pytest
from serving_process import serving
from sklearn import ensemble, linear_model, preprocessing
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from test_sklearn_programs import (
    BINARY,
    COLUMNS,
    NUMERIC,
    NUMERIC_COLUMNS,
    SCORE,
    THREE,
    TRAIN,
    batch_of,
    make_frame,
    mixed,
)

from slipway_serving.convert.builder import Builder
from slipway_serving.convert.sklearn_estimators import compile_estimator
from slipway_serving.convert.sklearn_transformers import frame_of
from slipway_serving.engines.build import load_engine
from slipway_serving.forms.batch import Batch
from slipway_serving.message import Request
from slipway_serving.program import explain, shapley
from slipway_serving.program.explain import CannotExplainError, Explainer, check_explainable
from slipway_serving.program.forest import Tree, flatten, sum_leaves
from slipway_serving.program.shapley import TreeShapley
from slipway_serving.selftest import SelfTest, run_self_test


def explainer(estimator: Any, columns: list[tuple[str, str]]) -> Explainer:
    builder = Builder(sum(kind != "string" for _, kind in columns))
    output = compile_estimator(builder, estimator, frame_of(columns), shares=False)
    return Explainer({"steps": builder.steps, "output": output}, columns)


def total(explanation: dict[str, Any]) -> np.ndarray:
    return np.array(explanation["values"]).sum(axis=2) + np.array(explanation["base"])


def test_linear_contributions_are_coefficient_times_input():
    model = linear_model.Ridge().fit(TRAIN[NUMERIC], SCORE)
    frame = make_frame(20, 1)
    predictions, explanation = explainer(model, NUMERIC_COLUMNS).explain(batch_of(frame, NUMERIC_COLUMNS))
    expected = frame[NUMERIC].to_numpy() * model.coef_
    np.testing.assert_allclose(np.array(explanation["values"])[:, 0], expected, rtol=1e-12)
    np.testing.assert_allclose(explanation["base"], [model.intercept_])
    np.testing.assert_allclose(total(explanation)[:, 0], predictions, rtol=1e-12)


def test_what_encoders_make_of_a_column_counts_for_that_column():
    pipeline = mixed(preprocessing.OneHotEncoder(handle_unknown="ignore"), linear_model.LogisticRegression())
    pipeline.fit(TRAIN[[name for name, _ in COLUMNS]], BINARY)
    frame = make_frame(30, 2, unseen=True)
    _, explanation = explainer(pipeline, COLUMNS).explain(batch_of(frame, COLUMNS))
    assert explanation["columns"] == [name for name, _ in COLUMNS]
    np.testing.assert_allclose(total(explanation)[:, 0], pipeline.decision_function(frame), rtol=1e-10)
    flag = explanation["columns"].index("flag")
    assert not np.array(explanation["values"])[:, 0, flag].any()


SCORED = [
    (ensemble.RandomForestRegressor(10, max_depth=4, random_state=0), SCORE, lambda m, f: m.predict(f)),
    (ensemble.GradientBoostingRegressor(n_estimators=10, random_state=0), SCORE, lambda m, f: m.predict(f)),
    (ensemble.RandomForestClassifier(10, max_depth=4, random_state=0), BINARY, lambda m, f: m.predict_proba(f)[:, 1]),
    (ensemble.RandomForestClassifier(8, max_depth=4, random_state=0), THREE, lambda m, f: m.predict_proba(f)),
    (ensemble.GradientBoostingClassifier(n_estimators=10, random_state=0), BINARY, lambda m, f: m.decision_function(f)),
    (ensemble.HistGradientBoostingClassifier(max_iter=10), BINARY, lambda m, f: m.decision_function(f)),
    (ensemble.HistGradientBoostingClassifier(max_iter=5), THREE, lambda m, f: m.decision_function(f)),
]


@pytest.mark.parametrize(("model", "target", "score"), SCORED, ids=[type(model).__name__ for model, _, _ in SCORED])
def test_contributions_of_trees_add_up_to_the_score(model: Any, target: Any, score: Any):
    fitted = model.fit(TRAIN[NUMERIC], target)
    frame = make_frame(25, 3)
    _, explanation = explainer(fitted, NUMERIC_COLUMNS).explain(batch_of(frame, NUMERIC_COLUMNS))
    expected = np.asarray(score(fitted, frame[NUMERIC])).reshape(25, -1)
    np.testing.assert_allclose(total(explanation), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.filterwarnings("ignore:invalid value")  # scikit-learn's, between infinities
def test_contributions_add_up_where_a_row_is_at_an_infinity():
    train = TRAIN[NUMERIC].copy()
    train.iloc[::9, 0] = -np.inf
    train.iloc[::11, 1] = np.inf
    train.iloc[::5, 2] = np.nan
    model = ensemble.HistGradientBoostingRegressor(max_iter=10).fit(train, SCORE)
    frame = make_frame(40, 3)[NUMERIC]
    for at in range(4):
        frame.iloc[at::8, at] = -np.inf
        frame.iloc[at + 4 :: 8, at] = np.inf
    frame.iloc[::7, 2] = np.nan
    _, explanation = explainer(model, NUMERIC_COLUMNS).explain(batch_of(frame, NUMERIC_COLUMNS))
    np.testing.assert_allclose(total(explanation)[:, 0], model.predict(frame), rtol=1e-9)


def test_a_split_at_minus_infinity_keeps_minus_infinity_to_the_left():
    tree = Tree(
        feature=np.array([0, -1, -1]),
        threshold=np.array([-np.inf, 0.0, 0.0]),
        left=np.array([1, -1, -1]),
        right=np.array([2, -1, -1]),
        value=np.array([[0.0], [1.0], [5.0]]),
        cover=np.array([4.0, 1.0, 3.0]),
    )
    shapley_values = TreeShapley(flatten([tree], 2))
    rows = np.array([[-np.inf, 0.0], [-1e308, 0.0], [np.inf, -np.inf]])
    np.testing.assert_allclose(shapley_values.explain(rows).sum(axis=2)[:, 0] + shapley_values.base, [1.0, 5.0, 5.0])


def expectation(tree: Tree, row: np.ndarray, known: frozenset[int], node: int = 0) -> float:
    """Return a tree's value when only some features are known, by walking it as the definition says."""
    if tree.left[node] < 0:
        return float(tree.value[node, 0])
    left, right = int(tree.left[node]), int(tree.right[node])
    if int(tree.feature[node]) in known:
        value = row[tree.feature[node]]
        members = (tree.members or {}).get(node)
        goes_left = value in members if members is not None else value <= tree.threshold[node]
        return expectation(tree, row, known, left if goes_left else right)
    cover = tree.cover
    assert cover is not None
    parts = [cover[child] / cover[node] * expectation(tree, row, known, child) for child in (left, right)]
    return sum(parts)


def shapley_by_definition(tree: Tree, row: np.ndarray, width: int) -> list[float]:
    values = []
    for feature in range(width):
        others = [other for other in range(width) if other != feature]
        amount = 0.0
        for size in range(width):
            weight = math.factorial(size) * math.factorial(width - 1 - size) / math.factorial(width)
            for chosen in itertools.combinations(others, size):
                known = frozenset(chosen)
                gain = expectation(tree, row, known | {feature}) - expectation(tree, row, known)
                amount += weight * gain
        values.append(amount)
    return values


def random_tree(generator: np.random.Generator, width: int, depth: int) -> Tree:
    feature, threshold, left, right, cover = [], [], [], [], []
    members = {}

    def grow(level: int, weight: float) -> int:
        node = len(feature)
        for column, entry in ((feature, 0), (threshold, 0.0), (left, -1), (right, -1), (cover, weight)):
            column.append(entry)
        if level == 0 or generator.random() < 0.1:
            return node
        feature[node] = int(generator.integers(width))
        if feature[node] == 0:
            members[node] = np.sort(generator.choice(6, size=3, replace=False)).astype(float)
        else:
            threshold[node] = float(generator.normal())
        share = float(generator.uniform(0.1, 0.9))
        left[node], right[node] = grow(level - 1, weight * share), grow(level - 1, weight * (1 - share))
        return node

    grow(depth, 100.0)
    value = generator.normal(size=(len(feature), 1))
    arrays = [np.array(column) for column in (feature, threshold, left, right)]
    return Tree(*arrays, value, members=members, cover=np.array(cover))


@pytest.mark.parametrize("seed", range(4))
def test_tree_values_are_the_definition_s(seed: int):
    generator = np.random.default_rng(seed)
    width = 4
    trees = [random_tree(generator, width, 5) for _ in range(3)]
    rows = np.c_[generator.integers(0, 6, 6).astype(float), generator.normal(size=(6, width - 1))]
    flat = flatten(trees, width)
    found = TreeShapley(flat)
    expected = [np.sum([shapley_by_definition(tree, row, width) for tree in trees], axis=0) for row in rows]
    np.testing.assert_allclose(found.explain(rows)[:, 0], expected, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found.explain(rows).sum(axis=2) + found.base, sum_leaves(flat)(rows), rtol=1e-9)


def test_nulls_are_explained_where_trees_take_them():
    train = TRAIN[NUMERIC].copy()
    train[train > 4] = np.nan
    model = ensemble.HistGradientBoostingRegressor(max_iter=10).fit(train, SCORE)
    rows = make_frame(20, 5)[NUMERIC].to_numpy().copy()
    rows[rows > 2] = np.nan
    predictions, explanation = explainer(model, NUMERIC_COLUMNS).explain(Batch(20, rows, {}))
    np.testing.assert_allclose(total(explanation)[:, 0], predictions, rtol=1e-9)


def test_models_that_mix_columns_cannot_be_explained():
    model = make_pipeline(PCA(2), linear_model.Ridge()).fit(TRAIN[NUMERIC], SCORE)
    with pytest.raises(CannotExplainError, match="mixes columns"):
        explainer(model, NUMERIC_COLUMNS)


def test_both_targets_of_a_regression_are_explained():
    targets = np.c_[SCORE, TRAIN["n0"] - 2 * TRAIN["n1"]]
    model = linear_model.LinearRegression().fit(TRAIN[NUMERIC], targets)
    predictions, explanation = explainer(model, NUMERIC_COLUMNS).explain(batch_of(make_frame(9, 3), NUMERIC_COLUMNS))
    assert np.shape(predictions) == (9, 2)
    np.testing.assert_allclose(total(explanation), predictions, rtol=1e-12)


def steps_to_classes(weights: np.ndarray, bias: np.ndarray) -> dict[str, Any]:
    linear = {"op": "linear", "in": ["numbers"], "out": "r0", "weights": weights, "bias": bias}
    steps = [linear, {"op": "largest", "in": ["r0"], "out": "r1"}, {"op": "column", "in": ["r1"], "out": "r2"}]
    return {"steps": steps, "output": "r2"}


def test_two_class_scores_are_both_explained_unless_they_mirror_each_other():
    columns = [("a", "double"), ("b", "double")]
    rows = Batch(2, np.array([[1.0, 2.0], [0.5, -1.0]]), {})
    weights, bias = np.array([[-0.5, -1.5], [-0.2, -0.9]]), np.array([0.1, 0.3])  # as of naive Bayes: logarithms
    _, explanation = Explainer(steps_to_classes(weights, bias), columns).explain(rows)
    np.testing.assert_allclose(total(explanation), rows.numbers @ weights + bias)
    mirrored, constant = np.c_[-weights[:, 1], weights[:, 1]], np.array([0.4, 0.3])
    _, explanation = Explainer(steps_to_classes(mirrored, constant), columns).explain(rows)
    np.testing.assert_allclose(total(explanation), (rows.numbers @ mirrored + constant)[:, 1:])


def test_class_weights_at_the_leaves_are_both_explained():
    """As in a single tree of Spark's, whose leaves hold what weight of each class they saw."""
    tree = Tree(
        feature=np.array([0, 0, 0]),
        threshold=np.array([0.5, 0.0, 0.0]),
        left=np.array([1, -1, -1]),
        right=np.array([2, -1, -1]),
        value=np.array([[0.0, 0.0], [30.0, 10.0], [2.0, 58.0]]),
        cover=np.array([100.0, 40.0, 60.0]),
    )
    forest = {"op": "forest", "in": ["numbers"], "out": "r0", "trees": flatten([tree], 1)}
    document = {"steps": [forest, {"op": "largest", "in": ["r0"], "out": "r1"}], "output": "r1"}
    _, explanation = Explainer(document, [("a", "double")]).explain(Batch(2, np.array([[0.0], [1.0]]), {}))
    np.testing.assert_allclose(total(explanation), [[30.0, 10.0], [2.0, 58.0]])


def test_explanations_go_leaf_by_leaf_where_a_row_is_large(monkeypatch: pytest.MonkeyPatch):
    generator = np.random.default_rng(8)
    flat = flatten([random_tree(generator, 5, 6) for _ in range(4)], 5)
    rows = np.c_[generator.integers(0, 6, 7).astype(float), generator.normal(size=(7, 4))]
    whole = TreeShapley(flat).explain(rows)
    for cells in (1, 100, 700):
        monkeypatch.setattr(shapley, "_CHUNK_CELLS", cells)
        np.testing.assert_allclose(TreeShapley(flat).explain(rows), whole, rtol=1e-12, atol=1e-15)


def balanced(depth: int, width: int, generator: np.random.Generator) -> Tree:
    """A tree in which each node of a level splits by another column."""
    inner, nodes = 2**depth - 1, 2 ** (depth + 1) - 1
    number = np.arange(nodes)
    level = np.floor(np.log2(number + 1)).astype(int)
    is_leaf = number >= inner
    return Tree(
        feature=np.where(is_leaf, 0, (level + number) % width),
        threshold=generator.normal(size=nodes),
        left=np.where(is_leaf, -1, 2 * number + 1),
        right=np.where(is_leaf, -1, 2 * number + 2),
        value=generator.normal(size=(nodes, 1)),
        cover=2.0 ** (depth - level),
    )


def test_the_cost_is_known_before_anything_is_prepared():
    generator = np.random.default_rng(9)
    size = shapley.measure(flatten([balanced(3, 5, generator), balanced(6, 5, generator)], 5))
    assert (size.leaves, size.features, size.points, size.cells) == (8 + 64, 5, 3, 72 * 5 * 3)
    assert shapley.measure(flatten([balanced(3, 9, generator)], 9)).features == 3


def test_trees_that_take_too_long_are_refused_with_their_size(monkeypatch: pytest.MonkeyPatch):
    generator = np.random.default_rng(10)
    columns = [(f"c{index}", "double") for index in range(20)]

    def document(*trees: Tree) -> dict[str, Any]:
        forest = {"op": "forest", "in": ["numbers"], "out": "r0", "trees": flatten(trees, 20)}
        return {"steps": [forest, {"op": "ravel", "in": ["r0"], "out": "r1"}], "output": "r1"}

    large = document(*[balanced(14, 20, generator) for _ in range(7)])
    for refuse in (check_explainable, Explainer):
        with pytest.raises(CannotExplainError, match="114688 leaves of up to 14 features make 11239424 numbers a row"):
            refuse(large, columns)
    allowed = document(balanced(12, 20, generator))
    monkeypatch.setattr(explain, "TreeShapley", None)
    check_explainable(allowed, columns)  # without preparing to explain


def test_no_rows_have_no_contributions():
    columns = [("a", "double")]
    filtered = {"op": "keep_complete", "in": ["numbers"], "out": "r0"}
    forest = {
        "op": "forest",
        "in": ["numbers"],
        "out": "r1",
        "trees": flatten([random_tree(np.random.default_rng(1), 1, 2)], 1),
    }
    document = {"steps": [filtered, forest, {"op": "ravel", "in": ["r1"], "out": "r2"}], "output": "r2"}
    predictions, explanation = Explainer(document, columns).explain(Batch(1, np.array([[np.nan]]), {}))
    assert (predictions.tolist(), explanation["values"]) == ([], [])


def test_the_answer_has_one_more_key_only_when_asked(tmp_path: Path):
    model = models.save_linear(tmp_path / "model")
    models.compile_model(model)
    columns = ["c0", "c1", "c2", "c3"]
    body = {"dataframe_split": {"columns": columns, "data": [[1, 2, 3, 4], [0, 0, 0, 0]]}}
    with serving(model, tmp_path) as server:
        assert server.invoke(body).json().keys() == {"predictions"}
    with serving(model, tmp_path, SLIPWAY_EXPLAIN="contributions") as server:
        answer = server.invoke(body).json()
        assert answer.keys() == {"predictions", "contributions"}
        contributions = answer["contributions"]
        assert contributions["columns"] == columns
        assert np.array(contributions["values"]).shape == (2, 1, 4)
        scores = np.array(contributions["values"]).sum(axis=2)[:, 0] + contributions["base"][0]
        assert answer["predictions"] == (scores > 0).astype(int).tolist()


def test_the_self_test_explains_one_row_and_compares_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    model = models.save_linear(tmp_path / "model")
    models.compile_model(model)
    explained: list[int] = []
    explain_batch = Explainer.explain

    def noted(self: Explainer, batch: Batch) -> Any:
        explained.append(batch.size)
        return explain_batch(self, batch)

    monkeypatch.setattr(Explainer, "explain", noted)
    engine = load_engine(model, "contributions")
    split = {
        "columns": ["c0", "c1", "c2", "c3"],
        "data": [[1, 2, 3, 4], [0, 0, 0, 0], [-1, -2, -3, -4]],
        "index": [7, 8, 9],
    }
    request = Request(json.dumps({"dataframe_split": split}).encode(), explain=False)
    answers = json.loads(engine.answer(request).body)["predictions"]
    text = "c0,c1,c2,c3\n1,2,3,4\n"
    golden = {"json": {"dataframe_split": split}, "answers": answers, "csv": text, "csv_answers": answers[:1]}

    def outcome(**changed: Any) -> SelfTest:
        (model / "golden.json").write_text(json.dumps({**golden, **changed}))
        explained.clear()
        return run_self_test(model, engine.answer, explain=True)

    assert (outcome(), explained) == (SelfTest(True, 5), [1])
    assert not outcome(answers=[*answers[:2], 1 - answers[2]]).passed
    monkeypatch.setattr(Explainer, "explain", lambda self, batch: (1 - explain_batch(self, batch)[0], {}))
    engine = load_engine(model, "contributions")
    assert not outcome().passed


def test_a_model_that_cannot_be_explained_says_so_at_the_start(linear_model: Path, tmp_path: Path):
    with serving(linear_model, tmp_path, wait=False, SLIPWAY_EXPLAIN="contributions") as server:
        assert server.process.wait(60) == 3
        assert "cannot explain" in json.loads(server.log.read_text().splitlines()[0])["traceback"]
