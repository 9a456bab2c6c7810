"""``python -m slipway_trainer train|validate|propose|prepare|land|call``: one job, one result or failure file.

This is how Slipway's tasks start it. In a training container it is started by :mod:`slipway_trainer.container`.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from slipway_trainer.command import COMMANDS, reason, run, write_result
from slipway_trainer.job import read_job
from slipway_trainer.lifeline import hold


def main(arguments: list[str] | None = None) -> int:
    """Run one job; returns the exit code: 0 done, 1 failed."""
    parser = argparse.ArgumentParser(prog="slipway-trainer", description=__doc__)
    parser.add_argument("command", choices=COMMANDS)
    parser.add_argument("--job", type=Path, required=True, help="the job file")
    parser.add_argument("--out", type=Path, required=True, help="folder for result.json or failure.json")
    parser.add_argument("--parent", type=int, help="process whose end ends this one")
    options = parser.parse_args(arguments)
    hold(options.parent)
    try:
        write_result(run(options.command, read_job(options.job)), options.out / "result.json")
    except Exception as error:  # noqa: BLE001  # whatever it is, the failure file is what the task reads
        return _fail(options.out / "failure.json", *reason(error))
    return 0


def _fail(place: Path, kind: str, message: str) -> int:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(json.dumps({"kind": kind, "message": message}) + "\n", encoding="utf-8")
    sys.stderr.write(f"failed ({kind}): {message}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
