"""The drift report: one HTML file that needs nothing else, not even a network.

Plotly is inlined once; a chart is drawn when its column is opened, so two hundred columns open as fast as two.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from slipway.drift.history import changes_of
from slipway.drift.profile import Profile
from slipway.drift.publication.cloudwatch import effects
from slipway.drift.publication.curves import draw_column, moved_most
from slipway.drift.quality.report import QualityReport
from slipway.drift.reference import Reference
from slipway.drift.run_report import FindingRecord, RunReport, baseline_text, blind_text

_TEMPLATE = Path(__file__).with_name("page.html.jinja")
#: More rows than these fill several screens with columns that never moved.
_HEAT_COLUMNS = 30
_ORDER = {"DRIFTED": 0, "INCONCLUSIVE": 1, "STABLE": 2}


def make_page(
    report: RunReport,
    reference: Reference,
    window: Profile,
    history: Sequence[RunReport] = (),
    quality: QualityReport | None = None,
) -> str:
    """Return the report as HTML.

    Args:
        report: What the run found.
        reference: The baseline.
        window: The window's profile.
        history: Earlier runs, oldest first, for the heat map; this run may be among them.
        quality: How good the answers were whose outcomes are known; None without outcomes.
    """
    from jinja2 import Environment, StrictUndefined
    from plotly.offline import get_plotlyjs

    changes = changes_of([*history, report])
    columns = [
        {**_column(name, report, reference, window), "changes": changes.get(name, [])}
        for name in reference.bins.columns
    ]
    columns.sort(key=lambda column: (_ORDER.get(column["verdict"], 3), -column["effect"], column["name"]))
    runs = sorted({each.until: each for each in [*history, report]}.values(), key=lambda each: each.until)
    heat = _heat(runs)
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(_TEMPLATE.read_text())
    return template.render(
        report=report,
        columns=columns,
        advice=report.advice(),
        unjudged=baseline_text(report.unjudged),
        blind=blind_text(report.blind),
        quality=quality,
        baseline_rows=reference.baseline.profile.rows,
        plotly=get_plotlyjs(),
        heat=heat,
        data=_for_script({"charts": [column["chart"] for column in columns], "heat": heat}),
    )


def _column(name: str, report: RunReport, reference: Reference, window: Profile) -> dict[str, Any]:
    findings = [finding for finding in report.findings if finding.column == name]
    spread = reference.baseline.spreads.get(name)
    chart = draw_column(
        reference.baseline.profile.columns[name],
        window.columns[name] if window.rows else None,
        reference.bins.columns[name],
    )
    return {
        "name": name,
        "role": "prediction" if any(name == each.name for each in reference.schema.outputs) else "feature",
        "verdict": _worst(findings),
        "effect": effects(report).get(name, 0.0),
        "findings": sorted(findings, key=lambda finding: _ORDER.get(finding.verdict, 3)),
        "measures": report.measures.get(name, {}),
        "wander": spread.variance**0.5 if spread else 0.0,
        "chart": chart,
        "moved": moved_most(chart) if _worst(findings) == "DRIFTED" else [],
    }


def _worst(findings: Sequence[FindingRecord]) -> str:
    return min((finding.verdict for finding in findings), key=lambda verdict: _ORDER.get(verdict, 3), default="NO_DATA")


def _heat(runs: Sequence[RunReport]) -> dict[str, Any]:
    """Effects over time: a row for each of the columns that moved most, the farthest on top."""
    found = [effects(run) for run in runs]
    names = {name for each in found for name in each}
    ranked = sorted(names, key=lambda name: max(each.get(name, 0.0) for each in found))[-_HEAT_COLUMNS:]
    return {
        "of": len(names),
        "x": [run.until.isoformat() for run in runs],
        "y": ranked,
        "z": [[each.get(name) for each in found] for name in ranked],
        "status": [run.status.value for run in runs],
    }


def _for_script(value: Any) -> Any:
    """JSON that cannot end the script element it stands in."""
    from markupsafe import Markup

    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"))
