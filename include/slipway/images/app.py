"""Slipway's own code as it goes into an image: packages of this installation, below one folder."""

from __future__ import annotations

import hashlib
import importlib.util
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from slipway.errors import SlipwayError
from slipway.images.archive import write_layer
from slipway.images.bytecode import compile_tree

if TYPE_CHECKING:
    from collections.abc import Mapping

    from slipway.images.layer import LocalLayer

APP_DIR = "/opt/slipway/app"


@dataclass(frozen=True)
class App:
    """What an image runs.

    ``title`` is its line in the image's history, ``digest`` stands for all that its files hold, ``packages`` are
    folders by the name that each has in the image.
    """

    title: str
    digest: str
    packages: Mapping[str, Path]

    def pack(self, python: str, out_dir: Path) -> LocalLayer:
        """Compile and pack it.

        Args:
            python: minor version of the image's interpreter.
            out_dir: receives the layer's file.
        """
        with tempfile.TemporaryDirectory(dir=out_dir, prefix=".app-") as work:
            tree = Path(work)
            for name, folder in self.packages.items():
                for path in app_files(folder):
                    copy = tree / name / path.relative_to(folder)
                    copy.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(path, copy)
            compile_tree(tree, APP_DIR, python)
            return write_layer(tree, APP_DIR, out_dir, created_by=self.title)


def package_dir(package: str) -> Path:
    """Return the folder of an installed package, without importing it.

    Raises:
        SlipwayError: it is not installed.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise SlipwayError(
            f"the package {package} is not installed beside slipway: install slipway with its dependencies"
        )
    return Path(spec.origin).parent


def app_files(folder: Path) -> list[Path]:
    """List the files of a package that belong into an image: everything but bytecode, in order."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc"
    )


def package_digest(folder: Path) -> str:
    """Return the sha256 (hex) over names and contents of a package's files."""
    hasher = hashlib.sha256()
    for path in app_files(folder):
        hasher.update(f"{path.relative_to(folder).as_posix()}\0{path.stat().st_size}\0".encode())
        hasher.update(path.read_bytes())
    return hasher.hexdigest()
