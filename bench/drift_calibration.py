"""Simulated windows: how often each rule calls an unchanged stream drifted, and how often it sees a change.

Counts over the baseline's 256 bins are drawn from their true probabilities, so that every rule sees the same window.
Peers run their documented default rule on these counts, not their own code: Evidently (reference above 1000 rows:
Wasserstein distance over standard deviation at least 0.1), NannyML (Jensen-Shannon above mean + 3 standard deviations
over ten reference chunks), Model Monitor (robust KS above 0.1), plain KS at p < 0.05, PSI over ten bins at least 0.1.
A run is an alarm when any column is.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from bench.report import ROOT, Row, machine, table
from slipway.drift.baseline import Baseline, make_baseline
from slipway.drift.bins import BinSet, NumericBins
from slipway.drift.judge import DriftPolicy, DriftVerdict, judge
from slipway.drift.moments import Moments
from slipway.drift.profile import NumericProfile, Profile
from slipway.drift.statistics.jensen_shannon import jensen_shannon_distance
from slipway.drift.statistics.kolmogorov_smirnov import kolmogorov_smirnov_distance
from slipway.drift.statistics.l_infinity import robust
from slipway.drift.statistics.population_stability_index import population_stability_index
from slipway.drift.statistics.wasserstein import wasserstein_distance

PAGE = ROOT / "docs" / "drift-calibration.md"
REFERENCE_ROWS = 20_000
CHUNKS = 40
NOMINAL_WEEKLY = 1 / 52
Counts = NDArray[np.int64]


@dataclass(frozen=True)
class World:
    """A standard normal column: its bins, baseline, and the peers' thresholds."""

    edges: NDArray[np.float64]
    baseline: Baseline
    counts: Counts
    nannyml_limit: float

    def draw(self, rng: np.random.Generator, rows: int, shift: float = 0.0, scale: float = 1.0) -> Counts:
        return draw(rng, self.edges, rows, shift, scale)


def draw(rng: np.random.Generator, edges: NDArray[np.float64], rows: int, shift: float, scale: float) -> Counts:
    """Counts of ``rows`` normal values over the bins."""
    cumulative = np.concatenate(([0.0], norm.cdf((edges - shift) / scale), [1.0]))
    return rng.multinomial(rows, np.diff(cumulative))


def make_world(rng: np.random.Generator, wander: float = 0.0) -> World:
    """Draw a baseline; with ``wander`` the level of each chunk moves by so many standard deviations."""
    bins = NumericBins.of(norm.ppf((np.arange(100_000) + 0.5) / 100_000))
    edges = np.asarray(bins.edges)
    size = REFERENCE_ROWS // CHUNKS
    chunks = [draw(rng, edges, size, wander * rng.normal(), 1.0) for _ in range(CHUNKS)]
    names = BinSet({"x": bins})
    baseline = make_baseline(names, [profile_of(names.digest, {"x": chunk}) for chunk in chunks])
    whole = np.sum(chunks, axis=0)
    tenths = [np.sum(part, axis=0) for part in np.array_split(np.array(chunks), 10)]
    found = [jensen_shannon_distance(coarse(whole), coarse(part)) for part in tenths]
    return World(edges, baseline, whole, float(np.mean(found) + 3 * np.std(found)))


def profile_of(digest: str, counts: dict[str, Counts]) -> Profile:
    rows = int(next(iter(counts.values())).sum())
    moments = Moments(rows, 0.0, float(rows), -4.0, 4.0)
    return Profile(digest, rows, {name: NumericProfile(each, moments) for name, each in counts.items()})


def coarse(counts: Counts) -> Counts:
    """Ten bins."""
    inner = counts[1:-1].copy()
    inner[0] += counts[0]
    inner[-1] += counts[-1]
    return np.array([part.sum() for part in np.array_split(inner, 10)])


def ours(world: World, windows: list[Counts], policy: DriftPolicy) -> bool:
    """Whether Slipway's judge calls the window, whose columns all have this baseline, drifted."""
    names = [f"x{index}" for index in range(len(windows))]
    bins, spread = world.baseline.bins.columns["x"], world.baseline.spreads["x"]
    before = world.baseline.profile.columns["x"]
    wide = Baseline(
        BinSet(dict.fromkeys(names, bins)), Profile("w", 0, dict.fromkeys(names, before)), dict.fromkeys(names, spread)
    )
    window = profile_of("w", dict(zip(names, windows, strict=True)))
    return judge(wide, window, policy).verdict is DriftVerdict.DRIFTED


def peers(world: World) -> dict[str, Callable[[Counts], bool]]:
    """The peers' rules for one column."""
    before, n = world.counts, int(world.counts.sum())

    def ks_p(window: Counts) -> bool:
        m = int(window.sum())
        return kolmogorov_smirnov_distance(before, window) * math.sqrt(n * m / (n + m)) > 1.358

    return {
        "KS p<.05": ks_p,
        "Evidently": lambda w: wasserstein_distance(before, w, world.edges, 1.0) >= 0.1,
        "PSI>=.1": lambda w: population_stability_index(coarse(before), coarse(w)) >= 0.1,
        "NannyML": lambda w: jensen_shannon_distance(coarse(before), coarse(w)) > world.nannyml_limit,
        "Model Monitor": lambda w: robust(kolmogorov_smirnov_distance(before, w), n, int(w.sum())) > 0.1,
    }


def rates(
    rng: np.random.Generator,
    repeats: int,
    rows: int,
    columns: int,
    *,
    shift: float = 0.0,
    scale: float = 1.0,
    wander: float = 0.0,
) -> dict[str, float]:
    """Share of runs, in percent, in which each rule raises an alarm; in a changed stream the first column changes."""
    hits: dict[str, int] = {}
    policy = DriftPolicy(runs_per_year=52)
    for repeat in range(repeats):
        if repeat % 20 == 0:
            world = make_world(rng, wander)
        level = wander * rng.normal()
        windows = [
            world.draw(rng, rows, level + (shift if index == 0 else 0.0), scale if index == 0 else 1.0)
            for index in range(columns)
        ]
        found = {"slipway": ours(world, windows, policy)}
        found |= {name: any(rule(window) for window in windows) for name, rule in peers(world).items()}
        for name, hit in found.items():
            hits[name] = hits.get(name, 0) + hit
    return {name: 100 * count / repeats for name, count in hits.items()}


def measure(repeats: int) -> list[Row]:
    """Run the whole grid."""
    rng = np.random.default_rng(20261121)
    rows: list[Row] = []

    def add(case: str, metric: str, found: dict[str, float]) -> None:
        rows.extend(Row(case, name, metric, value, "%") for name, value in found.items())

    for n in (50, 200, 1000, 5000, 50_000):
        for columns in (1, 20, 200):
            add(f"unchanged, {n} rows, {columns} columns", "alarms", rates(rng, repeats, n, columns))
    for n in (200, 1000, 5000):
        add(f"level wanders by 0.3 sd, {n} rows, 20 columns", "alarms", rates(rng, repeats, n, 20, wander=0.3))
    for shift in (0.05, 0.1, 0.2, 0.3, 0.5):
        for n in (1000, 5000, 50_000):
            add(f"shift {shift} sd, {n} rows, 20 columns", "found", rates(rng, repeats, n, 20, shift=shift))
    for scale in (1.5, 2.0):
        add(f"spread x {scale}, 5000 rows, 20 columns", "found", rates(rng, repeats, 5000, 20, scale=scale))
    return rows


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
                f"Slipway's budget is one false alarm in 52 runs: {100 * NOMINAL_WEEKLY:.1f} % for a run over all its",
                f"columns (standard error of this simulation: {error:.1f} %). Tolerance 0.1; a shift of 0.25 standard",
                "deviations is a distance of 0.1, so smaller ones are immaterial by definition and shall stay quiet.",
                "",
                *(f"{line}" for line in (__doc__ or "").strip().splitlines()),
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
    write_page(measure(arguments.repeats), arguments.repeats)


if __name__ == "__main__":
    main()
