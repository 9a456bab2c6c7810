from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from slipway.errors import AccessDeniedError
from slipway.images.auth import ChallengeAuth, Credentials
from slipway.images.base import resolve_base
from slipway.images.docker_engine import write_login
from slipway.images.docker_login import docker_login
from slipway.images.reference import DOCKER_HUB, parse_reference
from slipway.images.registry import RegistryClient
from tests.unit.slipway.images.test_base import add_base

if TYPE_CHECKING:
    from conftest import Registry

AUTH = base64.b64encode(b"ann:open:sesame").decode()
ANN = Credentials("ann", "open:sesame")


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path / "config.json"


def keep(config: Path, **content: Any) -> None:
    config.write_text(json.dumps(content))


def add_helper(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """A program that keeps passwords: https://github.com/docker/docker-credential-helpers."""
    program = folder / "docker-credential-safe"
    program.write_text(f"#!/bin/sh\nread -r server\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


def test_without_a_login_there_is_no_account(config: Path) -> None:
    assert docker_login("registry.example.com") is None
    keep(config)
    assert docker_login("registry.example.com") is None
    keep(config, auths={"other.example.com": {"auth": AUTH}}, HttpHeaders={"a": "b"})
    assert docker_login("registry.example.com") is None


@pytest.mark.parametrize("key", ["registry.example.com:5000", "https://registry.example.com:5000/v1/"])
def test_a_login_is_found_by_the_registrys_host(config: Path, key: str) -> None:
    keep(config, auths={key: {"auth": AUTH}})
    assert docker_login("registry.example.com:5000") == ANN
    assert docker_login("registry.example.com") is None


@pytest.mark.parametrize("image", ["python:3.11", "docker.io/team/base", "index.docker.io/team/base"])
@pytest.mark.parametrize("key", ["https://index.docker.io/v1/", "docker.io"])
def test_docker_hub_is_found_by_its_names(config: Path, image: str, key: str) -> None:
    keep(config, auths={key: {"auth": AUTH}})
    assert docker_login(parse_reference(image).host) == ANN


def test_programs_that_keep_passwords_are_asked(config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = 'echo "{\\"Username\\": \\"bob\\", \\"Secret\\": \\"for $server\\"}"'
    add_helper(tmp_path, monkeypatch, script)
    keep(config, credHelpers={"one.example.com": "safe"}, auths={"two.example.com": {"auth": AUTH}})
    assert docker_login("one.example.com") == Credentials("bob", "for one.example.com")
    assert docker_login("two.example.com") == ANN
    keep(config, credsStore="safe", auths={"https://index.docker.io/v1/": {}})
    assert docker_login(DOCKER_HUB) == Credentials("bob", "for https://index.docker.io/v1/")


def test_a_program_that_knows_no_account_leaves_none(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_helper(tmp_path, monkeypatch, 'echo "credentials not found in native keychain"; exit 1')
    keep(config, credsStore="safe")
    assert docker_login("registry.example.com") is None


@pytest.mark.filterwarnings("ignore:docker-credential-lost not installed")
@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"auths": ', "Expecting value"),
        ("[]", "found list, expected a mapping"),
        ('{"auths": {"registry.example.com": "ann"}}', "Invalid configuration for registry registry.example.com"),
        ('{"auths": {"registry.example.com": {"auth": "%%%"}}}', "not enough values|Incorrect padding"),
        ('{"credsStore": "lost"}', "docker-credential-lost not installed"),
        ('{"auths": {"registry.example.com": {"identitytoken": "x"}}}', "identity token for registry.example.com"),
    ],
)
def test_a_login_that_cannot_be_read_is_said(config: Path, content: str, said: str) -> None:
    config.write_text(content)
    with pytest.raises(AccessDeniedError, match=rf"(?s)registry\.example\.com.*{said}|{said}") as raised:
        docker_login("registry.example.com")
    assert str(config) in str(raised.value)


@pytest.mark.parametrize("auth", ["basic", "bearer"])
def test_a_base_behind_a_login_is_read_with_it(config: Path, registry: Registry, auth: str) -> None:
    digest = add_base(registry)
    registry.auth = auth
    keep(config, auths={registry.host: {"auth": base64.b64encode(b"AWS:open-sesame").decode()}})
    base = resolve_base(f"{registry.host}/base/python:3.11")
    assert base.digest == digest
    keep(config, auths={registry.host: {"auth": AUTH}})
    with pytest.raises(AccessDeniedError, match="401"):
        resolve_base(f"{registry.host}/base/python:3.11")


def test_what_docker_is_given_is_found_again(
    config: Path, registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = RegistryClient(parse_reference("python:3.11").url, ChallengeAuth(ANN))
    write_login(registry.client(), tmp_path / "engine", hub)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "engine"))
    assert docker_login(DOCKER_HUB) == ANN
    assert json.loads((tmp_path / "engine" / "config.json").read_text())["auths"].keys() == {
        "https://index.docker.io/v1/"
    }
