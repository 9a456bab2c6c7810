"""The trainer as a process: results, failures by class, and an end that nobody survives."""

from __future__ import annotations

import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

import pytest

from slipway.errors import PermanentError, TransientError
from slipway.training.process import TrainerProcess

JOB = {"service": "s", "model": "m", "job_id": "s/1", "engine": "python", "objects": [], "dry_run": True}


def test_a_failure_of_the_job_is_permanent_and_secrets_of_this_process_stay_here(tmp_path, monkeypatch):
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", "secret")
    process = TrainerProcess("train", {**JOB, "nonsense": 1}, tmp_path, {})
    lines: list[str] = []
    with pytest.raises(PermanentError, match="unexpected keyword argument 'nonsense'"):
        process.run(lines.append)
    assert any("failed (permanent)" in line for line in lines)
    assert "AIRFLOW__CORE__FERNET_KEY" not in process._environment


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with pathlib.Path(f"/proc/{pid}/stat").open() as file:
        return file.read().rpartition(")")[2].split()[0] != "Z"


_RETRAINER = """
import os, subprocess, time
from slipway_trainer.python_retrainer import PythonRetrainer
class Slow(PythonRetrainer):
    def template(self):
        child = subprocess.Popen(["sleep", "300"])
        print(f"pids {os.getpid()} {child.pid}", flush=True)
        time.sleep(300)
"""

_PARENT = """
import sys
from pathlib import Path
from slipway.training.process import TrainerProcess
TrainerProcess("train", {job!r}, Path({folder!r}), {{}}).run(lambda line: print(line, flush=True))
"""


def _pids(line: str) -> list[int]:
    return [int(pid) for pid in line.split()[1:]]


def _wait_gone(pids: list[int]) -> None:
    deadline = time.monotonic() + 20
    while any(map(_alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not [pid for pid in pids if _alive(pid)]


@pytest.fixture
def slow_job(tmp_path):
    own = tmp_path / "slow.py"
    own.write_text(_RETRAINER)
    return {**JOB, "retrainer": f"{own}:Slow"}


def test_kill_ends_the_trainer_and_its_children(slow_job, tmp_path):
    process, pids = TrainerProcess("train", slow_job, tmp_path, {}), []

    def on_line(line: str) -> None:
        if line.startswith("pids"):
            pids.extend(_pids(line))
            threading.Thread(target=process.kill).start()

    with pytest.raises(TransientError, match="killed by signal"):
        process.run(on_line)
    _wait_gone(pids)


def test_a_killed_parent_takes_the_trainer_and_its_children_along(slow_job, tmp_path):
    script = _PARENT.format(job=slow_job, folder=str(tmp_path))
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pids = next(_pids(line) for line in parent.stdout if line.startswith("pids"))
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    _wait_gone(pids)


def test_a_result_counts_also_when_the_process_aborts_at_its_end(tmp_path):
    (tmp_path / "sitecustomize.py").write_text("import atexit, os\natexit.register(os.abort)\n")
    process = TrainerProcess("validate", JOB, tmp_path, {"PYTHONPATH": str(tmp_path)})
    result = process.run(print)
    assert result["objects"] == []
    assert process._child is not None
    assert process._child.returncode == -signal.SIGABRT
