r"""One test for "material" and "significant": is the change larger than the tolerance?

The null hypothesis is not "nothing changed", which is false for every stream once there are enough rows, but "the
change is at most the tolerance".

*Distances.* With :math:`D` the effect, :math:`t` the tolerance, :math:`b` the bias of chance and

.. math:: s^2 = 1/n + 1/m + \tau^2

(rows of window and baseline, and the between-chunk variance of the baseline) the p-value is bounded by
:math:`2 \exp(-2 ((D - t - b)/s)^2)`: Dvoretzky–Kiefer–Wolfowitz with Massart's constant (Ann. Probab. 18(3), 1990) for
the Kolmogorov–Smirnov distance, McDiarmid's inequality (1989) for the total variation distance.

*Rates.* With :math:`q` the window's rate and :math:`p_t` the baseline's moved by the tolerance towards it, the p-value
is bounded by :math:`2 \exp(-h\,KL(q \| p_t))` (Chernoff 1952), :math:`h = nm/(n+m)`. A share moves both ways, and each
way only as far as 0 or 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from slipway.drift.baseline import Spread
from slipway.drift.effect import Effect

_MOST_ROWS = 10**9


class ChangeTest(Protocol):
    """A test of one change against a tolerance."""

    @property
    def statistic(self) -> str:
        """Name of the distance or rate."""

    @property
    def value(self) -> float:
        """What was found, 0 to 1."""

    @property
    def tolerance(self) -> float:
        """What does not matter, 0 to 1."""

    @property
    def rows(self) -> int:
        """Rows of the window that it saw."""

    @property
    def baseline_rows(self) -> int:
        """Rows of the baseline that it saw."""

    @property
    def p_value(self) -> float:
        """Of "the change is at most the tolerance"."""

    def lower_bound(self, alpha: float) -> float:
        """What the change is at least, with chance ``alpha`` of error."""

    def tells(self, alpha: float, rows: int, baseline_rows: int | None = None) -> bool:
        """Whether a window of ``rows`` would show a change of twice the tolerance, to this or another baseline."""


@dataclass(frozen=True)
class DistanceTest:
    """A distance of two histograms against a tolerance."""

    effect: Effect
    tolerance: float
    spread: Spread

    @property
    def statistic(self) -> str:
        """Name of the distance."""
        return self.effect.statistic

    @property
    def value(self) -> float:
        """The distance, 0 to 1."""
        return self.effect.value

    @property
    def rows(self) -> int:
        """Rows of the window with a value."""
        return self.effect.window_rows

    @property
    def baseline_rows(self) -> int:
        """Rows of the baseline with a value."""
        return self.effect.baseline_rows

    @property
    def p_value(self) -> float:
        """Of "the distance is at most the tolerance"."""
        excess = self.value - self.tolerance - self.effect.bias
        scale = math.sqrt(self._chance + self.spread.for_rows(self.rows))
        return min(1.0, 2 * math.exp(-2 * (excess / scale) ** 2)) if excess > 0 else 1.0

    def lower_bound(self, alpha: float) -> float:
        """What the distance is at least, with chance ``alpha`` of error."""
        return max(0.0, self.value - self.effect.bias - self._margin(alpha, self.rows, self._chance))

    def tells(self, alpha: float, rows: int, baseline_rows: int | None = None) -> bool:
        """Whether a window of ``rows`` would show a distance of twice the tolerance beyond what the reference varies.

        What the reference itself varies by stays however many rows there are; it is no lack of rows.
        """
        chance = 1 / rows + 1 / (baseline_rows or self.baseline_rows)
        bias = self.effect.bias * math.sqrt(chance / self._chance)
        return self._margin(alpha, rows, chance) + bias <= self.tolerance + self.allowance(alpha)

    def allowance(self, alpha: float) -> float:
        """What windows of any size may differ by, because parts of the reference do."""
        return math.sqrt(math.log(2 / alpha) / 2 * self.spread.variance)

    @property
    def _chance(self) -> float:
        """The part of the squared scale that is chance."""
        return 1 / self.rows + 1 / self.baseline_rows

    def _margin(self, alpha: float, rows: int, chance: float) -> float:
        return math.sqrt(math.log(2 / alpha) / 2 * (chance + self.spread.for_rows(rows)))


@dataclass(frozen=True)
class RateTest:
    """A share of rows, in the baseline and in the window, against a tolerance."""

    statistic: str
    tolerance: float
    baseline_count: int
    baseline_rows: int
    window_count: int
    rows: int

    @property
    def value(self) -> float:
        """By how much the share changed, 0 to 1."""
        return abs(self._after - self._before)

    @property
    def p_value(self) -> float:
        """Of "the share changed by at most the tolerance"."""
        if self.value <= self.tolerance:
            return 1.0
        return self._p_value(self.tolerance)

    def lower_bound(self, alpha: float) -> float:
        """By how much the share changed at least, with chance ``alpha`` of error."""
        low, high = 0.0, self.value
        for _ in range(40):
            middle = (low + high) / 2
            low, high = (middle, high) if self._p_value(middle) <= alpha else (low, middle)
        return low

    def tells(self, alpha: float, rows: int, baseline_rows: int | None = None) -> bool:
        """Whether a window of ``rows`` would show a change of twice the tolerance, upwards and downwards.

        A share cannot leave 0 to 1: a column that is nearly always empty cannot become emptier by more than the
        tolerance, so there is nothing to show in that direction. Where neither has room for twice the tolerance, the
        largest change that is possible counts.
        """
        rooms = {-1: self._before, 1: 1 - self._before}
        if max(rooms.values()) <= self.tolerance:
            return True
        change = min(2 * self.tolerance, max(rooms.values()))
        weight = _harmonic(rows, baseline_rows or self.baseline_rows)
        return all(self._shows(sign * change, alpha, weight) for sign, room in rooms.items() if change <= room + 1e-12)

    def _shows(self, change: float, alpha: float, weight: float) -> bool:
        limit = _inside(self._before + math.copysign(self.tolerance, change))
        shown = min(max(self._before + change, 0.0), 1.0)
        return 2 * math.exp(-weight * _divergence(shown, limit)) <= alpha

    @property
    def _before(self) -> float:
        return self.baseline_count / self.baseline_rows

    @property
    def _after(self) -> float:
        return self.window_count / self.rows

    def _p_value(self, tolerance: float) -> float:
        limit = _inside(self._before + math.copysign(tolerance, self._after - self._before))
        exponent = _harmonic(self.rows, self.baseline_rows) * _divergence(self._after, limit)
        return min(1.0, 2 * math.exp(-exponent))


def rows_needed(test: ChangeTest, alpha: float) -> int | None:
    """Rows that a window needs before the test tells stable from drifted.

    Args:
        test: The test of a window with at least one row.
        alpha: Chance of a false alarm.

    Returns:
        The smallest number of rows; None when no number suffices, because the baseline has too few.
    """
    return _smallest(test.rows, lambda rows: test.tells(alpha, rows))


def baseline_needed(test: ChangeTest, alpha: float) -> int | None:
    """Rows that a baseline needs before a window, of however many rows, tells stable from drifted.

    Args:
        test: The test of a window with at least one row.
        alpha: Chance of a false alarm.

    Returns:
        The smallest number of rows, that of the baseline when it has enough; None when no number suffices.
    """
    return _smallest(test.baseline_rows, lambda rows: test.tells(alpha, _MOST_ROWS, rows))


def _smallest(least: int, enough: Callable[[int], bool]) -> int | None:
    """The smallest number, ``least`` or more, that is enough, as are all larger ones."""
    if enough(least):
        return least
    low, high = least, 2 * least
    while not enough(high):
        if high > _MOST_ROWS:
            return None
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def _inside(share: float) -> float:
    """The share, kept off 0 and 1, where a divergence has no value."""
    return min(max(share, 1e-9), 1 - 1e-9)


def _harmonic(left: int, right: int) -> float:
    return left * right / (left + right)


def _divergence(q: float, p: float) -> float:
    """Kullback–Leibler divergence of two Bernoulli distributions, in nats."""
    first = q * math.log(q / p) if q > 0 else 0.0
    second = (1 - q) * math.log((1 - q) / (1 - p)) if q < 1 else 0.0
    return first + second
