"""Spark counts what one process counts: capture objects to the bit, frames but for the last digits of the moments."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from slipway.drift.capture.profiling import profile_object
from slipway.drift.encoding import from_bytes, to_json
from slipway.drift.engines.job import CALL, profiling_job
from slipway.drift.engines.spark import _object_profiles
from slipway.drift.engines.threads import profile_batches
from slipway.drift.reference import read_reference
from slipway.drift.training import make_reference
from slipway.errors import PermanentError
from slipway.spec import ServiceSpec
from slipway.training.process import TrainerProcess
from tests.unit.slipway.drift.capture.records import record

HERE = Path(__file__).parent
LOCAL = {"engine": "spark", "spark": {"spark.master": "local[2]"}}
SPEC = ServiceSpec.model_validate({"name": "x", "model": "m", "owner": "o", "monitor": {"profiling": LOCAL}})


def rows(count: int, seed: int = 0) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    frame = pd.DataFrame({"x": random.normal(size=count), "c": random.choice(["a", "b", "new"], count)})
    frame.loc[frame.index % 17 == 0, "x"] = np.nan
    return frame


@pytest.fixture
def reference():
    known = rows(2000, seed=9)
    return make_reference(known[known.c != "new"])


@pytest.fixture
def captured(tmp_path) -> dict[str, Path]:
    """Three capture objects, the last one with garbage in it."""
    found = {}
    for number in range(3):
        values = rows(50, seed=number).astype(object).replace({np.nan: None}).to_numpy().tolist()
        lines = [
            record({"dataframe_split": {"columns": ["x", "c"], "data": [row]}}, {"predictions": [0.5]})
            for row in values
        ]
        path = tmp_path / f"{number}.jsonl"
        path.write_text("\n".join([*lines, *["garbage"] * (number == 2)]))
        found[f"main/2026/01/01/0{number}/x"] = path
    return found


def expected(path: Path, reference):
    with path.open("rb") as stream:
        return profile_object(stream, reference.schema, reference.bins)


def test_what_a_worker_counts_is_what_this_process_counts(reference, captured):
    names = list(captured)
    batch = pa.record_batch([names, [captured[name].as_uri() for name in names]], ["name", "url"])
    found = [row for each in _object_profiles(reference)(iter([batch])) for row in each.to_pylist()]
    assert [row["name"] for row in found] == names
    for row in found:
        alone = expected(captured[row["name"]], reference)
        assert (row["profile"], row["rejected"]) == (alone.profile, alone.rejected)
    assert json.loads(found[2]["rejected"])[0]["reason"] == "not_json"


@pytest.mark.spark
@pytest.mark.long
@pytest.mark.timeout(300)
def test_a_spark_frame_has_the_profile_of_its_rows(reference, tmp_path):
    (tmp_path / "reference.json").write_bytes(reference.to_bytes())
    table = pa.Table.from_pandas(rows(20_000), preserve_index=False)
    pq.write_table(table, tmp_path / "rows.parquet", row_group_size=3000)
    done = subprocess.run(
        [sys.executable, HERE / "spark_profiles.py", tmp_path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    by_spark = to_json(from_bytes((tmp_path / "frame.slpf").read_bytes()))
    alone = to_json(profile_batches(table.to_batches(), reference.bins))
    moments = by_spark["columns"]["x"].pop("moments"), alone["columns"]["x"].pop("moments")
    assert by_spark == alone
    assert moments[0] == pytest.approx(moments[1], rel=1e-12, abs=1e-12)


def test_the_job_says_what_the_spec_says(reference, tmp_path):
    job = profiling_job(SPEC, reference, {"a": "https://a"}, tmp_path)
    assert job["spark"] == {"spark.master": "local[2]"}
    options = job["call"]["options"]
    assert options["objects"] == [["a", "https://a"]]
    assert read_reference(Path(options["reference"]).read_bytes()).bins.digest == reference.bins.digest


def test_a_job_without_a_function_is_refused(tmp_path):
    job = {"service": "x", "model": "m", "job_id": "x/profile", "engine": "spark", "objects": []}
    with pytest.raises(PermanentError, match="names no function"):
        TrainerProcess(CALL, job, tmp_path, {}).run(lambda line: None)
