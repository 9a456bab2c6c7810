from __future__ import annotations

import json
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from slipway.errors import AccessDeniedError
from slipway.images.base import resolve_base
from slipway.images.builder import ImageRequest, build_image, find_image
from slipway.images.inspection import inspect_image
from slipway.images.layer import file_digest
from slipway.images.manifest import DOCKER_MANIFEST
from slipway.images.progress import silent
from slipway.images.push import copy_layer
from slipway.images.registry import PutOutcome

if TYPE_CHECKING:
    from conftest import DockerRegistry

pytestmark = pytest.mark.integration
Requests = Callable[..., ImageRequest]


def skopeo(*arguments: str) -> str:
    if not shutil.which("skopeo"):
        pytest.skip("skopeo is not installed (Debian package skopeo)")
    return subprocess.run(["skopeo", *arguments], capture_output=True, text=True, check=True).stdout


def test_another_tool_reads_and_verifies_the_whole_image(
    docker_registry: DockerRegistry, request_for: Requests, tmp_path: Path
) -> None:
    built = build_image(request_for("v1"), docker_registry.client(), cache_dir=tmp_path / "cache")
    source = f"docker://{docker_registry.host}/slipway/flights:v1"
    account = "AWS:secret-for-tests"
    seen = json.loads(skopeo("inspect", "--tls-verify=false", "--creds", account, source))
    assert (seen["Digest"], seen["Os"], seen["Architecture"]) == (built.digest, "linux", "amd64")
    assert seen["Layers"] == [layer.digest for layer in built.layers]
    raw = skopeo("inspect", "--raw", "--tls-verify=false", "--creds", account, source)
    assert json.loads(raw)["mediaType"] == DOCKER_MANIFEST
    copy = tmp_path / "copy"  # skopeo checks every blob against its digest
    skopeo("--insecure-policy", "copy", "--src-tls-verify=false", "--src-creds", account, source, f"dir:{copy}")
    assert {layer.digest[7:] for layer in built.layers} <= {path.name for path in copy.iterdir()}


def test_a_base_behind_a_login_is_read_with_what_another_tool_has_kept(
    docker_registry: DockerRegistry, request_for: Requests, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = build_image(request_for("v1"), docker_registry.client(), cache_dir=tmp_path / "cache")
    base = f"{docker_registry.host}/slipway/flights:v1"
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    (tmp_path / "docker").mkdir()
    with pytest.raises(AccessDeniedError, match="401"):
        resolve_base(base)
    account = ["--username", "AWS", "--password", "secret-for-tests", "--tls-verify=false"]
    skopeo("login", "--authfile", str(tmp_path / "docker" / "config.json"), *account, docker_registry.host)
    assert resolve_base(base).digest == built.digest


def test_a_second_build_sends_no_byte(docker_registry: DockerRegistry, request_for: Requests, tmp_path: Path) -> None:
    client = docker_registry.client()
    first = build_image(request_for("v1"), client, cache_dir=tmp_path / "one")
    second = build_image(request_for("v1"), client, cache_dir=tmp_path / "two")
    assert (second.digest, second.reused, second.bytes_pushed) == (first.digest, True, 0)
    assert find_image(client, "slipway/flights", "v1") == first.digest
    assert inspect_image(client, "slipway/flights", "v1").layers == first.layers


def test_a_wrong_password_is_denied(docker_registry: DockerRegistry, request_for: Requests, tmp_path: Path) -> None:
    with pytest.raises(AccessDeniedError, match="401"):
        build_image(request_for("v1"), docker_registry.client("wrong"), cache_dir=tmp_path / "cache")


def test_a_base_of_the_same_registry_is_mounted(
    docker_registry: DockerRegistry, request_for: Requests, tmp_path: Path
) -> None:
    client = docker_registry.client()
    build_image(request_for("3.11", "base/python"), client, cache_dir=tmp_path / "cache")
    base = resolve_base(f"{docker_registry.host}/base/python:3.11", registry=client)
    assert base.source
    outcomes = {copy_layer(base.source, client, "slipway/flights", lay, tmp_path, silent) for lay in base.layers}
    assert outcomes == {PutOutcome.MOUNTED}
    built = build_image(replace(request_for("v1"), base_image=base), client, cache_dir=tmp_path / "cache")
    assert built.layers[: len(base.layers)] == base.layers


def test_a_registry_that_dies_in_the_middle_of_a_push_is_waited_for(
    docker_registry: DockerRegistry, large_file: Path
) -> None:
    client = docker_registry.client()
    digest, size = file_digest(large_file), large_file.stat().st_size
    begun = threading.Event()
    outcomes: list[PutOutcome] = []

    def push() -> None:
        outcomes.append(
            client.put_blob(
                "slipway/flights",
                digest,
                size,
                lambda: large_file.open("rb"),
                on_bytes=lambda sent: begun.set() if sent > size // 4 else None,
            )
        )

    thread = threading.Thread(target=push)
    thread.start()
    assert begun.wait(30)
    docker_registry.stop(signal.SIGKILL)
    time.sleep(0.7)
    docker_registry.start()
    thread.join(60)
    assert outcomes == [PutOutcome.PUSHED]
    assert client.has_blob("slipway/flights", digest)
