"""Bytecode for layers: without it a container starts two to three times slower.

Files in a layer have time 0, so the bytecode must not be checked against times: it is ``unchecked-hash``, which also
spares the check. Paths inside it are those in the image.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from slipway.artifacts.resolve import uv_command, uv_environment
from slipway.errors import BaseImageError

_WORKER = Path(__file__).with_name("bytecode_worker.py")


@cache
def interpreter(python: str) -> str:
    """Find an interpreter of minor version ``python`` (such as ``3.11``) on this machine.

    Raises:
        BaseImageError: there is none.
    """
    if python == f"{sys.version_info.major}.{sys.version_info.minor}":
        return sys.executable
    call = [uv_command(), "python", "find", "--quiet", "--no-project", "--no-python-downloads", python]
    found = subprocess.run(call, capture_output=True, text=True, check=False, cwd="/", env=uv_environment())
    if found.returncode == 0:
        return found.stdout.strip()
    raise BaseImageError(
        f"the image runs Python {python}, and compiling its modules takes an interpreter of that version, which this "
        f"worker does not have: install Python {python} on it"
    )


def compile_tree(folder: Path, prefix: str, python: str) -> None:
    """Compile the modules below ``folder``, which will be at ``prefix`` in the image, on all cores.

    Raises:
        BaseImageError: no interpreter of that version.
    """
    with compiling(folder, prefix, python) as complete:
        complete()


@contextmanager
def compiling(folder: Path, prefix: str, python: str) -> Iterator[Callable[[], None]]:
    """Compile as `compile_tree` does, beside the block.

    Yields:
        A function that returns when all is compiled.

    Raises:
        BaseImageError: no interpreter of that version.
    """
    call = [interpreter(python), "-I", "-S", str(_WORKER), str(folder), prefix, str(os.cpu_count() or 1)]
    environment = {"PATH": os.defpath, "PYTHONHASHSEED": "0"}
    # Leaving the block waits in any case: what writes into the folder must not outlive it.
    with subprocess.Popen(call, env=environment, stdin=subprocess.DEVNULL) as process:

        def complete() -> None:
            if process.wait():
                raise subprocess.CalledProcessError(process.returncode, call)

        yield complete
