from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from trainer_rows import make_rows

from slipway_trainer.job import DataObject
from slipway_trainer.proposal import propose
from slipway_trainer.validation import validate

# In a process of their own: under xdist pyspark takes the worker for a doctest run and exits.
pytestmark = pytest.mark.integration


def test_a_dirty_object_is_refused_alone_with_its_reasons_and_page(job, tmp_path):
    dirty, empty = tmp_path / "dirty.parquet", tmp_path / "empty.parquet"
    rows = make_rows(200, seed=5)
    rows.assign(colour="plaid", size=np.where(rows.index < 100, 1e9, rows["size"])).to_parquet(dirty)
    rows[:0].to_parquet(empty)
    (tmp_path / "torn.parquet").write_bytes(b"PAR1 torn")
    names = [DataObject(str(tmp_path / name)) for name in ("dirty.parquet", "empty.parquet", "torn.parquet")]
    suite = propose(make_rows(700), "parcels", "late")

    found = validate(replace(job, objects=(*job.objects, *names), suite=suite))

    passed = {entry["uri"].rpartition("/")[2]: entry["passed"] for entry in found["objects"]}
    assert passed == {
        "part-0.parquet": True,
        "part-1.parquet": True,
        "dirty.parquet": False,
        "empty.parquet": False,
        "torn.parquet": False,
    }
    assert found["rows"] == 1400
    problems = {entry["uri"].rpartition("/")[2]: " ".join(entry["problems"]) for entry in found["objects"]}
    assert "colour: column values to be in set" in problems["dirty.parquet"]
    assert "200 rows (100 %) such as ['plaid'" in problems["dirty.parquet"]
    assert "size: column values to be between" in problems["dirty.parquet"]
    assert "has no rows" in problems["empty.parquet"]
    assert "half-written" in problems["torn.parquet"]
    pages = {entry["uri"].rpartition("/")[2]: entry["page"] for entry in found["objects"]}
    assert "plaid" in pages["dirty.parquet"]
    assert "<html" in pages["part-0.parquet"].lower()
