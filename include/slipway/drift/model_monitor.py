"""SageMaker Model Monitor's files, read and written: ``statistics.json``, ``constraints.json``,
``constraint_violations.json``.

Model Monitor takes no new customers; who has its baselines moves over with them as they are.
https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-byoc-statistics.html
https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-byoc-constraints.html
https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-interpreting-violations.html
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Literal

import numpy as np

from slipway.drift.baseline import Baseline
from slipway.drift.bins import Bins, BinSet, CategoryBins, NumericBins
from slipway.drift.moments import Moments
from slipway.drift.profile import CategoryProfile, ColumnProfile, NumericProfile, Profile
from slipway.drift.reference import MODEL_MONITOR, Reference
from slipway.drift.run_report import RunReport
from slipway.drift.schema import Column, Kind, ModelSchema
from slipway.drift.statistics.counts import redrawn, shares
from slipway.errors import InvalidInputError

#: ``Simple`` and ``Robust`` distance of :mod:`slipway.drift.statistics.l_infinity`, or the test of
#: :mod:`slipway.drift.statistics.chi_square`, for categories only.
Method = Literal["Simple", "Robust", "ChiSquared"]
InferredType = Literal["Integral", "Fractional", "String", "Unknown"]
_KIND_OF: Mapping[str, Kind] = {"Integral": "long", "Fractional": "double", "String": "string", "Unknown": "string"}
_SKETCH_BUCKETS = 10
_TRUNCATED_CATEGORIES = 100
#: Both spellings are found in files that SageMaker wrote.
_OVERRIDES = ("monitoring_config_overrides", "monitoringConfigOverrides")


@dataclass(frozen=True)
class Constraint:
    """What ``constraints.json`` demands of one column.

    Args:
        name: The column.
        inferred_type: Its type.
        completeness: Least share of rows with a value.
        is_non_negative: Whether negative numbers are refused.
        domain: The only values allowed, or None.
        drift_threshold: Largest distance (with ``ChiSquared`` the least p-value); None where the comparison is switched
            off.
        method: How far apart is measured.
    """

    name: str
    inferred_type: InferredType
    completeness: float
    is_non_negative: bool = False
    domain: tuple[str, ...] | None = None
    drift_threshold: float | None = 0.1
    method: Method = "Robust"


@dataclass(frozen=True)
class Constraints:
    """``constraints.json``: what each column has to keep, and what it says besides, kept as it stands."""

    columns: tuple[Constraint, ...]
    monitoring_config: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Violation:
    """One entry of ``constraint_violations.json``."""

    feature_name: str
    constraint_check_type: str
    description: str


def write_statistics(reference: Reference, profile: Profile) -> dict[str, Any]:
    """Return ``statistics.json`` of a profile.

    Args:
        reference: Gives the bins and the types.
        profile: The rows to describe: a baseline or a window.
    """
    kinds = {column.name: column.kind for column in reference.schema.columns}
    features = [
        _feature(name, kinds[name], column, reference.bins.columns[name]) for name, column in profile.columns.items()
    ]
    return {"version": 0.0, "dataset": {"item_count": profile.rows}, "features": features}


def write_constraints(reference: Reference, tolerance: float) -> dict[str, Any]:
    """Return the ``constraints.json`` that a baseline suggests.

    Args:
        reference: The baseline.
        tolerance: Distance that does not matter, 0 to 1.
    """
    kinds = {column.name: column.kind for column in reference.schema.columns}
    features = []
    for name, column in reference.baseline.profile.columns.items():
        rows = column.rows
        entry: dict[str, Any] = {
            "name": name,
            "inferred_type": _inferred(kinds[name]),
            "completeness": (rows - column.missing) / rows if rows else 0.0,
        }
        if isinstance(column, NumericProfile):
            entry["num_constraints"] = {"is_non_negative": column.moments.minimum >= 0}
        features.append(entry)
    comparison = {
        "perform_comparison": "Enabled",
        "comparison_threshold": tolerance,
        "comparison_method": "Robust",
        "categorical_comparison_threshold": tolerance,
        "categorical_drift_method": "LInfinity",
    }
    config = {
        "evaluate_constraints": "Enabled",
        "emit_metrics": "Enabled",
        "datatype_check_threshold": 1.0,
        "domain_content_threshold": 1.0,
        "distribution_constraints": comparison,
    }
    return {"version": 0.0, "features": features, "monitoring_config": config}


def read_constraints(document: Mapping[str, Any]) -> Constraints:
    """Read ``constraints.json``.

    Args:
        document: The file's JSON, in either spelling of the overrides.

    Returns:
        The constraints.

    Raises:
        InvalidInputError: It is not that file.
    """
    try:
        config = document.get("monitoring_config") or {}
        columns = tuple(_constraint(feature, config) for feature in document["features"])
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise InvalidInputError(f"This is no constraints.json: {type(error).__name__}: {error}.") from None
    return Constraints(columns, config)


def read_statistics(document: Mapping[str, Any]) -> Reference:
    """Make a baseline of ``statistics.json``.

    Its sketches hold few buckets, so the bins are coarser than those of a baseline made from rows, and there is no
    knowledge of how much parts of the training data differed.

    Args:
        document: The file's JSON.

    Returns:
        The reference.

    Raises:
        InvalidInputError: It is not that file, or it describes no distribution.
    """
    try:
        rows = int(document["dataset"]["item_count"])
        found = [_read_feature(feature, rows) for feature in document["features"]]
    except (KeyError, TypeError, AttributeError, ValueError, IndexError) as error:
        raise InvalidInputError(f"This is no statistics.json: {type(error).__name__}: {error}.") from None
    usable = [each for each in found if each is not None]
    if not usable:
        raise InvalidInputError("statistics.json describes the distribution of no column.")
    bins = BinSet({column.name: bins for column, bins, _ in usable})
    profile = Profile(bins.digest, rows, {column.name: counted for column, _, counted in usable})
    schema = ModelSchema(tuple(column for column, _, _ in usable))
    return Reference(schema, Baseline(bins, profile, {}), {"source": MODEL_MONITOR, "rows": rows})


def find_violations(constraints: Constraints, report: RunReport, window: Profile) -> list[Violation]:
    """Check a window against constraints, in Model Monitor's six ways.

    Args:
        constraints: What each column has to keep.
        report: What the run found; its effects are the distances.
        window: The window's profile.
    """
    named = {each.name for each in constraints.columns}
    found = [
        Violation(name, "extra_column_check", f"There are {count} rows with this column, which the baseline lacks.")
        for name, count in sorted(report.unknown_columns.items())
        if name not in named
    ]
    for each in constraints.columns:
        found += _violations_of(each, constraints, report, window.columns.get(each.name))
    return found


def write_violations(violations: Sequence[Violation]) -> dict[str, Any]:
    """Return ``constraint_violations.json``."""
    return {
        "violations": [
            {
                "feature_name": each.feature_name,
                "constraint_check_type": each.constraint_check_type,
                "description": each.description,
            }
            for each in violations
        ]
    }


def read_violations(document: Mapping[str, Any]) -> list[Violation]:
    """Read ``constraint_violations.json``.

    Raises:
        InvalidInputError: It is not that file.
    """
    try:
        return [
            Violation(str(each["feature_name"]), str(each["constraint_check_type"]), str(each["description"]))
            for each in document["violations"]
        ]
    except (KeyError, TypeError) as error:
        raise InvalidInputError(f"This is no constraint_violations.json: {type(error).__name__}: {error}.") from None


def _violations_of(
    constraint: Constraint, constraints: Constraints, report: RunReport, column: ColumnProfile | None
) -> Iterator[Violation]:
    if column is None or (column.rows and column.missing == column.rows):
        yield Violation(constraint.name, "missing_column_check", "The column is in the baseline and in no row.")
        return
    if not column.rows:
        return
    complete = (column.rows - column.missing) / column.rows
    if complete < constraint.completeness:
        yield _unmet(constraint.name, "completeness_check", complete)
    present = column.rows - column.missing
    typed = (present - column.mismatched) / present if present else 1.0
    if typed < float(constraints.monitoring_config.get("datatype_check_threshold", 1.0)):
        yield _unmet(constraint.name, "data_type_check", typed)
    yield from _distance_violations(constraint, report)
    if constraint.domain is not None and isinstance(column, CategoryProfile):
        known = _in_domain(constraint, report, column)
        if known < float(constraints.monitoring_config.get("domain_content_threshold", 1.0)):
            yield _unmet(constraint.name, "categorical_values_check", known)


def _distance_violations(constraint: Constraint, report: RunReport) -> Iterator[Violation]:
    values, threshold = report.measures.get(constraint.name, {}), constraint.drift_threshold
    if threshold is None:
        return
    if constraint.method == "ChiSquared" and "total_variation" in values:
        p_value = values.get("chi_square_p_value", 1.0)
        if p_value < threshold:
            text = f"Baseline drift p-value: {p_value} is below threshold: {threshold}"
            yield Violation(constraint.name, "baseline_drift_check", text)
        return
    ending = "" if constraint.method == "Simple" else "_robust"
    distance = values.get(f"kolmogorov_smirnov{ending}", values.get(f"l_infinity{ending}"))
    if distance is not None and distance > threshold:
        text = f"Baseline drift distance: {distance} exceeds threshold: {threshold}"
        yield Violation(constraint.name, "baseline_drift_check", text)


def _in_domain(constraint: Constraint, report: RunReport, column: CategoryProfile) -> float:
    """Share of the values that the domain holds; those that the baseline knows are taken for members."""
    outside = sum(count for value, count in column.new.items() if value not in (constraint.domain or ()))
    present = column.rows - column.missing
    return (present - outside - column.new_unnamed) / present if present else 1.0


def _unmet(name: str, check: str, value: float) -> Violation:
    return Violation(name, check, f"Value: {value} does not meet the constraint requirement! ")


def _constraint(feature: Mapping[str, Any], config: Mapping[str, Any]) -> Constraint:
    numbers, strings = feature.get("num_constraints") or {}, feature.get("string_constraints") or {}
    domains = strings.get("domains")
    own: Mapping[str, Any] = next((feature[name] for name in _OVERRIDES if feature.get(name)), {})
    inferred = feature["inferred_type"]
    if inferred not in _KIND_OF:
        raise ValueError(f"inferred_type {inferred!r}")
    comparison = {**(config.get("distribution_constraints") or {}), **(own.get("distribution_constraints") or {})}
    key = "comparison_threshold" if inferred in {"Integral", "Fractional"} else "categorical_comparison_threshold"
    on = comparison.get("perform_comparison", "Enabled") == "Enabled"
    categorical = key != "comparison_threshold" and comparison.get("categorical_drift_method") == "ChiSquared"
    return Constraint(
        name=str(feature["name"]),
        inferred_type=inferred,
        completeness=float(feature.get("completeness", 0.0)),
        is_non_negative=bool(numbers.get("is_non_negative", False)),
        domain=tuple(map(str, domains)) if domains is not None else None,
        drift_threshold=float(comparison.get(key, 0.1)) if on else None,
        method="ChiSquared" if categorical else _method(str(comparison.get("comparison_method", "Robust"))),
    )


def _method(text: str) -> Method:
    if text not in {"Simple", "Robust"}:
        raise ValueError(f"comparison_method {text!r}; expected Simple or Robust")
    return "Simple" if text == "Simple" else "Robust"


def _feature(name: str, kind: Kind, column: ColumnProfile, bins: Bins) -> dict[str, Any]:
    common = {"num_present": column.rows - column.missing, "num_missing": column.missing}
    entry: dict[str, Any] = {"name": name, "inferred_type": _inferred(kind)}
    if isinstance(column, NumericProfile) and isinstance(bins, NumericBins):
        moments = column.moments
        entry["numerical_statistics"] = {
            "common": common,
            "mean": _finite(moments.mean),
            "sum": _finite(moments.mean * moments.count),
            "std_dev": _finite(moments.standard_deviation),
            "min": moments.minimum if moments.count else None,
            "max": moments.maximum if moments.count else None,
            "distribution": {"kll": {"buckets": _buckets(column, bins), "sketch": {"parameters": {}, "data": []}}},
        }
    elif isinstance(column, CategoryProfile) and isinstance(bins, CategoryBins):
        counts = sorted(
            [*zip(bins.known, map(int, column.counts), strict=True), *column.new.items()], key=lambda item: -item[1]
        )
        buckets = [{"value": value, "count": count} for value, count in counts if count][:_TRUNCATED_CATEGORIES]
        distinct = sum(count > 0 for _, count in counts)
        entry["string_statistics"] = {
            "common": common,
            "distinct_count": float(distinct),
            "distribution": {"categorical": {"buckets": buckets}},
        }
    return entry


def _buckets(column: NumericProfile, bins: NumericBins) -> list[dict[str, float]]:
    """Ten buckets of equal width between lowest and highest value, the mass of a bin even between its borders."""
    low, high = column.moments.minimum, column.moments.maximum
    if not column.moments.count or not bins.edges:
        return []
    edges = np.asarray([min(low, bins.edges[0]), *bins.edges, max(high, bins.edges[-1])])
    cumulative = np.concatenate(([0.0], np.cumsum(shares(column.counts))))
    borders, below = redrawn(edges, cumulative, low, high, _SKETCH_BUCKETS)
    heights = below * column.moments.count
    heights[0], heights[-1] = 0.0, column.moments.count
    return [
        {
            "lower_bound": float(borders[i]),
            "upper_bound": float(borders[i + 1]),
            "count": float(heights[i + 1] - heights[i]),
        }
        for i in range(_SKETCH_BUCKETS)
    ]


def _read_feature(feature: Mapping[str, Any], rows: int) -> tuple[Column, Bins, ColumnProfile] | None:
    column = Column(str(feature["name"]), _KIND_OF[feature["inferred_type"]])
    numeric, text = feature.get("numerical_statistics"), feature.get("string_statistics")
    if numeric:
        buckets = ((numeric.get("distribution") or {}).get("kll") or {}).get("buckets") or []
        if not buckets:
            return None
        column = Column(column.name, column.kind if column.numeric else "double")
        return column, *_read_numbers(numeric, buckets)
    buckets = ((text or {}).get("distribution") or {}).get("categorical", {}).get("buckets") or []
    if not text or not buckets:
        return None
    counts = {str(bucket["value"]): int(bucket["count"]) for bucket in buckets}
    bins = CategoryBins.of(counts)
    common = text["common"]
    known = np.array([counts[value] for value in bins.known], dtype=np.int64)
    unnamed = max(0, int(common["num_present"]) - int(known.sum()))
    profile = CategoryProfile(known, new_unnamed=unnamed, missing=int(common["num_missing"]))
    return Column(column.name, "string"), bins, profile


def _read_numbers(
    numeric: Mapping[str, Any], buckets: Sequence[Mapping[str, Any]]
) -> tuple[NumericBins, NumericProfile]:
    edges = [float(buckets[0]["lower_bound"]), *(float(bucket["upper_bound"]) for bucket in buckets)]
    edges[-1] = math.nextafter(edges[-1], math.inf)
    if any(left >= right for left, right in pairwise(edges)):
        raise ValueError("buckets do not rise")
    counts = np.array([0, *(round(float(bucket["count"])) for bucket in buckets), 0], dtype=np.int64)
    present = int(numeric["common"]["num_present"])
    spread = float(numeric["std_dev"])
    moments = Moments(
        present, float(numeric["mean"]), spread * spread * present, float(numeric["min"]), float(numeric["max"])
    )
    return NumericBins(tuple(edges)), NumericProfile(counts, moments, int(numeric["common"]["num_missing"]))


def _finite(number: float) -> float | None:
    """JSON has no infinite numbers, as the spread of values near the largest double is one."""
    return number if math.isfinite(number) else None


def _inferred(kind: Kind) -> InferredType:
    if kind in {"long", "integer"}:
        return "Integral"
    return "Fractional" if kind in {"double", "float", "datetime"} else "String"
