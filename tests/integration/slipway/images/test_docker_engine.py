"""A release image in a real Docker engine: pulled, unpacked and run as it will be run by SageMaker."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import requests

from slipway.images.builder import ImageRequest, build_image

if TYPE_CHECKING:
    from conftest import DockerRegistry

pytestmark = [pytest.mark.integration, pytest.mark.docker]
# The image is built on an empty base; like the embedded stack, the host lends its interpreter, read-only.
HOST_FOLDERS = [folder for folder in ("/usr", "/lib", "/lib64", "/bin") if Path(folder).exists()]


@pytest.fixture
def docker(tmp_path: Path, docker_registry: DockerRegistry) -> Callable[..., str]:
    """Run docker with our account at the registry, in a configuration of its own."""
    config = tmp_path / "docker-config"
    config.mkdir()
    token = docker_registry.client().basic_token()
    (config / "config.json").write_text(json.dumps({"auths": {docker_registry.host: {"auth": token}}}))

    def run(*arguments: str) -> str:
        command = ["docker", "--config", str(config), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout.strip()

    try:
        run("info")
    except (OSError, subprocess.SubprocessError):
        pytest.skip("there is no running Docker engine")
    return run


def test_an_image_runs_as_a_release(
    docker: Callable[..., str],
    docker_registry: DockerRegistry,
    request_for: Callable[..., ImageRequest],
    tmp_path: Path,
) -> None:
    built = build_image(request_for("v1"), docker_registry.client(), cache_dir=tmp_path / "cache")
    docker("pull", "--quiet", built.uri)
    mounts = [option for folder in HOST_FOLDERS for option in ("--volume", f"{folder}:{folder}:ro")]
    bridged = "bridge" in docker("network", "ls", "--format", "{{.Driver}}").split()
    network = ["--publish", "127.0.0.1::8080"] if bridged else ["--network", "host"]
    container = docker("run", "--detach", "--read-only", *network, *mounts, built.uri)
    try:
        address = docker("port", container, "8080").splitlines()[0] if bridged else "127.0.0.1:8080"
        answer = _wait_for(f"http://{address}/ping")
        assert answer.text == "flavors: {}\n"
        assert answer.headers["X-Who"] == "1000 serve"
        (config,) = json.loads(docker("image", "inspect", built.uri))
        assert config["RootFS"]["Layers"] == [layer.diff_id for layer in built.layers]
    finally:
        docker("rm", "--force", container)
        docker("image", "rm", built.uri)


def _wait_for(url: str) -> requests.Response:
    for _ in range(100):
        try:
            return requests.get(url, timeout=2)
        except requests.RequestException:
            time.sleep(0.1)
    raise AssertionError(f"{url} does not answer")
