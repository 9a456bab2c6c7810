"""Features have the types of the model's signature, and none loses what it says on the way."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from slipway_trainer.feature_types import typed
from slipway_trainer.job import DataObject, Window
from slipway_trainer.objects import ObjectReader
from slipway_trainer.problem import BadDataError
from slipway_trainer.python_retrainer import PythonRetrainer


@pytest.fixture
def first_training(job, tmp_path):
    """A first training on two CSV files, of which the first happens to hold whole amounts only."""
    (tmp_path / "a.csv").write_text("amount,at,late\n" + "".join(f"{n},2024-01-0{n},{n % 2}\n" for n in range(1, 6)))
    (tmp_path / "b.csv").write_text("amount,at,late\n12.5,2024-01-06,0\n0.99,2024-01-07,1\n3,2024-01-08,0\n")
    objects = tuple(DataObject(str(tmp_path / name)) for name in ("a.csv", "b.csv"))
    return PythonRetrainer(replace(job, champion=None, objects=objects, slices=()), ObjectReader(), tmp_path)


def test_a_first_training_takes_its_types_from_all_objects(first_training):
    features = first_training.template_features()
    assert features == {"amount": "double"}
    split = first_training.load(features)
    assert [*split.train["amount"], *split.holdout["amount"]] == [1.0, 2.0, 3.0, 4.0, 5.0, 12.5, 0.99, 3.0]


def test_decimals_are_refused_where_the_signature_says_whole(first_training):
    message = r"column 'amount' holds 12.5, which is no whole number, and the model's signature says long.*double"
    with pytest.raises(BadDataError, match=message):
        first_training.load({"amount": "long"})


def test_what_is_outside_the_window_need_not_fit(first_training):
    first_training.job = replace(first_training.job, window=Window(until="2024-01-06"))
    split = first_training.load({"amount": "long"})
    assert split.train["amount"].dtype == "int64"
    assert [*split.train["amount"], *split.holdout["amount"]] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("kind", ["long", "integer"])
@pytest.mark.parametrize(
    "values",
    [[1.0, -0.5], [1e-9, 1.0], ["7", "7.25"], [Decimal("7.25"), Decimal(1)], [np.nan, 7.25], np.float32([1, 7.25])],
)
def test_nothing_is_cut_off(values, kind):
    with pytest.raises(BadDataError, match=r"'x' holds .*, which is no whole number"):
        typed(pd.DataFrame({"x": values}), {"x": kind})


@pytest.mark.parametrize(
    ("values", "kind", "shown"),
    [
        ([2**31], "integer", "2147483648"),
        ([-(2**31) - 1], "integer", "-2147483649"),
        ([2.0**31], "integer", "2147483648"),
        ([2.0**63], "long", "9.2"),
        ([-1e19], "long", "-1e"),
        (np.array([2**63], dtype="uint64"), "long", "9223372036854775808"),
    ],
)
def test_what_is_too_large_does_not_turn_into_another_number(values, kind, shown):
    with pytest.raises(BadDataError, match=rf"'x' holds {shown}.*, which does not fit into {kind}"):
        typed(pd.DataFrame({"x": values}), {"x": kind})


@pytest.mark.parametrize("values", [[1.0, -3.0], [1, -3], ["1", "-3"], [True, False], [Decimal(1), Decimal(-3)]])
@pytest.mark.parametrize(("kind", "dtype"), [("long", "int64"), ("integer", "int32")])
def test_whole_numbers_become_whole(values, kind, dtype):
    found = typed(pd.DataFrame({"x": values}), {"x": kind})["x"]
    assert found.dtype == dtype
    assert found.tolist() == [int(value) for value in values]


@pytest.mark.parametrize(
    ("kind", "value"), [("integer", 2**31 - 1), ("integer", -(2**31)), ("long", 2**63 - 1), ("long", -(2**63))]
)
def test_the_largest_and_the_smallest_fit(kind, value):
    assert typed(pd.DataFrame({"x": [value]}), {"x": kind})["x"].tolist() == [value]


def test_missing_values_have_no_place_among_whole_numbers():
    with pytest.raises(BadDataError, match=r"column 'x' does not fit the model's type long: .*non-finite"):
        typed(pd.DataFrame({"x": [1.0, np.nan]}), {"x": "long"})
