"""The model report: one HTML page without scripts, logged beside the model."""

from __future__ import annotations

from html import escape
from typing import Any

from slipway_trainer.job import Job

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1c2530}
table{border-collapse:collapse;margin:.5rem 0 1.5rem}
td,th{padding:.25rem .8rem;border-bottom:1px solid #dde3ea;text-align:left}
td.n{text-align:right;font-variant-numeric:tabular-nums}h2{margin-top:2rem}svg{display:block}
"""


def report_html(job: Job, result: dict[str, Any]) -> str:
    """The page.

    Args:
        job: What was done.
        result: What came of it.
    """
    parts = [
        f"<!doctype html><meta charset='utf-8'><title>{escape(job.model)}</title><style>{_STYLE}</style>",
        f"<h1>{escape(job.model)}: retraining</h1>",
        _facts(job, result),
        "<h2>Metrics on the held-out rows</h2>",
        _metrics(result),
        _importance(result["importance"]),
        _slices(result),
        _losses(result),
    ]
    return "\n".join(part for part in parts if part)


def _facts(job: Job, result: dict[str, Any]) -> str:
    window, rows = result["window"], result["rows"]
    facts = {
        "Trained on": f"{rows['train']:,} rows from {window['first']} to {window['cutoff']}",
        "Judged by": f"{rows['holdout']:,} rows up to {window['last']}",
        "Classes": ", ".join(f"{name}: {count:,}" for name, count in result["classes"].items()) or "none",
        "Objects": f"{result['objects']} (digest {result['data_digest'][:16]})",
        "Champion": str(result["champion_version"] or "none"),
        "Estimator from": result["estimator"],
        "Engine": job.engine,
    }
    return "<table>" + "".join(f"<tr><th>{n}</th><td>{escape(v)}</td></tr>" for n, v in facts.items()) + "</table>"


def _metrics(result: dict[str, Any]) -> str:
    lines = ["<table><tr><th>metric</th><th>new model</th><th>95 % interval</th><th>champion</th><th></th></tr>"]
    for name, value in result["metrics"]["candidate"].items():
        low, high = result["intervals"][name]
        champion = result["metrics"]["champion"].get(name)
        lines.append(
            f"<tr><td>{escape(name)}</td><td class=n>{value:.5g}</td><td class=n>{low:.5g} – {high:.5g}</td>"
            f"<td class=n>{'' if champion is None else format(champion, '.5g')}</td>"
            f"<td>{_bar(low, high, value, champion)}</td></tr>"
        )
    return "\n".join([*lines, "</table>"])


def _bar(low: float, high: float, value: float, champion: float | None) -> str:
    """The interval as a line, the value as a dot, the champion as a tick."""
    points = [each for each in (low, high, value, champion) if each is not None and each == each]
    if len(points) < 3 or max(points) == min(points):
        return ""
    begin, width = min(points), max(points) - min(points)

    def x(point: float) -> float:
        return 10 + 180 * (point - begin) / width

    tick = (
        ""
        if champion is None or champion != champion
        else (f"<line x1='{x(champion):.1f}' x2='{x(champion):.1f}' y1='2' y2='18' stroke='#c2410c' stroke-width='2'/>")
    )
    return (
        f"<svg width='200' height='20' role='img'><line x1='{x(low):.1f}' x2='{x(high):.1f}' y1='10' y2='10' "
        f"stroke='#2563eb' stroke-width='3'/><circle cx='{x(value):.1f}' cy='10' r='4' fill='#2563eb'/>{tick}</svg>"
    )


_MOST_FEATURES = 40


def _importance(found: dict[str, Any]) -> str:
    """The features, the weightiest first, with their intervals as lines on one scale."""
    if not found:
        return ""
    shown = found["features"][:_MOST_FEATURES]
    ends = [each[end] for each in shown for end in ("low", "high", "value")]
    begin, width = min(0.0, *ends), max(0.0, *ends) - min(0.0, *ends)
    lines = [
        f"<h2>Importance of the features</h2><p>By how much {escape(found['metric'])} gets worse when the feature is "
        f"shuffled among {found['rows']:,} held-out rows, with 95 % intervals. Features that carry the same "
        "information share it.</p><table><tr><th>feature</th><th>importance</th><th>95 % interval</th><th></th></tr>"
    ]
    lines += [
        f"<tr><td>{escape(each['feature'])}</td><td class=n>{each['value']:.4g}</td>"
        f"<td class=n>{each['low']:.4g} – {each['high']:.4g}</td><td>{_weight(each, begin, width)}</td></tr>"
        for each in shown
    ]
    rest = len(found["features"]) - len(shown)
    return "\n".join([*lines, "</table>", f"<p>{rest} further features weigh less.</p>" if rest else ""])


def _weight(each: dict[str, Any], begin: float, width: float) -> str:
    if not width or each["low"] != each["low"]:
        return ""

    def x(point: float) -> float:
        return 10 + 280 * (point - begin) / width

    left, right = sorted((x(0.0), x(each["value"])))
    return (
        f"<svg width='300' height='20' role='img'><rect x='{left:.1f}' y='4' width='{right - left:.1f}' height='12' "
        f"fill='#bfdbfe'/><line x1='{x(each['low']):.1f}' x2='{x(each['high']):.1f}' y1='10' y2='10' stroke='#2563eb' "
        "stroke-width='3'/></svg>"
    )


def _slices(result: dict[str, Any]) -> str:
    if not result["slices"]:
        return ""
    names = list(next(iter(result["slices"].values())))
    head = "".join(f"<th>{escape(name)}</th>" for name in ["slice", *names])
    body = "".join(
        f"<tr><td>{escape(slice_)}</td>" + "".join(f"<td class=n>{found[name]:.5g}</td>" for name in names) + "</tr>"
        for slice_, found in result["slices"].items()
    )
    return f"<h2>By slice</h2><table><tr>{head}</tr>{body}</table>"


def _losses(result: dict[str, Any]) -> str:
    if not result["losses"]:
        return ""
    items = "".join(f"<li>{escape(loss)}</li>" for loss in result["losses"])
    return f"<h2>Not recovered from the champion</h2><ul>{items}</ul>"
