from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from slipway.errors import DependencyLockError, RegistryUnavailableError
from slipway.images.install import install_wheels
from slipway.images.wheel_group import parse_pins

HERE = f"{sys.version_info.major}.{sys.version_info.minor}"
Maker = Callable[..., str]


def install(lines: str, target: Path, platform: str = "linux/amd64") -> dict[str, bytes]:
    target.parent.mkdir(parents=True, exist_ok=True)
    install_wheels(parse_pins(lines), target, HERE, platform)
    return {path.relative_to(target).as_posix(): path.read_bytes() for path in target.rglob("*") if path.is_file()}


def test_wheels_are_unpacked_alike_in_any_place(make_wheel: Maker, tmp_path: Path) -> None:
    lines = "\n".join([make_wheel("alpha"), make_wheel("beta-two", "2.0")])
    first = install(lines, tmp_path / "a" / "tree")
    second = install(lines, tmp_path / "far" / ("deep" * 40) / "tree")  # uv writes another shebang for long paths
    assert first == second
    assert "alpha/__init__.py" in first
    assert ".lock" not in first


def test_scripts_start_the_images_python(make_wheel: Maker, tmp_path: Path) -> None:
    files = install(make_wheel("alpha"), tmp_path / "tree")
    assert files["bin/alpha"].startswith(b"#!/usr/bin/env python3\n")
    assert str(tmp_path).encode() not in b"".join(files.values())
    record = files["alpha-1.0.dist-info/RECORD"].decode().splitlines()
    assert "bin/alpha,," in record
    assert record == sorted(record)


def test_a_package_for_another_platform_is_named(make_wheel: Maker, tmp_path: Path) -> None:
    lines = "\n".join([make_wheel("alpha"), make_wheel("native", tag="cp39-cp39-win_amd64")])
    with pytest.raises(DependencyLockError, match=r"no wheel for linux/amd64.*native"):
        install(lines, tmp_path / "tree")


def test_a_package_with_sources_only_is_named(make_wheel: Maker, tmp_path: Path) -> None:
    line = make_wheel("alpha")
    (tmp_path / "index" / "onlysource-1.0.tar.gz").write_bytes(b"never opened")
    with pytest.raises(DependencyLockError, match=r"no wheel for .*: onlysource\. Packages are never built from"):
        install(f"{line}\nonlysource==1.0 --hash=sha256:{'0' * 64}", tmp_path / "tree")


def test_a_wrong_hash_is_refused(make_wheel: Maker, tmp_path: Path) -> None:
    line = make_wheel("alpha")
    with pytest.raises(DependencyLockError, match=r"(?i)hash"):
        install(line[:-64] + "0" * 64, tmp_path / "tree")


def test_an_unknown_platform_is_refused(make_wheel: Maker, tmp_path: Path) -> None:
    with pytest.raises(DependencyLockError, match="plan9/amd64"):
        install(make_wheel("alpha"), tmp_path / "tree", platform="plan9/amd64")


def test_an_index_that_is_down_is_a_passing_failure(
    make_wheel: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = make_wheel("alpha")
    monkeypatch.delenv("UV_NO_INDEX")
    monkeypatch.delenv("UV_FIND_LINKS")
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://user:secret@127.0.0.1:9/simple")
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    with pytest.raises(RegistryUnavailableError, match="index does not answer") as raised:
        install(line, tmp_path / "tree")
    assert "secret" not in str(raised.value)


def test_of_packages_with_the_same_file_the_last_by_name_wins(make_wheel: Maker, tmp_path: Path) -> None:
    shared = "tests/__init__.py"
    lines = "\n".join(make_wheel(name, files={shared: f"{name}\n"}) for name in ("zeta-x", "alpha", "mid"))
    for attempt in range(4):
        files = install(lines, tmp_path / str(attempt) / "tree")
        assert files[shared] == b"zeta-x\n"


def test_every_package_without_a_wheel_is_named(make_wheel: Maker, tmp_path: Path) -> None:
    lines = [make_wheel("alpha")]
    for name in ("one-source", "two-source"):
        (tmp_path / "index" / f"{name.replace('-', '_')}-1.0.tar.gz").write_bytes(b"never opened")
        lines.append(f"{name}==1.0 --hash=sha256:{'0' * 64}")
    with pytest.raises(DependencyLockError, match=r"no wheel for .*: one-source, two-source\."):
        install("\n".join(lines), tmp_path / "tree")
