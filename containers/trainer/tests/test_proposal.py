"""A suite that is proposed from rows accepts these rows, and later ones whose days are others."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from slipway_trainer.job import DataObject
from slipway_trainer.proposal import propose, propose_suite
from slipway_trainer.validation import validate

# In a process of their own: under xdist pyspark takes the worker for a doctest run and exits.
pytestmark = pytest.mark.integration

_COLUMNS = st.one_of(
    *(
        st.lists(st.none() | values, min_size=12, max_size=12)
        for values in (
            st.dates(date(1990, 1, 1), date(2030, 1, 1)),
            st.datetimes(datetime.fromisoformat("1990-01-01"), datetime.fromisoformat("2030-01-01")),
            st.datetimes(timezones=st.just(UTC)).filter(lambda moment: 1700 < moment.year < 2200),
            st.times(),
            st.timedeltas(timedelta(0), timedelta(days=9)),
            st.decimals(-1000, 1000, places=2),
            st.booleans(),
            st.integers(-(2**63), 2**63 - 1),
            st.floats(),
            st.floats(width=32, allow_nan=False),
            st.sampled_from(["red", "green", "2026-01-31", "31.01.2026", "1", "True", "", " ", "ä"]),
            st.dates().map(str),
            st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
            st.lists(st.integers(0, 9), max_size=2),
            st.binary(max_size=3),
        )
    )
)


@pytest.mark.timeout(300)
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(columns=st.lists(_COLUMNS, min_size=6, max_size=10))
def test_the_rows_that_it_was_proposed_from_pass(job, tmp_path, columns):
    path = tmp_path / "rows.parquet"
    rows = {f"c{number}": pd.Series(values) for number, values in enumerate(columns)}
    pd.DataFrame({**rows, "late": range(12), "at": range(12)}).to_parquet(path)
    job = replace(job, objects=(DataObject(str(path)),))

    suite = json.loads(json.dumps(propose_suite(job)["suite"], allow_nan=False))

    assert validate(replace(job, suite=suite))["objects"][0]["problems"] == []


def _problems(job, tmp_path, *files):
    """What is wrong with each of some files by the suite that is proposed from all of them."""
    objects = []
    for number, rows in enumerate(files):
        path = tmp_path / f"rows-{number}.parquet"
        pd.DataFrame(rows).to_parquet(path)
        objects.append(DataObject(str(path)))
    job = replace(job, objects=tuple(objects))
    suite = json.loads(json.dumps(propose_suite(job)["suite"], allow_nan=False))
    return suite, [entry["problems"] for entry in validate(replace(job, suite=suite))["objects"]]


def test_each_file_passes_though_only_some_lack_values(job, tmp_path):
    first = {"discount": [None] * 4, "colour": [None, "red", None, None], "late": [0, 1] * 2, "at": range(4)}
    rest = {"discount": [0.5] * 36, "colour": ["red", "blue"] * 18, "late": [0, 1] * 18, "at": range(4, 40)}
    _, problems = _problems(job, tmp_path, first, rest)
    assert problems == [[], []]


def test_a_column_that_not_every_file_has_is_not_expected(job, tmp_path):
    days = {"weight": [1.0, 2.0], "late": [0, 1], "at": [1, 2]}
    suite, problems = _problems(job, tmp_path, days, {**days, "coupon": ["a", "b"]})
    assert problems == [[], []]
    named = {each["kwargs"].get("column") for each in suite["expectations"]}
    assert named == {None, "weight", "late", "at"}


def test_a_file_without_rows_proposes_nothing(job, tmp_path):
    days = {"weight": [1.0, 2.0], "late": [0, 1], "at": [1, 2]}
    suite, problems = _problems(job, tmp_path, days, {"weight": []})
    assert problems[0] == []
    assert suite["expectations"][1]["kwargs"]["column_set"] == ["weight", "late", "at"]


def test_days_and_times_to_come_pass(job, tmp_path):
    for name, month in (("march.csv", 3), ("april.csv", 4)):
        lines = [
            f"2026-0{month}-{n:02},{n:02}.0{month}.2026,{n % 24}:30:00,{n % 2},{month}{n:02}" for n in range(1, 29)
        ]
        (tmp_path / name).write_text("\n".join(["opened,day,closed,late,at", *lines, ""]))
    march, april = (DataObject(str(tmp_path / name)) for name in ("march.csv", "april.csv"))
    suite = propose_suite(replace(job, objects=(march,)))["suite"]

    judged = validate(replace(job, objects=(march, april), suite=suite))["objects"]

    assert [entry["problems"] for entry in judged] == [[], []]


def _kinds(values, **names):
    suite = propose(pd.DataFrame({"x": values}), "parcels", **names)
    return [each["type"] for each in suite["expectations"][3:]]


def test_ranges_and_categories_are_still_proposed():
    assert _kinds([1, 2, 3]) == ["expect_column_values_to_be_between"]
    assert _kinds(["red", "blue", None]) == ["expect_column_values_to_be_in_set"]
    assert _kinds(["red", "2026-01-31"]) == ["expect_column_values_to_be_in_set"]
    assert _kinds(["1.0", "2.0"]) == ["expect_column_values_to_be_in_set"]
    assert _kinds(pd.Categorical(["red", "blue"])) == ["expect_column_values_to_be_in_set"]
    assert _kinds([f"red {number}" for number in range(51)]) == []


@pytest.mark.parametrize(
    "values",
    [
        [date(2026, 1, 31)],
        [time(12, 30)],
        [Decimal("1.5")],
        [True, None],
        ["red", 1],
        [[1, 2]],
        ["2026-01-31"],
        ["2026-01-31T10:00:00Z", "2026-02-01 11:30"],
        ["31.1.2026", "1.2.26"],
        ["01/31/2026 10:00"],
        ["2026-01"],
        [1.0, float("inf")],
        [-1.5e308, 1.5e308],
    ],
)
def test_nothing_is_expected_of_values_that_cannot_be_listed(values):
    assert _kinds(values) == []


def test_nothing_is_expected_of_the_values_of_the_time_column():
    assert _kinds([1, 2, 3], time_column="x") == []
