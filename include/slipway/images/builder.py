"""A release's image: base, dependencies, serving app and model, stacked and pushed.

    base image ── deps-<key> ─────────────┐   (one tag for the whole stack: a warm build asks for nothing else)
      wheel-<name>-<key>, tail-<key> ─────┤
    serving app ── app-<key> ─────────────┼──► manifest under the release's tag
    model ── always packed here ──────────┘

What the repository has is never sent again, so a build that broke off goes on where it stopped.
"""

from __future__ import annotations

import json
import time
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from slipway.artifacts.spark_pipeline import names_spark
from slipway.errors import BaseImageError, DependencyLockError, ModelNotDeployableError, RegistryRefusedError
from slipway.images.archive import write_layer
from slipway.images.base import BaseImage, check_python, resolve_base
from slipway.images.brake import Brake
from slipway.images.cache import work_folder
from slipway.images.layer import content_key
from slipway.images.manifest import Image, assemble, layers_of
from slipway.images.progress import silent
from slipway.images.push import push_config, push_layer
from slipway.images.runtime import CREATED_BY as MODEL_LAYER
from slipway.images.runtime import INPUTS_LABEL, MODEL_DIR, run_config
from slipway.images.serving_app import serving_app
from slipway.images.source_build import BUILT_FROM_SOURCE
from slipway.images.stack import Recipe, Stack
from slipway.images.wheel_group import parse_pins

if TYPE_CHECKING:
    from collections.abc import Mapping
    from concurrent.futures import Future

    from slipway.artifacts.lock import DependencyLock
    from slipway.images.layer import Layer, LocalLayer
    from slipway.images.progress import OnProgress
    from slipway.images.registry import RegistryClient, StoredManifest

_FORMAT = 1  # of the image; raised when the same inputs shall give another one


@dataclass(frozen=True)
class ImageRequest:
    """What to build.

    ``repository`` and ``tag`` say where it goes; ``base_image`` is a reference or, pinned, a resolved base;
    ``python`` is the model's minor version; ``model_dir`` holds the model as it shall be baked; ``labels`` and
    ``environment`` are added to those that every release has.
    """

    repository: str
    tag: str
    base_image: str | BaseImage
    python: str
    platform: str
    lock: DependencyLock
    serving_app_dir: Path
    model_dir: Path
    labels: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def with_spark(self) -> bool:
        """Whether Spark is among its packages, so that the server runs a JVM."""
        return names_spark(self.lock.requirements)


@dataclass(frozen=True)
class BuiltImage:
    """What was built: ``uri`` is pinned by ``digest``; ``reused`` says that another build has put it under its tag."""

    digest: str
    uri: str
    layers: tuple[Layer, ...]
    bytes_pushed: int
    reused: bool
    seconds: float


def build_image(
    request: ImageRequest, registry: RegistryClient, *, cache_dir: Path, on_progress: OnProgress = silent
) -> BuiltImage:
    """Build the image and push what the registry lacks of it.

    Args:
        request: what to build.
        registry: where to push it; the repository exists.
        cache_dir: folder on this machine for work and for layers worth keeping; may be empty, may be shared by builds.
        on_progress: told the steps and bytes, from several threads.

    Returns:
        The image, by digest.

    Raises:
        BaseImageError: the base is missing or does not fit.
        DependencyLockError: a locked package cannot be installed on the platform.
        ModelNotDeployableError: there is no model folder.
        UnsafePathError: the model's files cannot be packed safely.
        RegistryRefusedError: the tag holds another image and must not change, or the repository does not exist.
        RegistryUnavailableError, AccessDeniedError: of the registry.
    """
    started = time.monotonic()
    base = request.base_image
    if isinstance(base, str):
        base = resolve_base(base, platform=request.platform, registry=registry)
    check_request(request, base)
    cache_dir = cache_dir.resolve()
    with work_folder(cache_dir, ".build-") as work:
        build = _Build(request, base, registry, cache_dir / "layers", work, on_progress)
        image, reused = build.run()
    return BuiltImage(
        digest=image.digest,
        uri=f"{registry.image_host}/{request.repository}@{image.digest}",
        layers=image.layers,
        bytes_pushed=build.bytes_pushed,
        reused=reused,
        seconds=time.monotonic() - started,
    )


def find_image(registry: RegistryClient, repository: str, tag: str) -> str | None:
    """Return the digest of the image under ``tag``, None if there is none."""
    stored = registry.get_manifest(repository, tag)
    return stored.digest if stored else None


def check_request(request: ImageRequest, base: BaseImage) -> None:
    """Refuse what cannot become an image, before anything is built.

    Raises:
        BaseImageError: the base is of another Python or platform.
        DependencyLockError: the lock is for another Python or platform.
        ModelNotDeployableError: there is no model folder.
    """
    check_python(base, request.python)
    if base.platform != request.platform:
        raise BaseImageError(f"base image {base.reference} is for {base.platform}, the release for {request.platform}")
    if (request.lock.python, request.lock.platform) != (request.python, request.platform):
        raise DependencyLockError(
            f"the dependency lock is for Python {request.lock.python} on {request.lock.platform}, "
            f"the image for Python {request.python} on {request.platform}: resolve it again"
        )
    if not request.model_dir.is_dir():
        raise ModelNotDeployableError(f"there is no model in {request.model_dir}")


class _Build:
    """One run of `build_image`."""

    def __init__(
        self,
        request: ImageRequest,
        base: BaseImage,
        registry: RegistryClient,
        layers_dir: Path,
        work: Path,
        on_progress: OnProgress,
    ) -> None:
        self._request, self._base, self._registry = request, base, registry
        self._work, self._brake = work, Brake(on_progress)
        self._app = serving_app(request.serving_app_dir)
        pins = parse_pins(request.lock.text, BUILT_FROM_SOURCE)
        recipe = Recipe(request.repository, base, request.python, request.platform, pins, self._app)
        self._stack = Stack(recipe, registry, layers_dir, work, self._brake)
        self._sent_before = registry.blob_bytes_sent

    @property
    def bytes_pushed(self) -> int:
        return self._registry.blob_bytes_sent - self._sent_before

    def run(self) -> tuple[Image, bool]:
        """Build and push; return the image and whether it was there already."""
        request = self._request
        with closing(self._stack):
            with self._brake.pool() as pool:
                packing = pool.submit(self._pack_model)
                stored = self._registry.get_manifest(request.repository, request.tag)
                if stored:
                    image = self._same_release(stored, packing.result().layer)
                    if image:
                        return image, True
                app = pool.submit(self._stack.app_layer)
                model = pool.submit(self._model_layer, packing)
                layers = self._stack.base_and_packages(pool, (packing, app, model))
                image = self._assemble((*layers, app.result(), model.result()))
            taken = self._put(image)
            self._stack.settle()
        return taken, taken is not image

    def _put(self, image: Image) -> Image:
        """Put the image under its tag; return it, or that of another run with the same inputs that was faster."""
        request = self._request
        push_config(self._registry, request.repository, image)
        try:
            self._registry.put_manifest(request.repository, request.tag, image.manifest)
        except RegistryRefusedError as error:
            stored = self._registry.get_manifest(request.repository, request.tag)
            if stored is None:
                raise
            same = self._same_release(stored, image.layers[-1])
            if same:
                return same
            raise RegistryRefusedError(
                f"{request.repository}:{request.tag} holds {stored.digest}, made from other inputs, and may not be "
                f"replaced by {image.digest}: give the new image a tag of its own. {error}"
            ) from error
        return image

    def _pack_model(self) -> LocalLayer:
        return write_layer(
            self._request.model_dir, MODEL_DIR, self._work, created_by=MODEL_LAYER, on_progress=self._brake
        )

    def _same_release(self, stored: StoredManifest, model: Layer) -> Image | None:
        """Return the image under the tag if it was made from these very inputs, be it by another machine."""
        document = stored.document
        content = self._registry.get_blob(self._request.repository, document["config"]["digest"])
        config = json.loads(content)
        if (config["config"].get("Labels") or {}).get(INPUTS_LABEL) != self._inputs(model):
            return None
        return Image(stored.content, content, layers_of(document, config))

    def _inputs(self, model: Layer) -> str:
        request = self._request
        settings = {"labels": dict(request.labels), "environment": dict(request.environment)}
        return content_key(_FORMAT, self._stack.tag, self._app.digest, model.diff_id, settings)

    def _model_layer(self, packing: Future[LocalLayer]) -> Layer:
        local = packing.result()
        push_layer(self._registry, self._request.repository, local, self._brake)
        return local.layer

    def _assemble(self, layers: tuple[Layer, ...]) -> Image:
        request, base = self._request, self._base
        run = run_config(
            base,
            python=request.python,
            inputs=self._inputs(layers[-1]),
            labels=request.labels,
            environment=request.environment,
            with_spark=request.with_spark,
        )
        return assemble(layers, platform=request.platform, run=run, history=base.config.get("history") or ())
