"""The same image by a Docker engine: for those whose rules ask for ``docker build``; slower, and not reproducible.

The image has the same folders, start and labels; only its layers are cut as a Dockerfile cuts them. A second build of
the same inputs gives another digest, so an image that stands under the release's tag is taken, never replaced.
"""

from __future__ import annotations

import json
import re
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING

from slipway.errors import (
    AccessDeniedError,
    BaseImageError,
    DependencyLockError,
    EngineUnavailableError,
    RegistryRefusedError,
    RegistryUnavailableError,
)
from slipway.images.app import APP_DIR, app_files
from slipway.images.base import SCRATCH, BaseImage, pin, resolve_base
from slipway.images.bill_of_materials import packages_of
from slipway.images.builder import BuiltImage, check_request
from slipway.images.cache import work_folder
from slipway.images.dependency import DEPS_DIR
from slipway.images.docker_client import DockerClient
from slipway.images.docker_login import login_key
from slipway.images.inspection import inspect_image
from slipway.images.layer import content_key, file_digest
from slipway.images.manifest import DOCKER_MANIFEST
from slipway.images.progress import Progress, silent
from slipway.images.runtime import INPUTS_LABEL, MODEL_DIR, PACKAGES_LABEL, PORT, run_config, serving_user
from slipway.images.serving_app import PACKAGE, serving_app_digest
from slipway.images.source_build import BUILT_FROM_SOURCE

if TYPE_CHECKING:
    from collections.abc import Callable

    from slipway.images.builder import ImageRequest
    from slipway.images.docker_client import DockerEnd
    from slipway.images.inspection import ImageReport
    from slipway.images.progress import OnProgress
    from slipway.images.registry import RegistryClient

_FORMAT = 2  # of the Dockerfile and its labels
_TAIL = 2000  # characters of output worth showing
_PUSHED = re.compile(r"([0-9a-f]{12}): Pushed")  # a layer by the beginning of its diff id
_OFFLINE = re.compile(
    r"connection (?:refused|reset)|timed? ?out|unexpected eof|toomanyrequests|no such host|name resolution"
    r"|max retries exceeded|\b5\d\d (?:internal|bad|service|gateway|server)",
    re.IGNORECASE,
)
_DENIED = re.compile(r"denied|unauthorized|no basic auth|forbidden", re.IGNORECASE)
_REFUSED = re.compile(r"immutable|cannot be overwritten|name unknown|does not exist|manifest invalid", re.IGNORECASE)
_NO_PACKAGE = re.compile(r"no matching distribution|do not match the hashes|requires a different python", re.IGNORECASE)
_NO_PYTHON = re.compile(r"no module named pip|python3\S*:? not found|exec format error", re.IGNORECASE)
_FULL = re.compile(r"no space left on device", re.IGNORECASE)

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


# What is published as source only is built by a backend with locked hashes, as the own builder does.
_BACKEND = f"""\
COPY backend.lock /tmp/backend.lock
RUN python3 -m pip install --no-cache-dir --no-deps --require-hashes --only-binary :all: \\
        --target /tmp/backend --requirement /tmp/backend.lock && \\
    PYTHONPATH=/tmp/backend python3 -m pip install --no-cache-dir --no-deps --require-hashes --only-binary :all: \\
        {" ".join(f"--no-binary {name}" for name in BUILT_FROM_SOURCE)} --no-build-isolation \\
        --target {DEPS_DIR} --requirement /tmp/requirements.lock && rm -r /tmp/backend /tmp/*.lock
"""


def build_image_with_docker(
    request: ImageRequest,
    registry: RegistryClient,
    *,
    cache_dir: Path,
    on_progress: OnProgress = silent,
    client: DockerClient | None = None,
) -> BuiltImage:
    """Build and push the image with a Docker engine; arguments and result are those of `build_image`.

    Args:
        request: what to build; the base must be a real image with pip.
        registry: where to push it.
        cache_dir: folder for the build's context.
        on_progress: told each line that the engine prints.
        client: runs the engine's commands; whoever holds it may end the build by it.

    Raises:
        BaseImageError: the base does not fit, has no pip, or is empty.
        DependencyLockError: a locked package cannot be installed in the base.
        ModelNotDeployableError: there is no model folder.
        EngineUnavailableError: there is no engine, or it stopped working.
        AccessDeniedError: the registry refuses our account.
        RegistryUnavailableError: the registry or the package index does not answer.
        RegistryRefusedError: the tag holds another image, or the engine pushed something that SageMaker does not take.
    """
    started = time.monotonic()
    client = client or DockerClient()
    base = _base(request, registry)
    inputs = _inputs(request, base)
    if (existing := _standing(request, registry, inputs)) is not None:
        return _built(request, registry, existing, 0, started, reused=True)
    with work_folder(cache_dir, ".docker-") as work:
        context, config = work / "context", work / "config"
        write_context(request, context)
        write_login(registry, config, *([base.source.registry] if base.source else []))
        name = f"{registry.host}/{request.repository}:{request.tag}"
        tell = _teller("build", on_progress)
        _checked_build(client.run([*_with(config), *_build_arguments(request, base, inputs, name), str(context)], tell))
        pushed = client.run([*_with(config), "push", name], _teller("push", on_progress))
    _check_push(pushed, request)
    report = _pushed_image(request, registry)
    sent = {match[1] for line in pushed.lines if (match := _PUSHED.match(line))}
    bytes_pushed = sum(layer.size for layer in report.layers if layer.diff_id.removeprefix("sha256:")[:12] in sent)
    return _built(request, registry, report, bytes_pushed, started, reused=False)


def write_context(request: ImageRequest, context: Path) -> None:
    """Lay out the folder that the Dockerfile is built from."""
    context.mkdir(parents=True)
    environment = dict(sorted(request.environment.items()))
    # Before the server's own variables, which a release's cannot replace; JSON quotes as Dockerfiles do, but for "$".
    own = "".join(f"ENV {key}={json.dumps(value).replace('$', chr(92) + '$')}\n" for key, value in environment.items())
    text = DOCKERFILE.replace("ENV PYTHONPATH", f"{own}ENV PYTHONPATH", 1)
    if request.with_spark:
        text = _with_spark(text)
        lines = [line for backend in BUILT_FROM_SOURCE.values() for line in backend]
        (context / "backend.lock").write_text("".join(f"{line}\n" for line in lines))
    (context / "Dockerfile").write_text(text)
    (context / "requirements.lock").write_text(request.lock.text)
    shutil.copytree(request.model_dir, context / "model", symlinks=True)
    for path in app_files(request.serving_app_dir):
        copy = context / "app" / PACKAGE / path.relative_to(request.serving_app_dir)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)


def _with_spark(dockerfile: str) -> str:
    """Write the Dockerfile of a release whose packages have Spark among them."""
    before, _, after = dockerfile.partition("RUN ")
    rest = after.partition("COPY app")[2]
    user = f"USER {serving_user(with_spark=False)}\n", f"USER {serving_user(with_spark=True)}\n"
    return f"{before}{_BACKEND}COPY app{rest}".replace(*user)


def _base(request: ImageRequest, registry: RegistryClient) -> BaseImage:
    base = request.base_image
    if isinstance(base, str):
        base = resolve_base(base, platform=request.platform, registry=registry)
    if base.digest == SCRATCH:
        raise BaseImageError(
            "the docker builder needs a base image with Python and pip, platform.yaml has scratch: "
            f'set base_images: {{"{request.python}": <image>}} there, or image_builder: layers'
        )
    check_request(request, base)
    return base


def _standing(request: ImageRequest, registry: RegistryClient, inputs: str) -> ImageReport | None:
    """Return the image that stands under the tag, None when there is none.

    Raises:
        RegistryRefusedError: it was made from other inputs.
    """
    stored = registry.get_manifest(request.repository, request.tag)
    if stored is None:
        return None
    report = inspect_image(registry, request.repository, stored.digest)
    if report.labels.get(INPUTS_LABEL) != inputs:
        raise RegistryRefusedError(
            f"{request.repository}:{request.tag} holds {stored.digest}, made from other inputs, and may not be "
            "replaced: give the new image a tag of its own"
        )
    return report


def _inputs(request: ImageRequest, base: BaseImage) -> str:
    files = sorted(path for path in request.model_dir.rglob("*") if path.is_file())
    model = [[path.relative_to(request.model_dir).as_posix(), file_digest(path)] for path in files]
    settings = {"labels": dict(request.labels), "environment": dict(request.environment)}
    app = serving_app_digest(request.serving_app_dir)
    return content_key("docker", _FORMAT, base.digest, request.lock.digest, app, model, settings)


def _build_arguments(request: ImageRequest, base: BaseImage, inputs: str, name: str) -> list[str]:
    run = run_config(base, python=request.python, inputs=inputs, labels=request.labels, environment=request.environment)
    packages = ", ".join(f"{name}=={version}" for name, version in packages_of(request.lock.text).items())
    labels = [f"--label={key}={value}" for key, value in {**run["Labels"], PACKAGES_LABEL: packages}.items()]
    pinned = pin(base.reference, base.digest)
    return ["build", "--platform", request.platform, f"--build-arg=BASE={pinned}", *labels, "--tag", name]


def write_login(registry: RegistryClient, config: Path, *more: RegistryClient) -> None:
    """Give the client our accounts in a folder of its own, so that no other configuration is read or changed.

    Args:
        registry: our account where the image goes, or where it is.
        config: the folder, made here.
        more: accounts at other registries, of which images are only read.
    """
    config.mkdir()
    hosts = {each.image_host: each for each in more} | {registry.host: registry}
    auths = {login_key(host): {"auth": token} for host, each in hosts.items() if (token := each.basic_token())}
    path = config / "config.json"
    path.touch(mode=0o600)
    path.write_text(json.dumps({"auths": auths}))


def _with(config: Path) -> list[str]:
    return ["--config", str(config)]


def _teller(step: str, on_progress: OnProgress) -> Callable[[str], None]:
    return lambda line: on_progress(Progress(step, line))


def _checked_build(end: DockerEnd) -> None:
    if end.code == 0:
        return
    said = _last_words(end)
    if _FULL.search(said):
        raise EngineUnavailableError(f"the Docker engine's disk is full, make room on the worker: {said}")
    if _NO_PACKAGE.search(said):
        raise DependencyLockError(f"the locked packages cannot be installed in the base image: {said}")
    if _NO_PYTHON.search(said):
        raise BaseImageError(f"the base image must bring python3 with pip for the image's platform: {said}")
    if _OFFLINE.search(said):
        raise RegistryUnavailableError(f"a registry or the package index does not answer the Docker engine: {said}")
    raise BaseImageError(f"docker could not build the release on its base image: {said}")


def _check_push(end: DockerEnd, request: ImageRequest) -> None:
    if end.code == 0:
        return
    said, name = _last_words(end), f"{request.repository}:{request.tag}"
    if _REFUSED.search(said):
        raise RegistryRefusedError(f"the registry refuses {name}: {said}")
    if _DENIED.search(said):
        raise AccessDeniedError(f"the registry does not let the Docker engine push {name}: {said}")
    raise RegistryUnavailableError(f"docker could not push {name}: {said}")


def _last_words(end: DockerEnd) -> str:
    return "\n".join(end.lines)[-_TAIL:]


def _pushed_image(request: ImageRequest, registry: RegistryClient) -> ImageReport:
    stored = registry.get_manifest(request.repository, request.tag)
    if stored is None or stored.media_type != DOCKER_MANIFEST:
        raise RegistryRefusedError(
            f"docker pushed {stored.media_type if stored else 'nothing'}, SageMaker takes {DOCKER_MANIFEST} only: "
            "turn off the engine's containerd image store, or set image_builder: layers in platform.yaml"
        )
    return inspect_image(registry, request.repository, stored.digest)


def _built(
    request: ImageRequest,
    registry: RegistryClient,
    report: ImageReport,
    bytes_pushed: int,
    started: float,
    *,
    reused: bool,
) -> BuiltImage:
    return BuiltImage(
        digest=report.digest,
        uri=f"{registry.image_host}/{request.repository}@{report.digest}",
        layers=report.layers,
        bytes_pushed=bytes_pushed,
        reused=reused,
        seconds=time.monotonic() - started,
    )
