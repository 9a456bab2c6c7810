"""Serving: requests a second, latency, CPU, memory and cold start of our model server beside MLflow's and others.

    python -m bench.serving [--repeats 5] [--seconds 2] [--workers 1] [--models linear,forest,boosting,spark]
                            [--append]

All servers of a model are up at once and take turns under load, so that what else the machine does meets them alike;
each has its own environment under ``var/bench/env`` with the same scikit-learn, the same number of workers and one
thread for linear algebra. Before the clock starts, each has to give the same predictions. CPU time is the server's
whole process tree over the requests it answered, memory its proportional set size after a turn. Load comes from wrk.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent.parent))

from bench.peers.model_servers import CSV, JSON, SYSTEMS, MlflowServe, ModelServer, Slipway, SlipwayPyfunc
from bench.report import OURS, ROOT, Row, earlier_rows, publish
from bench.serving_setup import (
    Running,
    free_port,
    make_environments,
    make_models,
    plain_copy,
    running,
    sample_rows,
    wrk,
)

TURN_REQUESTS = 20  # a turn is long enough for about that many, also of the slowest server
SPARK_SYSTEMS = (Slipway, MlflowServe)
TARGETS = {
    ("linear", 1, JSON): 50.0,
    ("forest", 1, JSON): 40.0,
    ("linear", 1000, JSON): 10.0,
    ("forest", 1000, JSON): 6.0,
}


@dataclass(frozen=True)
class Case:
    """One kind of request to one model."""

    model: str
    rows: int
    form: str

    @property
    def name(self) -> str:
        return (
            f"{self.model}, {self.rows} {'row' if self.rows == 1 else 'rows'}, {'CSV' if self.form == CSV else 'JSON'}"
        )

    @property
    def connections(self) -> int:
        return 8 if self.rows == 1 else 4


def measure(server: Running, case: Case, body: bytes, seconds: float, folder: Path) -> list[Row]:
    """Put a server under load once."""
    before = server.cpu_seconds()
    load = wrk(server.url, body, case.form, case.connections, seconds, folder)
    if load.bad:
        raise RuntimeError(f"{server.system.name} gave {load.bad} bad answers for {case.name}")
    cpu_ms = (server.cpu_seconds() - before) * 1000 / max(1, load.requests)
    values = {
        ("requests a second", "1/s"): load.per_second,
        ("p50", "ms"): load.p50_ms,
        ("p99", "ms"): load.p99_ms,
        ("CPU per request", "ms"): cpu_ms,
        ("memory", "MiB"): server.memory_bytes() / 2**20,
    }
    name = server.system.name
    return [Row(case.name, name, metric, round(value, 4), unit) for (metric, unit), value in values.items()]


def bench_model(model: Path, systems: list[ModelServer], options: argparse.Namespace, folder: Path) -> list[Row]:
    """Measure all systems on one model."""
    rows: list[Row] = []
    with ExitStack() as stack:
        servers = []
        for system in systems:
            served = plain_copy(model) if isinstance(system, SlipwayPyfunc) else model
            place = folder / model.name / system.name.replace(" ", "-").replace(",", "")
            for _ in range(options.repeats - 1):
                with running(system, served, free_port(), place) as server:
                    rows.append(_cold(model, server))
            server = stack.enter_context(running(system, served, free_port(), place))
            rows.append(_cold(model, server))
            servers.append(server)
            print(f"{model.name}: {system.name} up after {server.cold_start_seconds:.1f} s", flush=True)
        cases = [Case(model.name, count, form) for count in (1, 1000) for form in (JSON, CSV)]
        for case in cases:
            rows += _turns(case, servers, model, options, folder)
    return rows


def _cold(model: Path, server: Running) -> Row:
    return Row(f"{model.name}, cold start", server.system.name, "start to healthy", server.cold_start_seconds, "s")


def _turns(case: Case, servers: list[Running], model: Path, options: argparse.Namespace, folder: Path) -> list[Row]:
    columns, sample = sample_rows(model, case.rows)
    able = [server for server in servers if case.form in server.system.forms]
    bodies = {server.system.name: server.system.body(sample, columns, case.form) for server in able}
    answers, seconds = [], {}
    for server in able:
        server.ask(bodies[server.system.name], case.form)
        started = time.perf_counter()
        response = server.ask(bodies[server.system.name], case.form)
        seconds[server.system.name] = max(options.seconds, TURN_REQUESTS * (time.perf_counter() - started))
        if response.status_code != 200:
            raise RuntimeError(f"{server.system.name}: {response.status_code} {response.text[:500]}")
        answers.append(server.system.predictions(response.content))
    if any(answer != answers[0] for answer in answers):
        raise RuntimeError(f"the servers do not agree on {case.name}")
    rows = []
    for turn in range(options.repeats):
        for server in able:
            name = server.system.name
            rows += measure(server, case, bodies[name], seconds[name], folder / "load")
        print(f"{case.name}: turn {turn + 1} of {options.repeats}", flush=True)
    return rows


def ratios(rows: list[Row]) -> list[str]:
    """Say how ours compares with ``mlflow models serve``, where a target was set."""
    notes = []
    for (model, count, form), target in TARGETS.items():
        case = Case(model, count, form).name
        ours, theirs = (_median(rows, case, system) for system in (OURS, MlflowServe.name))
        if ours and theirs:
            notes.append(f"{case}: {ours / theirs:.0f} times `{MlflowServe.name}` (target {target:g}).")
    return notes


def _median(rows: list[Row], case: str, system: str) -> float:
    values = sorted(r.value for r in rows if (r.case, r.system, r.metric) == (case, system, "requests a second"))
    return values[len(values) // 2] if values else 0.0


def versions(systems: list[ModelServer]) -> dict[str, str]:
    """Return the version of every system's package, from its own environment."""
    found = {}
    for system in systems:
        code = f"from importlib.metadata import version; print(version({system.package!r}))"
        command = [system.program("python"), "-c", code]
        found[system.name] = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    return found


def main() -> None:
    """Run the benchmark and publish it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--models", default="linear,forest,boosting,spark")
    parser.add_argument("--append", action="store_true", help="add to the last run's rows instead of starting again")
    options = parser.parse_args()
    if shutil.which("wrk") is None:
        parser.error("wrk is not installed: apt-get install wrk")
    folder = ROOT / "var" / "bench" / "serving"
    environments = ROOT / "var" / "bench" / "env"
    wanted = options.models.split(",")
    if "spark" in wanted and shutil.which("java") is None:
        wanted.remove("spark")
    systems = [kind(environments, options.workers) for kind in SYSTEMS]
    absent = [f"{system.name}: {reason}." for system in systems if (reason := system.absent())]
    systems = [system for system in systems if not system.absent()]
    builders = {"mlflow"} | ({"slipway-spark"} if "spark" in wanted else set())
    make_environments(environments, {system.environment for system in systems} | builders)
    make_models(folder / "models", environments, spark="spark" in wanted)
    rows: list[Row] = earlier_rows("serving", versions(systems)) if options.append else []
    for name in wanted:
        chosen = [system for system in systems if name != "spark" or isinstance(system, SPARK_SYSTEMS)]
        if name == "spark":
            chosen = [system for system in chosen if not isinstance(system, SlipwayPyfunc)]
        rows += bench_model(folder / "models" / name, chosen, options, folder)
    turns = f"{options.repeats} turns of {options.seconds:g} s"
    load = f"{turns}, {options.workers} worker(s), {os.cpu_count()} cores shared with wrk."
    publish("serving", rows, versions=versions(systems), notes=[*ratios(rows), load, *absent])


if __name__ == "__main__":
    main()
