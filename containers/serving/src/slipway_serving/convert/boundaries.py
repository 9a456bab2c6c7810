"""Rows at the splits of trees: for a node, rows that reach it and lie just on either side of its threshold.

A threshold that is off by a single rounding step changes the answer to almost no row; these rows find it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_NODES = 2000

_Limits = dict[int, tuple[float, float]]


def boundary_rows(
    flat: dict[str, Any], base: np.ndarray, free: np.ndarray, *, max_nodes: int = MAX_NODES, seed: int = 7
) -> list[tuple[int, np.ndarray]]:
    """Return rows at the splits of an ensemble.

    Parameters
    ----------
    flat
        The ensemble, as ``forest.flatten`` lays it out.
    base
        Rows (n × width) that give the columns which a path does not restrict.
    free
        Which columns may be changed. At the others a path must suit one of the base rows, and no split is tried.
    max_nodes
        How many nodes at most; they are drawn evenly when there are more.
    seed
        The draw is the same on every machine.

    Returns
    -------
    list
        Three rows for each node that can be reached: at the threshold, at the next lower 32-bit float, and at the next
        higher one. Each comes with the index of the base row that it was made of.
    """
    generator = np.random.default_rng(seed)
    nodes = np.flatnonzero(free[flat["feature"]])
    if len(nodes) > max_nodes:
        nodes = generator.choice(nodes, size=max_nodes, replace=False)
    rows: list[tuple[int, np.ndarray]] = []
    for node, limits in _paths(flat, np.sort(nodes)):
        suitable = _suitable(base, free, limits)
        if not len(suitable):
            continue
        index = int(generator.choice(suitable))
        row = base[index].copy()
        for feature, (low, high) in limits.items():
            if free[feature] and not low < row[feature] <= high:
                row[feature] = _within(low, high)
        at_split = _at_split(row, int(flat["feature"][node]), float(flat["threshold"][node]))
        rows.extend((index, changed) for changed in at_split)
    return rows


def _suitable(base: np.ndarray, free: np.ndarray, limits: _Limits) -> np.ndarray:
    """Return the indices of the base rows that a path leaves as they are, but for the free columns."""
    suits = np.ones(len(base), bool)
    for feature, (low, high) in limits.items():
        if not free[feature]:
            suits &= (base[:, feature] > low) & (base[:, feature] <= high)
    return np.flatnonzero(suits)


def _paths(flat: dict[str, Any], nodes: np.ndarray) -> Iterator[tuple[int, _Limits]]:
    """Return the nodes with the limits of the path to them, without those that a split by category leads to or is."""
    by_category = np.zeros(len(flat["feature"]), bool)
    if "members" in flat:
        by_category = np.diff(flat["member_starts"]) > 0
    parent = np.full(len(flat["feature"]), -1)
    for children in (flat["left"], flat["right"]):
        inner = np.flatnonzero(children >= 0)
        parent[children[inner]] = inner
    for node in nodes.tolist():
        limits: _Limits = {}
        child, above = node, int(parent[node])
        excluded = bool(by_category[node])
        while above >= 0 and not excluded:
            feature, threshold = int(flat["feature"][above]), float(flat["threshold"][above])
            low, high = limits.get(feature, (-np.inf, np.inf))
            is_left = flat["left"][above] == child
            limits[feature] = (low, min(high, threshold)) if is_left else (max(low, threshold), high)
            excluded = bool(by_category[above])
            child, above = above, int(parent[above])
        if not excluded:
            yield node, limits


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
