"""Tree ensembles: which leaf does each row reach in each tree?

Only the descent is done by a tree engine. What the leaves mean (class shares, sums, weights) stays plain array
arithmetic, in the order in which the original library does it, so that results are the original's to the last bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from slipway_serving.program.onnxfile import tree_ensemble

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_LESS_OR_EQUAL, _MEMBER = 0, 6
_SUM = 1
_CHUNK_CELLS = 1 << 21


@dataclass(frozen=True)
class Tree:
    """One decision tree; all arrays have one entry for each node, node 0 is the root.

    Parameters
    ----------
    feature
        Column that an inner node looks at.
    threshold
        A row goes left when its value is at most this.
    left, right
        Children of an inner node; negative in leaves.
    value
        One row for each node: what a leaf stands for.
    missing_left
        Whether not-a-number goes left.
    members
        Inner nodes that split by category: node → categories that go left.
    cover
        Weight of the training rows that passed the node, for explanations; ``None`` when unknown.
    """

    feature: np.ndarray
    threshold: np.ndarray
    left: np.ndarray
    right: np.ndarray
    value: np.ndarray
    missing_left: np.ndarray | None = None
    members: dict[int, np.ndarray] | None = None
    cover: np.ndarray | None = None


def flatten(trees: Sequence[Tree], width: int) -> dict[str, Any]:
    """Lay out trees in common arrays, the form in which programs keep them.

    Inner nodes of all trees are numbered together, and so are leaves. A child ≥ 0 is an inner node, a child < 0 is leaf
    ``-child - 1``. A tree that is a single leaf gets one inner node with that leaf on both sides.

    Parameters
    ----------
    trees
        The ensemble.
    width
        Number of columns of the input.
    """
    names = ("feature", "threshold", "left", "right", "missing", "value", "cover", "leaf_cover")
    parts: dict[str, list[np.ndarray]] = {name: [] for name in names}
    roots: list[int] = []
    members: list[float] = []
    leaf_starts, member_starts = [0], [0]
    nodes = 0
    for tree in trees:
        if tree.left[0] < 0:
            tree = _with_root(tree)
        is_leaf = tree.left < 0
        number = np.where(is_leaf, -(leaf_starts[-1] + np.cumsum(is_leaf)), nodes + np.cumsum(~is_leaf) - 1)
        inner = np.flatnonzero(~is_leaf)
        roots.append(number[0])
        parts["feature"].append(tree.feature[inner])
        parts["threshold"].append(tree.threshold[inner])
        parts["left"].append(number[tree.left[inner]])
        parts["right"].append(number[tree.right[inner]])
        missing = np.zeros(len(inner), bool) if tree.missing_left is None else tree.missing_left[inner]
        parts["missing"].append(missing)
        parts["value"].append(tree.value[is_leaf])
        if tree.cover is not None:
            parts["cover"].append(tree.cover[inner])
            parts["leaf_cover"].append(tree.cover[is_leaf])
        if tree.members is None:
            member_starts.extend([len(members)] * len(inner))
        else:
            for node in inner.tolist():
                members.extend(float(category) for category in tree.members.get(node, ()))
                member_starts.append(len(members))
        nodes += len(inner)
        leaf_starts.append(leaf_starts[-1] + int(is_leaf.sum()))
    types = {"feature": np.int32, "threshold": np.float64, "left": np.int32, "right": np.int32, "missing": np.bool_}
    flat: dict[str, Any] = {name: np.concatenate(parts[name]).astype(dtype) for name, dtype in types.items()}
    flat |= {"value": np.concatenate(parts["value"]).astype(np.float64), "width": width}
    if len(parts["cover"]) == len(trees):
        flat |= {name: np.concatenate(parts[name]).astype(np.float64) for name in ("cover", "leaf_cover")}
    flat |= {"roots": np.array(roots, np.int32), "leaf_starts": np.array(leaf_starts, np.int32)}
    if members:
        flat |= {"members": np.array(members), "member_starts": np.array(member_starts, np.int64)}
    return flat


def _with_root(leaf: Tree) -> Tree:
    """Put an inner node on top of a tree that is a single leaf."""
    return Tree(
        feature=np.array([0, -1, -1]),
        threshold=np.array([np.inf, 0.0, 0.0]),
        left=np.array([1, -1, -1]),
        right=np.array([2, -1, -1]),
        value=np.repeat(leaf.value[:1], 3, axis=0),
        missing_left=np.ones(3, bool),
        cover=np.array([1.0, 1.0, 0.0]),
    )


def make_descent(flat: dict[str, Any]) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function from rows to leaf numbers, one column for each tree, run by ONNX Runtime.

    Nulls in columns that are split by category are not for it: the operator leaves open where they go.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(to_onnx(flat), options, providers=["CPUExecutionProvider"])

    def descend(rows: np.ndarray) -> np.ndarray:
        leaves: np.ndarray = session.run(None, {"X": np.ascontiguousarray(rows)})[0]
        return leaves.astype(np.intp)

    return descend


def to_onnx(flat: dict[str, Any]) -> bytes:
    """Return the ensemble as an ONNX model whose output is the number of the leaf reached in each tree."""
    left, right, starts = flat["left"], flat["right"], flat["leaf_starts"]
    trees, leaves = len(flat["roots"]), int(starts[-1])
    integers = {
        "nodes_featureids": flat["feature"],
        "nodes_truenodeids": np.where(left < 0, -left - 1, left),
        "nodes_trueleafs": left < 0,
        "nodes_falsenodeids": np.where(right < 0, -right - 1, right),
        "nodes_falseleafs": right < 0,
        "nodes_missing_value_tracks_true": flat["missing"],
        "tree_roots": flat["roots"],
        "leaf_targetids": np.repeat(np.arange(trees), np.diff(starts)),
    }
    tensors = {
        "nodes_splits": flat["threshold"],
        "nodes_modes": np.full(len(left), _LESS_OR_EQUAL, np.uint8),
        "leaf_weights": np.arange(leaves, dtype=np.float64),
    }
    if "members" in flat:
        by_category = np.diff(flat["member_starts"]) > 0
        tensors["nodes_modes"] = np.where(by_category, _MEMBER, _LESS_OR_EQUAL).astype(np.uint8)
        tensors["membership_values"] = _membership_values(flat)
    scalars = {"n_targets": trees, "aggregate_function": _SUM, "post_transform": 0}
    return tree_ensemble(flat["width"], trees, integers, tensors, scalars)


def _membership_values(flat: dict[str, Any]) -> np.ndarray:
    """Return the category sets of all nodes that have one, each followed by not-a-number as the operator wants it."""
    starts, members = flat["member_starts"], flat["members"]
    ends = starts[1:][np.diff(starts) > 0]
    return np.insert(members, ends, np.nan)


def sum_leaves(flat: dict[str, Any], weights: np.ndarray | None = None) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function from rows to the sum of their leaves' values over all trees, added tree after tree.

    Parameters
    ----------
    flat
        The ensemble.
    weights
        Weight of each tree; ``None`` when all are 1.
    """
    descend, value = make_descent(flat), flat["value"]
    if weights is not None:
        value = value * np.repeat(weights, np.diff(flat["leaf_starts"]))[:, None]
    cells_per_row = max(1, len(flat["roots"]) * value.shape[1])
    step = max(1, _CHUNK_CELLS // cells_per_row)

    def total(rows: np.ndarray) -> np.ndarray:
        if len(rows) <= step:
            result: np.ndarray = value[descend(rows).T].sum(axis=0)
            return result
        parts = [value[descend(rows[start : start + step]).T].sum(axis=0) for start in range(0, len(rows), step)]
        return np.concatenate(parts)

    return total
