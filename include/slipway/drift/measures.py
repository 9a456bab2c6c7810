"""Every statistic of every column, for people; verdicts rest on :mod:`slipway.drift.effect` alone."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from slipway.drift.baseline import Baseline
from slipway.drift.bins import NumericBins
from slipway.drift.effect import category_counts
from slipway.drift.profile import CategoryProfile, ColumnProfile, NumericProfile, Profile
from slipway.drift.statistics.chi_square import chi_square_test
from slipway.drift.statistics.counts import Counts
from slipway.drift.statistics.jensen_shannon import jensen_shannon_distance
from slipway.drift.statistics.kolmogorov_smirnov import binning_error_bound, kolmogorov_smirnov_distance
from slipway.drift.statistics.l_infinity import l_infinity_distance, robust
from slipway.drift.statistics.population_stability_index import population_stability_index
from slipway.drift.statistics.total_variation import total_variation_distance
from slipway.drift.statistics.wasserstein import wasserstein_distance


def measures_of(baseline: Baseline, window: Profile) -> dict[str, dict[str, float]]:
    """Return the statistics of each column by name; those that are not defined (no rows, no spread) are left out."""
    found = {}
    for name, before in baseline.profile.columns.items():
        values = _column(before, window.columns[name], baseline.bins.columns[name])
        found[name] = {statistic: value for statistic, value in values.items() if np.isfinite(value)}
    return found


def _column(before: ColumnProfile, after: ColumnProfile, bins: object) -> Mapping[str, float]:
    rates = {"missing_rate": _share(after.missing, after.rows), "mismatch_rate": _share(after.mismatched, after.rows)}
    if isinstance(before, NumericProfile) and isinstance(after, NumericProfile) and isinstance(bins, NumericBins):
        left, right = before.counts, after.counts
        return {
            "kolmogorov_smirnov": kolmogorov_smirnov_distance(left, right),
            "kolmogorov_smirnov_error": binning_error_bound(left, right),
            "kolmogorov_smirnov_robust": _robust(kolmogorov_smirnov_distance(left, right), left, right),
            "wasserstein": wasserstein_distance(left, right, np.asarray(bins.edges), before.moments.standard_deviation),
            "population_stability_index": population_stability_index(left, right),
            "jensen_shannon": jensen_shannon_distance(left, right),
            **_moments(after),
            "infinite_rate": _share(after.infinite, after.rows),
            **rates,
        }
    if isinstance(before, CategoryProfile) and isinstance(after, CategoryProfile):
        left, right = category_counts(before), category_counts(after)
        chi_square = chi_square_test(left, right)
        return {
            "total_variation": total_variation_distance(left, right),
            "l_infinity": l_infinity_distance(left, right),
            "l_infinity_robust": _robust(l_infinity_distance(left, right), left, right),
            "chi_square": chi_square.statistic,
            "chi_square_p_value": chi_square.p_value,
            "population_stability_index": population_stability_index(left, right),
            "jensen_shannon": jensen_shannon_distance(left, right),
            "new_category_rate": _share(after.new_rows, after.rows),
            **rates,
        }
    return rates


def _robust(distance: float, left: Counts, right: Counts) -> float:
    """A distance less what chance explains, as Model Monitor's method Robust takes it."""
    before, after = int(left.sum()), int(right.sum())
    return robust(distance, before, after) if before and after else float("nan")


def _moments(column: NumericProfile) -> dict[str, float]:
    moments = column.moments
    if not moments.count:
        return {}
    return {
        "count": float(moments.count),
        "mean": moments.mean,
        "standard_deviation": moments.standard_deviation,
        "minimum": moments.minimum,
        "maximum": moments.maximum,
    }


def _share(count: int, rows: int) -> float:
    return count / rows if rows else float("nan")
