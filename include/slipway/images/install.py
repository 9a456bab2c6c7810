"""Locked wheels, unpacked into a folder for the image's platform by uv, without running any code of theirs.

A package that its pin allows to be built from source is the exception: see `slipway.images.source_build`.
"""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from slipway.artifacts.resolve import UV_PLATFORMS
from slipway.errors import DependencyLockError
from slipway.images.overlap import contested_files
from slipway.images.source_build import unpack_source
from slipway.images.uv_call import call_uv, refusal, said

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Sequence

    from slipway.images.wheel_group import Pin

_NO_WHEEL = re.compile(r"Wheels are required for `([^`]+)`|([A-Za-z0-9._-]+)==\S+ has no (?:usable )?wheels")
_SHEBANG = re.compile(rb"\A#!(?:/bin/sh\n'''exec' .*\n' '''|[^\n]*python[^\n]*)\n")
_PORTABLE_SHEBANG = b"#!/usr/bin/env python3\n"


def install_wheels(pins: Sequence[Pin], target: Path, python: str, platform: str, *, seconds: float = 1800) -> None:
    """Unpack the pinned wheels into ``target``, the same bytes wherever it is.

    Args:
        pins: what to install; hashes are checked, dependencies are not followed.
        target: folder, created.
        python: minor version of the image's interpreter.
        platform: of the image, such as ``linux/amd64``.
        seconds: time limit.

    Raises:
        DependencyLockError: a package has no wheel for the platform (all such are named), or its hash is wrong.
        RegistryUnavailableError: the package index does not answer.
    """
    if platform not in UV_PLATFORMS:
        raise DependencyLockError(f"unknown image platform {platform!r}: expected one of {', '.join(UV_PLATFORMS)}")
    _unpack(pins, target, python, platform, seconds)
    for package, files in contested_files(target).items():
        winner = [pin for pin in pins if pin.name == package]
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".winner-") as alone:
            _unpack(winner, Path(alone) / "tree", python, platform, seconds)
            for file in files:
                (Path(alone) / "tree" / file).replace(target / file)
    _tidy(target)


def _unpack(pins: Sequence[Pin], target: Path, python: str, platform: str, seconds: float) -> None:
    wheels = [pin for pin in pins if not pin.backend]
    if wheels:
        _unpack_wheels(wheels, target, python, platform, seconds)
    for pin in pins:
        if pin.backend:
            unpack_source(pin, target, python, seconds=seconds)


def _unpack_wheels(pins: Sequence[Pin], target: Path, python: str, platform: str, seconds: float) -> None:
    done = _run_uv(pins, target, python, platform, seconds)
    if done.returncode == 0:
        return
    wheelless = _wheelless(done.stderr)
    if not wheelless:
        raise refusal(done, f"the locked packages ({len(pins)}) cannot be installed")
    # uv names the first one only: ask about the others.
    others = [pin for pin in pins if pin.name not in wheelless]
    while more := _wheelless(_run_uv(others, target, python, platform, seconds, "--dry-run").stderr):
        wheelless |= more
        others = [pin for pin in others if pin.name not in more]
    raise DependencyLockError(
        f"no wheel for {platform}, Python {python}: {', '.join(sorted(wheelless))}. Packages are never built from "
        f"sources: choose versions that have wheels, or put built wheels into your index.\n{said(done)}"
    )


def _run_uv(
    pins: Sequence[Pin], target: Path, python: str, platform: str, seconds: float, *options: str
) -> subprocess.CompletedProcess[str]:
    arguments = [
        *("pip", "install", "--requirement", "requirements.txt", "--target", str(target), "--python", sys.executable),
        *("--python-version", python, "--python-platform", UV_PLATFORMS[platform], "--only-binary", ":all:"),
        *("--no-deps", "--require-hashes", "--no-compile-bytecode", *options),
    ]
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".lock-") as folder:
        (Path(folder) / "requirements.txt").write_text("".join(f"{pin.line()}\n" for pin in pins))
        return call_uv(arguments, Path(folder), seconds)


def _wheelless(output: str) -> set[str]:
    return {name for match in _NO_WHEEL.finditer(output) for name in match.groups() if name}


def _tidy(target: Path) -> None:
    """Take out what uv writes for itself and what names this machine."""
    (target / ".lock").unlink(missing_ok=True)
    changed = [path for path in sorted((target / "bin").glob("*")) if path.is_file() and _make_portable(path)]
    names = {f"bin/{path.name}" for path in changed}
    for record in target.glob("*.dist-info/RECORD"):
        _forget_hashes(record, names)


def _make_portable(script: Path) -> bool:
    """Let a script start the image's interpreter instead of this machine's; say whether it changed."""
    content = script.read_bytes()
    portable = _SHEBANG.sub(_PORTABLE_SHEBANG, content, count=1)
    if portable == content:
        return False
    mode = script.stat().st_mode
    script.unlink()  # it may be a hard link into uv's cache
    script.write_bytes(portable)
    script.chmod(mode)
    return True


def _forget_hashes(record: Path, names: set[str]) -> None:
    """Blank hash and size of ``names`` in a RECORD, as the format allows, and put its lines in order."""
    lines = record.read_text().splitlines()
    kept = [f"{path},," if path in names else line for line in lines if (path := line.partition(",")[0]) or line]
    record.unlink()
    record.write_text("".join(f"{line}\n" for line in sorted(kept)))
