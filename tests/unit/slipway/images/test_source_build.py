from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from slipway.errors import DependencyLockError, RegistryUnavailableError
from slipway.images.install import install_wheels
from slipway.images.wheel_group import WheelGroup, parse_pins
from tests.unit.slipway.images.sources import BACKEND, make_sdist

HERE = f"{sys.version_info.major}.{sys.version_info.minor}"
Maker = Callable[..., str]


@pytest.fixture
def backend(make_wheel: Maker) -> tuple[str, ...]:
    return (make_wheel("tiny", files={"tiny/__init__.py": BACKEND}),)


def install(lines: str, target: Path, **built: tuple[str, ...]) -> dict[str, bytes]:
    target.parent.mkdir(parents=True, exist_ok=True)
    install_wheels(parse_pins(lines, built), target, HERE, "linux/amd64")
    return {path.relative_to(target).as_posix(): path.read_bytes() for path in target.rglob("*") if path.is_file()}


def test_an_allowed_source_is_built_and_installed_beside_wheels(
    backend: tuple[str, ...], make_wheel: Maker, tmp_path: Path
) -> None:
    lines = "\n".join([make_wheel("alpha"), make_sdist(tmp_path / "index", "spring")])
    files = install(lines, tmp_path / "tree", spring=backend)
    assert files["spring/__init__.py"] == b"VALUE = 1\n"
    assert "alpha/__init__.py" in files
    assert files["bin/spring"].startswith(b"#!/usr/bin/env python3\n")
    assert not {path for path in files if path.startswith("tiny")}
    assert {path.name for path in tmp_path.iterdir()} == {"index", "uv-cache", "tree"}


def test_what_comes_of_a_source_is_alike_in_any_place_and_names_none(
    backend: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = make_sdist(tmp_path / "index", "spring")
    first = install(line, tmp_path / "a" / "tree", spring=backend)
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "another-cache"))
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    second = install(line, tmp_path / "far" / ("deep" * 40) / "tree", spring=backend)
    assert first == second
    assert str(tmp_path).encode() not in b"".join(first.values())
    record = first["spring-1.0.dist-info/RECORD"].decode().splitlines()
    assert record == sorted(record)
    assert {line.partition(",")[0] for line in record} == set(first)


def test_a_wheel_that_uv_keeps_of_another_build_is_not_taken(
    backend: tuple[str, ...], make_wheel: Maker, tmp_path: Path
) -> None:
    line = make_sdist(tmp_path / "index", "spring")
    install(line, tmp_path / "tree", spring=backend)
    other = BACKEND.replace("Generator: tiny", "Generator: other")
    newer = (make_wheel("tiny", "2.0", files={"tiny/__init__.py": other}),)
    files = install(line, tmp_path / "again", spring=newer)
    assert b"Generator: other" in files["spring-1.0.dist-info/WHEEL"]


def test_a_source_that_nobody_named_is_refused(backend: tuple[str, ...], tmp_path: Path) -> None:
    index = tmp_path / "index"
    lines = "\n".join([make_sdist(index, "spring"), make_sdist(index, "autumn")])
    with pytest.raises(DependencyLockError, match=r"no wheel for .*: autumn\. Packages are never built from sources"):
        install(lines, tmp_path / "tree", spring=backend)


@pytest.mark.parametrize(
    ("tag", "pure"),
    [(f"cp{HERE.replace('.', '')}-cp{HERE.replace('.', '')}-linux_x86_64", True), ("py3-none-any", False)],
)
def test_what_is_not_pure_python_is_refused(backend: tuple[str, ...], tmp_path: Path, tag: str, pure: bool) -> None:
    line = make_sdist(tmp_path / "index", "spring", tag=tag, pure=pure)
    with pytest.raises(DependencyLockError, match=rf"spring==1\.0 was built from its source as {tag}.*pure Python"):
        install(line, tmp_path / "tree", spring=backend)


def test_another_source_than_the_locked_one_is_refused_before_its_code_runs(
    backend: tuple[str, ...], tmp_path: Path
) -> None:
    line = make_sdist(tmp_path / "index", "spring")
    make_sdist(tmp_path / "index", "spring", body="VALUE = 2\n")
    with pytest.raises(DependencyLockError, match=r"(?is)cannot install spring==1\.0 from its source.*hash"):
        install(line, tmp_path / "tree", spring=backend)


def test_another_backend_than_the_locked_one_is_refused(backend: tuple[str, ...], tmp_path: Path) -> None:
    line = make_sdist(tmp_path / "index", "spring")
    wrong = (f"{backend[0][:-64]}{'0' * 64}",)
    with pytest.raises(DependencyLockError, match=r"(?is)cannot install what builds packages.*hash"):
        install(line, tmp_path / "tree", spring=wrong)


def test_a_build_that_fails_is_told(backend: tuple[str, ...], make_wheel: Maker, tmp_path: Path) -> None:
    broken = (
        make_wheel("tiny", "3.0", files={"tiny/__init__.py": "def build_wheel(*_, **__): raise OSError('snapped')\n"}),
    )
    with pytest.raises(DependencyLockError, match=r"(?s)cannot install spring==1\.0 from its source.*snapped"):
        install(make_sdist(tmp_path / "index", "spring"), tmp_path / "tree", spring=broken)


def test_an_index_that_is_down_is_a_passing_failure(
    backend: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = make_sdist(tmp_path / "index", "spring")
    monkeypatch.delenv("UV_NO_INDEX")
    monkeypatch.delenv("UV_FIND_LINKS")
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://user:secret@127.0.0.1:9/simple")
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    with pytest.raises(RegistryUnavailableError, match="index does not answer") as raised:
        install(line, tmp_path / "tree", spring=backend)
    assert "secret" not in str(raised.value)


def test_the_backend_is_part_of_the_key_of_what_it_builds_and_of_nothing_else() -> None:
    lock = f"spring==1.0 --hash=sha256:{'1' * 64}\nwinter==1.0 --hash=sha256:{'2' * 64}\n"

    def keys(**built: tuple[str, ...]) -> dict[str, str]:
        return {pin.name: WheelGroup(pin.name, (pin,)).key("3.11", "linux/amd64") for pin in parse_pins(lock, built)}

    wheels, one, other = keys(), keys(spring=("tiny==1.0",)), keys(spring=("tiny==2.0",))
    assert len({wheels["spring"], one["spring"], other["spring"]}) == 3
    assert wheels["winter"] == one["winter"] == other["winter"]
