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


def run_trainer(command: str, job: Job, folder: Path, **environment: str) -> tuple[int, dict[str, Any], str]:
    """Run the trainer as its own process; returns exit code, result or failure document, and its output."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "job.json").write_text(to_json(job))
    line = [sys.executable, "-m", "slipway_trainer", command, "--job", folder / "job.json", "--out", folder]
    done = subprocess.run(
        [*line, "--parent", str(os.getpid())],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        check=False,
    )
    place = folder / ("result.json" if done.returncode == 0 else "failure.json")
    return done.returncode, json.loads(place.read_text()), done.stdout + done.stderr
