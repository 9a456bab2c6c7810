"""Shapley values of tree ensembles, path dependent: features that are not known follow the training rows.

For one leaf with value v and the distinct features j = 1 … d on its path, let o_j be 1 when the row meets the path's
conditions on feature j and else 0, and z_j the share of training rows that meet them, node by node. When the features
outside a set S are unknown, the leaf counts v · Π_{j∈S} o_j · Π_{j∉S} z_j, and the Shapley value of feature i is

    v · (o_i - z_i) · Σ_S |S|! (d - 1 - |S|)! / d! · Π_{j∈S} o_j · Π_{j∉S} z_j      over sets S without i

The weights are ∫ t^|S| (1 - t)^(d-1-|S|) dt over [0, 1], so the sum is the integral of Π_{j≠i} (z_j (1 - t) + o_j t): a
polynomial of degree d - 1, which Gauss-Legendre quadrature with ⌈d/2⌉ points integrates exactly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

_CHUNK_CELLS = 1 << 21


@dataclass(frozen=True)
class _Slot:
    """The conditions of one path on one feature."""

    share: float = 1.0
    low: float = -np.inf
    high: float = np.inf
    takes_null: bool = True
    members: frozenset[float] | None = None
    others: frozenset[float] = frozenset()


class TreeShapley:
    """Explains one ensemble.

    Parameters
    ----------
    flat
        The ensemble, as ``forest.flatten`` lays it out, with ``cover``.
    weights
        Weight of each tree; ``None`` when all are 1.
    """

    def __init__(self, flat: dict[str, Any], weights: np.ndarray | None = None) -> None:
        value = np.asarray(flat["value"], float)
        if weights is not None:
            value = value * np.repeat(weights, np.diff(flat["leaf_starts"]))[:, None]
        paths = _paths(flat)
        depth = max(1, *(len(path) for path in paths.values())) if paths else 1
        leaves = len(value)
        self._value, self._width = value, int(flat["width"])
        self._feature = np.zeros((leaves, depth), np.intp)
        self._share, self._low, self._high = (np.full((leaves, depth), fill) for fill in (1.0, -np.inf, np.inf))
        self._null = np.ones((leaves, depth), bool)
        self._sets: list[tuple[int, int, np.ndarray, bool]] = []
        for leaf, path in paths.items():
            for slot, (feature, condition) in enumerate(path.items()):
                self._feature[leaf, slot], self._share[leaf, slot] = feature, condition.share
                self._low[leaf, slot], self._high[leaf, slot] = condition.low, condition.high
                self._null[leaf, slot] = condition.takes_null
                if condition.members is not None:
                    self._sets.append((leaf, slot, np.array(sorted(condition.members)), True))
                elif condition.others:
                    self._sets.append((leaf, slot, np.array(sorted(condition.others)), False))
        points, factors = np.polynomial.legendre.leggauss(-(-depth // 2))
        self._points, self._factors = (points + 1) / 2, factors / 2
        used = np.zeros(leaves, bool)
        used[list(paths)] = True
        reach = np.where(used, self._share.prod(axis=1), 0.0)
        self.base: np.ndarray = reach @ value

    def explain(self, rows: np.ndarray) -> np.ndarray:
        """Return contributions: rows × outputs × features; with ``base`` they add up to the ensemble's sum."""
        step = max(1, _CHUNK_CELLS // max(1, self._share.size * len(self._points)))
        parts = [self._explain(rows[start : start + step]) for start in range(0, len(rows), step)]
        return np.concatenate(parts)

    def _explain(self, rows: np.ndarray) -> np.ndarray:
        meets = self._meets(rows)[..., None]
        share = self._share[..., None]
        factors = share * (1.0 - self._points) + meets * self._points  # rows × leaves × slots × points
        factors = np.maximum(factors, 1e-300)
        without = factors.prod(axis=2, keepdims=True) / factors
        effect = (without @ self._factors) * (meets[..., 0] - self._share)  # rows × leaves × slots
        outputs = self._value.shape[1]
        result = np.zeros((len(rows), outputs, self._width))
        feature = self._feature.ravel()
        for row in range(len(rows)):
            for output in range(outputs):
                amount = (effect[row] * self._value[:, output, None]).ravel()
                result[row, output] = np.bincount(feature, weights=amount, minlength=self._width)
        return result

    def _meets(self, rows: np.ndarray) -> np.ndarray:
        values = rows[:, self._feature]
        meets = np.where(np.isnan(values), self._null, (values > self._low) & (values <= self._high))
        for leaf, slot, categories, inside in self._sets:
            meets[:, leaf, slot] = np.isin(values[:, leaf, slot], categories, invert=not inside)
        return meets.astype(np.float64)


def _paths(flat: dict[str, Any]) -> dict[int, dict[int, _Slot]]:
    """Return leaf → feature → conditions, for all leaves that training rows reached."""
    found: dict[int, dict[int, _Slot]] = {}
    waiting: list[tuple[int, dict[int, _Slot]]] = [(int(root), {}) for root in flat["roots"]]
    while waiting:
        node, path = waiting.pop()
        if node < 0:
            found[-node - 1] = path
            continue
        feature, total = int(flat["feature"][node]), float(flat["cover"][node])
        slot = path.get(feature, _Slot())
        for child, is_left in ((int(flat["left"][node]), True), (int(flat["right"][node]), False)):
            covered = float(flat["leaf_cover"][-child - 1] if child < 0 else flat["cover"][child])
            if covered > 0.0:
                narrowed = _narrow(flat, node, slot, covered / total, is_left=is_left)
                waiting.append((child, {**path, feature: narrowed}))
    return found


def _narrow(flat: dict[str, Any], node: int, slot: _Slot, share: float, *, is_left: bool) -> _Slot:
    """Add the condition of one node to those that the path has on its feature already."""
    threshold = float(flat["threshold"][node])
    takes_null = slot.takes_null and bool(flat["missing"][node]) == is_left
    share *= slot.share
    if "members" in flat:
        start, end = flat["member_starts"][node : node + 2]
        if end > start:
            left = frozenset(flat["members"][start:end].tolist())
            if is_left:
                members = left - slot.others if slot.members is None else slot.members & left
                return _Slot(share, takes_null=False, members=members)
            if slot.members is None:
                return _Slot(share, takes_null=False, others=slot.others | left)
            return _Slot(share, takes_null=False, members=slot.members - left)
    if is_left:
        return _Slot(share, slot.low, min(slot.high, threshold), takes_null)
    return _Slot(share, max(slot.low, threshold), slot.high, takes_null)
