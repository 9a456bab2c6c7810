"""The image that trains: the trainer on a base, with the packages of its lock, built as a release's is.

    base image ── deps-<key> ─────────────┐
      wheel-<name>-<key>, tail-<key> ─────┼──► manifest under the tag trainer-<key of all of it>
    trainer ── app-<key> ─────────────────┘

The tag says what is in it, so an image that is there is taken as it is, and nothing is looked up twice.
"""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from slipway.errors import BaseImageError, RegistryRefusedError
from slipway.images.base import BaseImage, check_python, choose_base, resolve_base
from slipway.images.brake import Brake
from slipway.images.builder import BuiltImage
from slipway.images.cache import work_folder
from slipway.images.inspection import inspect_image
from slipway.images.layer import content_key
from slipway.images.manifest import assemble
from slipway.images.progress import silent
from slipway.images.push import push_config
from slipway.images.runtime import container_config
from slipway.images.source_build import BUILT_FROM_SOURCE
from slipway.images.stack import Recipe, Stack
from slipway.images.trainer_app import START, trainer_app, trainer_lock
from slipway.images.wheel_group import parse_pins

if TYPE_CHECKING:
    from pathlib import Path

    from slipway.artifacts.lock import DependencyLock
    from slipway.images.app import App
    from slipway.images.ecr import EcrClients
    from slipway.images.progress import OnProgress
    from slipway.images.registry import RegistryClient
    from slipway.platform import Platform

REPOSITORY = "slipway_trainer"  # below the platform's prefix; no service can be called so
_FORMAT = 1  # of the image; raised when the same inputs shall give another one


@dataclass(frozen=True)
class TrainerRequest:
    """What to build.

    ``repository`` says where it goes; ``base_image`` is a reference or, pinned, a resolved base; ``lock`` and ``app``
    are by default those of the trainer that is installed here.
    """

    repository: str
    base_image: str | BaseImage
    python: str
    platform: str
    lock: DependencyLock | None = None
    app: App | None = None


def build_trainer_image(
    request: TrainerRequest, registry: RegistryClient, *, cache_dir: Path, on_progress: OnProgress = silent
) -> BuiltImage:
    """Build the image and push what the registry lacks of it.

    Args:
        request: what to build.
        registry: where to push it; the repository exists.
        cache_dir: folder on this machine for work and for layers worth keeping, shared with releases.
        on_progress: told the steps and bytes, from several threads.

    Returns:
        The image, by digest.

    Raises:
        BaseImageError: the base is missing or does not fit.
        DependencyLockError: a locked package cannot be installed on the platform.
        RegistryRefusedError: the repository does not exist.
        RegistryUnavailableError, AccessDeniedError: of the registry.
        SlipwayError: the trainer is not installed here.
    """
    started, sent = time.monotonic(), registry.blob_bytes_sent
    recipe = _recipe(request, registry)
    cache_dir, brake = cache_dir.resolve(), Brake(on_progress)
    with (
        work_folder(cache_dir, ".build-") as work,
        closing(Stack(recipe, registry, cache_dir / "layers", work, brake)) as stack,
    ):
        tag = f"trainer-{content_key(_FORMAT, stack.tag, recipe.app.digest, asdict(START))}"
        reused = registry.get_manifest(recipe.repository, tag) is not None
        if not reused:
            _build(recipe, stack, registry, tag, brake)
    report = inspect_image(registry, recipe.repository, tag)
    return BuiltImage(
        digest=report.digest,
        uri=f"{registry.image_host}/{recipe.repository}@{report.digest}",
        layers=report.layers,
        bytes_pushed=registry.blob_bytes_sent - sent,
        reused=reused,
        seconds=time.monotonic() - started,
    )


def provide_trainer_image(
    clients: EcrClients, platform: Platform, python: str, *, cache_dir: Path, on_progress: OnProgress = silent
) -> BuiltImage:
    """Return the trainer's image in ECR for one Python version, built and pushed when it is not there.

    Args:
        clients: gives a boto3 client for a region, of the account whose SageMaker is to run it.
        platform: the installation: repository prefix, base images, tags.
        python: minor version, such as ``3.11``: the one that the champion was trained with, whose pickles it loads.
        cache_dir: folder on this machine, as of `build_trainer_image`.
        on_progress: told the steps and bytes.

    Raises:
        BaseImageError: the platform has no base for that Python, or it does not fit.
        AccessDeniedError, ThrottledError: of ECR.
        SlipwayError: as `build_trainer_image` does.
    """
    from slipway.images.ecr import ecr_registry, ensure_repository, find_base

    ecr, reference = clients(None), choose_base(platform.base_images, python)
    repository = f"{platform.ecr_repository_prefix}/{REPOSITORY}"
    ensure_repository(ecr, repository, tags=platform.tags)
    registry, _ = ecr_registry(ecr, repository)
    base = find_base(clients, reference, platform=platform.image_platform, registry=registry)
    request = TrainerRequest(repository, base, python, platform.image_platform)
    return build_trainer_image(request, registry, cache_dir=cache_dir, on_progress=on_progress)


def _recipe(request: TrainerRequest, registry: RegistryClient) -> Recipe:
    base = request.base_image
    if isinstance(base, str):
        base = resolve_base(base, platform=request.platform, registry=registry)
    check_python(base, request.python)
    if base.platform != request.platform:
        raise BaseImageError(f"base image {base.reference} is for {base.platform}, the trainer for {request.platform}")
    lock = request.lock or trainer_lock(request.python, request.platform)
    pins = parse_pins(lock.text, BUILT_FROM_SOURCE)
    return Recipe(request.repository, base, request.python, request.platform, pins, request.app or trainer_app())


def _build(recipe: Recipe, stack: Stack, registry: RegistryClient, tag: str, brake: Brake) -> None:
    with brake.pool() as pool:
        app = pool.submit(stack.app_layer)
        layers = (*stack.base_and_packages(pool, (app,)), app.result())
    run = container_config(recipe.base, START, python=recipe.python, inputs=tag.partition("-")[2])
    history = recipe.base.config.get("history") or ()
    image = assemble(layers, platform=recipe.platform, run=run, history=history)
    push_config(registry, recipe.repository, image)
    try:
        registry.put_manifest(recipe.repository, tag, image.manifest)
    except RegistryRefusedError:
        if registry.get_manifest(recipe.repository, tag) is None:
            raise  # else another build of the very same was faster
    stack.settle()
