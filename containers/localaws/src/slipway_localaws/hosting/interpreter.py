"""The host's Python, lent to images that bring none.

An image built on an empty base says in the label ``io.slipway.python`` which Python its files are for. It gets a
virtual environment with nothing in it: the host's interpreter of that version, without the host's packages.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path

PYTHON_LABEL = "io.slipway.python"
_VERSION = re.compile(r"3\.\d{1,2}")
_PROBE = (
    "import json,sys;"
    "base=getattr(sys,'_base_executable',sys.executable);"
    "print(json.dumps(['{}.{}'.format(*sys.version_info), base]))"
)
_lock = threading.Lock()


class InterpreterMissingError(LookupError):
    """The host has no Python of the version that an image needs."""


def lend_interpreter(version: str, folder: Path) -> Path:
    """A bare virtual environment for Python ``version``.

    Args:
        version: such as ``3.11``.
        folder: where such environments are kept.

    Returns:
        The environment's ``bin`` folder.

    Raises:
        InterpreterMissingError: there is no such Python on this host, or the version is not one.
    """
    if not _VERSION.fullmatch(version):
        raise InterpreterMissingError(f"{version!r} is not a Python version such as 3.11")
    with _lock:
        home = folder / f"python{version}"
        if not (home / "bin" / "python3").exists():
            _make_environment(home, _find_base(version), version)
    return home / "bin"


def _find_base(version: str) -> Path:
    if version == f"{sys.version_info[0]}.{sys.version_info[1]}":
        return Path(getattr(sys, "_base_executable", sys.executable))
    for candidate in _candidates(version):
        found = _probe(candidate)
        if found and found[0] == version:
            return Path(found[1])
    raise InterpreterMissingError(
        f"the image needs Python {version} of the host and there is none: install python{version}, or build on a base "
        "image that brings its own"
    )


def _candidates(version: str) -> list[str]:
    found = [path for name in (f"python{version}", "python3") if (path := shutil.which(name))]
    if uv := shutil.which("uv"):
        answer = subprocess.run(
            [uv, "python", "find", "--no-project", version], capture_output=True, text=True, check=False
        )
        found += answer.stdout.split()
    return found


def _probe(executable: str) -> tuple[str, str] | None:
    """Version and base executable of an interpreter; None when it does not run."""
    try:
        answer = subprocess.run(
            [executable, "-I", "-c", _PROBE], capture_output=True, text=True, timeout=20, check=True
        )
        version, base = json.loads(answer.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    return version, base


def _make_environment(home: Path, base: Path, version: str) -> None:
    shutil.rmtree(home, ignore_errors=True)
    binaries = home / "bin"
    binaries.mkdir(parents=True)
    (home / "lib" / f"python{version}" / "site-packages").mkdir(parents=True)
    settings = f"home = {base.parent}\ninclude-system-site-packages = false\nversion = {version}\nexecutable = {base}\n"
    (home / "pyvenv.cfg").write_text(settings)
    for name in (f"python{version}", "python", "python3"):
        Path(binaries / name).symlink_to(base)
