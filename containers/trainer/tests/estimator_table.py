"""``docs/spark-estimators.md``, made of what the round-trip test found."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = Path(__file__).parents[3] / "docs" / "spark-estimators.md"
SAME = 1e-9
_UID = re.compile(r" \w+_[0-9a-f]{12}\b")  # another one each time

_HEAD = """# Refitting Spark's estimators

<!-- Written by containers/trainer/tests/spark/test_unfit.py with SLIPWAY_WRITE_DOCS=1; it fails when old. -->

A retraining needs the unfitted pipeline. Pipelines that Slipway trained have it beside them; of all others it is
recovered from the fitted model. This page says how well, for every estimator of `pyspark.ml`: each is fitted and saved
in one process, loaded and unfitted in another, fitted again on the same rows, and its outputs are compared with the
first model's, number by number.

*same* means that no output differs by more than 1e-9.

| case | fitted model | outputs after the refit | what the model does not keep |
| --- | --- | --- | --- |
"""


def table_row(case: str, model: str, difference: float, losses: list[str], why: str) -> str:
    """One line of the table.

    Args:
        case: name of the case.
        model: class of the fitted model.
        difference: largest difference of an output.
        losses: what unfitting reported.
        why: the known reason for a difference; empty when there may be none.
    """
    outcome = f"may differ: {why}" if why else "same" if difference <= SAME else f"differs by {difference:.1e}"
    lost = "; ".join(_UID.sub("", loss).replace("|", "/") for loss in losses) or "–"
    return f"| {case} | `{model}` | {outcome} | {lost} |"


def table_page(rows: list[str]) -> str:
    """The whole page."""
    return _HEAD + "\n".join(rows) + "\n"
