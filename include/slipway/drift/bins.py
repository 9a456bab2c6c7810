"""The baseline's fixed bins: where numbers are cut, which categories are known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from slipway.canonical import content_digest
from slipway.drift.lookup import Lookup

if TYPE_CHECKING:
    import pyarrow as pa

#: Bins between the lowest and the highest value of the baseline. 256 keep the error of a binned
#: Kolmogorov-Smirnov distance below about 1/256 where values do not repeat.
NUMERIC_BINS = 256
#: Categories that are counted one by one. The baseline's rarer ones count as "new" in it and in every window alike, so
#: that only a change of their share shows.
KNOWN_CATEGORIES = 1000


@dataclass(frozen=True)
class NumericBins:
    """Borders of a numeric column: one bin below the first, one from the last upwards, one between each two.

    The last border is just above the baseline's highest value, which so belongs to the bin below it.
    """

    edges: tuple[float, ...]
    kind: Literal["numeric"] = "numeric"

    @classmethod
    def of(cls, values: NDArray[np.float64]) -> NumericBins:
        """Cut at the quantiles of the baseline's finite values; repeated quantiles become one border."""
        if values.size == 0:
            return cls(edges=())
        quantiles = np.quantile(values, np.linspace(0.0, 1.0, NUMERIC_BINS + 1), method="inverted_cdf")
        edges = np.unique(quantiles)
        edges[-1] = np.nextafter(edges[-1], np.inf)
        return cls(edges=tuple(float(edge) for edge in edges))

    def __len__(self) -> int:
        return len(self.edges) + 1

    def counts(self, values: NDArray[np.float64]) -> NDArray[np.int64]:
        """Count finite values in each bin."""
        return self._lookup.counts(values)

    @cached_property
    def _lookup(self) -> Lookup:
        return Lookup(np.asarray(self.edges, dtype=np.float64))


@dataclass(frozen=True)
class CategoryBins:
    """Known values of a categorical column."""

    known: tuple[str, ...]
    kind: Literal["categorical"] = "categorical"

    @classmethod
    def of(cls, counts: Mapping[str, int]) -> CategoryBins:
        """Know the most frequent values of the baseline, ties by name."""
        ranked = sorted(counts, key=lambda value: (-counts[value], value))
        return cls(known=tuple(sorted(ranked[:KNOWN_CATEGORIES])))

    def places(self, values: pa.Array) -> NDArray[np.int64]:
        """For each text of an Arrow column, its place among the known values; -1 for others."""
        import pyarrow as pa
        import pyarrow.compute as pc

        known, none = self._known
        found = pc.fill_null(pc.index_in(pc.cast(values, pa.string()), value_set=known), none)
        return np.asarray(np.from_dlpack(found), dtype=np.int64)

    @cached_property
    def _known(self) -> tuple[pa.Array, pa.Scalar]:
        """The known values and -1 for Arrow; from buffers, because its own way imports pandas, for nothing."""
        import pyarrow as pa

        texts = [value.encode() for value in self.known]
        ends = np.cumsum([0, *map(len, texts)], dtype=np.int32)
        buffers = [None, pa.py_buffer(ends), pa.py_buffer(b"".join(texts))]
        none = pa.Array.from_buffers(pa.int32(), 1, [None, pa.py_buffer(np.array([-1], np.int32))])[0]
        return pa.Array.from_buffers(pa.string(), len(texts), buffers), none


Bins = NumericBins | CategoryBins


@dataclass(frozen=True)
class BinSet:
    """The bins of every column that is watched, in the order of the model's schema."""

    columns: Mapping[str, Bins]

    @cached_property
    def digest(self) -> str:
        """Identity of the bins: only profiles over the same bins can be merged or compared."""
        return content_digest(
            {
                name: {"kind": bins.kind, "cuts": list(bins.edges if isinstance(bins, NumericBins) else bins.known)}
                for name, bins in self.columns.items()
            }
        )[:16]
