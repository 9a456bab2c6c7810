from __future__ import annotations

import gzip
import hashlib
import io
import os
import socket
import tarfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from slipway.errors import UnsafePathError
from slipway.images.archive import write_layer
from slipway.images.layer import LocalLayer
from slipway.images.progress import Progress


def plant(root: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    root.mkdir(parents=True, exist_ok=True)
    return root


def members(local: LocalLayer) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(local.path) as tar:
        return {member.name: member for member in tar}


FILES = {"MLmodel": b"flavors: {}\n", "data/model.pkl": b"\x00" * 5000, "data/b/c.txt": b"x"}


def test_digests_are_those_of_the_streams(tmp_path: Path) -> None:
    local = write_layer(plant(tmp_path / "m", FILES), "/opt/model", tmp_path / "out", created_by="model")
    packed = local.path.read_bytes()
    assert local.layer.digest == f"sha256:{hashlib.sha256(packed).hexdigest()}"
    assert local.layer.size == len(packed)
    assert local.layer.diff_id == f"sha256:{hashlib.sha256(gzip.decompress(packed)).hexdigest()}"
    assert local.layer.created_by == "model"


def test_place_times_owners_umask_and_order_do_not_matter(tmp_path: Path) -> None:
    first = write_layer(plant(tmp_path / "here", FILES), "/opt/model", tmp_path / "out")
    umask = os.umask(0o077)
    try:
        there = plant(tmp_path / "some" / "where" / "else", dict(reversed(FILES.items())))
    finally:
        os.umask(umask)
    for number, path in enumerate(sorted(there.rglob("*"))):
        os.utime(path, (number * 1e8, number * 1e8))
    (there / "MLmodel").chmod(0o600)
    second = write_layer(there, "opt/model/", tmp_path / "out2")
    assert second.layer == first.layer
    assert second.path.read_bytes() == first.path.read_bytes()


def test_entries_are_plain(tmp_path: Path) -> None:
    tree = plant(tmp_path / "m", {**FILES, "run.sh": b"#!/bin/sh\n"})
    (tree / "run.sh").chmod(0o700)
    found = members(write_layer(tree, "/opt/model", tmp_path / "out"))
    assert list(found)[:2] == ["opt", "opt/model"]
    assert all((m.mtime, m.uid, m.gid, m.uname, m.gname) == (0, 0, 0, "", "") for m in found.values())
    assert found["opt/model/run.sh"].mode == 0o755
    assert found["opt/model/MLmodel"].mode == 0o644
    assert found["opt/model/data"].mode == 0o755


def test_a_hard_link_is_packed_as_a_file(tmp_path: Path) -> None:
    tree = plant(tmp_path / "m", {"a": b"same"})
    (tree / "b").hardlink_to(tree / "a")
    found = members(write_layer(tree, "/m", tmp_path / "out"))
    assert found["m/a"].isreg()
    assert found["m/b"].isreg()


def test_an_inner_link_stays_a_link(tmp_path: Path) -> None:
    tree = plant(tmp_path / "m", {"data/a": b"1"})
    (tree / "data" / "b").symlink_to("../data/a")
    assert members(write_layer(tree, "/m", tmp_path / "out"))["m/data/b"].linkname == "../data/a"


@pytest.mark.parametrize("target", ["/etc/passwd", "..", "../x", "data/../../x"])
def test_a_link_that_leaves_is_refused(tmp_path: Path, target: str) -> None:
    tree = plant(tmp_path / "m", FILES)
    (tree / "link").symlink_to(target)
    with pytest.raises(UnsafePathError, match="link"):
        write_layer(tree, "/m", tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_deletion_marker_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsafePathError, match=r"\.wh\.MLmodel"):
        write_layer(plant(tmp_path / "m", {"data/.wh.MLmodel": b""}), "/m", tmp_path / "out")


def test_a_pipe_and_a_socket_are_refused(tmp_path: Path) -> None:
    tree = plant(tmp_path / "m", {})
    os.mkfifo(tree / "pipe")
    with pytest.raises(UnsafePathError, match="pipe"):
        write_layer(tree, "/m", tmp_path / "out")
    (tree / "pipe").unlink()
    with socket.socket(socket.AF_UNIX) as endpoint:
        endpoint.bind(str(tree / "s"))
        with pytest.raises(UnsafePathError, match="neither a file"):
            write_layer(tree, "/m", tmp_path / "out")


def test_progress_is_told_in_bytes_up_to_the_end(tmp_path: Path) -> None:
    told: list[Progress] = []
    tree = plant(tmp_path / "m", {"a": b"1" * 3_000_000, "b": b"2" * 500_000})
    write_layer(tree, "/m", tmp_path / "out", on_progress=told.append)
    assert len(told) > 2
    assert [p.done_bytes for p in told] == sorted(p.done_bytes for p in told)
    assert (told[-1].done_bytes, told[-1].total_bytes) == (3_500_000, 3_500_000)


def test_bytecode_is_packed_last_and_may_be_made_meanwhile(tmp_path: Path) -> None:
    modules = {"__main__.py": b"1", "a/m.py": b"2", "a/b/n.py": b"3", "z.py": b"4"}
    cached = {"__pycache__/z.pyc": b"5", "a/__pycache__/m.pyc": b"6", "a/b/__pycache__/n.pyc": b"7" * 9}
    there = plant(tmp_path / "there", {**modules, **cached})
    growing = plant(tmp_path / "growing", modules)
    told: list[Progress] = []
    first = write_layer(there, "/m", tmp_path / "out", bytecode=lambda: None)
    made = write_layer(
        growing, "/m", tmp_path / "out2", bytecode=lambda: plant(growing, cached), on_progress=told.append
    )
    assert made.layer == first.layer
    assert (told[-1].done_bytes, told[-1].total_bytes) == (15, 15)
    assert [name.removeprefix("m/") for name in members(made)] == [
        *("m", "__main__.py", "a", "a/b", "a/b/n.py", "a/m.py", "z.py"),
        *("__pycache__", "__pycache__/z.pyc", "a/__pycache__", "a/__pycache__/m.pyc"),
        *("a/b/__pycache__", "a/b/__pycache__/n.pyc"),
    ]


def test_a_model_that_brings_bytecode_is_packed_in_the_order_of_names(tmp_path: Path) -> None:
    tree = plant(tmp_path / "m", {"code/__pycache__/m.pyc": b"1", "code/m.py": b"2"})
    assert list(members(write_layer(tree, "/m", tmp_path / "out")))[2:] == [
        *("m/code/__pycache__", "m/code/__pycache__/m.pyc", "m/code/m.py")
    ]


def test_files_of_all_sizes_around_a_block_come_back(tmp_path: Path) -> None:
    sizes = [0, 1, 511, 512, 513, (1 << 18) - 512, 1 << 18, (1 << 18) + 1, 3 << 18]
    files = {f"{size:09}": os.urandom(size) for size in sizes}
    local = write_layer(plant(tmp_path / "m", files), "/m", tmp_path / "out")
    with tarfile.open(local.path) as tar:
        assert {m.name: tar.extractfile(m).read() for m in tar if m.isreg()} == {  # type: ignore[union-attr]
            f"m/{name}": content for name, content in files.items()
        }


names = st.text(st.characters(codec="utf-8", exclude_characters="/\x00"), min_size=1, max_size=60).filter(
    lambda name: name not in {".", ".."} and not name.startswith(".wh.") and len(name.encode()) < 250
)
trees = st.dictionaries(st.lists(names, min_size=1, max_size=4).map(tuple), st.binary(max_size=200), max_size=8).filter(
    lambda tree: not any(a != b and a == b[: len(a)] for a in tree for b in tree)
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tree=trees)
def test_any_tree_comes_back_and_packs_alike_twice(tmp_path_factory: pytest.TempPathFactory, tree: dict) -> None:  # type: ignore[type-arg]
    files = {"/".join(parts): content for parts, content in tree.items()}
    packed = []
    for order in (files, dict(reversed(files.items()))):
        root = tmp_path_factory.mktemp("tree")
        packed.append(write_layer(plant(root / "t", order), "/p", root / "out"))
    assert packed[0].layer == packed[1].layer
    with tarfile.open(fileobj=io.BytesIO(packed[0].path.read_bytes())) as tar:
        read = {m.name: tar.extractfile(m).read() for m in tar if m.isreg()}  # type: ignore[union-attr]
    assert read == {f"p/{name}": content for name, content in files.items()}
