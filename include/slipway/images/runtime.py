"""How a container is started: environment, command, user, port and labels."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from slipway.images.app import APP_DIR
from slipway.images.base import PYTHON_LABEL
from slipway.images.dependency import DEPS_DIR
from slipway.images.serving_app import PACKAGE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from slipway.images.base import BaseImage

MODEL_DIR = "/opt/slipway/model"
CREATED_BY = "model"  # history of its layer
RELEASE_LABEL = "io.slipway.release"
SERVICE_LABEL = "io.slipway.service"
INPUTS_LABEL = "io.slipway.inputs"  # key of everything that went in: two images with equal keys are the same release
PACKAGES_LABEL = "io.slipway.packages"  # what is installed, where no layer's line of history says so
PORT_LABEL = "com.amazonaws.sagemaker.capabilities.accept-bind-to-port"  # the server heeds SAGEMAKER_BIND_TO_PORT
PORT = 8080  # where SageMaker sends /ping and /invocations
_USER = "1000"
_NAMED_USER = "nobody"  # of Linux distributions; Java asks for the user's name, and Hadoop ends without one
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Start:
    """What is run in a container: module, its arguments, user, and what the image tells about itself.

    ``environment`` are variables that nothing may replace; ``settings`` go on top of Docker's ``Entrypoint``, ``Cmd``,
    ``User`` and ``WorkingDir``.
    """

    module: str
    arguments: tuple[str, ...]
    user: str
    environment: Mapping[str, str]
    labels: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)


def container_config(
    base: BaseImage,
    start: Start,
    *,
    python: str,
    inputs: str,
    labels: Mapping[str, str] | None = None,
    environment: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Write the ``config`` part of an image's config: the base's, with ours on top.

    Args:
        base: what it starts from; its variables and labels stay unless replaced.
        start: what is run.
        python: minor version of the interpreter.
        inputs: key of everything that goes in.
        labels: of this image.
        environment: variables of this image; they cannot replace those that the start needs.
    """
    inherited = dict(base.config.get("config") or {})
    variables = dict(entry.partition("=")[::2] for entry in inherited.get("Env") or [])
    ours = {
        "PYTHONPATH": f"{APP_DIR}:{DEPS_DIR}",
        **start.environment,
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    merged = {"PATH": _PATH, **variables, **(environment or {}), **ours}
    return {
        "Env": [f"{name}={value}" for name, value in merged.items()],
        "Labels": {
            **(inherited.get("Labels") or {}),
            **(labels or {}),
            PYTHON_LABEL: python,
            INPUTS_LABEL: inputs,
            **start.labels,
            "org.opencontainers.image.base.name": base.reference,
            "org.opencontainers.image.base.digest": base.digest,
        },
        "Entrypoint": ["python3", "-m", start.module],
        "Cmd": list(start.arguments),
        "User": start.user,
        "WorkingDir": "/",
        **start.settings,
    }


_SERVING = Start(
    module=PACKAGE,
    arguments=("serve",),
    user=_USER,
    environment={"SLIPWAY_MODEL_DIR": MODEL_DIR},
    labels={PORT_LABEL: "true"},
    settings={"ExposedPorts": {f"{PORT}/tcp": {}}},
)


def serving_user(*, with_spark: bool) -> str:
    """Name the user that the server runs as: a number, which every base takes, but for Spark, which asks for a name."""
    return _NAMED_USER if with_spark else _USER


def run_config(
    base: BaseImage,
    *,
    python: str,
    inputs: str,
    labels: Mapping[str, str],
    environment: Mapping[str, str],
    with_spark: bool = False,
) -> dict[str, Any]:
    """Write the ``config`` part of a release's config: the base's, with the server on top.

    Args:
        base: what it starts from; its variables and labels stay unless replaced.
        python: minor version of the interpreter.
        inputs: key of everything that goes in.
        labels: of this release.
        environment: variables of this release; they cannot replace those that the server needs.
        with_spark: whether Spark is among its packages.
    """
    start = replace(_SERVING, user=serving_user(with_spark=with_spark))
    return container_config(base, start, python=python, inputs=inputs, labels=labels, environment=environment)
