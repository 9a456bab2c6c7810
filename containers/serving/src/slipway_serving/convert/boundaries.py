"""Rows at the splits of trees: for a node, rows that reach it and lie just on either side of its threshold.

A threshold that is off by a single rounding step changes the answer to almost no row; these rows find it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

MAX_NODES = 2000

_Limits = dict[int, tuple[float, float]]


def boundary_rows(flat: dict[str, Any], base: np.ndarray, *, max_nodes: int = MAX_NODES, seed: int = 7) -> np.ndarray:
    """Return rows at the splits of an ensemble.

    Parameters
    ----------
    flat
        The ensemble, as ``forest.flatten`` lays it out.
    base
        Rows (n × width) that give the columns which a path does not restrict.
    max_nodes
        How many nodes at most; they are drawn evenly when there are more.
    seed
        The draw is the same on every machine.

    Returns
    -------
    numpy.ndarray
        Three rows for each node: at the threshold, at the next lower 32-bit float, and at the next higher one.
    """
    generator = np.random.default_rng(seed)
    nodes = len(flat["feature"])
    chosen = set(range(nodes))
    if nodes > max_nodes:
        chosen = set(generator.choice(nodes, size=max_nodes, replace=False).tolist())
    rows = []
    for node, limits in _paths(flat):
        if node not in chosen:
            continue
        row = base[int(generator.integers(len(base)))].copy()
        for feature, (low, high) in limits.items():
            if not low < row[feature] <= high:
                row[feature] = _within(low, high)
        rows.extend(_at_split(row, int(flat["feature"][node]), float(flat["threshold"][node])))
    return np.array(rows).reshape(-1, base.shape[1])


def _paths(flat: dict[str, Any]) -> list[tuple[int, _Limits]]:
    """Return every inner node that is not split by category, with the limits of the path to it."""
    by_category = np.zeros(len(flat["feature"]), bool)
    if "members" in flat:
        by_category = np.diff(flat["member_starts"]) > 0
    found: list[tuple[int, _Limits]] = []
    waiting: list[tuple[int, _Limits]] = [(int(root), {}) for root in flat["roots"]]
    while waiting:
        node, limits = waiting.pop()
        if node < 0 or by_category[node]:
            continue
        found.append((node, limits))
        feature, threshold = int(flat["feature"][node]), float(flat["threshold"][node])
        low, high = limits.get(feature, (-np.inf, np.inf))
        waiting.append((int(flat["left"][node]), {**limits, feature: (low, min(high, threshold))}))
        waiting.append((int(flat["right"][node]), {**limits, feature: (max(low, threshold), high)}))
    return found


def _floor32(value: float) -> np.float32:
    single = np.float32(value)
    return single if float(single) <= value else np.nextafter(single, np.float32(-np.inf))


def _within(low: float, high: float) -> float:
    """Return a 32-bit float above ``low`` and at most ``high``."""
    if np.isfinite(high):
        return float(_floor32(high))
    return float(np.nextafter(_floor32(low), np.float32(np.inf)))


def _at_split(row: np.ndarray, feature: int, threshold: float) -> list[np.ndarray]:
    if not np.isfinite(threshold):
        return []
    below = _floor32(threshold)
    rows = []
    for value in (threshold, float(below), float(np.nextafter(below, np.float32(np.inf)))):
        changed = row.copy()
        changed[feature] = value
        rows.append(changed)
    return rows
