"""An image for Docker engines that needs no registry: a shell and a few programs of this machine."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

_PROGRAMS = ("sh", "cat", "cp", "ln", "mkdir", "rm", "sleep", "id", "touch")
_ABSOLUTE = re.compile(r"(/\S+) \(0x")
_USER = "1234:1234"


@pytest.fixture(scope="session")
def shell_image() -> Iterator[str]:
    """Name of an image with a shell, which runs as a user that nothing else belongs to."""
    name = "slipway-test/shell:1"
    command = ["docker", "import", "--change", f"USER {_USER}", "--change", "ENV HOME=/", "-", name]
    subprocess.run(command, input=_root_folder(), capture_output=True, check=True, timeout=120)
    yield name
    subprocess.run(["docker", "image", "rm", "--force", name], capture_output=True, check=False, timeout=60)


def _root_folder() -> bytes:
    """The programs with the libraries that they are linked with, where the programs look for them."""
    programs = [Path(str(shutil.which(name))).resolve() for name in _PROGRAMS]
    listed = subprocess.run(["ldd", *map(str, programs)], capture_output=True, text=True, check=True, timeout=30).stdout
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w", dereference=True) as archive:
        for name, program in zip(_PROGRAMS, programs, strict=True):
            archive.add(program, f"bin/{name}")
        for library in sorted(set(_ABSOLUTE.findall(listed))):
            archive.add(library, library)
        for folder in ("tmp", "dev", "proc"):
            made = tarfile.TarInfo(folder)
            made.type, made.mode = tarfile.DIRTYPE, 0o1777
            archive.addfile(made)
    return content.getvalue()
