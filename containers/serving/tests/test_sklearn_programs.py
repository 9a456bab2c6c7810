"""Compiled scikit-learn models answer as the estimator does: with nulls, at thresholds, for unseen categories."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn import ensemble, linear_model, preprocessing, svm, tree
from sklearn.compose import ColumnTransformer, make_column_selector
from sklearn.decomposition import PCA
from sklearn.feature_selection import SelectKBest, VarianceThreshold
from sklearn.impute import SimpleImputer
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import FeatureUnion, make_pipeline

from slipway_serving.convert.builder import Builder, CannotCompileError, Matrix
from slipway_serving.convert.sklearn_estimators import compile_estimator
from slipway_serving.convert.sklearn_transformers import frame_of
from slipway_serving.forms.batch import Batch, Layout, NotCoveredError, columns_to_batch
from slipway_serving.program.program import NUMBERS, Program
from slipway_serving.program.store import load_program, save_program

NUMERIC = ["n0", "n1", "n2", "n3"]
COLUMNS = [
    *((name, "double") for name in NUMERIC),
    ("whole", "long"),
    ("flag", "boolean"),
    ("city", "string"),
    ("kind", "string"),
]
CITIES = ["Bern", "Oslo", "Rome", "Lima", "Quito"]


def make_frame(size: int, seed: int, *, unseen: bool = False) -> pd.DataFrame:
    generator = np.random.default_rng(seed)
    frame = pd.DataFrame(generator.normal(scale=3, size=(size, 4)), columns=NUMERIC)
    frame["whole"] = generator.integers(0, 6, size)
    frame["flag"] = generator.random(size) < 0.5
    frame["city"] = generator.choice([*CITIES, "Atlantis"] if unseen else CITIES, size)
    frame["kind"] = generator.choice(["a", "b"], size)
    return frame


TRAIN = make_frame(400, 1)
SCORE = (
    TRAIN[NUMERIC].sum(axis=1)
    + TRAIN["whole"]
    + (TRAIN["city"] == "Oslo") * 3
    + np.random.default_rng(5).normal(size=400)
)
BINARY = (SCORE.median() < SCORE).astype(int)
THREE = pd.cut(SCORE, 3, labels=["low", "mid", "top"]).astype(str)
POSITIVE = np.exp(SCORE / 10)


def compiled(estimator: Any, columns: list[tuple[str, str]], *, shares: bool = False) -> Program:
    kinds = [kind for _, kind in columns if kind != "string"]
    builder = Builder(len(kinds), singles="float" in kinds)
    output = compile_estimator(builder, estimator, frame_of(columns), shares=shares)
    return Program({"steps": builder.steps, "output": output})


def batch_of(frame: pd.DataFrame, columns: list[tuple[str, str]]) -> Batch:
    return columns_to_batch(Layout(columns), lambda _, name: frame[name].tolist(), len(frame))


def assert_same(estimator: Any, columns: list[tuple[str, str]], frame: pd.DataFrame, *, shares: bool = False) -> None:
    names = [name for name, _ in columns]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = (estimator.predict_proba if shares else estimator.predict)(frame[names])
    found = compiled(estimator, columns, shares=shares).score(batch_of(frame, columns))
    if np.asarray(expected).dtype.kind == "f":
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-13)
    else:
        assert np.asarray(found).tolist() == np.asarray(expected).tolist()


NUMERIC_COLUMNS = COLUMNS[:4]

CLASSIFIERS = [
    linear_model.LogisticRegression(),
    make_pipeline(preprocessing.StandardScaler(), linear_model.LogisticRegression()),
    tree.DecisionTreeClassifier(max_depth=6),
    ensemble.RandomForestClassifier(30, random_state=0),
    ensemble.RandomForestClassifier(10, max_depth=3, random_state=0),
    ensemble.ExtraTreesClassifier(20, max_depth=5, random_state=0),
    ensemble.GradientBoostingClassifier(n_estimators=25, random_state=0),
    ensemble.HistGradientBoostingClassifier(max_iter=25, random_state=0),
]


@pytest.mark.parametrize("target", [BINARY, THREE], ids=["binary", "three"])
@pytest.mark.parametrize("estimator", CLASSIFIERS, ids=lambda e: type(e).__name__)
def test_classifiers(estimator: Any, target: pd.Series):
    fitted = estimator.fit(TRAIN[NUMERIC], target)
    for frame in (TRAIN, make_frame(500, 2), make_frame(1, 3)):
        assert_same(fitted, NUMERIC_COLUMNS, frame)
        assert_same(fitted, NUMERIC_COLUMNS, frame, shares=True)


REGRESSORS = [
    linear_model.LinearRegression(),
    linear_model.Ridge(),
    linear_model.Lasso(alpha=0.1),
    linear_model.HuberRegressor(max_iter=1000),
    linear_model.PoissonRegressor(alpha=0.1, max_iter=1000),
    linear_model.GammaRegressor(alpha=0.1, max_iter=1000),
    linear_model.TweedieRegressor(power=1.5, link="log", max_iter=1000),
    tree.DecisionTreeRegressor(max_depth=7),
    ensemble.RandomForestRegressor(30, random_state=0),
    ensemble.ExtraTreesRegressor(20, random_state=0),
    ensemble.GradientBoostingRegressor(n_estimators=25, random_state=0),
    ensemble.GradientBoostingRegressor(n_estimators=5, init="zero", random_state=0),
    ensemble.HistGradientBoostingRegressor(max_iter=25, random_state=0),
    ensemble.HistGradientBoostingRegressor(max_iter=25, loss="poisson", random_state=0),
]


@pytest.mark.parametrize("estimator", REGRESSORS, ids=lambda e: type(e).__name__)
def test_regressors(estimator: Any):
    fitted = estimator.fit(TRAIN[NUMERIC], POSITIVE)
    for frame in (TRAIN, make_frame(500, 2), make_frame(1, 3)):
        assert_same(fitted, NUMERIC_COLUMNS, frame)


LABEL_ONLY = [
    linear_model.RidgeClassifier(),
    linear_model.SGDClassifier(random_state=0),
    linear_model.Perceptron(),
    svm.LinearSVC(),
]


@pytest.mark.parametrize("estimator", LABEL_ONLY, ids=lambda e: type(e).__name__)
def test_classifiers_without_shares(estimator: Any):
    assert_same(estimator.fit(TRAIN[NUMERIC], THREE), NUMERIC_COLUMNS, make_frame(300, 4))


TRANSFORMERS = [
    preprocessing.StandardScaler(with_mean=False),
    preprocessing.MinMaxScaler(clip=True),
    preprocessing.MaxAbsScaler(),
    preprocessing.RobustScaler(),
    preprocessing.Normalizer("l1"),
    preprocessing.Normalizer("l2"),
    preprocessing.Normalizer("max"),
    preprocessing.Binarizer(threshold=0.5),
    preprocessing.PolynomialFeatures(3),
    preprocessing.PolynomialFeatures(2, interaction_only=True, include_bias=False),
    preprocessing.KBinsDiscretizer(4, encode="onehot"),
    preprocessing.KBinsDiscretizer(4, encode="ordinal"),
    preprocessing.FunctionTransformer(np.square),
    PCA(2, whiten=True),
    SelectKBest(k=2),
    VarianceThreshold(),
    FeatureUnion([("scaled", preprocessing.StandardScaler()), ("pca", PCA(2))]),
]


@pytest.mark.parametrize("transformer", TRANSFORMERS, ids=lambda t: type(t).__name__)
@pytest.mark.filterwarnings("ignore")
def test_transformers(transformer: Any):
    pipeline = make_pipeline(transformer, linear_model.Ridge()).fit(TRAIN[NUMERIC], SCORE)
    assert_same(pipeline, NUMERIC_COLUMNS, make_frame(300, 6))


def mixed(encoder: Any, final: Any) -> Any:
    numbers = make_pipeline(SimpleImputer(strategy="median", add_indicator=True), preprocessing.StandardScaler())
    columns = ColumnTransformer(
        [
            ("texts", make_pipeline(SimpleImputer(strategy="most_frequent"), encoder), ["city", "kind"]),
            ("numbers", numbers, make_column_selector(dtype_include=np.float64)),
            ("whole", "passthrough", ["whole"]),
            ("none", "drop", ["flag"]),
        ]
    )
    return make_pipeline(columns, final)


ENCODERS = [
    preprocessing.OneHotEncoder(handle_unknown="ignore"),
    preprocessing.OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=80, sparse_output=False),
    preprocessing.OneHotEncoder(drop="first", handle_unknown="ignore"),
    preprocessing.OneHotEncoder(drop="if_binary", handle_unknown="ignore"),
    preprocessing.OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1),
    preprocessing.TargetEncoder(random_state=0),
]


@pytest.mark.parametrize("encoder", ENCODERS, ids=lambda e: type(e).__name__)
@pytest.mark.filterwarnings("ignore")
def test_mixed_columns_with_nulls_and_unseen_categories(encoder: Any):
    train = TRAIN.copy()
    train.loc[train.index % 7 == 0, "n1"] = np.nan
    for final in (linear_model.LogisticRegression(max_iter=1000), ensemble.RandomForestClassifier(10, random_state=0)):
        pipeline = mixed(encoder, final).fit(train[[name for name, _ in COLUMNS]], BINARY)
        frame = make_frame(300, 8, unseen=True)
        frame.loc[frame.index % 5 == 0, ["n0", "n1"]] = np.nan
        assert_same(pipeline, COLUMNS, frame, shares=True)


def test_an_encoder_that_refuses_unknown_categories_hands_them_over():
    encoder = ColumnTransformer([("city", preprocessing.OneHotEncoder(), ["city", "whole"])])
    pipeline = make_pipeline(encoder, linear_model.LogisticRegression()).fit(TRAIN, BINARY)
    assert_same(pipeline, COLUMNS, make_frame(50, 9))
    frame = make_frame(50, 9, unseen=True)
    with pytest.raises(NotCoveredError):
        compiled(pipeline, COLUMNS).score(batch_of(frame, COLUMNS))


def test_numbers_as_categories():
    encoder = ColumnTransformer([("w", preprocessing.OneHotEncoder(handle_unknown="ignore"), ["whole", "flag"])])
    pipeline = make_pipeline(encoder, linear_model.LogisticRegression()).fit(TRAIN, BINARY)
    frame = make_frame(200, 10)
    frame.loc[:20, "whole"] = 77
    assert_same(pipeline, COLUMNS, frame, shares=True)


def test_rows_at_thresholds_go_where_scikit_learn_sends_them():
    forest = ensemble.RandomForestClassifier(20, random_state=0).fit(TRAIN[NUMERIC], BINARY)
    rows = []
    for member in forest.estimators_:
        for feature, threshold in zip(member.tree_.feature, member.tree_.threshold, strict=True):
            if feature >= 0:
                single = np.float32(threshold)
                for value in (threshold, np.nextafter(threshold, 9), single, np.nextafter(single, np.float32(-9))):
                    row = TRAIN[NUMERIC].iloc[0].to_numpy().copy()
                    row[feature] = value
                    rows.append(row)
    assert_same(forest, NUMERIC_COLUMNS, pd.DataFrame(rows, columns=NUMERIC), shares=True)


@pytest.mark.parametrize("model", [ensemble.RandomForestClassifier(10), ensemble.HistGradientBoostingClassifier()])
def test_trees_send_nulls_where_scikit_learn_does(model: Any):
    train = TRAIN[NUMERIC].copy()
    train[train > 4] = np.nan
    frame = make_frame(300, 11)
    frame[frame[NUMERIC] > 2] = np.nan
    frame = frame[NUMERIC].astype(float)
    assert_same(model.fit(train, BINARY), NUMERIC_COLUMNS, frame, shares=True)


def test_a_search_is_its_best_estimator():
    search = GridSearchCV(linear_model.Ridge(), {"alpha": [0.1, 1.0]}, cv=2).fit(TRAIN[NUMERIC], SCORE)
    assert_same(search, NUMERIC_COLUMNS, make_frame(50, 12))


def test_what_scikit_learn_refuses_is_handed_over():
    model = linear_model.LogisticRegression().fit(TRAIN[NUMERIC], BINARY)
    program = compiled(model, NUMERIC_COLUMNS)
    for bad in (np.nan, np.inf):
        with pytest.raises(NotCoveredError):
            program.score(Batch(1, np.array([[1.0, bad, 0.0, 0.0]]), {}))
    forest = compiled(ensemble.RandomForestClassifier(3).fit(TRAIN[NUMERIC], BINARY), NUMERIC_COLUMNS)
    with pytest.raises(NotCoveredError):
        forest.score(Batch(1, np.array([[1.0, 1e39, 0.0, 0.0]]), {}))


UNKNOWN = [
    svm.SVC(),
    make_pipeline(preprocessing.QuantileTransformer(n_quantiles=10), linear_model.Ridge()),
    make_pipeline(preprocessing.FunctionTransformer(lambda x: x + 1), linear_model.Ridge()),
    ensemble.GradientBoostingClassifier(init=linear_model.LogisticRegression(), n_estimators=2),
]


@pytest.mark.parametrize("estimator", UNKNOWN, ids=lambda e: type(e).__name__)
def test_what_has_no_compiled_form_is_refused_by_name(estimator: Any):
    with pytest.raises(CannotCompileError, match=r"SVC|QuantileTransformer|FunctionTransformer|another model"):
        compiled(estimator.fit(TRAIN[NUMERIC], BINARY), NUMERIC_COLUMNS)


def test_programs_survive_the_disk_without_pickles(tmp_path):
    forest = ensemble.RandomForestClassifier(5, random_state=0).fit(TRAIN[NUMERIC], THREE)
    builder = Builder(4)
    output = compile_estimator(builder, forest, Matrix(NUMBERS, 4), shares=False)
    save_program(tmp_path, {"steps": builder.steps, "output": output})
    found = Program(load_program(tmp_path)).score(Batch(400, TRAIN[NUMERIC].to_numpy(), {}))
    assert found == forest.predict(TRAIN[NUMERIC]).tolist()


def test_indicators_of_a_mark_that_is_not_null_are_refused():
    train = TRAIN[NUMERIC].mask(TRAIN[NUMERIC] > 4, -999.0)
    imputer = SimpleImputer(missing_values=-999.0, add_indicator=True)
    model = make_pipeline(imputer, linear_model.LinearRegression()).fit(train, SCORE)
    with pytest.raises(CannotCompileError, match="a mark that is not null"):
        compiled(model, NUMERIC_COLUMNS)
    without = make_pipeline(SimpleImputer(missing_values=-999.0), linear_model.LinearRegression()).fit(train, SCORE)
    assert_same(without, NUMERIC_COLUMNS, train)


@pytest.mark.parametrize("threshold", [0.1, np.float64(0.1), 0.5], ids=["rounded", "not rounded", "exact"])
def test_binarizers_compare_columns_of_32_bits_as_scikit_learn_does(threshold: float):
    columns = [("a", "float"), ("b", "float")]
    binarizer = preprocessing.Binarizer(threshold=threshold)
    train = TRAIN[["n0", "n1"]].astype(np.float32).set_axis(["a", "b"], axis=1)
    model = make_pipeline(binarizer, linear_model.LinearRegression()).fit(train, SCORE)
    single = np.float32(threshold)
    around = [np.nextafter(single, np.float32(to)) for to in (-1, 1)]
    frame = pd.DataFrame({"a": [single, *around, single], "b": [single, single, *around]}, dtype=np.float32)
    expected = model.predict(frame)
    found = compiled(model, columns).score(batch_of(frame.astype(float), columns))
    np.testing.assert_allclose(found, expected, rtol=1e-6)  # scikit-learn adds up 32-bit floats
    assert np.ptp(expected) > 0.1


def test_a_binarizer_of_what_may_be_32_bits_is_refused():
    model = make_pipeline(SimpleImputer(), preprocessing.Binarizer(threshold=0.1), linear_model.Ridge())
    model.fit(TRAIN[["n0", "n1"]], SCORE)
    compiled(model, [("n0", "double"), ("n1", "double")])
    with pytest.raises(CannotCompileError, match="32-bit"):
        compiled(model, [("n0", "float"), ("n1", "double")])


def test_an_imputer_s_mark_that_32_bits_round_is_refused():
    columns = [("n0", "float"), ("n1", "float")]
    train = TRAIN[["n0", "n1"]].astype(np.float32)
    train.iloc[::5, 0] = np.float32(0.1)
    rounded = make_pipeline(SimpleImputer(missing_values=0.1), linear_model.Ridge()).fit(train, SCORE)
    with pytest.raises(CannotCompileError, match="32-bit"):
        compiled(rounded, columns)
    compiled(rounded, [("n0", "double"), ("n1", "double")])
    whole = make_pipeline(SimpleImputer(missing_values=-999.0), linear_model.Ridge()).fit(train, SCORE)
    compiled(whole, columns)


@pytest.mark.parametrize("encoder", ENCODERS, ids=lambda e: type(e).__name__)
@pytest.mark.filterwarnings("ignore")
def test_encoders_of_numbers_leave_infinity_to_scikit_learn(encoder: Any):
    train = TRAIN.assign(n0=TRAIN["whole"].astype(float), n1=TRAIN["whole"] * 0.5)[["n0", "n1"]]
    pipeline = make_pipeline(encoder, linear_model.LogisticRegression()).fit(train, BINARY)
    columns = COLUMNS[:2]
    frame = pd.DataFrame({"n0": [1.0, 2.0, 77.0], "n1": [0.5, 44.0, 1.0]})
    assert_same(pipeline, columns, frame, shares=True)
    for infinity in (np.inf, -np.inf):
        with pytest.raises(ValueError, match="infinity"):
            pipeline.predict(frame.assign(n1=infinity))
        with pytest.raises(NotCoveredError):
            compiled(pipeline, columns).score(Batch(1, np.array([[1.0, infinity]]), {}))
