"""Shapley values of tree ensembles, path dependent: features that are not known follow the training rows.

For one leaf with value v and the distinct features j = 1 … d on its path, let o_j be 1 when the row meets the path's
conditions on feature j and else 0, and z_j the share of training rows that meet them, node by node. When the features
outside a set S are unknown, the leaf counts v · Π_{j∈S} o_j · Π_{j∉S} z_j, and the Shapley value of feature i is

    v · (o_i - z_i) · Σ_S |S|! (d - 1 - |S|)! / d! · Π_{j∈S} o_j · Π_{j∉S} z_j      over sets S without i

The weights are ∫ t^|S| (1 - t)^(d-1-|S|) dt over [0, 1], so the sum is the integral of Π_{j≠i} (z_j (1 - t) + o_j t): a
polynomial of degree d - 1, which Gauss-Legendre quadrature with ⌈d/2⌉ points integrates exactly.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

_CHUNK_CELLS = 1 << 19
MAX_LEAVES = 100_000
MAX_CELLS = 10_000_000


@dataclass(frozen=True)
class _Slot:
    """The conditions of one path on one feature; it has no lower limit where ``low`` is not-a-number."""

    share: float = 1.0
    low: float = np.nan
    high: float = np.inf
    takes_null: bool = True
    members: frozenset[float] | None = None
    others: frozenset[float] = frozenset()


@dataclass(frozen=True)
class Size:
    """What one row costs: numbers to compute, one for each leaf, feature on its path and point of the quadrature.

    Parameters
    ----------
    leaves
        Leaves of all trees.
    features
        Most features that one path looks at, at the most: the depth of the deepest tree, or the features of all trees.
    """

    leaves: int
    features: int

    @property
    def points(self) -> int:
        """Points at which the polynomials of the integral are evaluated."""
        return -(-self.features // 2)

    @property
    def cells(self) -> int:
        """Numbers to compute for one row."""
        return self.leaves * self.features * self.points

    @property
    def is_bearable(self) -> bool:
        """Whether a row is explained within a fraction of a second, and an ensemble prepared within a few seconds."""
        return self.leaves <= MAX_LEAVES and self.cells <= MAX_CELLS


def measure(flat: dict[str, Any]) -> Size:
    """Return what it costs to explain an ensemble, without preparing to do so."""
    nodes, depth = np.asarray(flat["roots"]), 0
    while len(nodes):
        depth += 1
        children = np.concatenate([flat["left"][nodes], flat["right"][nodes]])
        nodes = children[children >= 0]
    return Size(len(flat["value"]), max(1, min(depth, len(np.unique(flat["feature"])))))


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
        size = measure(flat)
        leaves, depth = size.leaves, size.features
        self._value, self._width = value, int(flat["width"])
        self._feature = np.zeros((leaves, depth), np.intp)
        self._share, self._low, self._high = (np.full((leaves, depth), fill) for fill in (1.0, np.nan, np.inf))
        self._null = np.ones((leaves, depth), bool)
        self._sets: list[tuple[int, int, np.ndarray, bool]] = []
        used = np.zeros(leaves, bool)
        for leaf, path in _paths(flat):
            used[leaf] = True
            for slot, (feature, condition) in enumerate(path.items()):
                self._feature[leaf, slot], self._share[leaf, slot] = feature, condition.share
                self._low[leaf, slot], self._high[leaf, slot] = condition.low, condition.high
                self._null[leaf, slot] = condition.takes_null
                if condition.members is not None:
                    self._sets.append((leaf, slot, np.array(sorted(condition.members)), True))
                elif condition.others:
                    self._sets.append((leaf, slot, np.array(sorted(condition.others)), False))
        self._sets.sort(key=itemgetter(0))
        points, factors = np.polynomial.legendre.leggauss(size.points)
        self._points, self._factors = (points + 1) / 2, factors / 2
        reach = np.where(used, self._share.prod(axis=1), 0.0)
        self.base: np.ndarray = reach @ value

    def explain(self, rows: np.ndarray) -> np.ndarray:
        """Return contributions: rows × outputs × features; with ``base`` they add up to the ensemble's sum."""
        leaves, depth = self._share.shape
        leaves_at_once = max(1, _CHUNK_CELLS // (depth * len(self._points)))
        rows_at_once = max(1, leaves_at_once // leaves)
        result = np.zeros((len(rows), self._value.shape[1], self._width))
        for start in range(0, len(rows), rows_at_once):
            for leaf in range(0, leaves, leaves_at_once):
                part = slice(start, start + rows_at_once)
                self._add(result[part], rows[part], slice(leaf, leaf + leaves_at_once))
        return result

    def _add(self, result: np.ndarray, rows: np.ndarray, leaves: slice) -> None:
        """Add what some of the leaves contribute for some rows."""
        meets = self._meets(rows, leaves)[..., None]
        share = self._share[leaves, :, None]
        factors = share * (1.0 - self._points) + meets * self._points  # rows × leaves × slots × points
        factors = np.maximum(factors, 1e-300)
        without = factors.prod(axis=2, keepdims=True) / factors
        effect = (without @ self._factors) * (meets[..., 0] - self._share[leaves])  # rows × leaves × slots
        feature, value = self._feature[leaves].ravel(), self._value[leaves]
        for row in range(len(rows)):
            for output in range(value.shape[1]):
                amount = (effect[row] * value[:, output, None]).ravel()
                result[row, output] += np.bincount(feature, weights=amount, minlength=self._width)

    def _meets(self, rows: np.ndarray, leaves: slice) -> np.ndarray:
        values = rows[:, self._feature[leaves]]
        inside = ~(values <= self._low[leaves]) & (values <= self._high[leaves])
        meets = np.where(np.isnan(values), self._null[leaves], inside)
        first, end = (bisect_left(self._sets, at, key=itemgetter(0)) for at in (leaves.start, leaves.stop))
        for leaf, slot, categories, is_in in self._sets[first:end]:
            at = leaf - leaves.start
            meets[:, at, slot] = np.isin(values[:, at, slot], categories, invert=not is_in)
        return meets.astype(np.float64)


def _paths(flat: dict[str, Any]) -> Iterator[tuple[int, dict[int, _Slot]]]:
    """Return every leaf that training rows reached, with feature → conditions."""
    waiting: list[tuple[int, dict[int, _Slot]]] = [(int(root), {}) for root in flat["roots"]]
    while waiting:
        node, path = waiting.pop()
        if node < 0:
            yield -node - 1, path
            continue
        feature, total = int(flat["feature"][node]), float(flat["cover"][node])
        slot = path.get(feature, _Slot())
        for child, is_left in ((int(flat["left"][node]), True), (int(flat["right"][node]), False)):
            covered = float(flat["leaf_cover"][-child - 1] if child < 0 else flat["cover"][child])
            if covered > 0.0:
                narrowed = _narrow(flat, node, slot, covered / total, is_left=is_left)
                waiting.append((child, {**path, feature: narrowed}))


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
    return _Slot(share, float(np.fmax(slot.low, threshold)), slot.high, takes_null)
