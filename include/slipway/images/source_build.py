"""Packages that are published as source only and that the project itself stands on: built here, once for each layer.

All else that a model asks for comes as wheels, and none of its code runs before it is sandboxed. These few are named
below; no model and no spec can add one. The source with the locked hash is built by a backend with locked hashes, and
only what is pure Python is taken, because a compiler's output depends on the machine. The build runs the package's own
code; its environment has the worker's settings for uv and no other credentials, but it is no sandbox.
"""

from __future__ import annotations

import os
import tempfile
from email.parser import HeaderParser
from pathlib import Path
from typing import TYPE_CHECKING

from slipway.errors import DependencyLockError
from slipway.images.bytecode import interpreter
from slipway.images.uv_call import call_uv, refusal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from slipway.images.wheel_group import Pin

# What builds them, in the format of locks: another version may write other metadata, so it is part of a layer's key.
_SETUPTOOLS = ("setuptools==84.2.1 --hash=sha256:ca140b45d5325a9478f880e351484f62fef15f336462e449ca0c03c873d589c2",)
BUILT_FROM_SOURCE = {"pyspark": _SETUPTOOLS}  # Spark's project publishes no wheels
_PURE = "py3-none-any"
_ZIP_EPOCH = "315532800"  # 1980-01-01, the first second that a wheel's archive can name


def unpack_source(pin: Pin, target: Path, python: str, *, seconds: float = 1800) -> None:
    """Build a source distribution and unpack what came of it into ``target``, the same bytes wherever that is.

    Args:
        pin: the package, its source's hash, and the backend that builds it.
        target: folder; made when missing.
        python: minor version of the interpreter that builds, the image's.
        seconds: time limit of each step.

    Raises:
        DependencyLockError: there is no such source, it does not build, or what comes of it is not pure Python.
        RegistryUnavailableError: the package index does not answer.
        BaseImageError: no interpreter of that version here.
    """
    before = set(target.glob("*.dist-info"))
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".source-") as name:
        folder = Path(name)
        backend = _backend(pin.backend, folder, python, seconds)
        (folder / "source.txt").write_text(f"{pin.line()}\n")
        options = ("--no-binary", pin.name, "--no-build-isolation", "--no-compile-bytecode", "--target", str(target))
        # A cache of its own: uv's may hold what another backend once built of the same source. Beside the target, so
        # that files are linked, not copied.
        own_cache = ("--cache-dir", str(folder / "cache"))
        _install("source.txt", folder, backend, [*options, *own_cache], seconds, f"{pin.requirement} from its source")
    for info in sorted(set(target.glob("*.dist-info")) - before):
        _require_pure(pin, info)
        _forget_build(info)


def _backend(lines: Sequence[str], folder: Path, python: str, seconds: float) -> Path:
    """Make an environment with the backend alone."""
    environment = folder / "backend"
    made = call_uv(
        ["venv", "--no-project", "--no-config", "--python", interpreter(python), str(environment)], folder, seconds
    )
    if made.returncode:
        raise refusal(made, "there is no environment to build packages in")
    (folder / "backend.txt").write_text("".join(f"{line}\n" for line in lines))
    _install("backend.txt", folder, environment, ["--only-binary", ":all:"], seconds, "what builds packages")
    return environment


def _install(
    requirements: str, folder: Path, environment: Path, options: Sequence[str], seconds: float, what: str
) -> None:
    always = ["--requirement", requirements, "--python", str(environment), "--no-deps", "--require-hashes"]
    variables = {
        "SOURCE_DATE_EPOCH": _ZIP_EPOCH,
        "PYTHONHASHSEED": "0",
        "PYTHONNOUSERSITE": "1",
        "PATH": f"{environment / 'bin'}{os.pathsep}{os.defpath}",
    }
    done = call_uv(["pip", "install", *always, *options], folder, seconds, variables)
    if done.returncode:
        raise refusal(done, f"cannot install {what}")


def _require_pure(pin: Pin, info: Path) -> None:
    """Refuse what a compiler had a part in: https://packaging.python.org/specifications/binary-distribution-format."""
    wheel = HeaderParser().parsestr((info / "WHEEL").read_text())
    tags = wheel.get_all("Tag") or []
    if _PURE not in tags or wheel.get("Root-Is-Purelib", "").lower() != "true":
        raise DependencyLockError(
            f"{pin.requirement} was built from its source as {', '.join(tags) or 'a wheel without tags'}, which holds "
            "for this machine only; expected pure Python ({_PURE}): take a version that has a wheel"
        )


def _forget_build(info: Path) -> None:
    """Take out what uv notes about how it built: it is uv's, and changes with uv."""
    note, record = info / "uv_build.json", info / "RECORD"
    note.unlink(missing_ok=True)
    kept = [line for line in record.read_text().splitlines() if not line.startswith(f"{info.name}/{note.name},")]
    record.unlink()
    record.write_text("".join(f"{line}\n" for line in kept))
