"""How a release's container is started: environment, command, user, port and labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from slipway.images.base import PYTHON_LABEL
from slipway.images.dependency import DEPS_DIR
from slipway.images.serving_app import APP_DIR, PACKAGE

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
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def run_config(
    base: BaseImage, *, python: str, inputs: str, labels: Mapping[str, str], environment: Mapping[str, str]
) -> dict[str, Any]:
    """Write the ``config`` part of the image's config: the base's, with the server on top.

    Args:
        base: what it starts from; its variables and labels stay unless replaced.
        python: minor version of the interpreter.
        inputs: key of everything that goes in.
        labels: of this release.
        environment: variables of this release; they cannot replace those that the server needs.
    """
    inherited = dict(base.config.get("config") or {})
    variables = dict(entry.partition("=")[::2] for entry in inherited.get("Env") or [])
    ours = {
        "PYTHONPATH": f"{APP_DIR}:{DEPS_DIR}",
        "SLIPWAY_MODEL_DIR": MODEL_DIR,
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    return {
        "Env": [f"{name}={value}" for name, value in {"PATH": _PATH, **variables, **environment, **ours}.items()],
        "Labels": {
            **(inherited.get("Labels") or {}),
            **labels,
            PYTHON_LABEL: python,
            INPUTS_LABEL: inputs,
            PORT_LABEL: "true",
            "org.opencontainers.image.base.name": base.reference,
            "org.opencontainers.image.base.digest": base.digest,
        },
        "Entrypoint": ["python3", "-m", PACKAGE],
        "Cmd": ["serve"],
        "User": _USER,
        "WorkingDir": "/",
        "ExposedPorts": {f"{PORT}/tcp": {}},
    }
