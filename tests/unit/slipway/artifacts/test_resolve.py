from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from slipway.artifacts import resolve
from slipway.artifacts.resolve import clean_lock, resolve_requirements, uv_environment
from slipway.errors import DependencyLockError, TransientError


def test_uv_sees_its_settings_and_no_credentials() -> None:
    environment = uv_environment(
        {
            "UV_INDEX_URL": "https://host/simple",
            "https_proxy": "http://proxy",
            "SSL_CERT_FILE": "/ca.pem",
            "PATH": "/bin",
            "AWS_SECRET_ACCESS_KEY": "hush",
            "AIRFLOW__CORE__FERNET_KEY": "hush",
            "MY_TOKEN": "hush",
            "UV_PYTHON": "3.9",
            "PYTHONPATH": "/evil",
        }
    )
    assert environment == {
        "UV_INDEX_URL": "https://host/simple",
        "https_proxy": "http://proxy",
        "SSL_CERT_FILE": "/ca.pem",
        "PATH": "/bin",
    }


def test_a_lock_holds_packages_and_hashes_only() -> None:
    text = "# by uv\n--index-url https://host\n-f x\na==1 \\\n    --hash=sha256:00\n    # via b\n\nb==2  \n"
    assert clean_lock(text) == "a==1 \\\n    --hash=sha256:00\nb==2\n"


@pytest.fixture
def fake_uv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def install(script: str) -> None:
        path = tmp_path / "uv"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setattr(resolve, "uv_command", lambda: str(path))

    return install


def test_unknown_platform_is_refused() -> None:
    with pytest.raises(DependencyLockError, match=r"linux/amd64, linux/arm64"):
        resolve_requirements(["a"], python="3.11", platform="windows/amd64")


def test_no_solution_is_permanent_and_says_why(fake_uv) -> None:
    fake_uv("echo '× No solution found when resolving: a==1 needs connection>2' >&2; exit 1")
    with pytest.raises(DependencyLockError, match="a==1 needs"):
        resolve_requirements(["a"], python="3.11", platform="linux/amd64")


def test_an_index_that_does_not_answer_is_transient_and_passwords_are_hidden(fake_uv) -> None:
    fake_uv("echo 'error sending request for url (https://me:secret@host/simple/a/)' >&2; exit 2")
    with pytest.raises(TransientError) as caught:
        resolve_requirements(["a"], python="3.11", platform="linux/amd64")
    assert "secret" not in str(caught.value)
    assert "host/simple" in str(caught.value)


def test_packages_come_as_wheels_but_for_those_that_are_named(fake_uv, tmp_path: Path) -> None:
    fake_uv(f'echo "$@" > {tmp_path}/asked; touch out.txt')
    resolve_requirements(["a"], python="3.11", platform="linux/amd64", from_source=["pyspark"])
    asked = (tmp_path / "asked").read_text()
    assert "--only-binary :all: --no-binary pyspark" in asked
    resolve_requirements(["a"], python="3.11", platform="linux/amd64")
    assert "--no-binary" not in (tmp_path / "asked").read_text()


def test_resolving_has_a_time_limit(fake_uv) -> None:
    fake_uv("exec sleep 30")
    with pytest.raises(TransientError, match=r"within 0 s|within"):
        resolve_requirements(["a"], python="3.11", platform="linux/amd64", seconds=0.2)


def test_uv_is_found_beside_python_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(resolve.sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", os.fspath(tmp_path / "nowhere"))
    with pytest.raises(DependencyLockError, match="uv is not installed"):
        resolve.uv_command()
    (tmp_path / "uv").touch()
    assert resolve.uv_command() == str(tmp_path / "uv")
