"""From captured calls and outcomes to tallies, one batch at a time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from slipway.drift.capture.reader import CaptureBatch
from slipway.drift.quality.calls import calls_of, numbers_of, outcomes_of, rivals_of, texts_of
from slipway.drift.quality.policy import QualityPolicy
from slipway.drift.quality.tally import Tally, count_binary, count_classes, count_regression
from slipway.drift.schema import ModelSchema

if TYPE_CHECKING:
    import pyarrow as pa

#: Values of a slice column that are told apart, by number of calls; the rest is one slice.
MOST_SLICES = 50
WHOLE = ("", "")
REST = "(others)"
Slices = dict[tuple[str, str], Tally]


def measure(
    batches: Iterable[CaptureBatch],
    labels: pa.Table,
    schema: ModelSchema,
    policy: QualityPolicy,
    rivals: Iterable[CaptureBatch] = (),
) -> Slices:
    """Join calls with their outcomes and count.

    Args:
        batches: Captured calls with their events.
        labels: What :func:`slipway.drift.quality.labels.read_labels` gave.
        schema: The model's.
        policy: The rules.
        rivals: Captured calls, with their events, that do not count, but that outcomes may belong to; only read
            when there are outcomes.

    Returns:
        Tallies by (feature, value); :data:`WHOLE` is all rows.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    calls = [each for each in (calls_of(batch, schema, policy) for batch in batches) if each is not None]
    if not calls:
        return {WHOLE: Tally()}
    table = pa.concat_tables(calls, promote_options="permissive").combine_chunks()
    chosen = outcomes_of(table, labels, policy, rivals_of(rivals, table, policy) if len(labels) else None)
    outcomes = labels["label"].take(pa.array(np.where(chosen >= 0, chosen, 0))) if len(labels) else None
    joined = np.flatnonzero(chosen >= 0)
    found: Slices = {WHOLE: _count(table, outcomes, joined, table.num_rows, policy)}
    for name in policy.slices:
        if name not in table.column_names:
            continue
        values = pc.fill_null(pc.cast(table[name], pa.string()), "(missing)").to_numpy(zero_copy_only=False)
        found |= _sliced(name, values, table, outcomes, joined, policy)
    return found


def merge_slices(parts: Iterable[Mapping[tuple[str, str], Tally]]) -> Slices:
    """Add up tallies."""
    merged: Slices = {WHOLE: Tally()}
    for part in parts:
        for name, tally in part.items():
            merged[name] = merged[name].merge(tally) if name in merged else tally
    return merged


def _sliced(name: str, values: Any, table: Any, outcomes: Any, joined: Any, policy: QualityPolicy) -> Slices:
    texts, codes, counts = np.unique(values.astype(str), return_inverse=True, return_counts=True)
    named = set(np.argsort(-counts, kind="stable")[:MOST_SLICES].tolist())
    groups = {str(texts[index]): codes == index for index in sorted(named)}
    if len(texts) > len(named):
        groups[REST] = ~np.isin(codes, list(named))
    return {
        (name, text): _count(table, outcomes, joined[mask[joined]], int(mask.sum()), policy)
        for text, mask in groups.items()
    }


def _count(table: Any, outcomes: Any, joined: Any, calls: int, policy: QualityPolicy) -> Tally:
    if outcomes is None or not len(joined):
        return Tally(calls)
    answers, truth = table["answer"].take(joined), outcomes.take(joined)
    if policy.task == "multiclass":
        return count_classes(texts_of(answers), texts_of(truth), calls)
    count = count_binary if policy.task == "binary" else count_regression
    return count(numbers_of(answers), numbers_of(truth), calls)
