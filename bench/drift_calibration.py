"""Simulated windows: how often each rule calls an unchanged stream drifted, and how often it sees a change.

Counts over the baseline's bins (256 of numbers, five categories) are drawn from their true probabilities, so that every
rule sees the same window. The reference has 20,000 rows in 40 chunks. Peers run their documented default rule on these
counts, not their own code: Evidently (reference above 1000 rows: Wasserstein distance over standard deviation at least
0.1, for categories Jensen-Shannon distance at least 0.1), NannyML (Jensen-Shannon above mean + 3 standard deviations
over ten reference chunks), Model Monitor (robust KS or L-infinity above 0.1; a missing value where the baseline had
none), plain KS or chi-square at p < 0.05, PSI (ten bins) at least 0.1. A run is an alarm when any column is.
Of a changed stream only the first column changes; what a rule says of the others counts as found too, so the lines of
unchanged streams show what its finds are worth. Moving levels are drawn anew for each window.
"""

from __future__ import annotations

import argparse
import functools
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from bench.drift_streams import (
    NONE,
    Change,
    Levels,
    World,
    coarse,
    counts_of,
    daily,
    make_world,
    numbers,
    steady,
    wandering,
    words,
)
from bench.report import ROOT, Row, machine, table
from slipway.drift.baseline import Baseline
from slipway.drift.bins import Bins, BinSet, NumericBins
from slipway.drift.judge import DriftPolicy, DriftVerdict, judge
from slipway.drift.profile import ColumnProfile, Profile
from slipway.drift.statistics.chi_square import chi_square_test
from slipway.drift.statistics.jensen_shannon import jensen_shannon_distance
from slipway.drift.statistics.kolmogorov_smirnov import kolmogorov_smirnov_distance
from slipway.drift.statistics.l_infinity import l_infinity_distance, robust
from slipway.drift.statistics.population_stability_index import population_stability_index
from slipway.drift.statistics.wasserstein import wasserstein_distance

PAGE = ROOT / "docs" / "drift-calibration.md"
RUNS_A_YEAR = 52
NOMINAL_WEEKLY = 1 / RUNS_A_YEAR
Rule = Callable[[ColumnProfile], bool]


def ours(world: World, windows: list[ColumnProfile], policy: DriftPolicy) -> bool:
    """Whether Slipway's judge calls the window, whose columns all have this baseline, drifted."""
    names = [f"x{index}" for index in range(len(windows))]
    wide = Baseline(
        BinSet(dict.fromkeys(names, world.bins)),
        Profile("w", 0, dict.fromkeys(names, world.before)),
        dict.fromkeys(names, world.baseline.spreads["x"]),
    )
    window = Profile("w", windows[0].rows, dict(zip(names, windows, strict=True)))
    return judge(wide, window, policy).verdict is DriftVerdict.DRIFTED


def peers(world: World) -> dict[str, Rule]:
    """The peers' rules for one column."""
    rules = _number_rules(world) if isinstance(world.bins, NumericBins) else _category_rules(world)
    before = coarse(world.before)
    tenths = [sum(map(coarse, world.chunks[4 * part : 4 * part + 4])) for part in range(10)]
    found = [jensen_shannon_distance(before, each) for each in tenths]
    limit = float(np.mean(found) + 3 * np.std(found))
    return {
        **rules,
        "PSI>=.1": lambda w: population_stability_index(before, coarse(w)) >= 0.1,
        "NannyML": lambda w: jensen_shannon_distance(before, coarse(w)) > limit,
    }


def _number_rules(world: World) -> dict[str, Rule]:
    before = counts_of(world.before)
    n, edges = int(before.sum()), np.asarray(world.bins.edges)  # type: ignore[union-attr]

    def significant(window: ColumnProfile) -> bool:
        counts = counts_of(window)
        m = int(counts.sum())
        return kolmogorov_smirnov_distance(before, counts) * math.sqrt(n * m / (n + m)) > 1.358

    def model_monitor(window: ColumnProfile) -> bool:
        counts = counts_of(window)
        return window.missing > 0 or robust(kolmogorov_smirnov_distance(before, counts), n, int(counts.sum())) > 0.1

    return {
        "KS or chi2 p<.05": significant,
        "Evidently": lambda w: wasserstein_distance(before, counts_of(w), edges, 1.0) >= 0.1,
        "Model Monitor": model_monitor,
    }


def _category_rules(world: World) -> dict[str, Rule]:
    before = counts_of(world.before)

    def model_monitor(window: ColumnProfile) -> bool:
        counts = counts_of(window)
        distance = l_infinity_distance(before, counts)
        return window.missing > 0 or robust(distance, int(before.sum()), int(counts.sum())) > 0.1

    return {
        "KS or chi2 p<.05": lambda w: chi_square_test(before, counts_of(w)).p_value < 0.05,
        "Evidently": lambda w: jensen_shannon_distance(before, counts_of(w)) >= 0.1,
        "Model Monitor": model_monitor,
    }


def rates(
    rng: np.random.Generator,
    repeats: int,
    rows: int,
    columns: int,
    *,
    change: Change = NONE,
    levels: Levels = steady,
    bins: Bins | None = None,
    runs_of_a_world: int = 20,
) -> dict[str, float]:
    """Share of runs, in percent, in which each rule raises an alarm; in a changed stream the first column changes."""
    hits: dict[str, int] = {}
    policy = DriftPolicy(runs_per_year=RUNS_A_YEAR)
    for repeat in range(repeats):
        if repeat % runs_of_a_world == 0:
            world = make_world(rng, bins or _numbers(), levels)
            rules = peers(world)
        level = float(world.levels(rng, 1)[0])
        windows = [world.draw(rng, rows, level, NONE if index else change) for index in range(columns)]
        found = {"slipway": ours(world, windows, policy)}
        found |= {name: any(rule(window) for window in windows) for name, rule in rules.items()}
        for name, hit in found.items():
            hits[name] = hits.get(name, 0) + hit
    return {name: 100 * count / repeats for name, count in hits.items()}


@functools.cache
def _numbers() -> NumericBins:
    return numbers()


MOVING: dict[str, Levels] = {"autocorrelated level": wandering, "hours of the day": daily}
CHANGES = {
    **{f"shift {shift} sd": Change(shift=shift) for shift in (0.05, 0.1, 0.2, 0.3, 0.5)},
    **{f"spread x {scale}": Change(scale=scale) for scale in (1.5, 2.0, 3.0)},
    **{f"{share:.0%} of rows five times as wide": Change(tail=share) for share in (0.05, 0.2)},
    **{f"{share:.0%} missing": Change(missing=share) for share in (0.05, 0.1, 0.2)},
}
MOVES = {f"{share:.0%} of rows change category": Change(moved=share) for share in (0.05, 0.1, 0.2, 0.3)}


def measure(repeats: int) -> list[Row]:
    """Run the whole grid."""
    rng = np.random.default_rng(20261121)
    return [*_alarms(rng, repeats), *_alarms_of_a_year(rng, repeats), *_power(rng, repeats)]


def _alarms(rng: np.random.Generator, repeats: int) -> list[Row]:
    rows = []
    for n in (50, 200, 1000, 5000, 50_000):
        for columns in (1, 20, 200):
            rows += _rows(f"unchanged, {n} rows, {columns} columns", "alarms", rates(rng, repeats, n, columns))
    for n in (200, 1000, 5000):
        found = rates(rng, repeats, n, 20, bins=words())
        rows += _rows(f"unchanged categories, {n} rows, 20 columns", "alarms", found)
    for name, levels in MOVING.items():
        for n in (200, 500, 1000, 5000):
            rows += _rows(f"{name}, {n} rows, 20 columns", "alarms", rates(rng, repeats, n, 20, levels=levels))
    return rows


def _alarms_of_a_year(rng: np.random.Generator, repeats: int) -> list[Row]:
    rows, years = [], max(2, repeats // RUNS_A_YEAR)
    for name, levels in {"unchanged": steady, **MOVING}.items():
        found = rates(rng, years * RUNS_A_YEAR, 1000, 20, levels=levels, runs_of_a_world=RUNS_A_YEAR)
        yearly = {rule: share * RUNS_A_YEAR / 100 for rule, share in found.items()}
        rows += _rows(f"{name}, a year of {RUNS_A_YEAR} runs, 1000 rows, 20 columns", "alarms", yearly, "a year")
    return rows


def _power(rng: np.random.Generator, repeats: int) -> list[Row]:
    rows = []
    for changes, bins in ((CHANGES, None), (MOVES, words())):
        for name, change in changes.items():
            for n in (1000, 5000, 50_000):
                found = rates(rng, repeats, n, 20, change=change, bins=bins)
                rows += _rows(f"{name}, {n} rows, 20 columns", "found", found)
    return rows


def _rows(case: str, metric: str, found: dict[str, float], unit: str = "%") -> list[Row]:
    return [Row(case, name, metric, value, unit) for name, value in found.items()]


def write_page(rows: list[Row], repeats: int, page: Path = PAGE) -> None:
    """Write the page, which is generated whole."""
    error = 100 * math.sqrt(NOMINAL_WEEKLY * (1 - NOMINAL_WEEKLY) / repeats)
    page.write_text(
        "\n".join(
            [
                "# Calibration of the drift verdicts",
                "",
                "Written by `make bench-drift-calibration`; do not edit.",
                "",
                f"Slipway's budget is one false alarm in {RUNS_A_YEAR} runs: {100 * NOMINAL_WEEKLY:.1f} % for a run",
                f"over all its columns (standard error of this simulation: {error:.1f} %). Tolerance 0.1 for",
                "distances, 0.05 for rates; a shift of 0.25 standard deviations is a distance of 0.1, so smaller ones",
                "are immaterial by definition and shall stay quiet. So are a spread up to about 1.5 times as wide and",
                "heavier tails: the distance sees how much of the distribution moved, not how far its ends went. If",
                "smaller changes matter to you, set a smaller `tolerance`; it takes more rows.",
                "",
                *(__doc__ or "").strip().splitlines(),
                "",
                table(rows),
                "",
                f"{repeats} runs a line. {machine()}.",
                "",
            ]
        )
    )


def main() -> None:
    """Simulate and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=400)
    arguments = parser.parse_args()
    began = time.monotonic()
    write_page(measure(arguments.repeats), arguments.repeats)
    sys.stderr.write(f"{time.monotonic() - began:.0f} s\n")


if __name__ == "__main__":
    main()
