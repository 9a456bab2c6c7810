"""A Python environment on this worker with exactly a lock's packages, made once and shared.

The environment is for the worker's own platform. It is built in a folder of its own and renamed when complete, under a
file lock, so that a killed build leaves nothing half-made and two workers do not build it twice.
"""

from __future__ import annotations

import fcntl
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from slipway.artifacts.resolve import uv_command, uv_environment
from slipway.errors import SandboxError, TransientError
from slipway.kept_folders import in_use, prune

if TYPE_CHECKING:
    from slipway.artifacts.lock import DependencyLock

_BUILD_SECONDS = 900
_LOCK_SECONDS = 1200
LIMIT_BYTES = 20 << 30  # of the environments that are kept
_IDLE_SECONDS = 86400.0  # longer than any task uses one
_OFFLINE = re.compile(r"error sending request|dns error|connection|timed out|Failed to fetch", re.IGNORECASE)


@dataclass(frozen=True)
class SandboxEnvironment:
    """A Python with the locked packages.

    Attributes:
        python: its interpreter.
        folders: what has to be readable for it to run: the environment and the interpreter's own installation.
    """

    python: Path
    folders: tuple[Path, ...]

    @classmethod
    def at(cls, python: Path) -> SandboxEnvironment:
        """Describe the environment that an interpreter belongs to."""
        installation = python.resolve().parent.parent
        return cls(python, tuple(dict.fromkeys((python.absolute().parent.parent, installation))))


def environment(lock: DependencyLock, cache_dir: Path) -> SandboxEnvironment:
    """Make, or find, the environment of a lock below ``cache_dir``.

    Where a new one makes them more than 20 GiB, those go that were used longest ago and not within the last day.

    Args:
        lock: the packages; their hashes are checked, and only wheels are installed, so none of their code runs.
        cache_dir: folder kept between runs; may be shared by several workers of one machine.

    Returns:
        The environment ``<cache_dir>/env-<16 hex of the lock's digest>``.

    Raises:
        SandboxError: no interpreter of that version, or a package has no wheel for this worker.
        TransientError: the package index does not answer, or another worker takes too long over the same environment.
    """
    cache_dir.mkdir(parents=True, exist_ok=True)
    final = cache_dir.resolve() / f"env-{lock.digest[:16]}"
    with in_use(final):
        if not final.exists():
            with _locked(final.with_suffix(".lock")):
                if not final.exists():
                    _build(lock, final)
                    _tidy(final.parent)
    return SandboxEnvironment.at(final / "bin" / "python")


def _build(lock: DependencyLock, final: Path) -> None:
    partial = final.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    _uv(["venv", "--quiet", "--relocatable", "--no-project", "--python", lock.python, str(partial)], lock)
    requirements = partial / "requirements.lock"
    requirements.write_text(lock.text)
    _uv(
        [
            *("pip", "install", "--quiet", "--python", str(partial / "bin" / "python"), "--no-deps"),
            *("--require-hashes", "--only-binary", ":all:", "--compile-bytecode", "--link-mode", "copy"),
            *("--requirement", str(requirements)),
        ],
        lock,
    )
    partial.rename(final)


def _tidy(folder: Path) -> None:
    """Drop environments that nobody has used for long, and what killed builds left."""
    prune(folder.glob(f"env-{16 * '[0-9a-f]'}"), LIMIT_BYTES, idle_seconds=_IDLE_SECONDS)
    for partial in folder.glob("env-*.partial"):
        with suppress(OSError):
            if time.time() - partial.stat().st_mtime > _IDLE_SECONDS:
                shutil.rmtree(partial, ignore_errors=True)


def _uv(arguments: list[str], lock: DependencyLock) -> None:
    command = [uv_command(), "--color", "never", *arguments]
    try:
        done = subprocess.run(
            command, env=uv_environment(), cwd="/", capture_output=True, text=True, timeout=_BUILD_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise TransientError(f"The sandbox environment was not built within {_BUILD_SECONDS} s.") from error
    if done.returncode == 0:
        return
    tail = re.sub(r"://[^/@\s]*@", "://***@", done.stderr).strip()[-2000:]
    if _OFFLINE.search(tail):
        raise TransientError(f"The package index does not answer, so the sandbox environment cannot be built:\n{tail}")
    raise SandboxError(f"No environment for Python {lock.python} can be made on this worker:\n{tail}")


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    deadline = time.monotonic() + _LOCK_SECONDS
    with path.open("w") as handle:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise TransientError(f"Another process holds {path} for more than {_LOCK_SECONDS} s.") from None
                time.sleep(0.2)
        yield  # the kernel releases the lock with the handle, also when this process is killed
