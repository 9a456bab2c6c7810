"""What was counted in the two arms of traffic while a step was on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from slipway.errors import InvalidInputError


@dataclass(frozen=True)
class ArmCounts:
    """Requests of one arm in one closed metric period, and how many of them were bad."""

    requests: int
    bad: int

    def __post_init__(self) -> None:
        if not 0 <= self.bad <= self.requests:
            raise InvalidInputError(
                f"An arm counted {self.bad} bad requests of {self.requests}: the bad ones must be between 0 and all. "
                "Check that both numbers come from the same variant and period."
            )

    @property
    def rate(self) -> float:
        """Share of bad requests, between 0 and 1; 0 without requests."""
        return self.bad / self.requests if self.requests else 0.0


@dataclass(frozen=True)
class PeriodCounts:
    """Both arms in one closed metric period."""

    challenger: ArmCounts
    champion: ArmCounts


@dataclass(frozen=True)
class ComparisonCounts:
    """The closed periods since a step began, for one comparison such as ``error`` or ``slow``.

    Args:
        periods: Both arms in each of them.
        together: Whether both arms were served in the same periods. At 100 % the champion has no traffic; its counts
            are then those of the steps before, and its upper bound takes the place of its rate.
        of_step: Whether all requests are the present step's, and so split as its weights say. Outcomes that arrive now
            are of earlier steps, too.
    """

    periods: tuple[PeriodCounts, ...]
    together: bool = True
    of_step: bool = True

    @property
    def challenger(self) -> ArmCounts:
        """The challenger's sum over all periods."""
        return total([period.challenger for period in self.periods])

    @property
    def champion(self) -> ArmCounts:
        """The champion's sum over all periods."""
        return total([period.champion for period in self.periods])

    def arrays(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Challenger's requests and bad, champion's requests and bad: four arrays with one value a period."""
        challenger = [period.challenger for period in self.periods]
        champion = [period.champion for period in self.periods]
        return (
            np.array([arm.requests for arm in challenger], dtype=np.float64),
            np.array([arm.bad for arm in challenger], dtype=np.float64),
            np.array([arm.requests for arm in champion], dtype=np.float64),
            np.array([arm.bad for arm in champion], dtype=np.float64),
        )


def total(arms: Sequence[ArmCounts]) -> ArmCounts:
    """The sum of counts; 0 of 0 when there are none."""
    return ArmCounts(requests=sum(arm.requests for arm in arms), bad=sum(arm.bad for arm in arms))
