"""What setting up says when the machine is not ready: one line, with the cure."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
TOOLS = ("sh", "df", "awk", "grep", "sed", "tail", "tee", "mkdir", "rm", "cat")


@pytest.fixture
def bootstrap(tmp_path: Path):
    tools = tmp_path / "bin"
    tools.mkdir()
    for tool in TOOLS:
        (tools / tool).symlink_to(shutil.which(tool))
    project = tmp_path / "project"
    project.mkdir()

    def run(**environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["sh", str(ROOT / "demo" / "bootstrap.sh"), "demo"],
            env={"PATH": str(tools), "HOME": str(tmp_path), **environment},
            cwd=project, capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip

    def add(name: str, script: str) -> None:
        (tools / name).write_text(f"#!/bin/sh\n{script}\n")
        (tools / name).chmod(0o755)

    run.add = add
    run.tools = tools
    return run


def only_line(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 1
    [line] = done.stderr.strip().splitlines()
    return line


def test_without_python(bootstrap) -> None:
    assert "Python 3.11, 3.12 or 3.13 is needed, found no python3; install one" in only_line(bootstrap())


def test_with_another_python(bootstrap) -> None:
    bootstrap.add("python3", 'case "$1" in --version) echo Python 3.9.2;; *) exit 1;; esac')
    assert "is needed, found Python 3.9.2; install one" in only_line(bootstrap())


def test_with_a_wrong_choice_of_python(bootstrap) -> None:
    assert "PYTHON=/bin/false is not a Python 3.11" in only_line(bootstrap(PYTHON="/bin/false"))


def test_without_uv_and_without_venv(bootstrap) -> None:
    bootstrap.add("python3", 'case "$2" in *ensurepip*) exit 1;; *) exit 0;; esac')
    assert "apt-get install python3-venv" in only_line(bootstrap())


def test_with_a_uv_that_is_too_old(bootstrap) -> None:
    bootstrap.add("uv", "echo uv 0.4.30")
    bootstrap.add("python3", 'case "$2" in *ensurepip*) exit 1;; *) exit 0;; esac')
    assert "uv is not on PATH" in only_line(bootstrap())


@pytest.mark.parametrize(
    ("said", "cure"),
    [
        ("error: Failed to fetch: `https://pypi.org/simple/`\n  Caused by: dns error", "check the connection or proxy"),
        ("error: failed to write: No space left on device (os error 28)", "the disk is full while installing packages"),
        ("error: failed to create directory: Permission denied (os error 13)", "no right to write"),
        ("error: something else", "failed: error: something else"),
    ],
)
def test_when_uv_fails(bootstrap, said: str, cure: str) -> None:
    (bootstrap.tools / "python3").symlink_to(sys.executable)
    bootstrap.add(
        "uv", f'case "$1" in --version) echo uv 0.13.8;; *) printf "%s\\n" "{said.replace("`", "")}" >&2; exit 2;; esac'
    )
    assert cure in only_line(bootstrap())


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_on_a_small_disk(bootstrap, tmp_path: Path) -> None:
    project = tmp_path / "project"
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=20m", "none", str(project)], capture_output=True)
    if mounted.returncode:
        pytest.skip("this machine lets nobody mount")
    try:
        (bootstrap.tools / "python3").symlink_to(sys.executable)
        assert "MiB free under" in only_line(bootstrap())
    finally:
        subprocess.run(["umount", "--lazy", str(project)], check=True)
