"""What goes into the trainer's image: its code, the packages that it needs, and how it is started."""

from __future__ import annotations

from typing import TYPE_CHECKING

from packaging.requirements import Requirement

from slipway.artifacts.lock import DependencyLock
from slipway.canonical import content_digest
from slipway.errors import DependencyLockError
from slipway.images.app import App, package_digest, package_dir
from slipway.images.runtime import Start
from slipway.images.wheel_group import parse_pins

if TYPE_CHECKING:
    from pathlib import Path

PACKAGE = "slipway_trainer"
CORE = "slipway"  # makes the monitor's baseline of a retrained model: jobs that Slipway wrote name it
CREATED_BY = "trainer"
LOCK = "requirements.lock"
MACHINES = {"linux/amd64": "x86_64", "linux/arm64": "aarch64"}  # image platform → what `uname -m` says there

# It starts as root, because SageMaker's output folders are root's, and gives that up for SLIPWAY_RUN_AS by itself.
START = Start(
    module=f"{PACKAGE}.container",
    arguments=("train",),
    user="0",
    environment={
        "HOME": "/tmp",
        "USER": "slipway",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        "GX_ANALYTICS_ENABLED": "false",
        "SLIPWAY_RUN_AS": "1000",
    },
)


def trainer_app() -> App:
    """Describe the trainer's code as it is installed here.

    Raises:
        SlipwayError: it is not installed.
    """
    packages = {name: package_dir(name) for name in (CORE, PACKAGE)}
    digest = content_digest([[name, package_digest(folder)] for name, folder in packages.items()])
    return App(CREATED_BY, digest, packages)


def trainer_lock(python: str, platform: str, folder: Path | None = None) -> DependencyLock:
    """Read what the trainer needs on one Python and platform from the lock that comes with it.

    Args:
        python: minor version of the image's interpreter.
        platform: of the image, such as ``linux/amd64``.
        folder: of the trainer's package; that of the installed one when None.

    Raises:
        DependencyLockError: there is no lock, or it is not one.
        SlipwayError: the trainer is not installed.
    """
    path = (folder or package_dir(PACKAGE)) / LOCK
    if platform not in MACHINES:
        raise DependencyLockError(f"unknown image platform {platform!r}: expected one of {', '.join(MACHINES)}")
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise DependencyLockError(
            f"the trainer has no lock at {path} ({error.strerror}): install slipway-trainer again"
        ) from error
    lines = []
    for pin in parse_pins(text):
        requirement = Requirement(pin.requirement)
        if requirement.marker is None or requirement.marker.evaluate(_environment(python, platform)):
            requirement.marker = None
            lines.append(" ".join([str(requirement), *(f"--hash={value}" for value in pin.hashes)]))
    return DependencyLock.from_text(
        "".join(f"{line}\n" for line in lines), key="trainer", python=python, platform=platform
    )


def _environment(python: str, platform: str) -> dict[str, str]:
    """Return what markers ask about in the image: https://packaging.python.org/specifications/dependency-specifiers/."""
    return {
        "python_version": python,
        "python_full_version": f"{python}.0",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
        "os_name": "posix",
        "sys_platform": "linux",
        "platform_system": "Linux",
        "platform_machine": MACHINES[platform],
        "extra": "",
    }
