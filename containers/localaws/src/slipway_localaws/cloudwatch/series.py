"""The values of all metrics, by the second, kept in an append-only file of their own."""

from __future__ import annotations

import json
import threading
import time
from array import array
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slipway_localaws.cloudwatch.statistics import Distribution, StatisticSet

Dimensions = tuple[tuple[str, str], ...]
#: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch_concepts.html#metrics-retention
RETENTION_SECONDS = 15 * 24 * 3600
_FLUSH_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class MetricKey:
    """Which metric: CloudWatch tells metrics apart by all of this."""

    account: str
    region: str
    namespace: str
    name: str
    dimensions: Dimensions


@dataclass(slots=True)
class _Second:
    """What was published for one second."""

    values: array[float] = field(default_factory=lambda: array("d"))
    counts: array[float] = field(default_factory=lambda: array("d"))
    sets: list[StatisticSet] = field(default_factory=list)


@dataclass(slots=True)
class Datum:
    """What one PutMetricData says about one metric at one time."""

    key: MetricKey
    unit: str
    second: int
    values: list[float] = field(default_factory=list)
    counts: list[float] = field(default_factory=list)
    summary: StatisticSet | None = None


def dimensions_of(given: Iterable[dict[str, Any]] | None) -> Dimensions:
    """Dimensions as AWS writes them, in an order that does not matter any more."""
    return tuple(sorted((each["Name"], each["Value"]) for each in given or ()))


class MetricStore:
    """All metrics.

    Args:
        path: the file; what it holds is read at once, what is older than the retention is dropped from it.
    """

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._series: dict[MetricKey, dict[str, dict[int, _Second]]] = defaultdict(dict)
        self._path = path
        self._load()
        self._file = path.open("a", encoding="utf-8", buffering=1024 * 1024)
        threading.Thread(target=self._flush_regularly, name="metrics", daemon=True).start()

    def add(self, data: Iterable[Datum]) -> None:
        """Publish values."""
        with self._lock:
            for datum in data:
                self._insert(datum)
                self._file.write(_encode(datum))

    def read(self, key: MetricKey, unit: str | None, first: int, last: int, period: int) -> dict[int, Distribution]:
        """The values of a metric by period.

        Args:
            key: which metric.
            unit: only values of this unit; None for all.
            first: start of the first period, seconds since the epoch.
            last: end (exclusive).
            period: length in seconds.

        Returns:
            Values by the start of their period; periods without any are left out.
        """
        periods: dict[int, Distribution] = defaultdict(Distribution)
        with self._lock:
            for name, seconds in self._series.get(key, {}).items():
                if unit is not None and name != unit:
                    continue
                for second, published in _between(seconds, first, last):
                    target = periods[first + (second - first) // period * period]
                    target.pairs.extend(zip(published.values, published.counts, strict=True))
                    target.sets.extend(published.sets)
        return dict(sorted(periods.items()))

    def units(self, key: MetricKey) -> list[str]:
        """The units that a metric was published with."""
        with self._lock:
            return list(self._series.get(key, {}))

    def keys(self, account: str, region: str) -> list[MetricKey]:
        """All metrics of one account and region."""
        with self._lock:
            return [key for key in self._series if (key.account, key.region) == (account, region)]

    def flush(self) -> None:
        """Hand what is buffered to the operating system."""
        with self._lock:
            self._file.flush()

    def _insert(self, datum: Datum) -> None:
        seconds = self._series[datum.key].setdefault(datum.unit, {})
        published = seconds.get(datum.second)
        if published is None:
            published = seconds[datum.second] = _Second()
        published.values.extend(datum.values)
        published.counts.extend(datum.counts)
        if datum.summary is not None:
            published.sets.append(datum.summary)

    def _load(self) -> None:
        if not self._path.exists():
            return
        oldest = time.time() - RETENTION_SECONDS
        kept = self._path.with_suffix(".tmp")
        dropped = 0
        with self._path.open(encoding="utf-8") as lines, kept.open("w", encoding="utf-8") as target:
            for line in lines:
                datum = _decode(line)
                if datum is None or datum.second < oldest:
                    dropped += 1
                    continue
                self._insert(datum)
                target.write(line)
        if dropped:
            kept.replace(self._path)
        else:
            kept.unlink()

    def _flush_regularly(self) -> None:
        while True:
            time.sleep(_FLUSH_SECONDS)
            self.flush()


def _between(seconds: dict[int, _Second], first: int, last: int) -> Iterator[tuple[int, _Second]]:
    if last - first < len(seconds):
        return ((second, seconds[second]) for second in range(first, last) if second in seconds)
    return ((second, published) for second, published in seconds.items() if first <= second < last)


def _encode(datum: Datum) -> str:
    key, summary = datum.key, datum.summary
    content = [
        key.account, key.region, key.namespace, key.name, key.dimensions, datum.unit, datum.second,
        datum.values, datum.counts,
        [summary.count, summary.total, summary.minimum, summary.maximum] if summary else None,
    ]  # fmt: skip
    return json.dumps(content, separators=(",", ":")) + "\n"


def _decode(line: str) -> Datum | None:
    """One line of the file; None for one that a crash cut short."""
    try:
        account, region, namespace, name, dimensions, unit, second, values, counts, summary = json.loads(line)
    except ValueError:
        return None
    key = MetricKey(account, region, namespace, name, tuple((each, value) for each, value in dimensions))
    return Datum(key, unit, second, values, counts, StatisticSet(*summary) if summary else None)
