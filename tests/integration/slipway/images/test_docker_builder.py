"""Releases by a real Docker engine: built, pushed, run; what it says, and that it ends with who asked."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import requests

from slipway.artifacts.lock import DependencyLock
from slipway.errors import (
    AccessDeniedError,
    BaseImageError,
    DependencyLockError,
    EngineUnavailableError,
    RegistryRefusedError,
)
from slipway.images.base import PYTHON_LABEL
from slipway.images.builder import ImageRequest, build_image
from slipway.images.docker_client import DockerClient
from slipway.images.docker_engine import build_image_with_docker, write_login
from slipway.images.inspection import inspect_image
from slipway.images.manifest import DOCKER_MANIFEST
from slipway.images.progress import Progress
from slipway.images.runtime import RELEASE_LABEL

if TYPE_CHECKING:
    from conftest import DockerRegistry

pytestmark = [pytest.mark.integration, pytest.mark.docker]
Requests = Callable[..., ImageRequest]
HERE = f"{sys.version_info.major}.{sys.version_info.minor}"
EMPTY = DependencyLock.from_text("", key="k", python=HERE, platform="linux/amd64")


def docker(*arguments: str) -> str:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=True, timeout=120)
    return done.stdout.strip()


@pytest.fixture
def base(python_image: str, docker_registry: DockerRegistry, tmp_path: Path) -> Iterator[str]:
    """The base image in the registry, where a release's base is looked up."""
    name = f"{docker_registry.host}/base/python:{HERE}"
    write_login(docker_registry.client(), tmp_path / "login")
    docker("tag", python_image, name)
    docker("--config", str(tmp_path / "login"), "push", "--quiet", name)
    yield name
    left = ["images", "--filter", f"reference={docker_registry.host}/*/*", "--format", "{{.Repository}}:{{.Tag}}"]
    docker("image", "rm", *docker(*left).split())


@pytest.fixture
def request_of(request_for: Requests, base: str, wheel: tuple[str, bytes]) -> Requests:
    text = f"tiny-package==1.0 --hash=sha256:{hashlib.sha256(wheel[1]).hexdigest()}\n"
    lock = DependencyLock.from_text(text, key="k", python=HERE, platform="linux/amd64")

    def make(tag: str) -> ImageRequest:
        labels, environment = {RELEASE_LABEL: tag}, {"GREETING": 'say "hi" for $5'}
        return replace(request_for(tag, base=base), lock=lock, labels=labels, environment=environment)

    return make


def test_an_image_is_built_pushed_and_runs_as_a_release(
    request_of: Requests, docker_registry: DockerRegistry, tmp_path: Path
) -> None:
    client = docker_registry.client()
    told: list[Progress] = []
    built = build_image_with_docker(request_of("v1"), client, cache_dir=tmp_path / "cache", on_progress=told.append)
    assert {step.step for step in told} == {"build", "push"}
    assert any("Successfully installed tiny-package-1.0" in step.item for step in told)
    stored = client.get_manifest("slipway/flights", "v1")
    assert stored is not None
    assert (stored.digest, stored.media_type) == (built.digest, DOCKER_MANIFEST)
    report = inspect_image(client, "slipway/flights", "v1")
    assert report.packages == {"tiny-package": "1.0"}
    assert (report.labels[RELEASE_LABEL], report.labels[PYTHON_LABEL]) == ("v1", HERE)
    assert report.environment["GREETING"] == 'say "hi" for $5'
    assert 0 < built.bytes_pushed <= report.size

    docker("image", "rm", "--force", f"{docker_registry.host}/slipway/flights:v1")
    docker("--config", str(tmp_path / "login"), "pull", "--quiet", built.uri)
    container = docker("run", "--detach", "--read-only", "--network", "host", built.uri)
    try:
        assert _answer("http://127.0.0.1:8080/ping").headers["X-Who"] == "1000 serve"
        seen = docker("exec", container, "python3", "-c", "import tiny_package; print(tiny_package.ANSWER)")
        assert seen == "42"
    finally:
        docker("rm", "--force", container)
        docker("image", "rm", built.uri)


_SERVE = """
import sys
from slipway.images.auth import ChallengeAuth, Credentials
from slipway.images.inspection import inspect_image
from slipway.images.local_run import run_container
from slipway.images.registry import RegistryClient
url, port = sys.argv[1:]
registry = RegistryClient(url, ChallengeAuth(Credentials("AWS", "secret-for-tests")))
report = inspect_image(registry, "slipway/flights", "v1")
raise SystemExit(run_container(registry, "slipway/flights", report, int(port)))
"""


def test_a_release_is_served_by_an_engine_until_it_is_interrupted(
    request_of: Requests, docker_registry: DockerRegistry, tmp_path: Path
) -> None:
    client = docker_registry.client()
    built = build_image(replace(request_of("v1"), lock=EMPTY), client, cache_dir=tmp_path / "cache")
    bridged = "bridge" in docker("network", "ls", "--format", "{{.Driver}}").split()
    command = [sys.executable, "-c", _SERVE, f"http://{docker_registry.host}", str(port := unused_port())]
    with subprocess.Popen(command, start_new_session=True) as serving:
        container = running(built.uri)
        inside = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:8080/ping').headers['X-Who'])"
        assert eventually(lambda: docker("exec", container, "python3", "-c", inside)) == "1000 serve"
        if bridged:
            assert _answer(f"http://127.0.0.1:{port}/ping").text == "flavors: {}\n"
        os.killpg(serving.pid, signal.SIGINT)  # as a terminal does
        serving.wait(60)
    assert docker("ps", "--all", "--quiet", "--filter", f"ancestor={built.uri}") == ""
    docker("image", "rm", built.uri)


def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def running(image: str) -> str:
    """Id of the container of an image, when there is one."""

    def listed() -> str:
        found = docker("ps", "--quiet", "--filter", f"ancestor={image}")
        if not found:
            raise subprocess.CalledProcessError(1, "docker ps")
        return found

    return eventually(listed)


def eventually(attempt: Callable[[], str]) -> str:
    deadline = time.monotonic() + 60
    while True:
        try:
            return attempt()
        except subprocess.CalledProcessError:
            assert time.monotonic() < deadline
            time.sleep(0.2)


def _answer(url: str) -> requests.Response:
    for _ in range(100):
        try:
            return requests.get(url, timeout=2)
        except requests.RequestException:
            time.sleep(0.1)
    raise AssertionError(f"{url} does not answer")


def test_what_stands_under_the_tag_is_taken_and_never_replaced(
    request_of: Requests, docker_registry: DockerRegistry, tmp_path: Path
) -> None:
    client, request = docker_registry.client(), request_of("v1")
    first = build_image_with_docker(request, client, cache_dir=tmp_path / "one")
    no_docker = DockerClient("/nowhere/docker")
    again = build_image_with_docker(request, client, cache_dir=tmp_path / "two", client=no_docker)
    assert (again.digest, again.reused, again.bytes_pushed) == (first.digest, True, 0)

    (request.model_dir / "MLmodel").write_text("flavors: {other: {}}\n")
    with pytest.raises(RegistryRefusedError, match="made from other inputs"):
        build_image_with_docker(request, client, cache_dir=tmp_path / "two")
    second = build_image_with_docker(request_of("v2"), client, cache_dir=tmp_path / "two")
    assert second.digest != first.digest
    assert 0 < second.bytes_pushed < 4096  # the model alone
    assert not list((tmp_path / "two").iterdir())


def test_what_goes_wrong_is_told(request_of: Requests, docker_registry: DockerRegistry, tmp_path: Path) -> None:
    client, request, cache = docker_registry.client(), request_of("v1"), tmp_path / "cache"
    text = f"absent==1.0 --hash=sha256:{'0' * 64}\n"
    absent = DependencyLock.from_text(text, key="k", python=HERE, platform="linux/amd64")
    with pytest.raises(DependencyLockError, match=r"cannot be installed in the base image: (?s:.)*absent==1\.0"):
        build_image_with_docker(replace(request, lock=absent), client, cache_dir=cache)
    changed = f"tiny-package==1.0 --hash=sha256:{'0' * 64}\n"
    wrong = DependencyLock.from_text(changed, key="k", python=HERE, platform="linux/amd64")
    with pytest.raises(DependencyLockError, match="DO NOT MATCH THE HASHES"):
        build_image_with_docker(replace(request, lock=wrong), client, cache_dir=cache)
    assert client.get_manifest("slipway/flights", "v1") is None


def test_a_base_without_pip_is_told(
    shell_image: str, request_for: Requests, docker_registry: DockerRegistry, tmp_path: Path
) -> None:
    name = f"{docker_registry.host}/base/shell:1"
    write_login(docker_registry.client(), tmp_path / "login")
    docker("tag", shell_image, name)
    docker("--config", str(tmp_path / "login"), "push", "--quiet", name)
    with pytest.raises(BaseImageError, match="must bring python3 with pip"):
        build_image_with_docker(request_for("v1", base=name), docker_registry.client(), cache_dir=tmp_path / "cache")
    docker("image", "rm", name)


def test_a_push_that_may_not_be_is_told(
    request_of: Requests, docker_registry: DockerRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without_password(registry: object, config: Path, *more: object) -> None:
        config.mkdir()
        (config / "config.json").write_text(json.dumps({"auths": {}}))

    request = request_of("v1")  # the engine has the base already, so only the push needs an account
    monkeypatch.setattr("slipway.images.docker_engine.write_login", without_password)
    with pytest.raises(AccessDeniedError, match=r"does not let the Docker engine push slipway/flights:v1"):
        build_image_with_docker(request, docker_registry.client(), cache_dir=tmp_path / "cache")


def test_without_an_engine_it_is_said_what_to_do(
    request_for: Requests, docker_registry: DockerRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, cache = docker_registry.client(), tmp_path / "cache"
    build_image(request_for("3.11", "base/python"), client, cache_dir=cache)
    request = request_for("v1", base=f"{docker_registry.host}/base/python:3.11")
    with monkeypatch.context() as there_is_none:
        there_is_none.setenv("DOCKER_HOST", f"unix://{tmp_path}/docker.sock")
        with pytest.raises(EngineUnavailableError, match=r"no Docker engine answers.*image_builder: layers"):
            build_image_with_docker(request, client, cache_dir=cache)


@pytest.fixture
def slow_context(shell_image: str, tmp_path: Path) -> Path:
    """What takes ten minutes to build."""
    folder = tmp_path / "context"
    folder.mkdir()
    (folder / "Dockerfile").write_text(f"FROM {shell_image}\nRUN echo asleep {os.getpid()} && sleep 600\n")
    return folder


def sleepers() -> int:
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    return sum(f"asleep {os.getpid()} && sleep 600" in line for line in listed.splitlines())


def none_sleeps() -> bool:
    for _ in range(200):
        if not sleepers():
            return True
        time.sleep(0.1)
    return False


def wait_for_sleeper() -> None:
    deadline = time.monotonic() + 60
    while not sleepers():
        assert time.monotonic() < deadline, "the build does not get so far"
        time.sleep(0.1)


def test_a_build_ends_with_its_task(slow_context: Path) -> None:
    client = DockerClient()

    def kill() -> None:
        wait_for_sleeper()
        client.kill()

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(EngineUnavailableError, match="docker build was ended with its task"):
        client.run(["build", "--no-cache", str(slow_context)], print)
    killer.join()
    assert none_sleeps()
    with pytest.raises(EngineUnavailableError, match="was not started"):
        client.run(["build", str(slow_context)], print)


def test_a_build_ends_with_a_killed_process(slow_context: Path) -> None:
    code = (
        "from slipway.images.docker_client import DockerClient\n"
        f"DockerClient().run(['build', '--no-cache', {str(slow_context)!r}], lambda line: None)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code]) as process:
        wait_for_sleeper()
        process.send_signal(signal.SIGKILL)
    assert none_sleeps()


def test_a_build_that_takes_too_long_is_given_up(slow_context: Path) -> None:
    with pytest.raises(EngineUnavailableError, match="did not finish within 5 s"):
        DockerClient(seconds=5).run(["build", "--no-cache", str(slow_context)], print)
    assert none_sleeps()
