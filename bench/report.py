"""How a benchmark tells its result: rows in ``var/bench/<name>.json`` and a table in ``docs/benchmarks.md``.

A row is one measured value: {case, system, metric, value, unit}; ours is system ``slipway``. Repeated measurements give
one row each; the table shows their median and, in brackets, the least and the greatest.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "benchmarks.md"
OURS = "slipway"


@dataclass(frozen=True)
class Row:
    """One measured value."""

    case: str
    system: str
    metric: str
    value: float
    unit: str


def publish(
    name: str,
    rows: Sequence[Row],
    *,
    shown: Sequence[Row] | None = None,
    versions: Mapping[str, str] | None = None,
    notes: Iterable[str] = (),
    page: Path = PAGE,
    folder: Path = ROOT / "var" / "bench",
) -> None:
    """Write the rows and renew the benchmark's table.

    Args:
        name: of the benchmark; its table stands between ``<!-- bench:<name> -->`` and ``<!-- /bench:<name> -->``.
        rows: one for each measurement.
        shown: rows of the page's table; None shows all.
        versions: of every system that took part.
        notes: sentences for below the table, such as which peers were absent.
        page: Markdown file with the tables; a missing place is added at its end.
        folder: receives ``<name>.json``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    document = {"machine": machine(), "versions": dict(versions or {}), "rows": [asdict(row) for row in rows]}
    (folder / f"{name}.json").write_text(json.dumps(document, indent=1) + "\n")
    text = page.read_text() if page.exists() else "# Benchmarks\n"
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(
        place(text, name, "\n".join([table(rows if shown is None else shown), "", *_notes(versions or {}, notes)]))
    )


def earlier_rows(name: str, versions: Mapping[str, str], *, folder: Path = ROOT / "var" / "bench") -> list[Row]:
    """Return the rows of the last run, for a run that goes on with it: long benchmarks are measured in pieces.

    Args:
        name: of the benchmark.
        versions: of the systems that take part now; those that took part before must have been the same.
        folder: holds ``<name>.json``.

    Raises:
        ValueError: there is no earlier run, or it was on another machine or of other versions.
    """
    path = folder / f"{name}.json"
    if not path.exists():
        raise ValueError(f"{path} is not there: run the first piece without --append")
    document = json.loads(path.read_text())
    for what, found, now in [
        ("machine", document["machine"], machine()),
        *((system, document["versions"].get(system, version), version) for system, version in versions.items()),
    ]:
        if found != now:
            raise ValueError(f"{path}: {what} was {found!r} and is {now!r} now: start again without --append")
    return [Row(**row) for row in document["rows"]]


def earlier_versions(name: str, *, folder: Path = ROOT / "var" / "bench") -> dict[str, str]:
    """Return the versions of all systems in the last run, of those too that do not take part in this piece."""
    versions: dict[str, str] = json.loads((folder / f"{name}.json").read_text())["versions"]
    return versions


def machine() -> str:
    """Say on what was measured."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{os.cpu_count()} cores, {memory:.0f} GiB, Python {platform.python_version()}, {platform.system()}"


def table(rows: Sequence[Row]) -> str:
    """Lay the rows out: a line for each case and metric, a column for each system, ours first."""
    systems = sorted({row.system for row in rows}, key=lambda system: (system != OURS, system))
    lines = list(dict.fromkeys((row.case, row.metric, row.unit) for row in rows))
    head = ["| case | metric | " + " | ".join(systems) + " |", "| --- | --- |" + " ---: |" * len(systems)]
    body = []
    for case, metric, unit in lines:
        cells = [_cell([r.value for r in rows if (r.case, r.metric, r.system) == (case, metric, s)]) for s in systems]
        body.append(f"| {case} | {metric}, {unit} | " + " | ".join(cells) + " |")
    return "\n".join([*head, *body])


def _cell(values: Sequence[float]) -> str:
    if not values:
        return "–"
    middle = _number(statistics.median(values))
    return middle if len(values) == 1 else f"{middle} ({_number(min(values))}–{_number(max(values))})"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 or value == int(value) else f"{value:.3g}"


def _notes(versions: Mapping[str, str], notes: Iterable[str]) -> list[str]:
    named = ", ".join(f"{system} {version}" for system, version in versions.items())
    return [*([f"Versions: {named}."] if named else []), f"Machine: {machine()}.", *notes]


def place(text: str, name: str, content: str) -> str:
    """Put ``content`` between the markers of ``name`` in ``text``, adding them at the end where they are missing."""
    begin, end = f"<!-- bench:{name} -->", f"<!-- /bench:{name} -->"
    if begin not in text:
        text = f"{text.rstrip()}\n\n## {name.replace('_', ' ').capitalize()}\n\n{begin}\n{end}\n"
    before, _, rest = text.partition(begin)
    _, _, after = rest.partition(end)
    return f"{before}{begin}\n{content}\n{end}{after}"
