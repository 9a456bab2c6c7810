"""Layers kept on a machine, in a folder that builds share and that may be full."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from slipway.images import layer_store
from slipway.images.archive import write_layer
from slipway.images.layer import Layer, LocalLayer
from slipway.images.layer_store import LayerStore
from slipway.images.registry import PutOutcome, RegistryClient

if TYPE_CHECKING:
    from conftest import Registry

StoreMaker = Callable[..., LayerStore]


@pytest.fixture
def store_for(registry: Registry, tmp_path: Path) -> Iterator[StoreMaker]:
    """Make the store of a run of its own; all share one folder."""
    with ThreadPoolExecutor(2) as aside:

        def make(repository: str, folder: Path = tmp_path / "layers") -> LayerStore:
            work = tmp_path / f"work-{repository}"
            work.mkdir()
            return LayerStore(registry.client(), repository, folder, work, "linux/amd64", aside)

        yield make


def packing(tmp_path: Path, repository: str, name: str) -> Callable[[], LocalLayer]:
    """Pack a layer named ``name`` in the work folder of ``repository``'s run, the same bytes in each."""

    def build() -> LocalLayer:
        tree = tmp_path / f"tree-{repository}-{name}"
        tree.mkdir()
        (tree / "content").write_text(name * 100)
        return write_layer(tree, "/opt/x", tmp_path / f"work-{repository}")

    return build


def never() -> LocalLayer:
    raise AssertionError("it was to be found")


def together(calls: list[Callable[[], Any]]) -> list[Any]:
    """Call all at the same moment; raise what one raises."""
    start = threading.Barrier(len(calls), timeout=60)

    def run(call: Callable[[], Any]) -> Any:
        start.wait()
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))


def test_a_layer_kept_here_is_sent_to_another_repository(
    store_for: StoreMaker, registry: Registry, tmp_path: Path
) -> None:
    first = store_for("a").find_or_build("app-1", packing(tmp_path, "a", "app"))
    assert store_for("b").find_or_build("app-1", never) == first
    assert registry.blobs["b"][first.digest] == registry.blobs["a"][first.digest]


def test_what_others_drop_from_the_folder_meanwhile_is_sent_nevertheless(
    store_for: StoreMaker, registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store_for("first").find_or_build("kept", packing(tmp_path, "first", "kept"))
    put_blob = RegistryClient.put_blob

    def put(client: RegistryClient, repository: str, *arguments: Any, **options: Any) -> PutOutcome:
        for path in (tmp_path / "layers").glob("sha256-*"):
            path.unlink()
        return put_blob(client, repository, *arguments, **options)

    monkeypatch.setattr(RegistryClient, "put_blob", put)
    store = store_for("a")
    layers = {store.find_or_build("kept", never), store.find_or_build("new", packing(tmp_path, "a", "new"))}
    assert {layer.digest for layer in layers} <= set(registry.blobs["a"])


def test_more_than_the_folder_may_hold_is_built_and_the_oldest_dropped_at_the_end(
    store_for: StoreMaker, registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layer_store, "LOCAL_LIMIT_BYTES", 1)
    sent, put_blob = threading.Barrier(8, timeout=60), RegistryClient.put_blob

    def put(client: RegistryClient, *arguments: Any, **options: Any) -> PutOutcome:
        sent.wait()  # until all are built
        return put_blob(client, *arguments, **options)

    monkeypatch.setattr(RegistryClient, "put_blob", put)
    store = store_for("a")
    builds = [packing(tmp_path, "a", f"{number}") for number in range(8)]
    with monkeypatch.context() as quiet:
        quiet.setattr(store, "keep", lambda tag, layers: None)  # would wait at the barrier, too
        layers = together(
            [lambda number=number: store.find_or_build(f"l-{number}", builds[number]) for number in range(8)]
        )
    assert {layer.digest for layer in layers} <= set(registry.blobs["a"])
    oldest_first = [tmp_path / "layers" / layer.digest.replace(":", "-") for layer in layers]
    for second, path in enumerate(oldest_first):
        os.utime(path, (second, second))
    store.prune()
    assert list((tmp_path / "layers").glob("sha256-*")) == oldest_first[-1:]


def test_runs_that_end_at_once_drop_the_same_layers(
    store_for: StoreMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layer_store, "LOCAL_LIMIT_BYTES", 10)
    stores = [store_for(f"r{number}") for number in range(8)]
    folder = tmp_path / "layers"
    for number in range(300):
        path = folder / f"sha256-{number}"
        path.write_text("x")
        os.utime(path, (number, number))
    together([store.prune for store in stores])
    assert {path.name for path in folder.glob("sha256-*")} == {f"sha256-{number}" for number in range(290, 300)}


def test_builds_of_the_same_layers_at_once_share_the_folder(
    store_for: StoreMaker, registry: Registry, tmp_path: Path
) -> None:
    tags = [f"tail-{number}" for number in range(20)]
    built = {name: {tag: packing(tmp_path, name, tag) for tag in tags} for name in "abcd"}
    start = threading.Barrier(4, timeout=60)

    def run(name: str) -> list[Layer]:
        store, layers = store_for(name), []
        for tag in tags:

            def build(tag: str = tag) -> LocalLayer:
                local = built[name][tag]()
                start.wait()
                return local

            layers.append(store.find_or_build(tag, build))
        store.settle()
        return layers

    first, *others = together([lambda name=name: run(name) for name in "abcd"])
    assert others == [first] * 3
    assert {path.suffix for path in (tmp_path / "layers").iterdir()} == {"", ".json"}
    assert len(list((tmp_path / "layers").iterdir())) == 2 * len(tags)


def test_a_spoiled_layer_is_replaced(store_for: StoreMaker, registry: Registry, tmp_path: Path) -> None:
    layer = store_for("a").find_or_build("app-1", packing(tmp_path, "a", "app"))
    path = tmp_path / "layers" / layer.digest.replace(":", "-")
    path.write_bytes(b"spoiled")
    assert store_for("b").find_or_build("app-1", packing(tmp_path, "b", "app")) == layer
    assert store_for("c").find_or_build("app-1", never) == layer
    assert registry.blobs["c"][layer.digest] == registry.blobs["a"][layer.digest]


def test_a_file_system_without_links_will_do(
    store_for: StoreMaker, registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, target: Path) -> None:
        raise PermissionError(1, "Operation not permitted", str(target))

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    layer = store_for("a").find_or_build("app-1", packing(tmp_path, "a", "app"))
    assert store_for("b").find_or_build("app-1", never) == layer
    assert registry.blobs["b"][layer.digest] == registry.blobs["a"][layer.digest]
