"""The frozen plan of a canary: its weights, its alpha, and what must be shown before the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from slipway.canary.metric_source import ANSWER, ERROR, REJECTED, SLOW, UNLIKE, WRONG
from slipway.canary.progress import StepProgress
from slipway.errors import InvalidParamsError

MetricsSource = Literal["cloudwatch", "captures", "both"]

#: How the comparisons of a step share its alpha; see docs/adr/0016. Most bad releases show themselves by errors.
ALPHA_SHARES: Mapping[MetricsSource, Mapping[str, float]] = {
    "cloudwatch": {ERROR: 0.6, SLOW: 0.2, REJECTED: 0.2},
    "captures": {ANSWER: 0.8, UNLIKE: 0.2},
    "both": {ERROR: 0.5, SLOW: 0.15, REJECTED: 0.15, ANSWER: 0.1, UNLIKE: 0.1},
}
#: Part of a step's alpha that wrong answers take from the others, in proportion, when outcomes are judged.
WRONG_SHARE = 0.2


class CanaryPlan(BaseModel):
    """What one promotion will do, written into the endpoint's state before anything changes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    challenger: str = Field(description="Release that is being promoted; the name of its variant.")
    champion: str = Field(description="Release that has the traffic; the name of its variant.")
    weights_pct: tuple[float, ...] = Field(description="The challenger's share of the traffic in each step.")
    bake_seconds: float = Field(gt=0, description="How long each step lasts at least.")
    max_hold_seconds: float = Field(ge=0, description="How long a step may stay unsettled beyond that.")
    alpha: float = Field(gt=0, lt=1, description="Chance that a healthy release is rolled back, over the whole run.")
    source: MetricsSource = Field("cloudwatch", description="Where the counts come from.")
    outcomes: bool = Field(False, description="Whether answers are held against the outcomes that arrive.")

    @model_validator(mode="after")
    def _weights_rise(self) -> CanaryPlan:
        if not self.weights_pct:
            raise ValueError("a canary needs at least one weight")
        rising = all(low < high for low, high in zip((0.0, *self.weights_pct), self.weights_pct, strict=False))
        if not rising or self.weights_pct[-1] >= 100:
            raise ValueError(f"weights must rise, each above 0 and below 100; found {list(self.weights_pct)}")
        return self

    def alpha_of(self, step: int, comparison: str) -> float:
        """Alpha of one comparison in one step.

        Each step takes half of what the steps before it left, the bake at 100 % as the last takes the rest: a bad
        release shows itself in the first step, where the challenger has the fewest requests, and only what passed
        reaches the others. All parts together are alpha (union bound).

        Args:
            step: Number of the step, from 1; the bake has the number after the last weight's.
            comparison: ``error``, ``slow``, ``rejected``; of captures ``answer``, ``unlike``; of outcomes ``wrong``.

        Returns:
            A chance, above 0 and below alpha.
        """
        halvings = min(step, len(self.weights_pct))
        return float(self.alpha * 0.5**halvings * self.alpha_shares[comparison])

    @property
    def alpha_shares(self) -> Mapping[str, float]:
        """How the comparisons of a step share its alpha; all parts together are 1."""
        shares = ALPHA_SHARES[self.source]
        if not self.outcomes:
            return shares
        return {**{name: share * (1 - WRONG_SHARE) for name, share in shares.items()}, WRONG: WRONG_SHARE}

    def planned_share(self, step: int) -> float:
        """The challenger's share of the traffic in a step.

        Args:
            step: Number of the step, from 1.

        Returns:
            A share between 0 and 1.
        """
        return self.weights_pct[step - 1] / 100.0

    def shortened(self, weights_pct: Sequence[float]) -> CanaryPlan:
        """The same plan with fewer steps, as an operator may ask for one run.

        Args:
            weights_pct: The weights to keep, in order.

        Returns:
            The shorter plan.

        Raises:
            InvalidParamsError: A weight is not in the plan, or none is left.
        """
        unknown = [weight for weight in weights_pct if weight not in self.weights_pct]
        if unknown or not weights_pct:
            raise InvalidParamsError(
                f"A run may only leave out weights of the plan {list(self.weights_pct)}; found {list(weights_pct)}. "
                "Change promote.weights_pct in the service's YAML to plan other weights."
            )
        return CanaryPlan.model_validate({**self.model_dump(), "weights_pct": tuple(sorted(set(weights_pct)))})

    def missing_passes(self, steps: Sequence[StepProgress]) -> list[int]:
        """Steps that neither passed nor were let go on by a person.

        Args:
            steps: The steps that have begun.

        Returns:
            Numbers of the steps, in order; empty when the promotion may finish.
        """
        done = {step.number for step in steps if step.may_go_on}
        return [number for number in range(1, len(self.weights_pct) + 1) if number not in done]
