from __future__ import annotations

import io
import json
import sys
import tarfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.stub import Stubber

from slipway.errors import AccessDeniedError, BaseImageError, RegistryRefusedError
from slipway.images import brake, trainer_image
from slipway.images.app import App, package_digest
from slipway.images.base import BaseImage
from slipway.images.layer import digest_of
from slipway.images.progress import Progress
from slipway.images.trainer_image import TrainerRequest, build_trainer_image, provide_trainer_image
from slipway.platform import Platform
from tests.unit.slipway.images.conftest import BASIC
from tests.unit.slipway.images.sources import BACKEND, make_sdist
from tests.unit.slipway.images.test_base import LAYER, add_base

if TYPE_CHECKING:
    from conftest import Registry

HERE = f"{sys.version_info.major}.{sys.version_info.minor}"
REPOSITORY = "slipway/trainer"
Requests = Callable[..., TrainerRequest]


@pytest.fixture
def request_for(
    tmp_path: Path, make_wheel: Callable[..., str], make_lock: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> Requests:
    """Make a request for a small trainer that needs a wheel and a package which is published as source only."""
    backend = (make_wheel("tiny", files={"tiny/__init__.py": BACKEND}),)
    monkeypatch.setattr(trainer_image, "BUILT_FROM_SOURCE", {"pyspark": backend})
    lock = make_lock(make_wheel("alpha"), make_sdist(tmp_path / "index", "pyspark"), python=HERE)
    folder = tmp_path / "src" / "slipway_trainer"
    folder.mkdir(parents=True)
    (folder / "container.py").write_text("print('training')\n")
    app = App("trainer", package_digest(folder), {"slipway_trainer": folder, "slipway": folder})

    def make(**changes: Any) -> TrainerRequest:
        return replace(TrainerRequest(REPOSITORY, "scratch", HERE, "linux/amd64", lock, app), **changes)

    return make


def config_of(registry: Registry, digest: str) -> dict[str, Any]:
    manifest = json.loads(registry.manifests[REPOSITORY][digest][0])
    found: dict[str, Any] = json.loads(registry.blobs[REPOSITORY][manifest["config"]["digest"]])
    return found


def tags(registry: Registry) -> list[str]:
    return sorted(tag for tag in registry.manifests[REPOSITORY] if tag.startswith("trainer-"))


def test_an_image_is_built_and_starts_as_sagemaker_starts_it(
    registry: Registry, request_for: Requests, tmp_path: Path
) -> None:
    built = build_trainer_image(request_for(), registry.client(), cache_dir=tmp_path / "cache")
    assert built.uri == f"{registry.host}/{REPOSITORY}@{built.digest}"
    assert not built.reused
    assert built.bytes_pushed == registry.bytes_received() > 0
    run = config_of(registry, built.digest)["config"]
    variables = dict(entry.split("=", 1) for entry in run["Env"])
    assert run["Entrypoint"] == ["python3", "-m", "slipway_trainer.container"]
    assert (run["Cmd"], run["User"], run["WorkingDir"]) == (["train"], "0", "/")
    assert variables["SLIPWAY_RUN_AS"] == "1000"
    assert variables["PYTHONPATH"] == "/opt/slipway/app:/opt/slipway/deps"
    assert "ExposedPorts" not in run
    assert run["Labels"]["io.slipway.python"] == HERE
    names: set[str] = set()
    for layer in built.layers:
        with tarfile.open(fileobj=io.BytesIO(registry.blobs[REPOSITORY][layer.digest])) as tar:
            names.update(tar.getnames())
    cached = sys.implementation.cache_tag
    assert {
        "opt/slipway/app/slipway/container.py",
        "opt/slipway/app/slipway_trainer/container.py",
        "opt/slipway/deps/alpha/__init__.py",
        f"opt/slipway/deps/pyspark/__pycache__/more.{cached}.pyc",
    } <= names
    assert not [name for name in names if "tiny" in name]


def test_the_same_inputs_give_the_same_digest_in_any_place(
    registry: Registry,
    other_registry: Registry,
    request_for: Requests,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one = build_trainer_image(request_for(), registry.client(), cache_dir=tmp_path / "one")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "another-cache"))
    far = tmp_path / "two" / ("deep" * 30)
    other = build_trainer_image(request_for(), other_registry.client(), cache_dir=far)
    assert (one.digest, one.layers) == (other.digest, other.layers)
    assert tags(registry) == tags(other_registry)


def test_an_image_that_is_there_is_reused_without_a_byte(
    registry: Registry, request_for: Requests, tmp_path: Path
) -> None:
    registry.immutable = True
    first = build_trainer_image(request_for(), registry.client(), cache_dir=tmp_path / "one")
    registry.log.clear()
    again = build_trainer_image(request_for(), registry.client(), cache_dir=tmp_path / "fresh")
    assert (again.digest, again.layers, again.reused, again.bytes_pushed) == (first.digest, first.layers, True, 0)
    assert registry.asked("PUT") == []
    assert registry.asked("POST") == []


def test_a_changed_trainer_costs_its_own_layer(registry: Registry, request_for: Requests, tmp_path: Path) -> None:
    first = build_trainer_image(request_for(), registry.client(), cache_dir=tmp_path / "one")
    app = request_for().app
    assert app is not None
    folder = app.packages["slipway_trainer"]
    (folder / "container.py").write_text("print('training better')\n")
    changed = App(app.title, package_digest(folder), app.packages)
    second = build_trainer_image(request_for(app=changed), registry.client(), cache_dir=tmp_path / "two")
    fresh = [layer.created_by for layer in second.layers if layer not in first.layers]
    assert fresh == ["trainer"]
    assert len(tags(registry)) == 2


def test_a_build_that_another_was_faster_than_takes_the_others(
    registry: Registry, other_registry: Registry, request_for: Requests, tmp_path: Path
) -> None:
    alone = build_trainer_image(request_for(), other_registry.client(), cache_dir=tmp_path / "one")
    registry.immutable = True
    client = registry.client()
    put = client.put_manifest

    def late(repository: str, tag: str, content: bytes) -> Any:
        if tag.startswith("trainer-"):
            registry.manifests[REPOSITORY][tag] = other_registry.manifests[REPOSITORY][tag]
        return put(repository, tag, content)

    client.put_manifest = late  # type: ignore[method-assign]
    assert build_trainer_image(request_for(), client, cache_dir=tmp_path / "two").digest == alone.digest


def test_the_base_may_lie_in_another_accounts_ecr(
    registry: Registry,
    other_registry: Registry,
    request_for: Requests,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    add_base(other_registry)
    registry.auth = other_registry.auth = "basic"
    monkeypatch.setattr(trainer_image, "trainer_lock", lambda *_: request_for().lock)
    monkeypatch.setattr(trainer_image, "trainer_app", lambda: request_for().app)
    theirs = "763104351884.dkr.ecr.us-east-1.amazonaws.com"
    platform = Platform.model_validate({"execution_role": "r", "base_images": {HERE: f"{theirs}/base/python:3.11"}})
    repository = f"{platform.ecr_repository_prefix}/slipway_trainer"

    def clients(region_name: str | None) -> Any:
        ecr = boto3.Session("testing", "testing", region_name="eu-central-1").client("ecr", region_name=region_name)
        stubber = Stubber(ecr)
        if region_name is None:
            asked, uri = {"repositoryNames": [repository]}, f"{registry.host}/{repository}"
            found = {"repositories": [{"repositoryUri": uri}]}
            stubber.add_response("describe_repositories", found, asked)
            stubber.add_response("get_lifecycle_policy", {}, {"repositoryName": repository})
            stubber.add_response("describe_repositories", found, asked)
        where = {None: registry, "us-east-1": other_registry}[region_name]
        for _ in range(2):
            grant = {"authorizationToken": BASIC.removeprefix("Basic "), "proxyEndpoint": where.url}
            stubber.add_response("get_authorization_token", {"authorizationData": [grant]}, {})
        stubber.activate()
        return ecr

    built = provide_trainer_image(clients, platform, HERE, cache_dir=tmp_path / "cache")
    assert built.layers[0].digest == digest_of(LAYER)
    assert registry.blobs[repository][digest_of(LAYER)] == LAYER


def test_an_error_drops_what_waits(
    registry: Registry, request_for: Requests, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(brake, "PARALLEL", 1)
    registry.fail("GET", "manifests/deps-", 403)
    told: list[str] = []

    def slow(progress: Progress) -> None:
        told.append(progress.step)
        if progress.item.startswith("app-"):
            while registry.faults[0].times:
                time.sleep(0.01)
            time.sleep(0.3)  # the answer has yet to arrive

    with pytest.raises(AccessDeniedError):
        build_trainer_image(request_for(), registry.client(), cache_dir=tmp_path / "cache", on_progress=slow)
    assert "push" not in told
    assert REPOSITORY not in registry.blobs


def test_a_registry_without_the_repository_is_told(registry: Registry, request_for: Requests, tmp_path: Path) -> None:
    registry.repositories = {"slipway/other"}
    with pytest.raises(RegistryRefusedError):
        build_trainer_image(request_for(), registry.client(), cache_dir=tmp_path / "cache")


@pytest.mark.parametrize(
    ("base", "words"),
    [
        (BaseImage("b", "sha256:1", "linux/amd64", python="3.9"), "3.9"),
        (BaseImage("b", "sha256:1", "linux/arm64"), "linux/arm64"),
    ],
)
def test_a_base_that_cannot_fit_is_refused_before_anything_is_sent(
    registry: Registry, request_for: Requests, tmp_path: Path, base: BaseImage, words: str
) -> None:
    with pytest.raises(BaseImageError, match=words):
        build_trainer_image(request_for(base_image=base), registry.client(), cache_dir=tmp_path / "cache")
    assert registry.log == []
