from __future__ import annotations

import io
import itertools
import json
import os
import signal
import sys
import tarfile
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from slipway.errors import (
    AccessDeniedError,
    BaseImageError,
    DependencyLockError,
    ModelNotDeployableError,
    RegistryRefusedError,
    RegistryUnavailableError,
    UnsafePathError,
)
from slipway.images import brake, builder, layer_store
from slipway.images.base import BaseImage, resolve_base
from slipway.images.builder import BuiltImage, ImageRequest, build_image, find_image
from slipway.images.layer import digest_of
from slipway.images.manifest import DOCKER_LAYER, DOCKER_MANIFEST, OCI_LAYER, OCI_MANIFEST
from slipway.images.progress import Progress
from slipway.images.registry import PutOutcome, RegistryClient
from tests.unit.slipway.images.sources import BACKEND, make_sdist

if TYPE_CHECKING:
    from conftest import Registry

HERE = f"{sys.version_info.major}.{sys.version_info.minor}"
REPOSITORY = "slipway/flights"


@pytest.fixture
def request_for(
    tmp_path: Path, make_wheel: Callable[..., str], make_lock: Callable[..., Any]
) -> Callable[..., ImageRequest]:
    """Make a request to build a small model with two packages, one of which has a heavy one's name."""
    app = tmp_path / "src" / "slipway_serving"
    app.mkdir(parents=True)
    (app / "__main__.py").write_text("print('serving')\n")
    model = tmp_path / "model"
    model.mkdir()
    (model / "MLmodel").write_text("flavors: {}\n")
    lock = make_lock(make_wheel("alpha"), make_wheel("numpy", "2.0"), python=HERE)

    def make(**changes: Any) -> ImageRequest:
        base = ImageRequest(
            repository=REPOSITORY,
            tag="0123456789ab",
            base_image="scratch",
            python=HERE,
            platform="linux/amd64",
            lock=lock,
            serving_app_dir=app,
            model_dir=model,
            labels={"io.slipway.release": "0123456789ab", "io.slipway.service": "flights"},
        )
        return replace(base, **changes)

    return make


def documents(registry: Registry, built: BuiltImage, repository: str = REPOSITORY) -> tuple[Any, Any]:
    manifest = json.loads(registry.manifests[repository][built.digest][0])
    return manifest, json.loads(registry.blobs[repository][manifest["config"]["digest"]])


def content(registry: Registry, built: BuiltImage) -> dict[str, tarfile.TarInfo]:
    found = {}
    for layer in built.layers:
        with tarfile.open(fileobj=io.BytesIO(registry.blobs[REPOSITORY][layer.digest])) as tar:
            found.update({member.name: member for member in tar})
    return found


def test_an_image_is_built_and_pushed(
    registry: Registry, request_for: Callable[..., ImageRequest], tmp_path: Path
) -> None:
    told: list[Progress] = []
    client = registry.client(image_host="123456789012.dkr.ecr.eu-west-1.amazonaws.com")
    built = build_image(request_for(), client, cache_dir=tmp_path / "cache", on_progress=told.append)
    manifest, config = documents(registry, built)
    assert built.uri == f"123456789012.dkr.ecr.eu-west-1.amazonaws.com/{REPOSITORY}@{built.digest}"
    assert find_image(client, REPOSITORY, "0123456789ab") == built.digest
    assert not built.reused
    assert built.bytes_pushed == registry.bytes_received() > 0
    assert [layer["digest"] for layer in manifest["layers"]] == [layer.digest for layer in built.layers]
    assert [entry["created_by"].partition(":")[0] for entry in config["history"]] == [
        *("dependencies", "dependencies", "serving app", "model")
    ]
    files = content(registry, built)
    assert files["opt/slipway/model/MLmodel"].isreg()
    assert files["opt/slipway/app/slipway_serving/__main__.py"].isreg()
    cached = sys.implementation.cache_tag
    assert files[f"opt/slipway/app/slipway_serving/__pycache__/__main__.{cached}.pyc"].isreg()
    assert files[f"opt/slipway/deps/numpy/__pycache__/__init__.{cached}.pyc"].isreg()
    assert {"lookup", "install", "compile", "compress", "push"} <= {progress.step for progress in told}


def test_layers_are_sent_side_by_side(
    registry: Registry, request_for: Callable[..., ImageRequest], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    together, sent, put_blob = threading.Barrier(2, timeout=30), itertools.count(), RegistryClient.put_blob

    def put(client: RegistryClient, *arguments: Any, **options: Any) -> PutOutcome:
        if threading.current_thread().name.startswith("image") and next(sent) < 2:
            together.wait()  # broken when the first has to end before the second begins
        return put_blob(client, *arguments, **options)

    monkeypatch.setattr(RegistryClient, "put_blob", put)
    assert build_image(request_for(), registry.client(), cache_dir=tmp_path / "cache").bytes_pushed > 0
    assert next(sent) > 2


def test_the_container_is_started_as_the_server_expects(
    registry: Registry, request_for: Callable[..., ImageRequest], tmp_path: Path
) -> None:
    environment = {"OMP_NUM_THREADS": "1", "PYTHONPATH": "/somewhere/else"}
    built = build_image(request_for(environment=environment), registry.client(), cache_dir=tmp_path / "cache")
    run = documents(registry, built)[1]["config"]
    variables = dict(entry.split("=", 1) for entry in run["Env"])
    assert variables["PYTHONPATH"] == "/opt/slipway/app:/opt/slipway/deps"
    assert variables["SLIPWAY_MODEL_DIR"] == "/opt/slipway/model"
    assert (variables["PYTHONUNBUFFERED"], variables["PYTHONDONTWRITEBYTECODE"]) == ("1", "1")
    assert variables["OMP_NUM_THREADS"] == "1"
    assert "/usr/bin" in variables["PATH"]
    assert (run["Entrypoint"], run["Cmd"], run["User"]) == (["python3", "-m", "slipway_serving"], ["serve"], "1000")
    assert run["ExposedPorts"] == {"8080/tcp": {}}
    assert run["Labels"]["io.slipway.python"] == HERE
    assert run["Labels"]["io.slipway.release"] == "0123456789ab"


def test_spark_is_built_from_its_source_and_runs_as_a_user_with_a_name(
    registry: Registry,
    request_for: Callable[..., ImageRequest],
    make_wheel: Callable[..., str],
    make_lock: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    backend = (make_wheel("tiny", files={"tiny/__init__.py": BACKEND}),)
    monkeypatch.setattr(builder, "BUILT_FROM_SOURCE", {"pyspark": backend})
    lock = make_lock(make_wheel("alpha"), make_sdist(tmp_path / "index", "pyspark"), python=HERE)
    built = build_image(request_for(lock=lock), registry.client(), cache_dir=tmp_path / "cache")
    assert content(registry, built)["opt/slipway/deps/pyspark/more.py"].isreg()
    assert documents(registry, built)[1]["config"]["User"] == "nobody"


def test_the_same_inputs_give_the_same_digest_on_another_machine(
    registry: Registry, other_registry: Registry, request_for: Callable[..., ImageRequest], tmp_path: Path
) -> None:
    request = request_for()
    first = build_image(request, registry.client(), cache_dir=tmp_path / "one")
    for path in request.model_dir.rglob("*"):
        os.utime(path, (1, 1))
    before = os.umask(0o077)
    try:
        second = build_image(request, other_registry.client(), cache_dir=tmp_path / "an" / "other")
    finally:
        os.umask(before)
    assert second.digest == first.digest
    assert second.bytes_pushed == first.bytes_pushed


def test_a_second_build_changes_and_sends_nothing(
    registry: Registry, request_for: Callable[..., ImageRequest], tmp_path: Path
) -> None:
    first = build_image(request_for(), registry.client(), cache_dir=tmp_path / "one")
    registry.log.clear()
    again = build_image(request_for(), registry.client(), cache_dir=tmp_path / "two")
    assert (again.digest, again.layers, again.reused, again.bytes_pushed) == (first.digest, first.layers, True, 0)
    assert {method for method, _, _ in registry.log} == {"GET"}


def test_the_same_release_built_elsewhere_is_taken_over(
    registry: Registry, request_for: Callable[..., ImageRequest], tmp_path: Path
) -> None:
    registry.immutable = True
    built = build_image(request_for(), registry.client(), cache_dir=tmp_path / "one")
    stored, kind = registry.manifests[REPOSITORY]["0123456789ab"]
    registry.manifests[REPOSITORY]["0123456789ab"] = (stored + b"\n", kind)  # as if its bytecode differed
    again = build_image(request_for(), registry.client(), cache_dir=tmp_path / "two")
    assert again.reused
    assert again.digest == digest_of(stored + b"\n") != built.digest


@pytest.mark.parametrize("other_bytes", [b"\n", b""])
def test_a_build_of_the_same_release_that_was_faster_is_taken_over(
    registry: Registry,
    other_registry: Registry,
    request_for: Callable[..., ImageRequest],
    tmp_path: Path,
    other_bytes: bytes,
) -> None:
    alone = build_image(request_for(), other_registry.client(), cache_dir=tmp_path / "one")
    stored, kind = other_registry.manifests[REPOSITORY]["0123456789ab"]
    registry.immutable = True
    client = registry.client()
    put = client.put_manifest

    def late(repository: str, tag: str, *arguments: Any) -> str:
        if tag == "0123456789ab":
            registry.manifests[REPOSITORY][tag] = (stored + other_bytes, kind)
            registry.blobs[REPOSITORY].update(other_registry.blobs[REPOSITORY])
        return put(repository, tag, *arguments)

    client.put_manifest = late  # type: ignore[method-assign]
    built = build_image(request_for(), client, cache_dir=tmp_path / "two")
    assert (built.digest, built.reused) == (digest_of(stored + other_bytes), other_bytes != b"")
    assert built.layers == alone.layers
    assert registry.manifests[REPOSITORY]["0123456789ab"][0] == stored + other_bytes
    assert any(tag.startswith("deps-") for tag in registry.manifests[REPOSITORY])


@pytest.mark.parametrize("kind", [500, "drop"])
def test_a_release_whose_last_answer_was_lost_is_built(
    registry: Registry, request_for: Callable[..., ImageRequest], tmp_path: Path, kind: int | str
) -> None:
    registry.immutable = True
    registry.lose_answer("PUT", "/manifests/0123456789ab", kind)
    built = build_image(request_for(), registry.client(), cache_dir=tmp_path / "cache")
    assert find_image(registry.client(), REPOSITORY, "0123456789ab") == built.digest
    assert len(registry.asked("PUT", "/manifests/0123456789ab")) == 2


def test_another_model_under_an_immutable_tag_is_refused(
    registry: Registry, request_for: Callable[..., ImageRequest], tmp_path: Path
) -> None:
    registry.immutable = True
    build_image(request_for(), registry.client(), cache_dir=tmp_path / "cache")
    (request_for().model_dir / "weights").write_text("other")
    with pytest.raises(RegistryRefusedError, match=r"holds sha256:.*, made from other inputs.*TAG_INVALID"):
        build_image(request_for(), registry.client(), cache_dir=tmp_path / "cache")


def test_another_build_that_was_faster_with_the_same_packages_does_not_matter(
    registry: Registry, other_registry: Registry, request_for: Callable[..., ImageRequest], tmp_path: Path
) -> None:
    alone = build_image(request_for(), other_registry.client(), cache_dir=tmp_path / "one")
    registry.immutable = True

    def meanwhile(progress: Progress) -> None:
        if progress.step != "compile":
            return
        for tag, (stored, kind) in other_registry.manifests[REPOSITORY].items():
            if tag.startswith(("deps-", "wheel-", "tail-", "app-")):
                registry.manifests.setdefault(REPOSITORY, {})[tag] = (stored + b"\n", kind)
        registry.blobs.setdefault(REPOSITORY, {}).update(other_registry.blobs[REPOSITORY])

    built = build_image(request_for(), registry.client(), cache_dir=tmp_path / "two", on_progress=meanwhile)
    assert (built.digest, built.layers, built.reused) == (alone.digest, alone.layers, False)
    kept = {tag: stored for tag, (stored, _) in registry.manifests[REPOSITORY].items() if tag.startswith("deps-")}
    assert [stored[-1:] for stored in kept.values()] == [b"\n"]
    assert registry.asked("PUT", "manifests/deps-")


def test_a_new_model_on_a_fresh_worker_costs_the_model_alone(
    registry: Registry, request_for: Callable[..., ImageRequest], tmp_path: Path
) -> None:
    registry.immutable = True
    build_image(request_for(), registry.client(), cache_dir=tmp_path / "one")
    (request_for().model_dir / "weights").write_bytes(os.urandom(5000))
    told: list[Progress] = []
    built = build_image(request_for(tag="v2"), registry.client(), cache_dir=tmp_path / "fresh", on_progress=told.append)
    config_size = documents(registry, built)[0]["config"]["size"]
    assert built.bytes_pushed == built.layers[-1].size + config_size
    assert not {"install", "compile"} & {progress.step for progress in told}


def test_a_bumped_package_costs_its_layer_alone(
    registry: Registry,
    request_for: Callable[..., ImageRequest],
    make_wheel: Callable[..., str],
    make_lock: Callable[..., Any],
    tmp_path: Path,
) -> None:
    first = build_image(request_for(), registry.client(), cache_dir=tmp_path / "one")
    alpha = next(line for line in request_for().lock.text.splitlines() if line.startswith("alpha"))
    lock = make_lock(alpha, make_wheel("numpy", "2.1"), python=HERE)
    second = build_image(request_for(tag="v2", lock=lock), registry.client(), cache_dir=tmp_path / "two")
    changed = [b for a, b in zip(first.layers, second.layers, strict=True) if a != b]
    assert [layer.created_by for layer in changed] == ["dependencies: numpy==2.1"]


def test_a_service_with_the_same_packages_finds_them_on_the_worker(
    registry: Registry, request_for: Callable[..., ImageRequest], tmp_path: Path
) -> None:
    first = build_image(request_for(), registry.client(), cache_dir=tmp_path / "cache")
    told: list[Progress] = []
    second = build_image(
        request_for(repository="slipway/fares"),
        registry.client(),
        cache_dir=tmp_path / "cache",
        on_progress=told.append,
    )
    assert second.digest == first.digest
    assert "install" not in {progress.step for progress in told}


def test_a_spoiled_layer_on_the_worker_is_built_again(
    registry: Registry, request_for: Callable[..., ImageRequest], tmp_path: Path
) -> None:
    first = build_image(request_for(), registry.client(), cache_dir=tmp_path / "cache")
    for path in (tmp_path / "cache" / "layers").glob("sha256-*"):
        path.write_bytes(b"spoiled")
    second = build_image(request_for(repository="slipway/b"), registry.client(), cache_dir=tmp_path / "cache")
    assert second.digest == first.digest


def test_a_machine_whose_folder_of_layers_is_full_builds_all_the_same(
    registry: Registry, request_for: Callable[..., ImageRequest], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layer_store, "LOCAL_LIMIT_BYTES", 1)
    first = build_image(request_for(), registry.client(), cache_dir=tmp_path / "cache")
    assert len(list((tmp_path / "cache" / "layers").glob("sha256-*"))) == 1
    request = request_for(repository="slipway/fares")
    assert build_image(request, registry.client(), cache_dir=tmp_path / "cache").digest == first.digest
    assert len(list((tmp_path / "cache" / "layers").glob("sha256-*"))) == 1


def test_a_build_that_broke_off_pushes_only_the_rest(
    registry: Registry, request_for: Callable[..., ImageRequest], tmp_path: Path
) -> None:
    registry.fail("PUT", "/manifests/0123456789ab", 503, times=1000)
    client = registry.client()
    with pytest.raises(RegistryUnavailableError):
        build_image(request_for(), client, cache_dir=tmp_path / "one")
    registry.faults.clear()
    registry.log.clear()
    built = build_image(request_for(), registry.client(), cache_dir=tmp_path / "fresh")
    assert (built.bytes_pushed, built.reused) == (0, False)
    assert len(registry.asked("PUT")) == 1


@pytest.mark.parametrize("breaks_at", range(1, 14))
def test_broken_off_at_any_request_it_ends_alike(
    registry: Registry,
    other_registry: Registry,
    request_for: Callable[..., ImageRequest],
    tmp_path: Path,
    breaks_at: int,
) -> None:
    expected = build_image(request_for(), other_registry.client(), cache_dir=tmp_path / "reference")
    client = registry.client()
    count = 0

    def request(*args: Any, **options: Any) -> Any:
        nonlocal count
        count += 1
        if count >= breaks_at:
            raise RegistryUnavailableError("gone")
        return through(*args, **options)

    through = client._transport.request
    client._transport.request = request  # type: ignore[method-assign]
    with pytest.raises(RegistryUnavailableError, match="gone"):
        build_image(request_for(), client, cache_dir=tmp_path / "cache")
    sent = set(registry.blobs.get(REPOSITORY, {}))
    registry.log.clear()
    built = build_image(request_for(), registry.client(), cache_dir=tmp_path / "cache")
    assert built.digest == expected.digest
    pushed_again = [path for path in registry.asked("PUT", "/blobs/") if any(name[7:] in path for name in sent)]
    assert pushed_again == []


def add_base(registry: Registry, kind: str = DOCKER_MANIFEST, layer: str = DOCKER_LAYER) -> str:
    raw = b"x" * 4000
    config = {
        "os": "linux",
        "architecture": "amd64",
        "config": {"Env": ["PATH=/opt/python/bin", "LANG=C.UTF-8"], "Labels": {"vendor": "me"}, "Cmd": ["bash"]},
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + "d" * 64]},
        "history": [{"created_by": "debootstrap"}, {"created_by": "ENV LANG", "empty_layer": True}],
    }
    encoded = json.dumps(config).encode()
    manifest = {
        "mediaType": kind,
        "config": {"digest": digest_of(encoded), "size": len(encoded)},
        "layers": [{"mediaType": layer, "digest": digest_of(raw), "size": len(raw)}],
    }
    registry.put_image("base/python", "3.11", manifest, encoded, raw)
    return f"{registry.host}/base/python:3.11"


@pytest.mark.parametrize(("kind", "layer"), [(DOCKER_MANIFEST, DOCKER_LAYER), (OCI_MANIFEST, OCI_LAYER)])
def test_a_base_from_another_registry_is_copied_and_converted(
    registry: Registry,
    other_registry: Registry,
    request_for: Callable[..., ImageRequest],
    tmp_path: Path,
    kind: str,
    layer: str,
) -> None:
    base = resolve_base(add_base(other_registry, kind, layer))
    built = build_image(request_for(base_image=base), registry.client(), cache_dir=tmp_path / "cache")
    manifest, config = documents(registry, built)
    assert registry.blobs[REPOSITORY][base.layers[0].digest] == b"x" * 4000
    assert manifest["mediaType"] == DOCKER_MANIFEST
    assert {entry["mediaType"] for entry in manifest["layers"]} == {DOCKER_LAYER}
    assert config["rootfs"]["diff_ids"][0] == "sha256:" + "d" * 64
    assert config["history"][0]["created_by"] == "debootstrap"
    assert sum(not entry.get("empty_layer", False) for entry in config["history"]) == len(manifest["layers"])
    assert {"PATH=/opt/python/bin", "LANG=C.UTF-8"} <= set(config["config"]["Env"])
    assert config["config"]["Labels"]["vendor"] == "me"
    assert config["config"]["Labels"]["org.opencontainers.image.base.digest"] == base.digest
    assert config["config"]["Cmd"] == ["serve"]


@pytest.mark.parametrize("mounts", [True, False])
def test_a_base_of_the_same_registry_is_mounted_where_it_can_be(
    registry: Registry, request_for: Callable[..., ImageRequest], tmp_path: Path, mounts: bool
) -> None:
    reference = add_base(registry)
    registry.mounts = mounts
    build_image(request_for(base_image=reference), registry.client(), cache_dir=tmp_path / "cache")
    fetched = registry.asked("GET", f"base/python/blobs/{digest_of(b'x' * 4000)}")
    assert len(fetched) == (0 if mounts else 1)
    assert digest_of(b"x" * 4000) in registry.blobs[REPOSITORY]


def test_what_cannot_fit_is_refused_before_anything_is_sent(
    registry: Registry,
    request_for: Callable[..., ImageRequest],
    make_lock: Callable[..., Any],
    tmp_path: Path,
) -> None:
    refused = [
        (request_for(base_image=BaseImage("b", "sha256:1", "linux/amd64", python="3.9")), BaseImageError, "3.9"),
        (request_for(base_image=BaseImage("b", "sha256:1", "linux/arm64")), BaseImageError, "linux/arm64"),
        (request_for(lock=make_lock(python="3.9")), DependencyLockError, "lock is for Python 3.9"),
        (request_for(model_dir=tmp_path / "nowhere"), ModelNotDeployableError, "nowhere"),
    ]
    for request, error, words in refused:
        with pytest.raises(error, match=words):
            build_image(request, registry.client(), cache_dir=tmp_path / "cache")
    assert registry.log == []


def test_nothing_is_left_behind_in_the_cache_but_layers(
    registry: Registry, request_for: Callable[..., ImageRequest], tmp_path: Path
) -> None:
    build_image(request_for(), registry.client(), cache_dir=tmp_path / "cache")
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["layers"]


def test_a_refusal_does_not_wait_until_the_model_is_packed(
    registry: Registry, request_for: Callable[..., ImageRequest], tmp_path: Path
) -> None:
    request = request_for()
    (request.model_dir / "weights").write_bytes(bytes(64 << 20))
    registry.fail("GET", "manifests/", 403)
    packed: list[Progress] = []

    def slow(progress: Progress) -> None:
        if progress.step == "compress":
            packed.append(progress)
            while registry.faults[0].times:
                time.sleep(0.01)
            time.sleep(0.2)  # the answer has yet to arrive

    with pytest.raises(AccessDeniedError):
        build_image(request, registry.client(), cache_dir=tmp_path / "cache", on_progress=slow)
    assert packed
    assert packed[-1].done_bytes < packed[-1].total_bytes / 2
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["layers"]


def test_an_error_beside_the_packages_does_not_wait_for_them(
    registry: Registry, request_for: Callable[..., ImageRequest], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(brake, "PARALLEL", 1)
    request = request_for()
    (request.model_dir / ".wh.x").touch()
    told: list[Progress] = []
    with pytest.raises(UnsafePathError, match=r"\.wh\.x"):
        build_image(request, registry.client(), cache_dir=tmp_path / "cache", on_progress=told.append)
    assert [progress.step for progress in told].count("install") <= 1
    assert registry.manifests.get(REPOSITORY, {}) == {}


def test_an_interrupt_ends_what_runs_and_drops_what_waits(
    registry: Registry, request_for: Callable[..., ImageRequest], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(brake, "PARALLEL", 1)
    request = request_for()
    (request.model_dir / "weights").write_bytes(bytes(64 << 20))
    told: list[Progress] = []

    def interrupt(progress: Progress) -> None:
        told.append(progress)
        if progress.step == "compress":
            if len([each for each in told if each.step == "compress"]) == 1:
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
            time.sleep(0.2)  # the main thread has yet to wake

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # where tests run in the background it is ignored
    try:
        with pytest.raises(KeyboardInterrupt):
            build_image(request, registry.client(), cache_dir=tmp_path / "cache", on_progress=interrupt)
    finally:
        signal.signal(signal.SIGINT, before)
    assert {progress.step for progress in told} <= {"lookup", "compress"}
    assert max(progress.done_bytes for progress in told) < (32 << 20)
    assert registry.manifests.get(REPOSITORY, {}) == {}


def test_packages_without_wheels_are_named_across_layers(
    registry: Registry, request_for: Callable[..., ImageRequest], make_lock: Callable[..., Any], tmp_path: Path
) -> None:
    lines = []
    for name in ("scipy", "pandas"):
        (tmp_path / "index" / f"{name}-1.0.tar.gz").write_bytes(b"never opened")
        lines.append(f"{name}==1.0 --hash=sha256:{'0' * 64}")
    request = request_for(lock=make_lock(*lines, python=HERE))
    with pytest.raises(DependencyLockError, match=r"(?s)3\.\d+: pandas\..*3\.\d+: scipy\."):
        build_image(request, registry.client(), cache_dir=tmp_path / "cache")
    assert registry.bytes_received() < 10_000
    assert find_image(registry.client(), REPOSITORY, request.tag) is None
