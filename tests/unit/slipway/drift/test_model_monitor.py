"""Files in the shape that Model Monitor and the SageMaker SDK write, made by hand."""

import copy
import dataclasses
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from slipway.drift.judge import DriftPolicy, judge
from slipway.drift.model_monitor import (
    find_violations,
    read_constraints,
    read_statistics,
    read_violations,
    write_constraints,
    write_statistics,
    write_violations,
)
from slipway.drift.profiling import profile_batch
from slipway.drift.run_report import make_run_report
from slipway.drift.status import status_of
from slipway.drift.training import make_reference
from slipway.errors import InvalidInputError

STATISTICS = {
    "version": 0.0,
    "dataset": {"item_count": 1000},
    "features": [
        {
            "name": "fare",
            "inferred_type": "Fractional",
            "numerical_statistics": {
                "common": {"num_present": 1000, "num_missing": 0},
                "mean": 0.5,
                "sum": 500.0,
                "std_dev": 0.29,
                "min": 0.0,
                "max": 1.0,
                "distribution": {
                    "kll": {
                        "buckets": [
                            {"lower_bound": i / 10, "upper_bound": (i + 1) / 10, "count": 100.0} for i in range(10)
                        ],
                        "sketch": {"parameters": {"c": 0.64, "k": 2048.0}, "data": [[0.1, 0.2]]},
                    }
                },
            },
        },
        {
            "name": "payment",
            "inferred_type": "String",
            "string_statistics": {
                "common": {"num_present": 990, "num_missing": 10},
                "distinct_count": 2.0,
                "distribution": {
                    "categorical": {"buckets": [{"value": "card", "count": 690}, {"value": "cash", "count": 300}]}
                },
            },
        },
    ],
}
CONSTRAINTS = {
    "version": 0.0,
    "features": [
        {
            "name": "fare",
            "inferred_type": "Fractional",
            "completeness": 1.0,
            "num_constraints": {"is_non_negative": True},
        },
        {
            "name": "payment",
            "inferred_type": "String",
            "completeness": 0.9,
            "string_constraints": {"domains": ["card", "cash"]},
        },
        {"name": "tip", "inferred_type": "Integral", "completeness": 1.0},
    ],
    "monitoring_config": {
        "evaluate_constraints": "Enabled",
        "emit_metrics": "Enabled",
        "datatype_check_threshold": 1.0,
        "domain_content_threshold": 1.0,
        "distribution_constraints": {
            "perform_comparison": "Enabled",
            "comparison_threshold": 0.1,
            "comparison_method": "Robust",
            "categorical_comparison_threshold": 0.2,
            "categorical_drift_method": "LInfinity",
        },
    },
}
WEEKLY = DriftPolicy(runs_per_year=52)


def window_of(reference, frame):
    return profile_batch(pa.RecordBatch.from_pandas(frame, preserve_index=False), reference.bins)


def report_of(reference, window, **unknown):
    judgement = judge(reference.baseline, window, WEEKLY)
    window = dataclasses.replace(window, unknown_columns=unknown)
    at = datetime(2026, 1, 1, tzinfo=UTC)
    facts = {"service": "taxi", "endpoint": "taxi-prod", "release_id": "0" * 12, "model": "taxi", "model_version": 1}
    status = status_of(judgement, window)
    return make_run_report(judgement, reference, window, status=status, since=at, until=at, objects=1, **facts)


def test_a_statistics_file_becomes_a_baseline_that_judges():
    reference = read_statistics(STATISTICS)
    rng = np.random.default_rng(0)
    calm = pd.DataFrame({"fare": rng.random(3000), "payment": rng.choice(["card", "cash"], 3000, p=[0.7, 0.3])})
    moved = calm.assign(fare=calm.fare**3)
    assert not judge(reference.baseline, window_of(reference, calm), WEEKLY).drifted
    assert {each.column for each in judge(reference.baseline, window_of(reference, moved), WEEKLY).drifted} == {"fare"}


def test_statistics_are_written_as_they_are_read():
    again = write_statistics(read_statistics(STATISTICS), read_statistics(STATISTICS).baseline.profile)
    for before, after in zip(STATISTICS["features"], again["features"], strict=True):
        assert (before["name"], before["inferred_type"]) == (after["name"], after["inferred_type"])
    fare = again["features"][0]["numerical_statistics"]
    assert fare["std_dev"] == pytest.approx(0.29)
    assert [bucket["count"] for bucket in fare["distribution"]["kll"]["buckets"]] == pytest.approx([100] * 10, abs=1e-6)
    assert again["features"][1]["string_statistics"]["distribution"] == {
        "categorical": {"buckets": [{"value": "card", "count": 690}, {"value": "cash", "count": 300}]}
    }


def test_our_own_baseline_makes_both_files_and_they_are_read_back():
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({"x": rng.exponential(size=2000), "c": rng.choice(["a", "b"], 2000), "n": np.arange(2000)})
    frame.loc[:99, "x"] = np.nan
    reference = make_reference(frame)
    constraints = read_constraints(write_constraints(reference, 0.1))
    assert [(each.name, each.inferred_type, each.completeness) for each in constraints.columns] == [
        ("x", "Fractional", 0.95),
        ("c", "String", 1.0),
        ("n", "Integral", 1.0),
    ]
    statistics = write_statistics(reference, reference.baseline.profile)
    counts = [
        bucket["count"]
        for bucket in statistics["features"][0]["numerical_statistics"]["distribution"]["kll"]["buckets"]
    ]
    assert sum(counts) == pytest.approx(1900)
    assert counts == pytest.approx(sorted(counts, reverse=True), abs=1e-6)
    assert read_statistics(statistics).baseline.profile.rows == 2000


def test_every_check_of_a_window_finds_its_violation():
    reference = make_reference(
        pd.DataFrame({"fare": np.random.default_rng(2).random(5000), "payment": ["card", "cash"] * 2500, "tip": 1})
    )
    rng = np.random.default_rng(3)
    frame = pd.DataFrame(
        {"fare": [*map(str, rng.random(1800) / 4), *["free"] * 100, *[None] * 100], "payment": "coupon"}
    )
    window = window_of(reference, frame)
    report = report_of(reference, window, vip=2000)
    found = find_violations(read_constraints(CONSTRAINTS), report, window)
    assert sorted((each.feature_name, each.constraint_check_type) for each in found) == [
        ("fare", "baseline_drift_check"),
        ("fare", "completeness_check"),
        ("fare", "data_type_check"),
        ("payment", "baseline_drift_check"),
        ("payment", "categorical_values_check"),
        ("tip", "missing_column_check"),
        ("vip", "extra_column_check"),
    ]
    written = write_violations(found)
    assert read_violations(written) == found
    described = {each["constraint_check_type"]: each["description"] for each in written["violations"]}
    assert described["completeness_check"] == "Value: 0.95 does not meet the constraint requirement! "


@pytest.mark.parametrize(
    ("changes", "violated"),
    [
        ({"comparison_method": "Simple"}, ["fare", "payment"]),
        ({"comparison_method": "Robust"}, []),  # chance explains it: 40 rows
        ({"comparison_method": "Robust", "categorical_drift_method": "ChiSquared"}, ["payment"]),
        ({"perform_comparison": "Disabled"}, []),
    ],
)
def test_each_method_of_comparison_is_followed(changes, violated):
    reference = make_reference(
        pd.DataFrame({"fare": np.random.default_rng(2).random(5000), "payment": (["card"] * 7 + ["cash"] * 3) * 500})
    )
    frame = pd.DataFrame({"fare": np.linspace(0.15, 1, 40), "payment": ["card"] * 19 + ["cash"] * 21})
    window = window_of(reference, frame)
    document = copy.deepcopy(CONSTRAINTS)
    document["features"] = document["features"][:2]
    document["monitoring_config"]["distribution_constraints"].update(changes)
    found = find_violations(read_constraints(document), report_of(reference, window), window)
    assert [each.feature_name for each in found if each.constraint_check_type == "baseline_drift_check"] == violated


def test_a_method_that_nobody_knows_is_refused():
    document = copy.deepcopy(CONSTRAINTS)
    document["monitoring_config"]["distribution_constraints"]["comparison_method"] = "Rubust"
    with pytest.raises(InvalidInputError, match="Rubust"):
        read_constraints(document)


@pytest.mark.parametrize("spelling", ["monitoring_config_overrides", "monitoringConfigOverrides"])
def test_overrides_of_one_column_are_read_in_both_spellings(spelling):
    document = copy.deepcopy(CONSTRAINTS)
    document["features"][0][spelling] = {"distribution_constraints": {"comparison_threshold": 0.5}}
    document["features"][1][spelling] = {"distribution_constraints": {"perform_comparison": "Disabled"}}
    fare, payment, tip = read_constraints(document).columns
    assert (fare.drift_threshold, payment.drift_threshold, tip.drift_threshold) == (0.5, None, 0.1)


@pytest.mark.parametrize("read", [read_statistics, read_constraints, read_violations])
@pytest.mark.parametrize("document", [{}, {"features": [{}]}, {"violations": [{}], "features": 3, "dataset": {}}])
def test_other_files_are_refused(read, document):
    with pytest.raises(InvalidInputError, match=r"This is no .*\.json"):
        read(document)
