"""Running a release on this machine: as a process of its own files, or as a container where there is an engine."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from slipway.artifacts.resolve import uv_command, uv_environment
from slipway.errors import BaseImageError, RegistryUnavailableError
from slipway.images.base import PYTHON_LABEL, SCRATCH
from slipway.images.docker_engine import write_login
from slipway.images.runtime import PORT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from slipway.images.inspection import ImageReport
    from slipway.images.registry import RegistryClient

_KEPT = ("HOME", "LANG", "LC_ALL", "TMPDIR", "TZ")
_BASE_LABEL = "org.opencontainers.image.base.name"
HOST = "127.0.0.1"
_TMP = ("--tmpfs", "/tmp:exec")  # SageMaker's containers have one; Java unpacks its libraries there


def bare_python(version: str, folder: Path) -> Path:
    """Return an interpreter of a minor version that sees no packages but Python's own.

    Args:
        version: such as ``3.11``.
        folder: where such interpreters are kept.

    Raises:
        BaseImageError: this machine has none and uv finds none.
    """
    home = folder.resolve() / f"python{version}"
    python = home / "bin" / "python3"
    if not python.exists():
        command = [uv_command(), "venv", "--quiet", "--no-project", "--python", version, str(home)]
        done = subprocess.run(command, env=uv_environment(), capture_output=True, text=True, check=False)
        if done.returncode:
            raise BaseImageError(
                f"the release needs Python {version} and this machine has none: install it (uv python install "
                f"{version}), or use --target docker. {done.stderr.strip()[-500:]}"
            )
    return python


def process_environment(report: ImageReport, root: Path, port: int, around: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a release that runs as a process.

    Args:
        report: its image.
        root: its unpacked files; absolute paths of the image are pointed at them.
        port: where it shall listen, on loopback.
        around: this process's environment, of which next to nothing is passed on.
    """
    image = {name: _below(root, value) for name, value in report.environment.items() if name != "PATH"}
    own = {name: around[name] for name in _KEPT if name in around}
    return {
        **own,
        "PATH": around.get("PATH", os.defpath),
        **image,
        "SAGEMAKER_BIND_TO_PORT": str(port),
        "SLIPWAY_BIND_HOST": HOST,
    }


def _below(root: Path, value: str) -> str:
    parts = value.split(":")
    return ":".join(f"{root}{part}" if part.startswith("/opt/slipway/") else part for part in parts)


def run_process(report: ImageReport, root: Path, port: int, folder: Path) -> int:
    """Serve a release until it is interrupted; returns the server's exit code.

    Args:
        report: its image.
        root: its unpacked files.
        port: where to listen, on loopback.
        folder: where interpreters are kept.

    Raises:
        BaseImageError: there is no fitting Python here.
    """
    python = bare_python(report.labels[PYTHON_LABEL], folder)
    environment = process_environment(report, root, port, os.environ)
    return _until_the_end([str(python), "-s", "-m", "slipway_serving", "serve"], environment)


def run_container(
    registry: RegistryClient, repository: str, report: ImageReport, port: int, *, docker: str = "docker"
) -> int:
    """Serve a release by a Docker engine until it is interrupted; returns the engine's exit code.

    Raises:
        BaseImageError: the image brings no interpreter.
        RegistryUnavailableError: there is no engine's program.
    """
    if report.labels.get(_BASE_LABEL) == SCRATCH:
        raise BaseImageError(
            "the image is built on an empty base and brings no interpreter, so an engine cannot run it: use --target "
            "process, or name a base image in platform.yaml"
        )
    image = f"{registry.host}/{repository}@{report.digest}"
    with tempfile.TemporaryDirectory(prefix="slipway-docker-") as folder:
        config = Path(folder) / "config"
        write_login(registry, config)
        command = [docker, "--config", str(config), "run", "--rm", "--init", "--read-only", *_TMP, "--publish"]
        return _until_the_end([*command, f"{HOST}:{port}:{PORT}", image, "serve"], dict(os.environ))


def _until_the_end(command: list[str], environment: Mapping[str, str]) -> int:
    """Run a command; an interrupt reaches it from the terminal, too, and it is left the time to end."""
    try:
        process = subprocess.Popen(command, env=dict(environment))
    except FileNotFoundError as error:
        raise RegistryUnavailableError(f"there is no {command[0]} program on this machine") from error
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            continue
