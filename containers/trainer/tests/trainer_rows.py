"""Rows that can be learned from, and the trainer as a process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from slipway_trainer.job import Job, to_json

FEATURES = ["colour", "size", "weight"]


def make_rows(count: int, *, start: str = "2024-01-01", seed: int = 0) -> pd.DataFrame:
    """One row an hour; ``late`` depends on size and colour."""
    random = np.random.default_rng(seed)
    size, weight = random.normal(size=count), random.normal(size=count)
    colour = random.choice(["red", "green", "blue"], count)
    chance = 1 / (1 + np.exp(-(1.5 * size + (colour == "red") - 0.5)))
    return pd.DataFrame(
        {
            "colour": colour.astype(object),
            "size": size,
            "weight": weight,
            "at": pd.date_range(start, periods=count, freq="h"),
            "late": (random.random(count) < chance).astype(int),
        }
    )


class Training:
    """The trainer as a process of its own.

    Args:
        command: One of its commands.
        job: The job.
        folder: Where it leaves result or failure.
        environment: Variables.
    """

    def __init__(self, command: str, job: Job, folder: Path, **environment: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "job.json").write_text(to_json(job))
        line = [sys.executable, "-u", "-m", "slipway_trainer", command, "--job", folder / "job.json", "--out", folder]
        self.output = ""
        self._folder = folder
        self._process = subprocess.Popen(
            [*line, "--parent", str(os.getpid())],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, **environment},
        )

    def until(self, words: str) -> None:
        """Read what it prints until a line holds these words."""
        for line in self._process.stdout or ():
            self.output += line
            if words in line:
                return
        raise AssertionError(f"the trainer ended without {words!r}: {self.output[-3000:]}")

    def end(self) -> tuple[int, dict[str, Any]]:
        """Wait for its end; returns exit code and result or failure document."""
        self.output += self._process.communicate()[0]
        place = self._folder / ("result.json" if self._process.returncode == 0 else "failure.json")
        return self._process.returncode, json.loads(place.read_text())


def run_trainer(command: str, job: Job, folder: Path, **environment: str) -> tuple[int, dict[str, Any], str]:
    """Run the trainer as its own process; returns exit code, result or failure document, and its output."""
    training = Training(command, job, folder, **environment)
    code, document = training.end()
    return code, document, training.output
