"""Features of a Spark frame have the types of the model's signature, and none loses what it says on the way."""

from __future__ import annotations

from decimal import Decimal

import pytest

from slipway_trainer.problem import BadDataError

pytestmark = [pytest.mark.spark, pytest.mark.long]


@pytest.fixture(scope="module")
def spark(tmp_path_factory):
    from slipway_trainer.spark.session import start_session, stop_session

    settings = {"spark.master": "local[1]"}
    session = start_session("types", cache_dir=tmp_path_factory.mktemp("java"), configuration=settings)
    yield session
    stop_session(session)


@pytest.fixture
def make(spark):
    """The values of column x, in its new type, of the type that it has."""
    from slipway_trainer.spark.feature_types import typed

    def make(values, has, kind):
        frame = typed(spark.createDataFrame([(each, 1) for each in values], f"x {has}, y int"), {"x": kind})
        return dict(frame.dtypes)["x"], [row[0] for row in frame.collect()]

    return make


@pytest.mark.parametrize("kind", ["long", "integer"])
@pytest.mark.parametrize(
    ("values", "has"),
    [
        ([1.0, 12.5, None], "double"),
        ([-0.5], "double"),
        ([12.5], "float"),
        ([Decimal("12.50")], "decimal(10,2)"),
        ([float("nan")], "double"),
        ([float("inf")], "double"),
    ],
)
def test_nothing_is_cut_off(make, values, has, kind):
    with pytest.raises(BadDataError, match="column 'x' holds .*, which is no whole number, and .* says " + kind):
        make(values, has, kind)


@pytest.mark.parametrize(
    ("value", "has", "kind"),
    [(2**31, "bigint", "integer"), (2.0**31, "double", "integer"), (2.0**63, "double", "long")],
)
def test_what_is_too_large_is_said_in_our_words(make, value, has, kind):
    with pytest.raises(BadDataError, match=f"column 'x' holds .*, which does not fit into {kind}"):
        make([1, value] if has == "bigint" else [value], has, kind)


@pytest.mark.parametrize(
    ("values", "has", "kind", "gets"),
    [
        ([1.0, -3.0, None], "double", "long", "bigint"),
        ([Decimal("7.00")], "decimal(10,2)", "long", "bigint"),
        ([2**31 - 1, -(2**31)], "bigint", "integer", "int"),
        ([5], "smallint", "long", "bigint"),
        ([5], "bigint", "double", "double"),
        ([12.5], "double", "double", "double"),
    ],
)
def test_what_fits_is_cast(make, values, has, kind, gets):
    assert make(values, has, kind) == (gets, values)


def test_texts_and_numbers_stay_apart(make):
    with pytest.raises(BadDataError, match="column 'x' is string, the model's signature says long"):
        make(["1"], "string", "long")
