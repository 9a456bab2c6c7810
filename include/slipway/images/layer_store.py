"""Layers that a key describes, kept so that nobody builds them twice.

The registry itself is the cache: each such layer, and each whole stack of them, has a tag in the release's repository,
so a worker with an empty disk is as fast as one that built it. What was built here stays in a folder too, for the next
service with the same packages. Tags are content keys: they never change, which immutable repositories ask for.

Any number of runs share the folder and drop from it what is oldest. So a run sends from links in its own work folder:
what it has found or built is there until it ends, whatever others drop.
"""

from __future__ import annotations

import json
import os
import shutil
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING

from slipway.errors import RegistryRefusedError
from slipway.images.layer import Layer, LocalLayer, file_digest
from slipway.images.manifest import assemble, layers_of
from slipway.images.progress import Progress, silent
from slipway.images.push import push_config, push_layer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Executor, Future
    from pathlib import Path

    from slipway.images.progress import OnProgress
    from slipway.images.registry import RegistryClient

LOCAL_LIMIT_BYTES = 4 << 30


class LayerStore:
    """Keyed layers of one repository.

    Args:
        registry: where they are kept.
        repository: under whose tags.
        folder: where they are kept on this machine; may be shared by runs.
        work: this run's own folder, on the same file system, with the layers that are built.
        platform: of the images they are for.
        aside: runs what the image need not wait for: putting tags.
        on_progress: told what is sent.
    """

    def __init__(
        self,
        registry: RegistryClient,
        repository: str,
        folder: Path,
        work: Path,
        platform: str,
        aside: Executor,
        on_progress: OnProgress = silent,
    ) -> None:
        self._registry = registry
        self._repository = repository
        self._folder, self._work = folder, work
        self._platform = platform
        self._aside = aside
        self._keeping: list[Future[None]] = []
        self._on_progress = on_progress
        folder.mkdir(parents=True, exist_ok=True)

    def find(self, tag: str) -> tuple[Layer, ...] | None:
        """Return the layers kept under ``tag`` in the registry, None if there are none."""
        self._on_progress(Progress("lookup", tag))
        stored = self._registry.get_manifest(self._repository, tag)
        if stored is None:
            return None
        document = stored.document
        config = json.loads(self._registry.get_blob(self._repository, document["config"]["digest"]))
        return layers_of(document, config)

    def find_or_build(self, tag: str, build: Callable[[], LocalLayer]) -> Layer:
        """Return the one layer kept under ``tag``: from the registry, else from this machine, else built, then kept."""
        found = self.find(tag)
        if found:
            return found[0]
        local = self._local(tag) or self._remember(tag, build())
        self.push(local)
        self.keep(tag, (local.layer,))
        return local.layer

    def push(self, local: LocalLayer) -> None:
        """Send a layer unless the repository has it."""
        push_layer(self._registry, self._repository, local, self._on_progress)

    def keep(self, tag: str, layers: Sequence[Layer]) -> None:
        """Begin to put a stack of layers, all in the repository already, under ``tag``; see `settle`."""
        self._keeping.append(self._aside.submit(self._keep, tag, tuple(layers)))

    def settle(self) -> None:
        """Wait until everything is kept.

        Raises:
            RegistryUnavailableError, RegistryRefusedError, AccessDeniedError: something could not be kept.
        """
        for kept in self._keeping:
            kept.result()

    def _keep(self, tag: str, layers: tuple[Layer, ...]) -> None:
        image = assemble(layers, platform=self._platform, run={"Labels": {"io.slipway.cache": tag}})
        push_config(self._registry, self._repository, image)
        try:
            self._registry.put_manifest(self._repository, tag, image.manifest)
        except RegistryRefusedError:
            if self.find(tag) is None:
                raise  # else another build was faster, and its layers are as good

    def prune(self) -> None:
        """Drop the layers used longest ago until the folder is within its limit."""
        blobs = []
        for path in self._folder.glob("sha256-*"):
            with suppress(FileNotFoundError):  # another run drops the same
                status = path.stat()
                blobs.append((status.st_mtime, path, status.st_size))
        excess = sum(size for _, _, size in blobs) - LOCAL_LIMIT_BYTES
        for _, path, size in sorted(blobs)[:-1]:
            if excess <= 0:
                return
            excess -= size
            path.unlink(missing_ok=True)

    def _local(self, tag: str) -> LocalLayer | None:
        note = self._folder / f"{tag}.json"
        path = self._work / f"{tag}.layer"
        try:
            layer = Layer(**json.loads(note.read_text()))
            kept = self._folder / layer.digest.replace(":", "-")
            os.utime(kept)
            _link(kept, path)
        except (OSError, ValueError, TypeError):
            return None
        if file_digest(path) != layer.digest:
            note.unlink(missing_ok=True)
            path.unlink()
            return None
        return LocalLayer(layer, path)

    def _remember(self, tag: str, local: LocalLayer) -> LocalLayer:
        draft = self._work / f"{tag}.layer"
        _link(local.path, draft)
        draft.replace(self._folder / local.path.name)
        draft.unlink(missing_ok=True)  # it stays when both are the same file
        note = self._work / f"{tag}.json"
        note.write_text(json.dumps(asdict(local.layer)))
        note.replace(self._folder / note.name)
        return local


def _link(source: Path, target: Path) -> None:
    """Give a file a second name, or a copy where the file system knows no links."""
    try:
        target.hardlink_to(source)
    except (FileNotFoundError, FileExistsError):
        raise
    except OSError:
        shutil.copyfile(source, target)
