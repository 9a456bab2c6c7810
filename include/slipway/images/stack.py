"""The layers of an image that keys describe: the base's, the packages' and the app's. Found or built, and kept."""

from __future__ import annotations

import shutil
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from slipway.errors import DependencyLockError
from slipway.images.dependency import build_group, stack_tag
from slipway.images.layer import content_key
from slipway.images.layer_store import LayerStore
from slipway.images.push import copy_layer
from slipway.images.wheel_group import group_pins

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Future
    from pathlib import Path

    from slipway.images.app import App
    from slipway.images.base import BaseImage
    from slipway.images.layer import Layer, LocalLayer
    from slipway.images.progress import OnProgress
    from slipway.images.registry import RegistryClient
    from slipway.images.wheel_group import Pin, WheelGroup

_APP_FORMAT = 1  # of the app's layer; raised when the same app shall give another one
_ASIDE = 2  # threads for what the image need not wait for: removing what is packed, tags for later builds


@dataclass(frozen=True)
class Recipe:
    """What the layers hold, and the repository that they go to."""

    repository: str
    base: BaseImage
    python: str
    platform: str
    pins: tuple[Pin, ...]
    app: App


class Stack:
    """The keyed layers of one image.

    Args:
        recipe: what they hold.
        registry: where they go.
        layers_dir: folder on this machine for layers worth keeping.
        work: folder for what is being built.
        on_progress: told the steps, from several threads.
    """

    def __init__(
        self, recipe: Recipe, registry: RegistryClient, layers_dir: Path, work: Path, on_progress: OnProgress
    ) -> None:
        self._recipe, self._registry = recipe, registry
        self._work, self._on_progress = work, on_progress
        self._aside = ThreadPoolExecutor(_ASIDE, thread_name_prefix="aside")
        self._store = LayerStore(
            registry, recipe.repository, layers_dir, work, recipe.platform, self._aside, on_progress
        )
        self._groups = group_pins(recipe.pins)
        self.tag = stack_tag(self._groups, recipe.base.digest, recipe.python, recipe.platform)
        """Stands for base and packages."""

    def app_layer(self) -> Layer:
        """Return the app's layer, which is in the repository then."""
        recipe = self._recipe
        tag = f"app-{content_key(_APP_FORMAT, recipe.app.digest, recipe.python)}"
        return self._store.find_or_build(tag, lambda: recipe.app.pack(recipe.python, self._work))

    def base_and_packages(self, pool: ThreadPoolExecutor, beside: Sequence[Future[Any]] = ()) -> tuple[Layer, ...]:
        """Return the base's and the packages' layers, all in the repository then.

        Args:
            pool: threads to work in.
            beside: other pieces of the build; an error of theirs ends the waiting.

        Raises:
            DependencyLockError: names all packages that cannot be installed.
            Exception: what a piece beside raised.
        """
        found = self._store.find(self.tag)
        if found is not None:
            return found
        base = self._recipe.base
        bases = [pool.submit(self._copy_base_layer, layer) for layer in base.layers]
        # The heavy ones, last by name, take longest and start first.
        groups = [pool.submit(self._group_layer, group) for group in reversed(self._groups)][::-1]
        pieces: list[Future[Any]] = [*groups, *bases, *beside]
        _wait_for({*groups, *bases}, {*beside})
        _raise_together([piece.exception() for piece in pieces if piece.done()])
        stack = (*base.layers, *(group.result() for group in groups))
        self._store.keep(self.tag, stack)
        return stack

    def settle(self) -> None:
        """Wait until everything is kept for later builds.

        Raises:
            RegistryUnavailableError, RegistryRefusedError, AccessDeniedError: something could not be kept.
        """
        self._store.settle()

    def close(self) -> None:
        """Wait for what runs aside, and bring the folder of layers back to its size."""
        self._aside.shutdown()
        self._store.prune()

    def _group_layer(self, group: WheelGroup) -> Layer:
        python, platform = self._recipe.python, self._recipe.platform

        def build() -> LocalLayer:
            tree = self._work / f"tree-{group.name}"
            try:
                return build_group(group, python, platform, tree, self._work, self._on_progress)
            finally:
                self._aside.submit(shutil.rmtree, tree, ignore_errors=True)

        return self._store.find_or_build(group.tag(python, platform), build)

    def _copy_base_layer(self, layer: Layer) -> None:
        recipe = self._recipe
        if recipe.base.source:
            copy_layer(recipe.base.source, self._registry, recipe.repository, layer, self._work, self._on_progress)


def _wait_for(needed: set[Future[Any]], beside: set[Future[Any]]) -> None:
    """Wait until what is needed is done, or anything fails: only packages that cannot be installed are gathered."""
    while needed:
        done, _ = wait(needed | beside, return_when=FIRST_COMPLETED)
        errors = [piece.exception() for piece in done]
        if any(error and not isinstance(error, DependencyLockError) for error in errors):
            return
        needed, beside = needed - done, beside - done


def _raise_together(errors: Sequence[BaseException | None]) -> None:
    """Raise what went wrong; packages that cannot be installed are all named at once, before anything else."""
    failed = [error for error in errors if error]
    locks = [error for error in failed if isinstance(error, DependencyLockError)]
    if len(locks) > 1:
        raise DependencyLockError("\n".join(map(str, locks)))
    for error in (*locks, *failed):
        raise error
