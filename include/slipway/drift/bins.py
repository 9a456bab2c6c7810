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
#: Values so near to each other, in shares of their size, are one value where it fills a bin of its own: the answers of
#: a compiled model may differ from the original's by 1e-9 (docs/serving.md, "Parity").
_SAME_VALUE = 2e-9
#: Categories that are counted one by one. The baseline's rarer ones count as "new" in it and in every window alike, so
#: that only a change of their share shows.
KNOWN_CATEGORIES = 1000


@dataclass(frozen=True)
class NumericBins:
    """Borders of a numeric column: one bin below the first, one from the last upwards, one between each two.

    A value that fills a bin (as 0 and 1 do in a column of flags, or the value of a constant column) has that bin to
    itself: what lies beside it is counted apart. The baseline's highest value is always below the last border.
    """

    edges: tuple[float, ...]
    kind: Literal["numeric"] = "numeric"

    @classmethod
    def of(cls, values: NDArray[np.float64], *, relative: float = _SAME_VALUE, absolute: float = 0.0) -> NumericBins:
        """Cut at the quantiles of the baseline's finite values, and on both sides of those that repeat.

        A value with more than 1/256 of the rows is a quantile, one with 2/256 is two of them. So there are never more
        borders than quantiles, and two values that each have more than 1/256 of the rows never share a bin.

        Args:
            values: The baseline's finite values.
            relative: How far from a value that repeats another is still the same, in shares of its size.
            absolute: The same in the column's unit, where that is further.
        """
        if values.size == 0:
            return cls(edges=())
        quantiles = np.quantile(values, np.linspace(0.0, 1.0, NUMERIC_BINS + 1), method="inverted_cdf")
        cuts, times = np.unique(quantiles, return_counts=True)
        reach = _reach(cuts, relative, absolute)
        repeated = times > 1
        with np.errstate(over="ignore"):  # no border is needed beyond the largest double
            lower = np.where(repeated, cuts - reach, cuts)
            upper = np.nextafter(cuts + reach, np.inf)[repeated]
            beyond = np.nextafter(cuts[-1:], np.inf)
        edges = np.unique(np.concatenate([lower, upper] if repeated[-1] else [lower[:-1], upper, beyond]))
        return cls(edges=tuple(float(edge) for edge in edges[np.isfinite(edges)]))

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


def _reach(cuts: NDArray[np.float64], relative: float, absolute: float) -> NDArray[np.float64]:
    """How far beside each of some rising values another is still the same: less than half the way to the next."""
    with np.errstate(over="ignore"):
        gaps = np.diff(cuts) / 4
    nearest = np.minimum(np.append(gaps, np.inf), np.insert(gaps, 0, np.inf))
    reach = np.maximum(relative * np.abs(cuts), absolute)
    return np.asarray(np.minimum(reach, nearest), dtype=np.float64)


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
