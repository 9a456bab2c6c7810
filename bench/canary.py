"""Simulated canaries: how often each judge rolls back a healthy release, and how soon it catches a bad one.

Traffic is drawn as Bernoulli outcomes of two arms; every rule sees the same draws. Peers run the rule that their
documentation describes, tuned to the same intent ("roll back when errors double"):

* ``flagger``: each look compares the canary's error rate of that look with a threshold; 5 failed checks roll back
  (https://docs.flagger.app/usage/how-it-works, ``threshold: 5``).
* ``argo-rollouts``: the same comparison, the first failed measurement rolls back (``failureLimit: 0``, the default).
* ``codedeploy-alarm``: a CloudWatch alarm on the error rate, 2 of 3 periods over the threshold.
* ``kayenta``: Mann-Whitney on per-minute error counts so far, repeated at each look, first "High" rolls back.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.peers import kayenta
from bench.report import Row, publish
from slipway.canary.e_process import log_e_value_of_level, log_e_value_of_ratio
from slipway.canary.metric_source import ERROR, SLOW
from slipway.canary.plan import CanaryPlan
from slipway.canary.policy import SLOW_IGNORE_BELOW
from slipway.spec import PromoteSpec

LOOKS = 25
ALPHA = 0.01
#: As in the first step of a promotion with the spec's defaults.
_DEFAULTS = PromoteSpec()
_PLAN = CanaryPlan(
    challenger="b",
    champion="a",
    weights_pct=_DEFAULTS.weights_pct,
    bake_seconds=_DEFAULTS.bake_minutes * 60,
    max_hold_seconds=_DEFAULTS.max_hold_hours * 3600,
    alpha=ALPHA,
)
ALPHA_OF_ERROR = _PLAN.alpha_of(1, ERROR)
ALPHA_OF_SLOW = _PLAN.alpha_of(1, SLOW)
IGNORE_BELOW = _DEFAULTS.ignore_errors_below_pct / 100
#: Answer times are log-normal with this spread; 1 % of the champion's are slow. An answer that takes 20 % longer is
#: then slow with probability 1 - Phi(2.326 - ln(1.2) / 0.5) = 2.5 %.
LATENCY_SPREAD = 0.5
MINUTES_PER_LOOK = 5
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Draws:
    """Requests and bad requests of both arms; shape (runs, looks)."""

    base_rate: float
    challenger_requests: Array
    challenger_bad: Array
    champion_requests: Array
    champion_bad: Array


def draw(rng: np.random.Generator, runs: int, *, base_rate: float, share: float, requests: int, factor: float) -> Draws:
    """Draw the traffic of ``runs`` canaries in which the challenger's bad rate is ``factor`` times the base rate."""
    challenger = rng.binomial(requests, share, (runs, LOOKS))
    champion = requests - challenger
    return Draws(
        base_rate=base_rate,
        challenger_requests=challenger.astype(float),
        challenger_bad=rng.binomial(challenger, min(1.0, base_rate * factor)).astype(float),
        champion_requests=champion.astype(float),
        champion_bad=rng.binomial(champion, base_rate).astype(float),
    )


def slipway(draws: Draws, *, alpha: float = ALPHA_OF_ERROR, ignore_below: float = IGNORE_BELOW) -> NDArray[np.int64]:
    """Look at which ours rolls back, from 1; 0 for never."""
    hits = []
    for look in range(1, LOOKS + 1):
        arms = [
            values[:, :look]
            for values in (
                draws.challenger_requests,
                draws.challenger_bad,
                draws.champion_requests,
                draws.champion_bad,
            )
        ]
        ratio = log_e_value_of_ratio(*arms, max_ratio=1.0)
        level = log_e_value_of_level(arms[0].sum(axis=1), arms[1].sum(axis=1), ignore_below)
        hits.append(np.minimum(ratio, level) >= math.log(1 / alpha))
    return _first(np.stack(hits, axis=1))


def _over_threshold(draws: Draws) -> NDArray[np.bool_]:
    rates = draws.challenger_bad / np.maximum(draws.challenger_requests, 1)
    return rates > 2 * draws.base_rate


def flagger(draws: Draws) -> NDArray[np.int64]:
    """Look of the fifth failed check."""
    return _first(np.cumsum(_over_threshold(draws), axis=1) >= 5)


def argo_rollouts(draws: Draws) -> NDArray[np.int64]:
    """Look of the first failed measurement."""
    return _first(_over_threshold(draws))


def codedeploy_alarm(draws: Draws) -> NDArray[np.int64]:
    """Look at which 2 of the last 3 periods were over the threshold."""
    over = _over_threshold(draws).astype(int)
    window = over + np.pad(over, ((0, 0), (1, 0)))[:, :-1] + np.pad(over, ((0, 0), (2, 0)))[:, :-2]
    return _first(window >= 2)


def kayenta_repeated(draws: Draws, rng: np.random.Generator) -> NDArray[np.int64]:
    """First look at which the repeated test says High, on error shares of the minutes so far."""
    found = np.zeros(len(draws.challenger_requests), dtype=np.int64)
    for run in range(len(found)):
        canary, baseline = _minutes(draws, run, rng)
        for look in range(1, LOOKS + 1):
            points = look * MINUTES_PER_LOOK
            if kayenta.classify(canary[:points], baseline[:points]) == "High":
                found[run] = look
                break
    return found


def _minutes(draws: Draws, run: int, rng: np.random.Generator) -> tuple[Array, Array]:
    def split(requests: Array, bad: Array) -> Array:
        even = np.full(MINUTES_PER_LOOK, 1 / MINUTES_PER_LOOK)
        parts = [
            rng.multinomial(int(b), even) / max(n / MINUTES_PER_LOOK, 1) for n, b in zip(requests, bad, strict=True)
        ]
        return np.concatenate(parts)

    return (
        split(draws.challenger_requests[run], draws.challenger_bad[run]),
        split(draws.champion_requests[run], draws.champion_bad[run]),
    )


def _first(hits: NDArray[np.bool_]) -> NDArray[np.int64]:
    return np.where(hits.any(axis=1), hits.argmax(axis=1) + 1, 0)


def measure(runs: int, kayenta_runs: int) -> list[Row]:
    """Simulate the whole grid.

    Args:
        runs: Canaries for each case and vectorised rule.
        kayenta_runs: Canaries for Kayenta, whose test is slow.

    Returns:
        Rows of case, system, metric, value and unit.
    """
    rng = np.random.default_rng(20261121)
    rows: list[Row] = []
    rules: dict[str, Callable[[Draws], NDArray[np.int64]]] = {
        "slipway": slipway,
        "flagger": flagger,
        "argo-rollouts": argo_rollouts,
        "codedeploy-alarm": codedeploy_alarm,
    }
    for base_rate in (0.002, 0.01, 0.05):
        for share in (0.05, 0.25, 0.5):
            for requests in (200, 4000):
                for factor in (1.0, 1.2, 1.5, 2.0, 5.0):
                    case = f"base {base_rate:.1%}, share {share:.0%}, {requests} requests a look, {factor:g}x"
                    cell = {"base_rate": base_rate, "share": share, "requests": requests, "factor": factor}
                    draws = draw(rng, runs, **cell)
                    for system, rule in rules.items():
                        rows += rows_of(case, system, rule(draws), factor, draws)
                    if factor > 1.0:
                        rows.append(_sample_row(case, rng, cell, system_power=float((slipway(draws) > 0).mean())))
                    if share == 0.05 and requests == 4000 and base_rate == 0.01:
                        few = draw(rng, kayenta_runs, **cell)
                        rows += rows_of(case, "kayenta", kayenta_repeated(few, rng), factor, few)
    return rows + _latency(rng, runs)


def _latency(rng: np.random.Generator, runs: int) -> list[Row]:
    """Answers that take 20 % longer, judged by the share of slow ones."""
    normal = NormalDist()
    slow = 1 - normal.cdf(normal.inv_cdf(0.99) - math.log(1.2) / LATENCY_SPREAD)
    rows: list[Row] = []
    for share in (0.05, 0.25, 0.5):
        case = f"answers 20% slower, {slow / 0.01:.1f}x over the objective, share {share:.0%}, 4000 requests a look"
        draws = draw(rng, runs, base_rate=0.01, share=share, requests=4000, factor=slow / 0.01)
        found = slipway(draws, alpha=ALPHA_OF_SLOW, ignore_below=SLOW_IGNORE_BELOW)
        rows += rows_of(case, "slipway", found, slow / 0.01, draws)
        for system, rule in (
            ("flagger", flagger),
            ("argo-rollouts", argo_rollouts),
            ("codedeploy-alarm", codedeploy_alarm),
        ):
            rows += rows_of(case, system, rule(draws), slow / 0.01, draws)
    return rows


def _sample_row(case: str, rng: np.random.Generator, cell: dict[str, Any], *, system_power: float) -> Row:
    """Challenger's requests that a step needs until ours catches 9 of 10; what is simulated, or more of it."""
    scale, power = 1, system_power
    while power < 0.9 and scale < 1024:
        scale *= 2
        more = draw(rng, 400, **{**cell, "requests": cell["requests"] * scale})
        power = float((slipway(more) > 0).mean())
    needed = cell["requests"] * scale * cell["share"] * LOOKS
    return Row(case, "slipway", "challenger's requests until 90% are caught, at most", needed, "requests")


def rows_of(case: str, system: str, found: NDArray[np.int64], factor: float, draws: Draws) -> list[Row]:
    """What a rule did in a case.

    Args:
        case: The case.
        system: The rule.
        found: Look at which it rolled back, 0 for never.
        factor: How many times worse the challenger is; at 1 each rollback is a false one.
        draws: What was judged.
    """
    caught = found > 0
    rows = [
        Row(case, system, "false rollbacks" if factor == 1.0 else "caught", float(caught.mean()) * 100, "%"),
    ]
    if factor > 1.0:
        until = np.where(caught, found, LOOKS)
        harmed = np.array([draws.challenger_bad[run, :look].sum() for run, look in enumerate(until)])
        rows += [
            Row(case, system, "caught within 2 looks", float(((found > 0) & (found <= 2)).mean()) * 100, "%"),
            Row(case, system, "median looks to rollback", float(np.median(until)), "looks"),
            Row(case, system, "bad answers before rollback", float(harmed.mean()), "requests"),
        ]
    return rows


def shown_of(rows: list[Row]) -> list[Row]:
    """What the page shows of the grid: its worst false rollbacks, the case of the published reach, and latency."""
    systems = dict.fromkeys(row.system for row in rows)
    worst = []
    for system in systems:
        false = [row.value for row in rows if row.system == system and row.metric == "false rollbacks"]
        if len(false) > 1:
            case = "healthy releases, the worst of the grid's cells"
            worst.append(Row(case, system, "false rollbacks over 25 looks", max(false), "%"))
    cells = ("base 1.0%, share 5%, 4000 requests", "base 1.0%, share 5%, 200 requests", "answers")
    return [*worst, *(row for cell in cells for row in rows if row.case.startswith(cell))]


NOTES = (
    "Simulated. Every rule sees the same draws; one step with 25 looks; alpha of the promotion is 1 %, of which the "
    "error comparison of the first step has 0.3 % (ADR 0016). All cells of the grid are in `var/bench/canary.json`.",
    "**Where we lose.** Threshold rules are quicker on small changes: at 200 requests a look, or at 1.2x and 1.5x the "
    "errors, ours often needs more traffic than 25 looks bring, and it then says how much. `codedeploy-alarm` and "
    "`argo-rollouts` catch 2x sooner, and pay for it with the healthy releases that they roll back. Flagger's five "
    "failed checks need at least five looks for anything.",
)


def main() -> None:
    """Run the simulation and publish its table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=4000)
    parser.add_argument("--kayenta-runs", type=int, default=100)
    arguments = parser.parse_args()
    rows = measure(arguments.runs, arguments.kayenta_runs)
    publish("canary", rows, shown=shown_of(rows), notes=NOTES)


if __name__ == "__main__":
    main()
