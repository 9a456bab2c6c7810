"""The layers with a release's packages."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

from slipway.images.archive import write_layer
from slipway.images.bytecode import compiling
from slipway.images.install import install_wheels
from slipway.images.layer import content_key
from slipway.images.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from slipway.images.layer import LocalLayer
    from slipway.images.progress import OnProgress
    from slipway.images.wheel_group import WheelGroup

DEPS_DIR = "/opt/slipway/deps"
CREATED_BY = "dependencies: "  # begins a layer's line of history
_at_work = threading.BoundedSemaphore(os.cpu_count() or 1)  # more at once would only take turns on the cores
_FORMAT = 1  # of the stack; raised when the same groups shall be stacked otherwise


def stack_tag(groups: Sequence[WheelGroup], base_digest: str, python: str, platform: str) -> str:
    """Name the registry tag for a base with all packages on it."""
    keys = [group.key(python, platform) for group in groups]
    return f"deps-{content_key(_FORMAT, base_digest, python, platform, keys)}"


def build_group(
    group: WheelGroup, python: str, platform: str, tree: Path, folder: Path, on_progress: OnProgress
) -> LocalLayer:
    """Install, compile and pack the packages of a group.

    Args:
        group: the packages.
        python: minor version of the image's interpreter.
        platform: of the image.
        tree: folder for the packages, made here; the caller removes it.
        folder: receives the layer's file.
        on_progress: told the steps.

    Raises:
        DependencyLockError: a package has no wheel for the platform.
        BaseImageError: no interpreter here to compile with.
    """
    on_progress(Progress("install", group.name))
    install_wheels(group.pins, tree, python, platform)
    with _at_work:
        on_progress(Progress("compile", group.name))
        created_by = f"{CREATED_BY}{', '.join(pin.requirement for pin in group.pins)}"
        with compiling(tree, DEPS_DIR, python) as complete:
            return write_layer(
                tree, DEPS_DIR, folder, created_by=created_by, bytecode=complete, on_progress=on_progress
            )
