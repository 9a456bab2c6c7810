"""The model server's own code, as it goes into an image."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from slipway.images.app import App, package_digest, package_dir

if TYPE_CHECKING:
    from pathlib import Path

PACKAGE = "slipway_serving"
CREATED_BY = "serving app"


@cache
def serving_app_dir() -> Path:
    """Return the folder of the ``slipway_serving`` package, without importing it."""
    return package_dir(PACKAGE)


def serving_app_digest(folder: Path | None = None) -> str:
    """Return the sha256 (hex) over names and contents of the app's files."""
    return package_digest(folder or serving_app_dir())


def serving_app(folder: Path) -> App:
    """Describe the app whose package is ``folder``."""
    return App(CREATED_BY, serving_app_digest(folder), {PACKAGE: folder})
