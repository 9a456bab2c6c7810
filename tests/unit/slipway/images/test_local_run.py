"""A release taken out of the registry and run as a process of its own files."""

from __future__ import annotations

import json
import os
import resource
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from slipway.errors import BaseImageError, PermanentError, RegistryRefusedError, RegistryUnavailableError
from slipway.images import local_run, unpack
from slipway.images.builder import ImageRequest, build_image
from slipway.images.inspection import ImageReport, inspect_image
from slipway.images.local_run import bare_python, process_environment, run_container, run_process
from slipway.images.progress import Progress
from slipway.images.unpack import own_layers, unpack_release, unpacked_release
from slipway.kept_folders import in_use

if TYPE_CHECKING:
    from conftest import Registry

HERE = f"{sys.version_info.major}.{sys.version_info.minor}"
REPOSITORY = "slipway/flights"
# A server that tells what it was started with, once.
SERVER = """
import http.server, json, os, sys
import alpha

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        model = open(os.environ["SLIPWAY_MODEL_DIR"] + "/weights").read()
        path = [entry for entry in sys.path if "site-packages" in entry]
        found = {"model": model, "alpha": alpha.VERSION, "arguments": sys.argv[1:], "level": os.environ["LEVEL"]}
        found["secret"] = "AWS_SECRET_ACCESS_KEY" in os.environ
        found["foreign"] = [entry for entry in path if not entry.startswith(sys.prefix)]
        body = json.dumps(found).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

address = (os.environ["SLIPWAY_BIND_HOST"], int(os.environ["SAGEMAKER_BIND_TO_PORT"]))
http.server.HTTPServer(address, Handler).handle_request()
sys.exit(7)
"""


@pytest.fixture
def report(
    registry: Registry, make_wheel: Callable[..., str], make_lock: Callable[..., Any], tmp_path: Path
) -> ImageReport:
    model, app = tmp_path / "model", tmp_path / "slipway_serving"
    for folder in (model, app):
        folder.mkdir()
    (model / "weights").write_text("1.5")
    (app / "__init__.py").touch()
    (app / "__main__.py").write_text(SERVER)
    lock = make_lock(make_wheel("alpha", "2.0"), python=HERE)
    environment = {"LEVEL": "debug"}
    request = ImageRequest(REPOSITORY, "one", "scratch", HERE, "linux/amd64", lock, app, model, environment=environment)
    build_image(request, registry.client(), cache_dir=tmp_path / "cache")
    return inspect_image(registry.client(), REPOSITORY, "one")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def ask(port: int, into: list[Any]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as answer:
                into.append(json.load(answer))
                return
        except OSError:
            time.sleep(0.05)


def test_a_release_runs_from_its_own_files_alone(
    registry: Registry, report: ImageReport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.delenv("UV_NO_INDEX")
    root = unpack_release(registry.client(), REPOSITORY, report, tmp_path / "kept")
    port, told = free_port(), []  # type: ignore[var-annotated]
    asking = threading.Thread(target=ask, args=(port, told))
    asking.start()
    assert run_process(report, root, port, tmp_path / "kept") == 7
    asking.join()
    assert told == [
        {"model": "1.5", "alpha": "2.0", "arguments": ["serve"], "level": "debug", "secret": False, "foreign": []}
    ]


def test_a_release_is_fetched_once(registry: Registry, report: ImageReport, tmp_path: Path) -> None:
    first = unpack_release(registry.client(), REPOSITORY, report, tmp_path / "kept")
    fetched = len(registry.asked("GET", "/blobs/"))
    assert unpack_release(registry.client(), REPOSITORY, report, tmp_path / "kept") == first
    assert len(registry.asked("GET", "/blobs/")) == fetched
    assert {path.name for path in (first / "opt" / "slipway").iterdir()} == {"app", "deps", "model"}


def test_of_two_first_starts_at_once_both_get_the_release(
    registry: Registry, report: ImageReport, tmp_path: Path
) -> None:
    both, together = threading.Barrier(2), ThreadPoolExecutor(2)

    def start() -> Path:
        meet = iter([both.wait])

        def told(_: Progress) -> None:
            next(meet, lambda: 0)()

        return unpack_release(registry.client(), REPOSITORY, report, tmp_path / "kept", told)

    with together:
        places = [future.result() for future in [together.submit(start), together.submit(start)]]
    assert places[0] == places[1]
    assert (places[0] / "opt" / "slipway" / "model" / "weights").read_text() == "1.5"
    assert list((tmp_path / "kept").iterdir()) == [places[0]]


def test_a_disk_that_takes_no_more_is_said(registry: Registry, report: ImageReport, tmp_path: Path) -> None:
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1, unlimited[1]))
    try:
        with pytest.raises(PermanentError, match=r"below .*kept: File too large\. Make room .* SLIPWAY_CACHE_DIR"):
            unpack_release(registry.client(), REPOSITORY, report, tmp_path / "kept")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
    assert list((tmp_path / "kept").iterdir()) == []
    (tmp_path / "file").touch()
    with (
        pytest.raises(PermanentError, match="cannot be unpacked"),
        unpacked_release(registry.client(), REPOSITORY, report, tmp_path / "file"),
    ):
        pytest.fail("unpacked into a file")


def test_what_a_killed_start_left_and_releases_used_long_ago_are_dropped(
    registry: Registry, report: ImageReport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unpack, "LIMIT_BYTES", 1000)
    kept = tmp_path / "kept"
    for name in (".unpack-killed", "a" * 64, "b" * 64, "python3.11"):
        (kept / name).mkdir(parents=True)
        (kept / name / "file").write_bytes(bytes(2000))
        os.utime(kept / name, (1e9, 1e9))
    with in_use(kept / ("b" * 64)):
        os.utime(kept / ("b" * 64), (1e9, 1e9))
        with unpacked_release(registry.client(), REPOSITORY, report, kept) as root:
            assert {path.name for path in kept.iterdir() if path.is_dir()} == {root.name, "b" * 64, "python3.11"}


def test_a_broken_off_fetch_leaves_nothing(registry: Registry, report: ImageReport, tmp_path: Path) -> None:
    registry.fail("GET", "/blobs/", 404, times=99)
    with pytest.raises(RegistryRefusedError):
        unpack_release(registry.client(), REPOSITORY, report, tmp_path / "kept")
    assert list((tmp_path / "kept").iterdir()) == []


def test_only_layers_of_the_builder_are_taken(registry: Registry, report: ImageReport, tmp_path: Path) -> None:
    debian = replace(report.layers[0], created_by="/bin/sh -c #(nop) ADD file:… in /")
    assert own_layers(replace(report, layers=(debian, *report.layers))) == report.layers
    with pytest.raises(RegistryRefusedError, match="Docker engine instead"):
        unpack_release(registry.client(), REPOSITORY, replace(report, layers=(debian,)), tmp_path / "kept")


def test_the_images_paths_are_pointed_at_its_files(report: ImageReport) -> None:
    around = {"HOME": "/home/me", "PATH": "/bin", "PYTHONPATH": "/mine", "AWS_PROFILE": "prod"}
    found = process_environment(report, Path("/kept/abc"), 8080, around)
    assert found["PYTHONPATH"] == "/kept/abc/opt/slipway/app:/kept/abc/opt/slipway/deps"
    assert found["SLIPWAY_MODEL_DIR"] == "/kept/abc/opt/slipway/model"
    assert found["HOME"] == "/home/me"
    assert "AWS_PROFILE" not in found


def test_a_python_that_is_not_here_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_PYTHON_DOWNLOADS", "never")
    with pytest.raises(BaseImageError, match=r"needs Python 3\.99 .* --target docker"):
        bare_python("3.99", tmp_path)


def test_an_engine_cannot_run_an_image_without_interpreter(registry: Registry, report: ImageReport) -> None:
    with pytest.raises(BaseImageError, match="--target process"):
        run_container(registry.client(), REPOSITORY, report, 8080)


def test_an_engine_is_told_which_image_and_port(
    registry: Registry, report: ImageReport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = {**report.labels, "org.opencontainers.image.base.name": "python:3.11-slim"}
    program = tmp_path / "docker"
    program.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/said\nexit 5\n')
    program.chmod(0o755)
    based = replace(report, labels=labels)
    assert run_container(registry.client(), REPOSITORY, based, 8123, docker=str(program)) == 5
    said = (tmp_path / "said").read_text()
    image = f"{registry.host}/{REPOSITORY}@{report.digest}"
    assert f"--read-only --tmpfs /tmp:exec --publish 127.0.0.1:8123:8080 {image} serve" in said
    with pytest.raises(RegistryUnavailableError, match="no nothing-here program"):
        run_container(registry.client(), REPOSITORY, based, 8123, docker="nothing-here")


def test_an_interrupt_leaves_the_server_the_time_to_end(monkeypatch: pytest.MonkeyPatch) -> None:
    waits = iter([KeyboardInterrupt(), 0])

    class Server:
        def __init__(self, command: list[str], env: dict[str, str]) -> None:
            self.command = command

        def wait(self) -> int:
            outcome = next(waits)
            if isinstance(outcome, KeyboardInterrupt):
                raise outcome
            return int(outcome)

    monkeypatch.setattr(subprocess, "Popen", Server)
    assert local_run._until_the_end(["server"], os.environ) == 0
