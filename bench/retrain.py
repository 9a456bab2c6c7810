"""A retraining by Spark: Slipway's trainer against a PySpark script that does the same by hand, as data grows.

Both run as processes of their own on ``local[2]``, from the start of Python to its end, with rows in Parquet files on
this machine and MLflow in SQLite. Memory is the greatest resident set of the Python driver, and of its JVM, sampled.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bench.report import ROOT, Row, earlier_rows, publish
from slipway.training.process import TrainerProcess

FILE_ROWS = 20_000
SIZES = (1, 10, 50)
SPARK = {"spark.master": "local[2]", "spark.sql.shuffle.partitions": "2"}
BARE = "bare PySpark script"
UNFIT_STAGES = (5, 25)
_SAMPLE_SECONDS = 0.2
_SCRIPT = ROOT / "bench" / "peers" / "bare_pyspark.py"


def write_rows(folder: Path, files: int) -> Path:
    """Rows in time, one file after the other; the label leans on delay and carrier."""
    place = folder / f"rows-{files}"
    place.mkdir()
    carriers, dests = (pa.array([f"{kind}{n}" for n in range(count)]) for kind, count in (("c", 15), ("d", 100)))
    for number in range(files):
        random = np.random.default_rng(number)
        carrier, delay = random.integers(0, 15, FILE_ROWS), random.normal(size=FILE_ROWS)
        chance = 1 / (1 + np.exp(-(1.5 * delay + 0.1 * carrier - 1.0)))
        gaps = random.random(FILE_ROWS) < 0.02
        began = np.datetime64("2024-01-01") + np.timedelta64(number, "D")
        table = pa.table(
            {
                "carrier": carriers.take(pa.array(carrier)),
                "dest": dests.take(pa.array(random.integers(0, 100, FILE_ROWS))),
                "delay": pa.array(delay, mask=gaps),
                "distance": random.gamma(2.0, 500.0, FILE_ROWS),
                "minute": random.integers(0, 1440, FILE_ROWS).astype(float),
                "weekday": random.integers(0, 7, FILE_ROWS).astype(float),
                "at": (began + np.arange(FILE_ROWS) * np.timedelta64(4, "s")).astype("datetime64[us]"),
                "late": (random.random(FILE_ROWS) < chance).astype(float),
            }
        )
        pq.write_table(table, place / f"part-{number:03d}.parquet")
    return place


@dataclass
class Peaks:
    """Greatest resident sets of a process and its JVM in MiB, sampled by a thread."""

    driver: float = 0.0
    jvm: float = 0.0

    def watch(self, pid: int, until: threading.Event) -> None:
        """Sample until told to stop."""
        while not until.wait(_SAMPLE_SECONDS):
            self.driver = max(self.driver, _resident(pid))
            self.jvm = max([self.jvm, *(_resident(child) for child in _children(pid) if _name(child) == "java")])


def _children(pid: int) -> list[int]:
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
        return [int(child) for child in text.split()]
    except OSError:
        return []


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def _resident(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return max((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS:")), default=0.0)


def timed(run: Callable[[Callable[[int], None]], dict[str, Any]]) -> tuple[dict[str, Any], float, Peaks]:
    """Run a process; ``run`` tells its id as soon as it has one. Returns its result, seconds and memory."""
    peaks, done = Peaks(), threading.Event()
    watchers: list[threading.Thread] = []

    def started(pid: int) -> None:
        watchers.append(threading.Thread(target=peaks.watch, args=(pid, done), daemon=True))
        watchers[-1].start()

    began = time.perf_counter()
    try:
        found = run(started)
    finally:
        done.set()
    return found, time.perf_counter() - began, peaks


def by_slipway(rows: Path, work: Path, number: int) -> tuple[dict[str, Any], float, Peaks]:
    """The trainer as the task runs it."""
    folder = work / f"slipway-{rows.name}-{number}"
    folder.mkdir()
    job = {
        "service": "bench",
        "model": "bench",
        "job_id": folder.name,
        "engine": "spark",
        "objects": [{"uri": str(path)} for path in sorted(rows.glob("*.parquet"))],
        "champion": {"version": 1, "artifact_uri": str(work / "champion")},
        "target": "late",
        "time_column": "at",
        "spark": SPARK,
        "tracking_uri": f"sqlite:///{work}/mlflow.db",
        "experiment": "slipway",
    }
    process = TrainerProcess("train", job, folder, {"MLFLOW_DISABLE_TELEMETRY": "true"})
    lines: list[str] = []

    def run(started: Callable[[int], None]) -> dict[str, Any]:
        def on_line(line: str) -> None:
            if not lines and process.pid:
                started(process.pid)
            lines.append(line)

        return process.run(on_line)

    found, seconds, peaks = timed(run)
    (folder / "log.txt").write_text("\n".join(lines))
    return found, seconds, peaks


def by_hand(rows: Path, work: Path, command: str = "train") -> tuple[dict[str, Any], float, Peaks]:
    """The script."""

    def run(started: Callable[[int], None]) -> dict[str, Any]:
        line = [sys.executable, str(_SCRIPT), command, str(rows), str(work)]
        with (work / "bare.log").open("w") as log:
            child = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=log, text=True, env=_environment(work))
            started(child.pid)
            told, _ = child.communicate()
        if child.returncode:
            raise SystemExit((work / "bare.log").read_text()[-3000:])
        result: dict[str, Any] = json.loads(told.splitlines()[-1])
        return result

    return timed(run)


def _environment(work: Path) -> dict[str, str]:
    from slipway_trainer.spark.java_home import find_java_home

    java = {"JAVA_HOME": str(find_java_home(work)), "PYSPARK_PYTHON": sys.executable}
    return {**os.environ, **java, "MLFLOW_DISABLE_TELEMETRY": "true"}


def make_experiments(work: Path) -> None:
    """Make both experiments with their files below ``work``; MLflow would put them where the benchmark is started."""
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{work}/mlflow.db")
    for name in ("slipway", "bare"):
        client.create_experiment(name, artifact_location=(work / "artifacts" / name).as_uri())


def measure(work: Path, size: int, repeats: int) -> list[Row]:
    """Both, in turn, on so many files."""
    rows = write_rows(work, size)
    found: list[Row] = []
    for number in range(repeats):
        ours, theirs = by_slipway(rows, work, number), by_hand(rows, work)
        _same(ours[0], theirs[0])
        for system, (_, seconds, peaks) in (("slipway", ours), (BARE, theirs)):
            found += _costs(f"{size * FILE_ROWS:,} rows", system, size * FILE_ROWS, seconds, peaks)
        share = 100 * (ours[1] - theirs[1]) / theirs[1]
        found.append(Row(f"{size * FILE_ROWS:,} rows", "slipway", "longer by", ours[1] - theirs[1], "s"))
        found.append(Row(f"{size * FILE_ROWS:,} rows", "slipway", "longer by, share", share, "%"))
    return found


def _same(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    """Both trained on the same rows, up to the approximate percentile, and got the same model."""
    rows = theirs["train"] + theirs["holdout"]
    if abs(ours["rows"]["train"] - theirs["train"]) > rows / 1000:
        raise SystemExit(f"not the same split: {ours['rows']} and {theirs}")
    if abs(ours["metrics"]["candidate"]["areaUnderROC"] - theirs["areaUnderROC"]) > 0.002:
        raise SystemExit(f"not the same model: {ours['metrics']['candidate']} and {theirs}")


def _costs(case: str, system: str, rows: int, seconds: float, peaks: Peaks) -> list[Row]:
    return [
        Row(case, system, "whole process", seconds, "s"),
        Row(case, system, "rate", rows / seconds, "rows/s"),
        Row(case, system, "Python driver, most memory", peaks.driver, "MiB"),
        Row(case, system, "JVM, most memory", peaks.jvm, "MiB"),
    ]


def measure_unfit(work: Path, repeats: int) -> list[Row]:
    """What it costs to unfit a pipeline that is loaded."""
    line = [sys.executable, "-m", "bench.retrain", "--unfit", str(work), "--repeats", str(repeats)]
    told = subprocess.run(line, check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=_environment(work)).stdout
    return [Row(**each) for each in json.loads(told.splitlines()[-1])]


def unfit_here(work: Path, repeats: int) -> list[Row]:
    """Unfit pipelines of several lengths in this process."""
    from pyspark.ml import PipelineModel
    from pyspark.ml.feature import StandardScaler

    from slipway_trainer.spark.session import start_session
    from slipway_trainer.spark.unfit import unfit

    spark = start_session("unfit", cache_dir=work, configuration=SPARK)
    champion = PipelineModel.load((work / "champion" / "sparkml").as_uri())
    frame = champion.transform(spark.read.parquet(str(next(work.glob("first/rows-*/*.parquet")))).limit(100))
    scalers = [
        StandardScaler(inputCol="features", outputCol=f"scaled_{number}").fit(frame)
        for number in range(max(UNFIT_STAGES) - len(champion.stages))
    ]
    rows = []
    unfit(champion)  # the first one imports
    for stages in UNFIT_STAGES:
        model = PipelineModel([*champion.stages, *scalers][:stages])
        for _ in range(repeats):
            began = time.perf_counter()
            unfit(model)
            rows.append(Row(f"{stages} stages", "slipway", "unfit", 1000 * (time.perf_counter() - began), "ms"))
    spark.stop()
    return rows


def main() -> None:
    """Measure and publish, in one go or in pieces."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="*", default=list(SIZES), help=f"times {FILE_ROWS:,} rows")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--append", action="store_true", help="go on with the rows of the last run")
    parser.add_argument("--unfit", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--dry", action="store_true", help="print the rows, publish nothing")
    arguments = parser.parse_args()
    if arguments.unfit:
        sys.stdout.write(json.dumps([vars(row) for row in unfit_here(arguments.unfit, arguments.repeats)]) + "\n")
        return
    versions = {name: version(name) for name in ("pyspark", "mlflow")}
    rows = earlier_rows("retrain", versions) if arguments.append else []
    with tempfile.TemporaryDirectory(prefix="slipway-bench-retrain-") as name:
        work = Path(name)
        make_experiments(work)
        first = work / "first"
        first.mkdir()
        by_hand(write_rows(first, 1), work, "champion")
        for size in arguments.sizes:
            rows += measure(work, size, arguments.repeats)
        if not arguments.append:
            rows += measure_unfit(work, max(5, arguments.repeats))
    if arguments.dry:
        sys.stdout.write("\n".join(map(str, rows)) + "\n")
    else:
        publish("retrain", rows, versions=versions, notes=NOTES)


NOTES = [
    "Six feature columns (two texts one-hot encoded, four numbers with gaps filled), logistic regression of at most 25 "
    "iterations, files of 20,000 rows. Both read, split in time, fit, judge champion and new model, and log to MLflow.",
    "Slipway also gives intervals, the features' importance, a report, the monitor's baseline, the unfitted pipeline "
    "and answers that verify a deployment. It reads by Python, as from S3; the script by Spark itself.",
]


if __name__ == "__main__":
    main()
