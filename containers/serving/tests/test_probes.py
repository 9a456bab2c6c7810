"""The rows that compiled models are tried on: every column at its edges, nulls, and both sides of every decision."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn import ensemble, linear_model, preprocessing
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from test_sklearn_programs import BINARY, COLUMNS, NUMERIC, NUMERIC_COLUMNS, SCORE, TRAIN

from slipway_serving.convert.builder import Builder
from slipway_serving.convert.decisions import origins_of, split_rows, thresholds_of
from slipway_serving.convert.probes import make_probes
from slipway_serving.convert.sklearn_estimators import compile_estimator
from slipway_serving.convert.sklearn_transformers import frame_of

NAMES = [name for name, _ in COLUMNS]


def steps_of(estimator: Any, columns: list[tuple[str, str]]) -> list[dict[str, Any]]:
    builder = Builder(sum(kind != "string" for _, kind in columns))
    compile_estimator(builder, estimator, frame_of(columns), shares=False)
    return builder.steps


def alone(odd: list[list[Any]], at: int, value: Any) -> int:
    """Count the rows in which one column has the value, and no other column anything like it."""
    return sum(
        row[at] == value and not any(v is None or v in (math.inf, -math.inf) for v in row[:at] + row[at + 1 :])
        for row in odd
    )


def test_every_edge_of_every_column_is_kept_whatever_thresholds_there_are():
    columns = [(f"c{index}", "double") for index in range(10)]
    thresholds = {index: np.sort(np.random.default_rng(index).normal(size=300)) for index in range(10)}
    odd = make_probes(columns, [], {}, thresholds).odd
    for at in range(10):
        for value in (None, math.inf, -math.inf, 0.0, 5e-324, 3.5e38, 1e300, -1.7e308):
            assert alone(odd, at, value), (at, value)
        tried = {row[at] for row in odd} & set(thresholds[at])
        assert len(tried) >= 3
    tried = [row[0] for row in odd if row[0] in set(thresholds[0])]
    assert min(tried) < thresholds[0][100]
    assert max(tried) > thresholds[0][200], "thresholds are drawn from their whole range"


def test_very_wide_signatures_keep_nulls_and_infinities():
    columns = [(f"c{index}", "double") for index in range(300)]
    odd = make_probes(columns, [], {}, {}).odd
    assert all(alone(odd, at, value) for at in range(300) for value in (None, math.inf, -math.inf))
    assert len(odd) < 1200


def test_nulls_come_one_and_several_at_a_time_where_the_type_allows_them():
    columns = [("a", "double"), ("b", "float"), ("c", "long"), ("d", "double")]
    odd = make_probes(columns, [[1.0, 2.0, 3, 4.0]], {}, {}).odd
    nulls = {tuple(at for at, value in enumerate(row) if value is None) for row in odd}
    assert {(0,), (1,), (3,), (0, 1), (0, 3), (1, 3), (0, 1, 3)} <= nulls
    assert not any(2 in places for places in nulls)


def test_some_rows_at_the_edges_pass_the_check_of_a_32_bit_tree():
    columns = [(f"c{index}", "double") for index in range(10)]
    edges = {0.0, 1.0, -1.0, 0.5, 1e-300, 5e-324, 1e6, -1e6, 1e38}
    assert sum(set(row) <= edges for row in make_probes(columns, [], {}, {}).odd) >= 10


def test_known_categories_are_tried():
    columns = [("a", "double"), ("city", "string")]
    odd = make_probes(columns, [], {"city": ["Bern", "Oslo"]}, {}).odd
    assert {"Bern", "Oslo", "", "never seen", None} <= {row[1] for row in odd}


def decisions(estimator: Any, columns: list[tuple[str, str]]) -> dict[int, list[float]]:
    found = thresholds_of(steps_of(estimator, columns), columns)
    return {at: values.tolist() for at, values in found.items()}


def test_decisions_are_found_behind_steps_that_pass_numbers_on():
    imputed = make_pipeline(SimpleImputer(missing_values=-999.0), preprocessing.Binarizer(threshold=0.5))
    columns = ColumnTransformer(
        [("two", imputed, ["n2", "n0"]), ("city", preprocessing.OneHotEncoder(), ["city", "whole"])]
    )
    model = make_pipeline(columns, linear_model.Ridge()).fit(TRAIN[NAMES], SCORE)
    above = float(np.nextafter(0.5, 1.0))
    whole = NAMES.index("whole")
    assert decisions(model, COLUMNS) == {0: [-999.0, above], 2: [-999.0, above], whole: [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]}


def test_scaled_numbers_are_no_longer_the_request_s():
    model = make_pipeline(preprocessing.StandardScaler(), ensemble.RandomForestRegressor(2, random_state=0))
    steps = steps_of(model.fit(TRAIN[NUMERIC], SCORE), NUMERIC_COLUMNS)
    forest = next(step for step in steps if step["op"] == "forest")
    assert origins_of(steps, NUMERIC_COLUMNS)[forest["in"][0]] == [None] * 4
    assert thresholds_of(steps, NUMERIC_COLUMNS) == {}
    assert split_rows(steps, NUMERIC_COLUMNS, TRAIN[NUMERIC].to_numpy().tolist()) == []


def mixed_forest() -> Any:
    columns = ColumnTransformer(
        [("city", preprocessing.OneHotEncoder(), ["city"]), ("numbers", SimpleImputer(), ["n1", "whole", "n0", "flag"])]
    )
    return make_pipeline(columns, ensemble.RandomForestClassifier(5, max_depth=5, random_state=0)).fit(
        TRAIN[NAMES], BINARY
    )


def test_rows_at_the_splits_of_trees_that_see_other_columns_too():
    model = mixed_forest()
    rows = TRAIN[NAMES].values.tolist()
    found = split_rows(steps_of(model, COLUMNS), COLUMNS, rows)
    assert len(found) > 50
    forest = model[-1]
    encoded = model[:-1].transform(pd.DataFrame(found, columns=NAMES))
    n0, n1 = encoded.shape[1] - 2, encoded.shape[1] - 4
    reached = 0
    for member in forest.estimators_:
        visited = member.decision_path(np.asarray(encoded, np.float32)).toarray().astype(bool)
        for node in range(member.tree_.node_count):
            feature, threshold = member.tree_.feature[node], member.tree_.threshold[node]
            if feature in (n0, n1):
                values = encoded[visited[:, node], feature]
                reached += bool(
                    ((values > threshold) & (values < threshold + 1e-5)).any() and (values == threshold).any()
                )
    assert reached > 15
    for row in found:
        assert row[5:] in [original[5:] for original in rows]
        assert isinstance(row[4], int)
    assert split_rows(steps_of(model, COLUMNS), COLUMNS, []) == []


@pytest.mark.parametrize("count", [0, 1, 5])
def test_few_thresholds_are_all_tried(count: int):
    thresholds = np.arange(count) * 1.5 + 0.25
    odd = make_probes([("a", "double")], [], {}, {0: thresholds}).odd
    values = {row[0] for row in odd}
    for threshold in thresholds:
        assert {threshold, np.nextafter(threshold, np.inf), np.nextafter(threshold, -np.inf)} <= values
