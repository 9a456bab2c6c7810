"""Which engine serves a model: chosen in the sandbox, with proof, by the model server's own ``convert``.

What it leaves (``engine.json`` and, for a compiled model, its program) goes into the image beside the model.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slipway.artifacts.golden import make_golden_rows_and
from slipway.artifacts.script import Script
from slipway.errors import SandboxError

if TYPE_CHECKING:
    from slipway.artifacts.golden import GoldenRows
    from slipway.artifacts.sandbox import Sandbox

ENGINE_FILE = "engine.json"
_PYFUNC = "pyfunc"
_JVM = "jvm"  # in engine.json: whether the server starts Spark

_SCRIPT = """
import sys


def main(inputs):
    from pathlib import Path

    sys.path.insert(0, inputs["app"])
    from slipway_serving.convert.convert import convert

    golden = Path(inputs["golden"]) if inputs["golden"] else None
    return convert(Path(inputs["model_dir"]), Path(inputs["out_dir"]), golden_file=golden)
"""


@dataclass(frozen=True)
class EngineChoice:
    """The chosen engine: the files for the image by name, ``engine.json`` among them."""

    files: Mapping[str, bytes]

    @property
    def record(self) -> dict[str, Any]:
        """The content of ``engine.json``."""
        document: dict[str, Any] = json.loads(self.files[ENGINE_FILE])
        return document

    @property
    def title(self) -> str:
        """The engine's name, as a report shows it; with the reason where it takes a JVM."""
        record = self.record
        name: str = record["engine"]
        return f"{name} in a JVM ({self._refused()})" if record.get(_JVM) else name

    def in_jvm(self) -> EngineChoice:
        """Have the server start Spark in a JVM, through which MLflow's own way then goes."""
        record = json.dumps({**self.record, _JVM: True}, indent=1) + "\n"
        return replace(self, files={**self.files, ENGINE_FILE: record.encode()})

    def summary(self) -> str:
        """Say in one line what was chosen and why nothing faster was."""
        record = self.record
        refused = self._refused()
        rows = record.get("parity", {}).get("rows")
        proof = f", {rows} rows as {record.get('proof', 'the original')} answers them" if rows else ""
        where = " in a JVM" if record.get(_JVM) else ""
        return f"engine {record['engine']}{where}{proof}{f' ({refused})' if refused else ''}"

    def _refused(self) -> str:
        return "; ".join(f"{each['engine']}: {each['reason']}" for each in self.record.get("tried", []))

    def write(self, folder: Path) -> None:
        """Put the files into a model's folder."""
        for name, content in self.files.items():
            (folder / name).write_bytes(content)


def pyfunc_engine(reason: str) -> EngineChoice:
    """Return the choice of MLflow's own way, which is always right."""
    record = {"schema_version": 1, "engine": _PYFUNC, "tried": [{"engine": "native", "reason": reason}]}
    return EngineChoice({ENGINE_FILE: (json.dumps(record, indent=1) + "\n").encode()})


def choose_engine(sandbox: Sandbox, model_dir: Path, app_dir: Path, *, golden: bytes | None = None) -> EngineChoice:
    """Compile the model if that is possible and proven right.

    Args:
        sandbox: environment of the release's lock, with its limits.
        model_dir: the model's original files.
        app_dir: folder of the package ``slipway_serving``.
        golden: stored answers, for an original that cannot run in the sandbox.

    Returns:
        The choice. A conversion that crashes or takes too long means ``pyfunc``, with that as the reason.
    """
    with tempfile.TemporaryDirectory(prefix="slipway-engine-") as folder:
        script = _conversion(model_dir, app_dir, Path(folder), golden)
        try:
            (record,) = sandbox.run_each([script], Path(folder), readable=[model_dir])
        except SandboxError as error:
            return pyfunc_engine(f"the conversion failed: {error}")
        return _converted(record, Path(folder))


def make_golden_rows_and_engine(
    sandbox: Sandbox, model_dir: Path, app_dir: Path, max_rows: int
) -> tuple[GoldenRows, EngineChoice | None]:
    """Make golden rows and compile the model in one process: loading its libraries takes longer than either.

    Args:
        sandbox: environment of the release's lock, with its limits, which hold for both together.
        model_dir: the model's original files.
        app_dir: folder of the package ``slipway_serving``.
        max_rows: how many golden rows at most.

    Returns:
        The golden rows; the choice, None when the conversion failed, be it for what the golden rows had used up of
        time and memory: ``choose_engine`` tells.

    Raises:
        SandboxError: as for ``make_golden_rows``.
    """
    with tempfile.TemporaryDirectory(prefix="slipway-golden-") as folder:
        script = _conversion(model_dir, app_dir, Path(folder))
        golden, results = make_golden_rows_and(sandbox, model_dir, max_rows, Path(folder), [script])
        return golden, _converted(results[0], Path(folder)) if results else None


def _conversion(model_dir: Path, app_dir: Path, folder: Path, golden: bytes | None = None) -> Script:
    """Lay out a folder for the conversion, and return the script that converts in it."""
    out, answers, app = folder / "out", folder / "golden.json", folder / "app"
    out.mkdir()
    # A copy: beside the package as it is installed lie others, which must not hide those of the lock.
    shutil.copytree(app_dir, app / app_dir.name, ignore=shutil.ignore_patterns("__pycache__"))
    if golden is not None:
        answers.write_bytes(golden)
    inputs = {
        "app": str(app.resolve()),
        "model_dir": str(model_dir.resolve()),
        "out_dir": str(out.resolve()),
        "golden": str(answers.resolve()) if golden is not None else "",
    }
    return Script(_SCRIPT, inputs)


def _converted(record: Mapping[str, Any], folder: Path) -> EngineChoice:
    """Read what the conversion left in its folder."""
    out = folder / "out"
    if record["engine"] == _PYFUNC:
        return EngineChoice({ENGINE_FILE: (out / ENGINE_FILE).read_bytes()})
    return EngineChoice({path.name: path.read_bytes() for path in sorted(out.iterdir())})
