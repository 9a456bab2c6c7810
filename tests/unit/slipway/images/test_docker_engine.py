from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from slipway.errors import (
    AccessDeniedError,
    BaseImageError,
    DependencyLockError,
    EngineUnavailableError,
    RegistryRefusedError,
    RegistryUnavailableError,
)
from slipway.images.auth import ChallengeAuth, Credentials
from slipway.images.base import BaseImage, BlobSource
from slipway.images.builder import ImageRequest
from slipway.images.docker_client import DockerClient
from slipway.images.docker_engine import DOCKERFILE, build_image_with_docker, write_context
from slipway.images.runtime import run_config

if TYPE_CHECKING:
    from conftest import Registry

BASE = BaseImage("python:3.11-slim", "sha256:" + "b" * 64, "linux/amd64", python="3.11")
SHIPPED = Path(__file__).parents[4] / "containers" / "serving" / "Dockerfile"


@pytest.fixture
def request_to_build(make_lock: Callable[..., Any], tmp_path: Path) -> ImageRequest:
    model, app = tmp_path / "model", tmp_path / "slipway_serving"
    for folder in (model, app):
        folder.mkdir()
        (folder / "file.py").write_text("x = 1\n")
    environment = {"GREETING": 'say "hi" for $5', "OMP_NUM_THREADS": "1"}
    lock = make_lock("numpy==2 --hash=sha256:aa")
    return ImageRequest("slipway/flights", "t", BASE, "3.11", "linux/amd64", lock, app, model, environment=environment)


def test_the_dockerfile_in_the_repository_is_the_one_that_is_used() -> None:
    assert SHIPPED.read_text() == DOCKERFILE


def test_the_dockerfile_starts_what_the_layer_builder_starts() -> None:
    run = run_config(BASE, python="3.11", inputs="", labels={}, environment={})
    for variable in run["Env"][1:]:
        assert variable in DOCKERFILE
    assert f"ENTRYPOINT {json.dumps(run['Entrypoint'])}" in DOCKERFILE
    assert f"CMD {json.dumps(run['Cmd'])}" in DOCKERFILE
    assert f"USER {run['User']}" in DOCKERFILE
    assert [f"EXPOSE {port.partition('/')[0]}" in DOCKERFILE for port in run["ExposedPorts"]] == [True]


def test_the_context_is_complete(request_to_build: ImageRequest, tmp_path: Path) -> None:
    write_context(request_to_build, tmp_path / "context")
    files = {p.relative_to(tmp_path / "context").as_posix() for p in (tmp_path / "context").rglob("*") if p.is_file()}
    assert files == {"Dockerfile", "requirements.lock", "app/slipway_serving/file.py", "model/file.py"}
    lines = (tmp_path / "context" / "Dockerfile").read_text().splitlines()
    own, server = lines.index('ENV OMP_NUM_THREADS="1"'), next(n for n, li in enumerate(lines) if "PYTHONPATH" in li)
    assert lines[own - 1] == 'ENV GREETING="say \\"hi\\" for \\$5"'
    assert own < server


def test_spark_is_built_from_its_locked_source_and_runs_as_a_user_with_a_name(
    request_to_build: ImageRequest, make_lock: Callable[..., Any], tmp_path: Path
) -> None:
    lock = make_lock("numpy==2 --hash=sha256:aa", "pyspark==4.3.0 --hash=sha256:bb")
    write_context(replace(request_to_build, lock=lock), tmp_path / "context")
    text = (tmp_path / "context" / "Dockerfile").read_text()
    assert "--no-binary pyspark --no-build-isolation" in text
    assert "--require-hashes" in text.partition("/tmp/backend.lock && ")[2]
    assert (tmp_path / "context" / "backend.lock").read_text().startswith("setuptools==")
    run = run_config(BASE, python="3.11", inputs="", labels={}, environment={}, with_spark=True)
    assert run["User"] == "nobody"
    assert [line for line in text.splitlines() if line.startswith("USER")] == ["USER nobody"]
    assert [line for line in text.splitlines() if line.startswith("COPY")] == [
        "COPY requirements.lock /tmp/requirements.lock",
        "COPY backend.lock /tmp/backend.lock",
        "COPY app /opt/slipway/app",
        "COPY model /opt/slipway/model",
    ]


def test_an_empty_base_is_refused(request_to_build: ImageRequest, registry: Registry, tmp_path: Path) -> None:
    request = ImageRequest(**{**vars(request_to_build), "base_image": "scratch"})
    with pytest.raises(BaseImageError, match="needs a base image with Python and pip"):
        build_image_with_docker(request, registry.client(), cache_dir=tmp_path / "cache")


def test_a_worker_without_docker_is_told(request_to_build: ImageRequest, registry: Registry, tmp_path: Path) -> None:
    with pytest.raises(EngineUnavailableError, match=r"no dockerr program on this worker: .*image_builder: layers"):
        build_image_with_docker(request_to_build, registry.client(), cache_dir=tmp_path, client=DockerClient("dockerr"))


def script(folder: Path, text: str) -> DockerClient:
    """A client that does what ``text`` says."""
    program = folder / "docker"
    program.write_text(f"#!/bin/sh\n{text}\n")
    program.chmod(0o755)
    return DockerClient(str(program))


def test_the_engine_gets_the_account_of_a_base_that_lies_elsewhere(
    request_to_build: ImageRequest, registry: Registry, other_registry: Registry, tmp_path: Path
) -> None:
    account, host = ChallengeAuth(Credentials("AWS", "theirs")), "763104351884.dkr.ecr.us-east-1.amazonaws.com"
    source = BlobSource(other_registry.client(account, image_host=host), "base/python")
    request = replace(request_to_build, base_image=replace(BASE, source=source))
    engine = script(tmp_path, f'cp "$2/config.json" {tmp_path}/seen; exit 1')
    with pytest.raises(BaseImageError):
        build_image_with_docker(
            request,
            registry.client(ChallengeAuth(Credentials("AWS", "ours"))),
            cache_dir=tmp_path / "cache",
            client=engine,
        )
    auths = json.loads((tmp_path / "seen").read_text())["auths"]
    given = {name: b64decode(entry["auth"]) for name, entry in auths.items()}
    assert given == {host: b"AWS:theirs", registry.host: b"AWS:ours"}


@pytest.mark.parametrize(
    ("said", "error", "words"),
    [
        ("tag invalid: The image tag 't' already exists and cannot be overwritten", RegistryRefusedError, "refuses"),
        ("denied: requested access to the resource is denied", AccessDeniedError, "does not let"),
        ("unexpected EOF", RegistryUnavailableError, "could not push slipway/flights:t"),
    ],
)
def test_a_push_that_fails_is_told_by_its_kind(
    request_to_build: ImageRequest, registry: Registry, tmp_path: Path, said: str, error: type[Exception], words: str
) -> None:
    client = script(tmp_path, f'[ "$3" = build ] && exit 0; echo "{said}"; exit 1')
    with pytest.raises(error, match=words):
        build_image_with_docker(request_to_build, registry.client(), cache_dir=tmp_path / "cache", client=client)


@pytest.mark.parametrize(
    ("said", "error", "words"),
    [
        ("ERROR: No matching distribution found for absent==1", DependencyLockError, "locked packages"),
        ("ReadTimeoutError: Read timed out.", RegistryUnavailableError, "does not answer"),
        ("write /x: no space left on device", EngineUnavailableError, "disk is full"),
        ("/bin/sh: 1: python3: not found", BaseImageError, "must bring python3 with pip"),
        ("something else", BaseImageError, "something else"),
    ],
)
def test_a_build_that_fails_is_told_by_its_kind(
    request_to_build: ImageRequest, registry: Registry, tmp_path: Path, said: str, error: type[Exception], words: str
) -> None:
    client = script(tmp_path, f'echo "Step 4/20"; echo "{said}" >&2; exit 1')
    with pytest.raises(error, match=words):
        build_image_with_docker(request_to_build, registry.client(), cache_dir=tmp_path / "cache", client=client)


def test_an_image_of_another_kind_is_refused(
    request_to_build: ImageRequest, registry: Registry, tmp_path: Path
) -> None:
    with pytest.raises(RegistryRefusedError, match=r"docker pushed nothing, .*containerd image store"):
        build_image_with_docker(
            request_to_build, registry.client(), cache_dir=tmp_path / "cache", client=script(tmp_path, "exit 0")
        )


def test_docker_gets_our_account_and_nothing_stays(
    request_to_build: ImageRequest, registry: Registry, tmp_path: Path
) -> None:
    seen = tmp_path / "seen.json"
    docker = script(
        tmp_path, f'cp "$2/config.json" {seen}; echo "Cannot connect to the Docker daemon at x" >&2; exit 1'
    )
    client = registry.client(ChallengeAuth(Credentials("AWS", "open-sesame")))
    with pytest.raises(EngineUnavailableError, match=r"no Docker engine answers on this worker \(Cannot connect"):
        build_image_with_docker(request_to_build, client, cache_dir=tmp_path / "cache", client=docker)
    assert json.loads(seen.read_text()) == {"auths": {registry.host: {"auth": "QVdTOm9wZW4tc2VzYW1l"}}}
    assert list((tmp_path / "cache").iterdir()) == []
