"""The model server's own code, as it goes into an image."""

from __future__ import annotations

import hashlib
import importlib.util
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from slipway.errors import SlipwayError
from slipway.images.archive import write_layer
from slipway.images.bytecode import compile_tree

if TYPE_CHECKING:
    from slipway.images.layer import LocalLayer

PACKAGE = "slipway_serving"
APP_DIR = "/opt/slipway/app"
CREATED_BY = "serving app"


@cache
def serving_app_dir() -> Path:
    """Return the folder of the ``slipway_serving`` package, without importing it."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise SlipwayError(
            f"the package {PACKAGE} is not installed beside slipway: install slipway with its dependencies"
        )
    return Path(spec.origin).parent


def app_files(folder: Path) -> list[Path]:
    """List the files of the app that belong into an image: everything but bytecode, in order."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc"
    )


def serving_app_digest(folder: Path | None = None) -> str:
    """Return the sha256 (hex) over names and contents of the app's files."""
    folder = folder or serving_app_dir()
    hasher = hashlib.sha256()
    for path in app_files(folder):
        hasher.update(f"{path.relative_to(folder).as_posix()}\0{path.stat().st_size}\0".encode())
        hasher.update(path.read_bytes())
    return hasher.hexdigest()


def build_app(folder: Path, python: str, out_dir: Path) -> LocalLayer:
    """Compile and pack the app whose package is ``folder``."""
    with tempfile.TemporaryDirectory(dir=out_dir, prefix=".app-") as work:
        tree = Path(work)
        for path in app_files(folder):
            copy = tree / PACKAGE / path.relative_to(folder)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
        compile_tree(tree, APP_DIR, python)
        return write_layer(tree, APP_DIR, out_dir, created_by=CREATED_BY)
