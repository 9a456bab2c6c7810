import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from slipway.cli.app import app
from slipway.cli.drift import shift_rows
from slipway.drift.training import make_reference
from slipway.errors import InvalidInputError
from tests.unit.slipway.drift.older_baseline import older_baseline


def run(*arguments):
    return CliRunner().invoke(app, [str(each) for each in arguments])


def frame(rows: int, seed: int, shift: float = 0.0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {"x": rng.normal(shift, 1, rows), "c": rng.choice(["a", "b"], rows), "n": rng.integers(0, 9, rows)}
    )


@pytest.fixture
def tables(tmp_path):
    frame(5000, 0).to_parquet(tmp_path / "before.parquet")
    frame(3000, 1).to_csv(tmp_path / "calm.csv", index=False)
    frame(3000, 2, shift=1.0).to_parquet(tmp_path / "moved.parquet")
    return tmp_path


def test_comparing_files_names_what_moved_by_exit_code_and_text(tables):
    calm = run("compare", tables / "before.parquet", tables / "calm.csv")
    assert calm.exit_code == 0
    assert calm.stdout.startswith("STABLE: 3,000 rows against 5,000")
    moved = run("compare", tables / "before.parquet", tables / "moved.parquet", "--json")
    assert moved.exit_code == 1
    document = json.loads(moved.stdout)
    assert {row["column"] for row in document["findings"] if row["verdict"] == "DRIFTED"} == {"x"}


@pytest.mark.parametrize("tolerance", ["0", "1", "-0.1", "1.5", "nan"])
def test_a_tolerance_that_every_difference_or_none_exceeds_is_refused(tables, tolerance):
    found = run("compare", tables / "before.parquet", tables / "calm.csv", "--tolerance", tolerance)
    assert found.exit_code == 2
    assert f"--tolerance is {float(tolerance):g}" in found.stderr
    assert "between 0 and 1" in found.stderr
    assert found.stdout == ""


def test_a_column_that_the_first_table_hardly_knows_is_named_and_hides_no_other(tables):
    for name, seed in (("before", 0), ("after", 1)):
        table = frame(5000, seed)
        table["rare"] = table.x.where(table.index % 50 == 0)
        table.to_parquet(tables / f"{name}.parquet")
    found = run("compare", tables / "before.parquet", tables / "after.parquet")
    assert found.stdout.startswith("STABLE: 5,000 rows against 5,000")
    assert "too few rows: rare has 100 of at least 265 (kolmogorov smirnov)" in found.stdout
    document = json.loads(run("compare", tables / "before.parquet", tables / "after.parquet", "--json").stdout)
    (rare,) = [row for row in document["findings"] if row["verdict"] == "INCONCLUSIVE"]
    assert (rare["column"], rare["baseline_rows"], rare["baseline_needed"]) == ("rare", 100, 265)


def test_a_logged_baseline_can_stand_for_the_first_file(tables):
    (tables / "baseline.json").write_bytes(make_reference(frame(5000, 0)).to_bytes())
    assert run("compare", tables / "baseline.json", tables / "moved.parquet").exit_code == 1
    assert run("profile", tables / "calm.csv", "--baseline", tables / "baseline.json").exit_code == 0


def test_a_column_that_an_older_baseline_hides_changes_of_is_named(tables):
    (tables / "baseline.json").write_bytes(older_baseline(frame(5000, 0)))
    found = run("compare", tables / "baseline.json", tables / "calm.csv")
    assert found.exit_code == 0
    assert "did not tell its highest values apart: n." in found.stdout


def test_a_profile_is_printed_as_text_and_as_json(tables):
    text = run("profile", tables / "before.parquet").stdout
    assert text.startswith("5,000 rows, 3 columns")
    assert "x: count 5000, mean" in text
    document = json.loads(run("profile", tables / "before.parquet", "--json").stdout)
    assert document["rows"] == 5000
    assert sum(document["columns"]["c"]["counts"]) == 5000


_COUNT = """
import sys
from pathlib import Path
from slipway.cli.drift import read_batches
from slipway.drift.engines.threads import profile_batches
from slipway.drift.reference import read_reference
table, baseline = map(Path, sys.argv[1:])
reference = read_reference(baseline.read_bytes())
profile = profile_batches(read_batches([table]), reference.bins)
assert profile.columns["c"].rows == 3000
assert "pandas" not in sys.modules
"""


def test_a_parquet_file_is_counted_without_pandas(tables):
    (tables / "baseline.json").write_bytes(make_reference(frame(5000, 0)).to_bytes())
    command = [sys.executable, "-c", _COUNT, tables / "moved.parquet", tables / "baseline.json"]
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()


def long_csv(path, late: list[str]) -> None:
    """A file whose first megabyte shows whole numbers, days and nothing in a column, and then ``late``."""
    first = [f"{number},2013-04-01,,a" for number in range(100_000)]
    path.write_text("\n".join(["x,day,note,c", *first, *late, ""]))


def test_a_csv_file_may_show_late_what_its_columns_hold(tmp_path):
    long_csv(tmp_path / "plain.csv", ["1.5,2013-04-02,late,b", " 2 ,,,a"])
    document = json.loads(run("profile", tmp_path / "plain.csv", "--json").stdout)
    assert document["rows"] == 100_002
    x, day, note = (document["columns"][name] for name in ("x", "day", "note"))
    assert (x["moments"]["count"], x["mismatched"]) == (100_002, 0)
    assert (day["moments"]["count"], day["missing"]) == (100_001, 1)
    assert (sum(note["counts"]), note["missing"]) == (1, 100_001)


def test_text_among_the_numbers_of_a_csv_file_is_counted(tmp_path):
    long_csv(tmp_path / "mixed.csv", ["unknown,someday,,b", "7.5,2013-04-02,,a"])
    document = json.loads(run("profile", tmp_path / "mixed.csv", "--json").stdout)
    x, day = document["columns"]["x"], document["columns"]["day"]
    assert (x["moments"]["count"], x["mismatched"]) == (100_001, 1)
    assert (day["moments"]["count"], day["missing"]) == (100_001, 1), "a time that is none is missing"


def test_a_compressed_csv_file_is_read_as_the_file_in_it(tables):
    frame(3000, 1).to_csv(tables / "calm.csv.gz", index=False)
    found = run("profile", tables / "calm.csv.gz", "--json")
    assert json.loads(found.stdout) == json.loads(run("profile", tables / "calm.csv", "--json").stdout)


def test_what_is_no_table_is_said_in_one_line(tmp_path):
    (tmp_path / "x.parquet").write_text("hello")
    found = run("profile", tmp_path / "x.parquet")
    assert found.exit_code == 2
    assert "x.parquet" in found.stderr


def test_a_number_moves_by_standard_deviations_and_a_text_by_share():
    rows = [{"x": float(value), "c": "a"} for value in range(100)]
    moved = shift_rows(rows, "x", 2.0)
    spread = np.std(np.arange(100.0))
    assert [row["x"] for row in moved] == pytest.approx(list(np.arange(100.0) + 2 * spread))
    assert sum(row["c"] == "simulated" for row in shift_rows(rows, "c", 0.25)) == 25
    with pytest.raises(InvalidInputError, match="no feature 'y'"):
        shift_rows(rows, "y", 1.0)
