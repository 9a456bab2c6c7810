"""The effect that a verdict is about: how far apart two columns are, on a scale from 0 to 1."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from slipway.drift.profile import CategoryProfile, ColumnProfile, NumericProfile
from slipway.drift.statistics.counts import Counts
from slipway.drift.statistics.kolmogorov_smirnov import kolmogorov_smirnov_distance
from slipway.drift.statistics.total_variation import expected_under_no_change, total_variation_distance
from slipway.errors import InvalidInputError

#: The distances on which verdicts rest; one for each column.
EFFECTS = ("kolmogorov_smirnov", "total_variation")


@dataclass(frozen=True)
class Effect:
    """A distance with what it was measured on.

    Args:
        statistic: Its name.
        value: The distance, 0 to 1.
        bias: What two samples of one distribution show on average.
        baseline_rows: Rows with a value in the baseline.
        window_rows: Rows with a value in the window.
    """

    statistic: str
    value: float
    bias: float
    baseline_rows: int
    window_rows: int


def effect_of(baseline: ColumnProfile, window: ColumnProfile) -> Effect:
    """Compare a window's column with the baseline's.

    Numeric columns by the Kolmogorov-Smirnov distance of their bins, categorical ones by the total variation
    distance, in which all values that the baseline does not know are one category.

    Args:
        baseline: The baseline's column.
        window: The window's column over the same bins.

    Returns:
        The effect; its value is NaN when either has no row with a value.

    Raises:
        InvalidInputError: The columns are of different kinds.
    """
    if isinstance(baseline, NumericProfile) and isinstance(window, NumericProfile):
        value = kolmogorov_smirnov_distance(baseline.counts, window.counts)
        return Effect("kolmogorov_smirnov", value, 0.0, int(baseline.counts.sum()), int(window.counts.sum()))
    if isinstance(baseline, CategoryProfile) and isinstance(window, CategoryProfile):
        left, right = category_counts(baseline), category_counts(window)
        value = total_variation_distance(left, right)
        bias = expected_under_no_change(left, int(right.sum()))
        return Effect("total_variation", value, bias, int(left.sum()), int(right.sum()))
    raise InvalidInputError("A column is numeric in the baseline and categorical in the window, or the reverse.")


def category_counts(column: CategoryProfile) -> Counts:
    """Counts of the known categories and, last, of all others together."""
    return np.append(column.counts, column.new_rows)
