"""The same image by a Docker engine: for those whose rules ask for ``docker build``; slower, and not reproducible.

The image has the same folders, start and labels; only its layers are cut as a Dockerfile cuts them.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

from slipway.errors import BaseImageError, DependencyLockError, RegistryRefusedError, RegistryUnavailableError
from slipway.images.base import SCRATCH, BaseImage, check_python, pin, resolve_base
from slipway.images.builder import BuiltImage
from slipway.images.cache import work_folder
from slipway.images.dependency import DEPS_DIR
from slipway.images.inspection import inspect_image
from slipway.images.layer import content_key, file_digest
from slipway.images.manifest import DOCKER_MANIFEST
from slipway.images.progress import Progress, silent
from slipway.images.runtime import INPUTS_LABEL, MODEL_DIR, PORT, run_config
from slipway.images.serving_app import APP_DIR, PACKAGE, app_files, serving_app_digest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from slipway.images.builder import ImageRequest
    from slipway.images.progress import OnProgress
    from slipway.images.registry import RegistryClient

_FORMAT = 1  # of the Dockerfile
_BUILD_SECONDS = 3600
_TAIL = 2000  # characters of output worth showing

DOCKERFILE = f"""\
# A release image as a Dockerfile. `slipway` builds the same content without an engine; this is for those who need one.
# Context: requirements.lock (hashes included), app/{PACKAGE}/, model/. The base must bring Python and pip.
ARG BASE=python:3.11-slim
FROM ${{BASE}}
COPY requirements.lock /tmp/requirements.lock
RUN python3 -m pip install --no-cache-dir --no-deps --require-hashes --only-binary :all: \\
        --target {DEPS_DIR} --requirement /tmp/requirements.lock && rm /tmp/requirements.lock
COPY app {APP_DIR}
COPY model {MODEL_DIR}
ENV PYTHONPATH={APP_DIR}:{DEPS_DIR} \\
    SLIPWAY_MODEL_DIR={MODEL_DIR} \\
    PYTHONUNBUFFERED=1 \\
    PYTHONDONTWRITEBYTECODE=1
WORKDIR /
USER 1000
EXPOSE {PORT}
ENTRYPOINT ["python3", "-m", "{PACKAGE}"]
CMD ["serve"]
"""


def build_image_with_docker(
    request: ImageRequest,
    registry: RegistryClient,
    *,
    cache_dir: Path,
    on_progress: OnProgress = silent,
    docker: str = "docker",
) -> BuiltImage:
    """Build and push the image with a Docker engine; arguments and result are those of `build_image`.

    Args:
        request: what to build; the base must be a real image with pip.
        registry: where to push it.
        cache_dir: folder for the build's context.
        on_progress: told the steps.
        docker: the client program.

    Raises:
        BaseImageError: the base does not fit, or is empty.
        DependencyLockError: the build failed; its last lines are in the message.
        RegistryUnavailableError: there is no engine, or the push did not go through.
        RegistryRefusedError: the engine pushed something that SageMaker does not take.
    """
    started = time.monotonic()
    base = _base(request, registry)
    inputs = _inputs(request, base)
    existing = registry.get_manifest(request.repository, request.tag)
    if existing and inspect_image(registry, request.repository, existing.digest).labels.get(INPUTS_LABEL) == inputs:
        return _built(request, registry, started, reused=True)
    with work_folder(cache_dir, ".docker-") as work:
        context, config = work / "context", work / "config"
        write_context(request, context)
        write_login(registry, config)
        name = f"{registry.host}/{request.repository}:{request.tag}"
        on_progress(Progress("build", name))
        _docker([docker, "--config", str(config), *_build_arguments(request, base, inputs, name), str(context)])
        on_progress(Progress("push", name))
        _docker([docker, "--config", str(config), "push", "--quiet", name])
    return _built(request, registry, started, reused=False)


def write_context(request: ImageRequest, context: Path) -> None:
    """Lay out the folder that the Dockerfile is built from."""
    context.mkdir(parents=True)
    environment = dict(sorted(request.environment.items()))
    # Before the server's own variables, which a release's cannot replace; JSON quotes as Dockerfiles do, but for "$".
    own = "".join(f"ENV {key}={json.dumps(value).replace('$', chr(92) + '$')}\n" for key, value in environment.items())
    (context / "Dockerfile").write_text(DOCKERFILE.replace("ENV PYTHONPATH", f"{own}ENV PYTHONPATH", 1))
    (context / "requirements.lock").write_text(request.lock.text)
    shutil.copytree(request.model_dir, context / "model", symlinks=True)
    for path in app_files(request.serving_app_dir):
        copy = context / "app" / PACKAGE / path.relative_to(request.serving_app_dir)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)


def _base(request: ImageRequest, registry: RegistryClient) -> BaseImage:
    base = request.base_image
    if isinstance(base, str):
        base = resolve_base(base, platform=request.platform, registry=registry)
    if base.digest == SCRATCH:
        raise BaseImageError(
            "the docker builder needs a base image with Python and pip, platform.yaml has scratch: "
            f'set base_images: {{"{request.python}": <image>}} there, or use the layer builder'
        )
    check_python(base, request.python)
    return base


def _inputs(request: ImageRequest, base: BaseImage) -> str:
    files = sorted(path for path in request.model_dir.rglob("*") if path.is_file())
    model = [[path.relative_to(request.model_dir).as_posix(), file_digest(path)] for path in files]
    settings = {"labels": dict(request.labels), "environment": dict(request.environment)}
    app = serving_app_digest(request.serving_app_dir)
    return content_key("docker", _FORMAT, base.digest, request.lock.digest, app, model, settings)


def _build_arguments(request: ImageRequest, base: BaseImage, inputs: str, name: str) -> list[str]:
    run = run_config(base, python=request.python, inputs=inputs, labels=request.labels, environment=request.environment)
    labels = [f"--label={key}={value}" for key, value in run["Labels"].items()]
    pinned = pin(base.reference, base.digest)
    return ["build", "--quiet", "--platform", request.platform, f"--build-arg=BASE={pinned}", *labels, "--tag", name]


def write_login(registry: RegistryClient, config: Path) -> None:
    """Give the client our account in a folder of its own, so that no other configuration is read or changed."""
    config.mkdir()
    token = registry.basic_token()
    auths = {registry.host: {"auth": token}} if token else {}
    path = config / "config.json"
    path.touch(mode=0o600)
    path.write_text(json.dumps({"auths": auths}))


def _docker(command: Sequence[str]) -> None:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_BUILD_SECONDS, check=False, stdin=subprocess.DEVNULL
        )
    except FileNotFoundError as error:
        raise RegistryUnavailableError(f"there is no {command[0]} program on this worker") from error
    except subprocess.TimeoutExpired as error:
        raise RegistryUnavailableError(f"docker did not finish within {_BUILD_SECONDS} s") from error
    if done.returncode == 0:
        return
    said = done.stderr.strip()[-_TAIL:]
    if "push" in command or "docker daemon" in said or "docker.sock" in said:
        raise RegistryUnavailableError(f"docker could not push, or there is no engine: {said}")
    raise DependencyLockError(f"docker could not build the image: {said}")


def _built(request: ImageRequest, registry: RegistryClient, started: float, *, reused: bool) -> BuiltImage:
    stored = registry.get_manifest(request.repository, request.tag)
    if stored is None or stored.media_type != DOCKER_MANIFEST:
        raise RegistryRefusedError(
            f"docker pushed {stored.media_type if stored else 'nothing'}, SageMaker takes {DOCKER_MANIFEST} only: "
            "turn off attestations (--provenance=false) and the engine's containerd image store"
        )
    report = inspect_image(registry, request.repository, stored.digest)
    return BuiltImage(
        digest=stored.digest,
        uri=f"{registry.image_host}/{request.repository}@{stored.digest}",
        layers=report.layers,
        bytes_pushed=0 if reused else report.size,
        reused=reused,
        seconds=time.monotonic() - started,
    )
