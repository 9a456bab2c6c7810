"""The history of each column's distance, and when it changed its level."""

from __future__ import annotations

from collections.abc import Sequence

from slipway.drift.change_point import ChangePoint, Point, find_changes
from slipway.drift.effect import EFFECTS
from slipway.drift.run_report import RunReport


def changes_of(runs: Sequence[RunReport]) -> dict[str, list[ChangePoint]]:
    """Find when the distance of each column changed by more than half of what is tolerated.

    Only runs of the latest run's release count: another release has another baseline.

    Args:
        runs: In any order.

    Returns:
        Changes by column, oldest first; columns without any are left out.
    """
    if not runs:
        return {}
    release = max(runs, key=lambda run: run.until).release_id
    points: dict[str, list[Point]] = {}
    tolerances: dict[str, float] = {}
    for run in runs:
        for each in run.findings if run.release_id == release else ():
            if each.statistic in EFFECTS:
                points.setdefault(each.column, []).append(Point(run.since, run.until, each.value))
                tolerances[each.column] = each.tolerance
    found = {name: find_changes(each, material=tolerances[name] / 2) for name, each in points.items()}
    return {name: changes for name, changes in found.items() if changes}


def change_text(column: str, change: ChangePoint) -> str:
    """Return a change as a sentence for people."""
    return (
        f"{column}: the distance went from {change.before_level:.3f} to {change.after_level:.3f} "
        f"between {change.after:%Y-%m-%d %H:%M} and {change.by:%Y-%m-%d %H:%M} UTC"
    )
