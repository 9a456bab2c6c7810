"""The baseline as it is stored: with the schema of the model that it belongs to, and where it came from.

``slipway/baseline.json`` beside a model in MLflow, ``baselines/<service>/<release>.json`` in the artifact bucket.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

from slipway.drift.baseline import Baseline, Spread
from slipway.drift.bins import NUMERIC_BINS, Bins, BinSet, CategoryBins, NumericBins
from slipway.drift.encoding import from_json as profile_from_json
from slipway.drift.encoding import to_json as profile_to_json
from slipway.drift.profile import ColumnProfile, NumericProfile
from slipway.drift.schema import Column, ModelSchema
from slipway.errors import InvalidInputError

FORMAT = 1
#: 1 (which is not written down): the two highest borders of a numeric column shared a bin. 2: they do not.
BINS_VERSION = 2
#: The source of a baseline that was brought along from SageMaker Model Monitor, whose bins are none of Slipway's.
MODEL_MONITOR = "model_monitor"
ARTIFACT = "slipway/baseline.json"


@dataclass(frozen=True)
class Reference:
    """What a window is compared with.

    Args:
        schema: The model's columns.
        baseline: Bins, profile and spread.
        origin: ``source`` ("training", "captures" or "model_monitor") and what else a reader may ask for.
        bins_version: How its bins were cut, see :data:`BINS_VERSION`.
    """

    schema: ModelSchema
    baseline: Baseline
    origin: Mapping[str, Any] = field(default_factory=dict)
    bins_version: int = BINS_VERSION

    @cached_property
    def blind(self) -> tuple[str, ...]:
        """Numeric columns of an older baseline among whose highest values a change would not show.

        A column whose values do not repeat has less than 2/256 of its rows in the bin below its last border.
        """
        if self.bins_version > 1 or self.origin.get("source") == MODEL_MONITOR:
            return ()
        columns = self.baseline.profile.columns
        return tuple(
            name
            for name, bins in self.bins.columns.items()
            if isinstance(bins, NumericBins) and _hides(bins, columns[name])
        )

    @property
    def bins(self) -> BinSet:
        """The baseline's bins."""
        return self.baseline.bins

    def to_bytes(self) -> bytes:
        """The stored form; equal references give equal bytes."""
        document = {
            "format": FORMAT,
            "bins_version": self.bins_version,
            "origin": dict(self.origin),
            "schema": _schema_to_json(self.schema),
            "bins": {name: _bins_to_json(bins) for name, bins in self.bins.columns.items()},
            "spreads": {name: asdict(spread) for name, spread in self.baseline.spreads.items()},
            "profile": profile_to_json(self.baseline.profile),
        }
        return json.dumps(document, separators=(",", ":"), allow_nan=False).encode()


def read_reference(data: bytes) -> Reference:
    """Read the stored form.

    Args:
        data: What :meth:`Reference.to_bytes` gave.

    Returns:
        The reference.

    Raises:
        InvalidInputError: It is none, or one of a newer version.
    """
    try:
        document = json.loads(data)
        if document["format"] != FORMAT:
            raise InvalidInputError(f"The baseline has format {document['format']!r}; this Slipway reads {FORMAT}.")
        bins = BinSet({name: _bins_from_json(each) for name, each in document["bins"].items()})
        spreads = {name: Spread(**each) for name, each in document["spreads"].items()}
        baseline = Baseline(bins, profile_from_json(document["profile"]), spreads)
        version = int(document.get("bins_version", 1))
        return Reference(_schema_from_json(document["schema"]), baseline, document["origin"], version)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidInputError(f"The baseline is damaged: {type(error).__name__}: {error}.") from None


def _hides(bins: NumericBins, column: ColumnProfile) -> bool:
    if not isinstance(column, NumericProfile) or not column.counts.sum():
        return False
    return bool(column.counts[len(bins.edges) - 1] > column.counts.sum() * 2 / NUMERIC_BINS)


def _schema_to_json(schema: ModelSchema) -> dict[str, Any]:
    return {
        "inputs": [[column.name, column.kind] for column in schema.inputs],
        "outputs": [[column.name, column.kind] for column in schema.outputs],
        "named": schema.named,
        "passed_over": list(schema.passed_over),
    }


def _schema_from_json(document: Mapping[str, Any]) -> ModelSchema:
    inputs, outputs = (tuple(Column(name, kind) for name, kind in document[side]) for side in ("inputs", "outputs"))
    return ModelSchema(inputs, outputs, bool(document["named"]), tuple(document["passed_over"]))


def _bins_to_json(bins: Bins) -> dict[str, Any]:
    if isinstance(bins, NumericBins):
        return {"kind": "numeric", "edges": list(bins.edges)}
    return {"kind": "categorical", "known": list(bins.known)}


def _bins_from_json(document: Mapping[str, Any]) -> Bins:
    if document["kind"] == "numeric":
        return NumericBins(tuple(map(float, document["edges"])))
    return CategoryBins(tuple(map(str, document["known"])))
