"""Accounts at registries that ``docker login`` keeps on this machine: for base images that lie outside Amazon ECR.

The file and the programs that may keep the passwords for it: https://docs.docker.com/reference/cli/docker/login/.
"""

from __future__ import annotations

import json
from pathlib import Path

from slipway.errors import AccessDeniedError
from slipway.images.auth import Credentials
from slipway.images.reference import DOCKER_HUB

_HUB = "https://index.docker.io/v1/"


def docker_login(host: str) -> Credentials | None:
    """Return the account at a registry from ``config.json`` in ``DOCKER_CONFIG`` or ``~/.docker``.

    Args:
        host: of the registry, as `parse_reference` names it.

    Returns:
        None when there is none: then the registry is asked anonymously.

    Raises:
        AccessDeniedError: the file cannot be read, the program that keeps the password fails, or what is kept is no
            user name and password.
    """
    from docker.auth import AuthConfig
    from docker.errors import DockerException
    from docker.utils.config import find_config_file

    path = find_config_file()
    if path is None:
        return None
    try:
        config = AuthConfig.load_config(None, _read(Path(path)))
        found = config.resolve_authconfig(login_key(host)) or {}
    except (OSError, ValueError, DockerException) as error:
        raise AccessDeniedError(
            f"the account at {host} cannot be read from {path}: {error}; repair it by `docker login`, or name a folder "
            "with another config.json in DOCKER_CONFIG"
        ) from error
    account = {key.lower(): value for key, value in found.items()}
    if "identitytoken" in account:
        raise AccessDeniedError(
            f"{path} has an identity token for {host}, which Slipway cannot use: log in with a user name and a "
            "password or access token"
        )
    return Credentials(account["username"], account["password"]) if account.get("username") else None


def login_key(host: str) -> str:
    """Return the name under which Docker keeps the account at a registry: the host, but for Docker Hub."""
    return _HUB if host == DOCKER_HUB else host


def _read(path: Path) -> dict[str, object]:
    document = json.loads(path.read_text())
    if not isinstance(document, dict):
        raise ValueError(f"found {type(document).__name__}, expected a mapping")
    return document
