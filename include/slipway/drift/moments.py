"""Count, mean, spread and range of numbers, mergeable."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Moments:
    """Moments of the finite values of a column.

    Merging follows Chan, Golub & LeVeque ("Updating formulae and a pairwise algorithm for computing sample variances",
    Stanford STAN-CS-79-773, 1979): order changes only the last digits.
    """

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0
    """Sum of squared deviations from the mean; infinite where it is beyond the largest float."""
    minimum: float = math.inf
    maximum: float = -math.inf

    @classmethod
    def of(cls, values: NDArray[np.float64]) -> Moments:
        """Moments of finite values; where some are not, neither is the range."""
        if values.size == 0:
            return cls()
        with np.errstate(over="ignore", invalid="ignore"):  # values near the largest float: the spread is infinite
            mean = float(values.mean())
            if not math.isfinite(mean):  # their sum is too large, not their mean
                mean = float(np.clip((values / values.size).sum(), values.min(), values.max()))
            apart = values - mean
            squares = float(np.square(apart, out=apart).sum())
        return cls(values.size, mean, squares, float(values.min()), float(values.max()))

    @property
    def finite(self) -> bool:
        """Whether all values were finite: a value that is not shows in the lowest or in the highest."""
        return self.count == 0 or (math.isfinite(self.minimum) and math.isfinite(self.maximum))

    @property
    def standard_deviation(self) -> float:
        """Of the population; 0 without values."""
        return math.sqrt(self.squares / self.count) if self.count else 0.0

    def merge(self, other: Moments) -> Moments:
        """Moments of both sets of values together."""
        count = self.count + other.count
        if not (self.count and other.count):
            return self if self.count else other
        apart = other.mean - self.mean
        mean = self.mean + apart * other.count / count
        if not math.isfinite(mean):  # what is between is too large, not the mean
            mean = self.mean * (self.count / count) + other.mean * (other.count / count)
        squares = self.squares + other.squares + apart * apart * self.count * other.count / count
        low, high = min(self.minimum, other.minimum), max(self.maximum, other.maximum)
        return Moments(count, mean, squares, low, high)
