"""Images for Docker engines that need no registry, made of this machine's programs: a shell, and a Python with pip."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

_PROGRAMS = ("sh", "cat", "cp", "ln", "mkdir", "rm", "sleep", "id", "touch")
_ABSOLUTE = re.compile(r"(/\S+) \(0x")
_USER = "1234:1234"
_LEFT_OUT = {
    "test",
    "tests",
    "idlelib",
    "tkinter",
    "turtledemo",
    "lib2to3",
    "ensurepip",
    "site-packages",
    "__pycache__",
}
WHEEL = "tiny_package-1.0-py3-none-any.whl"


@pytest.fixture(scope="session")
def shell_image() -> Iterator[str]:
    """Name of an image with a shell, which runs as a user that nothing else belongs to."""
    name = "slipway-test/shell:1"
    command = ["docker", "import", "--change", f"USER {_USER}", "--change", "ENV HOME=/", "-", name]
    subprocess.run(command, input=_root_folder(), capture_output=True, check=True, timeout=120)
    yield name
    subprocess.run(["docker", "image", "rm", "--force", name], capture_output=True, check=False, timeout=60)


@pytest.fixture(scope="session")
def python_image() -> Iterator[str]:
    """Name of an image with this Python and its pip, which finds packages in the image alone: `WHEEL`."""
    name = "slipway-test/python:1"
    settings = ["--change", "ENV PIP_NO_INDEX=1 PIP_FIND_LINKS=/wheels PATH=/usr/local/bin:/bin"]
    command = ["docker", "import", *settings, "-", name]
    subprocess.run(command, input=_root_folder(python=True), capture_output=True, check=True, timeout=120)
    yield name
    subprocess.run(["docker", "image", "rm", "--force", name], capture_output=True, check=False, timeout=60)


@pytest.fixture(scope="session")
def wheel() -> tuple[str, bytes]:
    """Name and content of the wheel: the package ``tiny-package`` 1.0 with a module of one line."""
    return WHEEL, _wheel()


def _wheel() -> bytes:
    info = "tiny_package-1.0.dist-info"
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, text in {
            "tiny_package.py": "ANSWER = 42\n",
            f"{info}/METADATA": "Metadata-Version: 2.1\nName: tiny-package\nVersion: 1.0\n",
            f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            f"{info}/RECORD": f"tiny_package.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n",
        }.items():
            archive.writestr(zipfile.ZipInfo(name), text)
    return content.getvalue()


def _root_folder(*, python: bool = False) -> bytes:
    """The programs with the libraries that they are linked with, where the programs look for them."""
    programs = [Path(str(shutil.which(name))).resolve() for name in _PROGRAMS]
    linked = [*programs, *(_python_files() if python else [])]
    listed = subprocess.run(["ldd", *map(str, linked)], capture_output=True, text=True, check=True, timeout=30).stdout
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
        if python:
            _add_python(archive)
    return content.getvalue()


def _python_files() -> list[Path]:
    """What of this Python is linked with libraries."""
    return [Path(sys.executable).resolve(), *sorted(Path(sysconfig.get_path("stdlib")).glob("lib-dynload/*.so"))]


def _add_python(archive: tarfile.TarFile) -> None:
    library = Path(sysconfig.get_path("stdlib"))
    inside = f"usr/local/lib/{library.name}"
    archive.add(Path(sys.executable).resolve(), "usr/local/bin/python3")
    archive.add(library, inside, filter=lambda member: None if Path(member.name).name in _LEFT_OUT else member)
    (pip,) = library.glob("ensurepip/_bundled/pip-*.whl")
    with zipfile.ZipFile(pip) as files:
        for name in files.namelist():
            _add_file(archive, f"{inside}/site-packages/{name}", files.read(name))
    _add_file(archive, f"wheels/{WHEEL}", _wheel())


def _add_file(archive: tarfile.TarFile, name: str, body: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(body)
    archive.addfile(member, io.BytesIO(body))
