"""The report of many columns."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from slipway.drift.judge import DriftPolicy, judge
from slipway.drift.profiling import profile_batch
from slipway.drift.publication.page import make_page
from slipway.drift.reference import read_reference
from slipway.drift.run_report import make_run_report
from slipway.drift.status import status_of
from slipway.drift.training import make_reference
from tests.unit.slipway.drift.test_history import run


def page_of(columns: int, *, moved: str) -> str:
    rng = np.random.default_rng(0)
    names = [f"f{number}" for number in range(columns)]
    before = pd.DataFrame(rng.normal(size=(2000, columns)), columns=names)
    reference = read_reference(make_reference(before, before.f0).to_bytes())
    after = pd.DataFrame(rng.normal(size=(2000, columns)), columns=names)
    after[moved] += 1.0
    batch = pa.Table.from_pandas(after.assign(prediction=after.f0), preserve_index=False).to_batches()[0]
    window = profile_batch(batch, reference.bins)
    judgement = judge(reference.baseline, window, DriftPolicy())
    known = {"status", "verdict", "rows", "rejected", "unknown_columns", "last_traffic", "alpha"}
    known |= {"baseline", "findings", "measures", "blind", "calls", "schema_version"}
    facts: dict[str, Any] = run(0, []).model_dump(exclude=known)
    report = make_run_report(judgement, reference, window, status=status_of(judgement, window), **facts)
    return make_page(report, reference, window)


def test_two_hundred_columns_show_those_that_moved_and_list_all() -> None:
    page = page_of(200, moved="f7")
    found = re.search(r'<script id="data" type="application/json">(.*?)</script>', page, re.DOTALL)
    assert found
    heat = json.loads(found[1])["heat"]
    assert (len(heat["y"]), heat["y"][-1], heat["of"]) == (30, "f7", 201)
    assert "the 30 of 201 columns that moved most" in page
    assert page.count("<details data-name") == 201


def test_a_few_columns_are_all_shown() -> None:
    assert "that moved most" not in page_of(3, moved="f1")
