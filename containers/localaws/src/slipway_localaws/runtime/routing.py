"""Which variant gets an invocation."""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Mapping
from itertools import accumulate
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from slipway_localaws.hosting.fleet import VariantHost


class Route:
    """An endpoint's variants and their shares of the traffic; never changed, only replaced.

    Args:
        hosts: the variants' containers.
        weights: their weights; all zero means that none gets traffic of its own accord.
        capture: the endpoint's DataCaptureConfig.
        instances: how many instances each variant counts.
    """

    def __init__(
        self,
        hosts: Mapping[str, VariantHost],
        weights: Mapping[str, float],
        capture: Mapping[str, Any],
        instances: Mapping[str, int],
    ) -> None:
        self.hosts = hosts
        self.capture = capture
        self.instances = instances
        self._names = [name for name, weight in weights.items() if weight > 0]
        self._bounds = list(accumulate(weights[name] for name in self._names))

    def choose(self) -> str | None:
        """A variant, with a chance proportional to its weight; None when all weights are zero."""
        if not self._names:
            return None
        if len(self._names) == 1:
            return self._names[0]
        place = bisect_right(self._bounds, random.random() * self._bounds[-1])
        return self._names[min(place, len(self._names) - 1)]
