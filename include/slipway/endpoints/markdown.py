"""A verification report as the person who approves reads it. Pure; whatever comes from models is escaped."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from slipway.endpoints.report import Check, Mismatch, ReleaseFacts

_SHOWN_MISMATCHES = 10
_SHOWN_METRICS = 25
_SHOWN_CHARACTERS = 200
_MARKUP = re.compile(r"([\\`*_\[\]<>|~#])")


def facts_table(facts: ReleaseFacts) -> list[str]:
    """The release beside the champion: versions, image, and each metric with its change."""
    champion = "" if facts.champion_version is None else str(facts.champion_version)
    rows = [
        ("Model", facts.model, ""),
        ("Version", str(facts.version), champion),
        ("Release", facts.release_id, ""),
        ("Image", facts.image_uri.partition("@")[2] or facts.image_uri, ""),
        *([("Engine", facts.engine, "")] if facts.engine else []),
        *([("Pickle scan", facts.pickle_scan, "")] if facts.pickle_scan else []),
        *_metric_rows(facts.metrics, facts.champion_metrics),
    ]
    heading = "Champion" if champion else "Champion (none yet)"
    return [*_table(("", "This release", heading), rows), ""]


def checks_table(checks: Sequence[Check]) -> list[str]:
    """One line for each check."""
    rows = [(check.name, check.result, "✓" if check.passed else "✗") for check in checks]
    return [*_table(("Check", "Result", ""), rows), ""]


def mismatches_table(mismatches: Sequence[Mismatch], count: int) -> list[str]:
    """The first values that differ, and how many more there are."""
    if not mismatches:
        return []
    shown = mismatches[:_SHOWN_MISMATCHES]
    rows = [(one.form, "" if one.row is None else one.row, one.field, one.expected, one.found) for one in shown]
    more = [f"… and {count - len(shown)} more.", ""] if count > len(shown) else []
    return [*_table(("Form", "Row", "Field", "Expected", "Found"), rows), "", *more]


def text(value: Any) -> str:
    """Whatever it is, as one short line of Markdown that means nothing but itself."""
    line = " ".join(str(value).split())
    if len(line) > _SHOWN_CHARACTERS:
        line = line[: _SHOWN_CHARACTERS - 1] + "…"
    return _MARKUP.sub(r"\\\1", line)


def _table(heading: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    lines = [f"| {' | '.join(text(cell) for cell in row)} |" for row in rows]
    return [f"| {' | '.join(heading)} |", f"|{' --- |' * len(heading)}", *lines]


def _metric_rows(this: Mapping[str, float], champion: Mapping[str, float]) -> list[tuple[str, str, str]]:
    names = sorted(this.keys() | champion.keys())
    rows = []
    for name in names[:_SHOWN_METRICS]:
        mine, other = this.get(name), champion.get(name)
        change = f" ({mine - other:+.4g})" if mine is not None and other is not None else ""
        rows.append((name, "" if mine is None else f"{mine:.6g}{change}", "" if other is None else f"{other:.6g}"))
    if len(names) > _SHOWN_METRICS:
        rows.append((f"… {len(names) - _SHOWN_METRICS} more metrics", "", ""))
    return rows
