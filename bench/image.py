"""Release images: Slipway's layer builder beside ``docker build && docker push`` and buildah, on one registry.

    python -m bench.image [--repeats 5] [--peers docker,docker-cache,buildah] [--append]

Each repeat walks every system through the same story in a new repository: a first build with nothing at hand (cold), a
new model on the same worker, a new model on a fresh worker, one package in another version. Seconds are wall time from
the call to the pushed image, bytes are what the registry's store grew by. Packages come from the package index each
time: uv's cache is emptied where a worker is fresh, as pip's is by ``--no-cache-dir``. Bytecode is compiled by all.
Absent peers are skipped and named below the table.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Protocol

from bench.image_setup import (
    PLATFORM,
    PYTHON,
    LoopbackRegistry,
    base_rootfs,
    docker_engine,
    locks,
    loopback_registry,
    write_model,
)
from bench.peers.image_builders import Buildah, Docker
from bench.report import OURS, ROOT, Row, earlier_rows, earlier_versions, publish
from slipway.artifacts.lock import DependencyLock
from slipway.images.builder import ImageRequest, build_image
from slipway.images.docker_engine import write_context
from slipway.images.serving_app import serving_app_dir

PEERS = {"docker": "docker", "docker-cache": "docker, cache-from", "buildah": "buildah"}  # option → system
COLD, SAME, FRESH, BUMP = "cold", "new model, same worker", "new model, fresh worker", "one package bumped"


class System(Protocol):
    """A builder that the story is told with."""

    name: str

    def version(self) -> str: ...
    def forget(self, *, all_of_it: bool) -> None: ...
    def build(self, request: ImageRequest) -> None: ...


class Slipway:
    """Ours."""

    name = OURS

    def __init__(self, registry: LoopbackRegistry, folder: Path) -> None:
        self._registry, self._folder = registry, folder

    def version(self) -> str:
        return version("slipway")

    def forget(self, *, all_of_it: bool) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)
        os.environ["UV_CACHE_DIR"] = str(self._folder / "uv")

    def build(self, request: ImageRequest) -> None:
        build_image(request, self._registry.client(), cache_dir=self._folder / "cache")


@dataclass
class Peer:
    """A builder of Dockerfiles; laying out the context is not counted."""

    builder: Docker | Buildah
    registry: LoopbackRegistry
    folder: Path

    @property
    def name(self) -> str:
        return self.builder.name

    def version(self) -> str:
        return self.builder.version()

    def forget(self, *, all_of_it: bool) -> None:
        self.builder.forget()
        if all_of_it:
            self.builder.last = None

    def build(self, request: ImageRequest) -> None:
        name = f"{self.registry.host}/{request.repository}:{request.tag}"
        self.builder.build_and_push(self.folder / "context", name, str(request.base_image))

    def prepare(self, request: ImageRequest) -> None:
        shutil.rmtree(self.folder / "context", ignore_errors=True)
        self.folder.mkdir(parents=True, exist_ok=True)
        write_context(request, self.folder / "context")


def story(system: System, request: ImageRequest, bumped: DependencyLock, registry: LoopbackRegistry) -> Iterator[Row]:
    """Walk one system through all cases; yields two rows for each."""
    steps: list[tuple[str, bool, bool, DependencyLock]] = [
        # case, fresh worker, new model, lock
        (COLD, True, True, request.lock),
        (SAME, False, True, request.lock),
        (FRESH, True, True, request.lock),
        (BUMP, False, False, bumped),
    ]
    for number, (case, fresh, new_model, lock) in enumerate(steps):
        if fresh:
            system.forget(all_of_it=case == COLD)
        if new_model:
            write_model(request.model_dir)
        step = replace(request, tag=f"v{number}", lock=lock)
        if isinstance(system, Peer):
            system.prepare(step)
        before, started = registry.stored_bytes(), time.perf_counter()
        system.build(step)
        yield Row(case, system.name, "time", time.perf_counter() - started, "s")
        yield Row(case, system.name, "sent", (registry.stored_bytes() - before) / 2**20, "MiB")
        print(f"{system.name:20} {case:26} {time.perf_counter() - started:8.2f} s", flush=True)


def main() -> None:
    """Run and publish."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--peers", default=",".join(PEERS))
    parser.add_argument("--append", action="store_true", help="add to the last run's rows instead of starting again")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # so that the engine and the registry end with us
    with ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-image-")))
        registry = stack.enter_context(loopback_registry(work / "registry"))
        systems, base = _systems(arguments.peers.split(","), registry, work, stack)
        versions = {system.name: system.version() for system in systems}
        rows = earlier_rows("image", versions) if arguments.append else []
        known = earlier_versions("image") if arguments.append else {}
        lock, bumped = locks()
        shutil.copytree(serving_app_dir(), work / "slipway_serving")
        for turn in range(arguments.repeats):  # published after each: one that breaks costs no other
            rows += _measure(systems, base, registry, work, lock, bumped, turn)
            publish("image", rows, versions=known | versions, notes=_notes(rows))


def _notes(rows: list[Row]) -> list[str]:
    repeats = Counter(row.system for row in rows if (row.case, row.metric) == (COLD, "time"))
    told = ", ".join(f"{system} {count}" for system, count in repeats.items())
    absent = [name for name in PEERS.values() if name not in repeats]
    left_out = [f"Peers left out: {', '.join(absent)}."] if absent else []
    return [*left_out, f"Repeats, systems in turn: {told}; median (least–greatest)."]


def _measure(
    systems: list[System],
    base: str,
    registry: LoopbackRegistry,
    work: Path,
    lock: DependencyLock,
    bumped: DependencyLock,
    turn: int,
) -> Iterator[Row]:
    for number, system in enumerate(systems):
        registry.go_back()  # to the base alone: the store is shared by repositories
        repository, app = f"slipway/run{turn}-{number}", work / "slipway_serving"
        request = ImageRequest(repository, "", base, PYTHON, PLATFORM, lock, app, work / "model")
        yield from story(system, request, bumped, registry)


def _systems(wanted: list[str], registry: LoopbackRegistry, work: Path, stack: ExitStack) -> tuple[list[System], str]:
    systems: list[System] = [Slipway(registry, work / "slipway")]
    absent = [tool for tool in ("dockerd", "docker", "debootstrap", "buildah") if not shutil.which(tool)]
    if {"dockerd", "docker", "debootstrap"} & set(absent):
        print(f"no peers: {', '.join(absent)} not installed")
        return systems, "scratch"
    base = f"{registry.host}/base/python:3.11"
    address = stack.enter_context(docker_engine(work / "docker"))
    docker = Docker(address, registry.host, work / "docker-config")
    docker.import_base(base_rootfs(ROOT / "var" / "bench" / "base"), base)
    registry.remember()
    makers: dict[str, Callable[[], Docker | Buildah]] = {
        "docker": lambda: docker,
        "docker-cache": lambda: Docker(address, registry.host, work / "docker-config", cache_from=True),
        **({"buildah": lambda: Buildah(registry.host, work / "buildah")} if "buildah" not in absent else {}),
    }
    systems += [Peer(makers[name](), registry, work / name) for name in wanted if name in makers]
    return systems, base


if __name__ == "__main__":
    main()
