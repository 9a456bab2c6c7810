"""What SageMaker does around a training container: the folder that it gives, the start, and what it takes away."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

#: A job as a person writes it: everything else has its default.
JOB: dict[str, Any] = {
    "service": "parcels",
    "model": "parcels",
    "job_id": "parcels/hand-made",
    "engine": "python",
    "target": "late",
    "time_column": "at",
    "champion": {"version": 3, "artifact_uri": "channel://champion/model"},
}


@dataclass
class TrainingJob:
    """One training job below ``root``, which stands for ``/opt/ml``."""

    root: Path
    output: str = field(default="")

    def hyperparameters(self, values: Any) -> None:
        self.configure("hyperparameters.json", values)

    def configure(self, name: str, document: Any) -> None:
        path = self.root / "input" / "config" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(document if isinstance(document, str) else json.dumps(document))

    def channel(self, name: str, **rows: pd.DataFrame) -> Path:
        """A channel's folder with a Parquet file for each frame."""
        folder = self.root / "input" / "data" / name
        folder.mkdir(parents=True, exist_ok=True)
        for part, frame in rows.items():
            frame.to_parquet(folder / f"{part}.parquet")
        return folder

    def job(self, **changes: Any) -> None:
        """Put the job in its channel."""
        (self.channel("job") / "job.json").write_text(json.dumps({**JOB, **changes}))

    def command(self) -> list[str]:
        return [sys.executable, "-m", "slipway_trainer.container", "train", "--root", str(self.root)]

    def run(self, **environment: str) -> int:
        """Run it to its end; returns the exit code."""
        done = subprocess.run(
            self.command(), capture_output=True, text=True, env={**os.environ, **environment}, check=False
        )
        self.output = done.stdout + done.stderr
        return done.returncode

    @property
    def result(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.root / "output" / "data" / "result.json").read_text())
        return found

    @property
    def failure(self) -> str:
        return (self.root / "output" / "failure").read_text()

    @property
    def model(self) -> Path:
        return self.root / "model"
