"""Speed of profiling: rows against a stored baseline, captured calls, and one more hour on a window of thirty days.

Each measurement runs in a process of its own, so that its peak memory is its own. duckdb's ``histogram`` over the same
edges is the floor: bare counts, without missing values, moments, new categories or a verdict. Evidently and NannyML run
in an environment of their own below ``var/bench``, because they need pandas before 3.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bench.peers.sync_tools import uv_command
from bench.report import ROOT, Row, earlier_rows, publish
from slipway.cli.drift import read_batches
from slipway.drift.baseline import merge_all
from slipway.drift.bins import NumericBins
from slipway.drift.capture import CaptureCounts, read_captures
from slipway.drift.engines.spark import profile_frame
from slipway.drift.engines.threads import profile_batches
from slipway.drift.judge import DriftPolicy, judge
from slipway.drift.profiling import profile_batch
from slipway.drift.reference import Reference, read_reference
from slipway.drift.training import make_reference
from slipway_trainer.spark.session import start_session

NUMBERS = [f"n{index}" for index in range(20)]
WORDS = [f"c{index}" for index in range(5)]
LEVELS = (3, 10, 50, 200, 1000)
PEERS = {"evidently": "Evidently (PSI)", "nannyml": "NannyML (Jensen-Shannon)"}
_CHUNK = 100_000


def make_table(rows: int, seed: int) -> pa.Table:
    """Normal, exponential and gamma columns, and categories of 3 to 1,000 levels."""
    rng = np.random.default_rng(seed)
    draws = [lambda: rng.normal(size=rows), lambda: rng.exponential(size=rows), lambda: rng.gamma(2.0, size=rows)]
    columns = {name: draws[index % 3]() for index, name in enumerate(NUMBERS)}
    words = {
        name: pa.array([f"v{index}" for index in range(levels)]).take(pa.array(rng.integers(0, levels, rows)))
        for name, levels in zip(WORDS, LEVELS, strict=True)
    }
    return pa.table({**columns, **words})


def prepare(folder: Path, rows: int, calls: int = 20_000) -> None:
    """Write the baseline, the window (in parts, so that memory stays small) and captured calls.

    Args:
        folder: Where.
        rows: Of the window.
        calls: Rows in calls of one row; in calls of 100 rows they come ten times over.
    """
    baseline = make_table(200_000, 0)
    (folder / "baseline.json").write_bytes(make_reference(baseline).to_bytes())
    pq.write_table(baseline, folder / "baseline.parquet", compression="zstd")
    (folder / "columns.json").write_text(json.dumps({"numbers": NUMBERS, "words": WORDS}))
    with pq.ParquetWriter(folder / "window.parquet", make_table(1, 1).schema, compression="zstd") as writer:
        for part in range(max(1, rows // _CHUNK)):
            writer.write_table(make_table(min(rows, _CHUNK), part + 1))
    table = make_table(calls, 9)
    data = [list(row.values()) for row in table.to_pylist()]
    for name, size, times in (("single", 1, 1), ("batch", 100, 10)):
        parts = [data[start : start + size] for start in range(0, len(data), size)]
        with (folder / f"{name}.jsonl").open("w") as file:
            for part in parts:
                split = {"columns": table.column_names, "data": part}
                file.write(_record(json.dumps({"dataframe_split": split}), "JSON", len(part)) * times)
        with (folder / f"{name}_csv.jsonl").open("w") as file:
            for part in parts:
                file.write(_record("\n".join(",".join(map(str, row)) for row in part), "CSV", len(part)) * times)


def _record(request: str, encoding: str, rows: int) -> str:
    """One captured call, as SageMaker writes it."""
    media = "text/csv" if encoding == "CSV" else "application/json"
    answer = json.dumps({"predictions": [0.5] * rows})
    data = {
        "endpointInput": {"observedContentType": media, "encoding": encoding, "mode": "INPUT", "data": request},
        "endpointOutput": {
            "observedContentType": "application/json",
            "encoding": "JSON",
            "mode": "OUTPUT",
            "data": answer,
        },
    }
    event = {"eventId": "e-1", "inferenceTime": "2026-01-01T00:00:00Z"}
    return json.dumps({"captureData": data, "eventMetadata": event, "eventVersion": "0"}) + "\n"


def profile_and_judge(threads: int) -> Callable[[Path, Reference], int]:
    """Ours: from the file to the verdict."""

    def run(folder: Path, reference: Reference) -> int:
        batches = read_batches([folder / "window.parquet"], threads=threads)
        window = profile_batches(batches, reference.bins, threads=threads)
        judge(reference.baseline, window, DriftPolicy())
        return window.rows

    return run


def duckdb_histogram(folder: Path, reference: Reference) -> int:
    """The floor: duckdb's counts over the same edges."""
    import duckdb

    connection = duckdb.connect(config={"threads": 2, "memory_limit": "1GB"})
    parts, edges = [], []
    for name, bins in reference.bins.columns.items():
        if isinstance(bins, NumericBins):
            parts.append(f"histogram({name}, ?::double[])")
            edges.append([*bins.edges, 1e308])
        else:
            parts.append(f"histogram({name})")
    query = f"select count(*), {', '.join(parts)} from '{folder / 'window.parquet'}'"
    return int(connection.execute(query, edges).fetchone()[0])


def captures(name: str) -> Callable[[Path, Reference], int]:
    """Ours: from capture lines to typed batches."""

    def read(folder: Path, reference: Reference) -> int:
        counts = CaptureCounts()
        with (folder / f"{name}.jsonl").open("rb") as stream:
            for _ in read_captures(stream, reference.schema, counts):
                pass
        return counts.rows

    return read


def one_more_hour(folder: Path, reference: Reference) -> int:
    """One hour of the 720 counted, merged to the window that is there."""
    batch = next(read_batches([folder / "window.parquet"]))
    rows = max(1, pq.ParquetFile(folder / "window.parquet").metadata.num_rows // 720)
    month = profile_batch(batch, reference.bins)
    began = time.perf_counter()
    merge_all([month, profile_batch(batch.slice(0, rows), reference.bins)])
    sys.stderr.write(f"{time.perf_counter() - began}\n")
    return rows


def by_spark(folder: Path, reference: Reference) -> int:
    """The same rows over Spark's partitions, and a function there that only counts rows; Spark is up and warm."""
    spark = start_session("bench", cache_dir=folder, configuration={"spark.master": "local[2]"})
    frame = spark.read.parquet(str(folder / "window.parquet"))
    counted = frame.mapInArrow(count_rows, "rows long")
    counted.toArrow()
    seconds = {}
    began = time.perf_counter()
    counted.toArrow()
    seconds["bare mapInArrow"] = time.perf_counter() - began
    began = time.perf_counter()
    rows = profile_frame(frame, reference.bins).rows
    seconds["slipway"] = time.perf_counter() - began
    spark.stop()
    sys.stderr.write(f"\n{json.dumps(seconds)}\n")
    return rows


def count_rows(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The least that a function in ``mapInArrow`` can do with all columns."""
    yield pa.record_batch([pa.array([sum(batch.num_rows for batch in batches)])], ["rows"])


CASES: dict[str, tuple[str, str, Callable[[Path, Reference], int]]] = {
    "ours": ("window against baseline", "slipway", profile_and_judge(1)),
    "threads": ("window against baseline", "slipway, 2 threads", profile_and_judge(2)),
    "duckdb": ("window against baseline", "duckdb histogram", duckdb_histogram),
    "single": ("captured calls of one row, JSON", "slipway", captures("single")),
    "single_csv": ("captured calls of one row, CSV", "slipway", captures("single_csv")),
    "batch": ("captured calls of 100 rows, JSON", "slipway", captures("batch")),
    "batch_csv": ("captured calls of 100 rows, CSV", "slipway", captures("batch_csv")),
    "spark": ("window over Spark, local[2]", "slipway", by_spark),
    "hour": ("one more hour on 30 days", "slipway", one_more_hour),
}


def run_case(name: str, folder: Path) -> None:
    """Run one case in this process and print what it cost."""
    reference = read_reference((folder / "baseline.json").read_bytes())
    wall, cpu = time.perf_counter(), time.process_time()
    rows = CASES[name][2](folder, reference)
    seconds, used = time.perf_counter() - wall, time.process_time() - cpu
    sys.stdout.write(json.dumps({"rows": rows, "seconds": seconds, "cpu": used, "peak": peak_megabytes()}))


def peak_megabytes() -> float:
    """The most memory that this process had so far; not ``ru_maxrss``, with which a child begins at its parent's."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def measure(folder: Path, names: Sequence[str] = tuple(CASES)) -> list[Row]:
    """Run the cases once, in processes of their own."""
    rows = []
    for name in names:
        case, system, _ = CASES[name]
        command = [sys.executable, "-m", "bench.drift", "--case", name, "--folder", str(folder)]
        done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
        if name == "spark":
            for system, seconds in json.loads(done.stderr.splitlines()[-1]).items():
                rows.append(Row(case, system, "wall", seconds, "s"))
        elif name == "hour":
            rows.append(Row(case, system, "added cost", float(done.stderr.split()[-1]) * 1000, "ms"))
        else:
            rows += _cost(case, system, json.loads(done.stdout))
    return rows


def measure_peers(folder: Path, python: Path) -> list[Row]:
    """Run both libraries once over the same files; NannyML without telling its makers, which takes time."""
    rows, quiet = [], {**os.environ, "NML_DISABLE_USAGE_LOGGING": "1"}
    script = ROOT / "bench" / "peers" / "drift_libraries.py"
    for name, system in PEERS.items():
        done = subprocess.run([python, script, name, folder], check=True, capture_output=True, text=True, env=quiet)
        rows += _cost(CASES["ours"][0], system, json.loads(done.stdout.splitlines()[-1]))
    return rows


def install_peers() -> tuple[Path, dict[str, str]]:
    """Make the peers' environment unless it is there; returns its Python and their versions."""
    python = ROOT / "var" / "bench" / "drift-peers" / "bin" / "python"
    if not python.exists():
        make = [uv_command(), "venv", "--quiet", "--no-project", "--python", "3.11", python.parent.parent]
        subprocess.run(make, check=True)
        add = [uv_command(), "pip", "install", "--quiet", "--python", python, *PEERS, "pandas<3", "pyarrow"]
        subprocess.run(add, check=True)
    ask = "from importlib.metadata import version; print(*map(version, ('evidently', 'nannyml')))"
    found = subprocess.run([python, "-c", ask], check=True, capture_output=True, text=True).stdout.split()
    return python, dict(zip(PEERS.values(), found, strict=True))


def _cost(case: str, system: str, found: dict[str, float]) -> list[Row]:
    return [
        Row(case, system, "wall", found["seconds"], "s"),
        Row(case, system, "processor time", found["cpu"], "s"),
        Row(case, system, "rate on one core", found["rows"] / found["cpu"], "rows/s"),
        Row(case, system, "peak memory", found["peak"], "MB"),
    ]


def main() -> None:
    """Measure and publish, or run one case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--peers", type=int, default=1, help="repeats of Evidently and NannyML; 0 leaves them out")
    parser.add_argument("--case", choices=list(CASES))
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--only", nargs="*", choices=list(CASES), default=list(CASES), help="these cases alone")
    parser.add_argument("--append", action="store_true", help="keep the rows of the run before")
    parser.add_argument("--label", default="", help="put before the name of each case, such as '10 M rows: '")
    parser.add_argument("--dry", action="store_true", help="print the rows, publish nothing")
    arguments = parser.parse_args()
    if arguments.case:
        run_case(arguments.case, arguments.folder)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder, arguments.rows)
        versions: dict[str, str] = {"duckdb": version("duckdb"), "Spark": version("pyspark")}
        if arguments.peers:
            python, found = install_peers()
            versions |= found
        rows = []
        for turn in range(max(arguments.repeats, arguments.peers)):
            rows += measure(folder, arguments.only) if turn < arguments.repeats else []
            rows += measure_peers(folder, python) if turn < arguments.peers else []
    rows = [replace(row, case=f"{arguments.label}{row.case}") for row in rows]
    if arguments.append:
        rows = [*earlier_rows("drift", versions), *rows]
        versions = json.loads((ROOT / "var" / "bench" / "drift.json").read_text())["versions"] | versions
    order = [case for case, *_ in CASES.values()]
    rows.sort(key=lambda row: order.index(row.case) if row.case in order else len(order))
    if arguments.dry:
        sys.stdout.write("\n".join(map(str, rows)) + "\n")
    else:
        publish("drift", rows, versions=versions, notes=_notes(arguments))


def _notes(run: argparse.Namespace) -> list[str]:
    times = f"{run.repeats} repeats, of the peers {run.peers}, in turn"
    if run.append:
        times = "measured in pieces, the systems of a piece in turn"
    return [
        f"{run.rows:,} rows x 25 columns (20 numbers, 5 categories) where nothing else is said; the baseline has "
        f"200,000; {times}; each in a process of its own.",
        "Slipway reads the file in batches and gives verdicts; duckdb gives bare counts; the peers get pandas frames. "
        "Captured calls have 25 columns too, and are only read and typed, not profiled: 20,000 rows one by one, and "
        "ten times these in calls of 100 rows.",
        *([] if run.peers or run.append else ["Peers left out: Evidently, NannyML."]),
    ]


if __name__ == "__main__":
    main()
