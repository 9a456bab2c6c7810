from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from slipway.artifacts import local_folder
from slipway.artifacts.local_folder import LocalFolder
from slipway.errors import InvalidInputError, UnsafePathError


def md5(data: bytes) -> str:
    return hashlib.md5(data).hexdigest()


@pytest.fixture
def folder(tmp_path: Path) -> LocalFolder:
    root = tmp_path / "root"
    (root / "sub").mkdir(parents=True)
    (root / "a").write_bytes(b"a")
    (root / "sub/b").write_bytes(b"bb")
    return LocalFolder(root)


def put(folder: LocalFolder, name: str, data: bytes, tag: str) -> None:
    part, _ = folder.partial(name)
    part.write_bytes(data)
    folder.finish(name, part, tag)


def test_a_tag_is_remembered_until_the_file_changes(folder: LocalFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    assert {path: (e.size, e.tag) for path, e in folder.source_listing().items()} == {
        "a": (1, None),
        "sub/b": (2, None),
    }
    assert folder.tag("a") == md5(b"a")
    monkeypatch.setattr(local_folder, "file_tag", lambda *_: pytest.fail("read again"))
    assert folder.source_listing()["a"].tag == md5(b"a")
    folder.path("a").write_bytes(b"z")
    assert folder.source_listing()["a"].tag is None


def test_a_change_that_keeps_size_is_noticed_by_its_time(folder: LocalFolder) -> None:
    folder.tag("a")
    status = folder.path("a").stat()
    folder.path("a").write_bytes(b"z")
    os.utime(folder.path("a"), ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    assert folder.source_listing()["a"].tag is None


def test_the_origin_is_remembered_with_the_file(folder: LocalFolder) -> None:
    put(folder, "new/deep/c", b"ccc", "etag-2")
    entry = LocalFolder(folder.root).destination_listing()["new/deep/c"]
    assert (entry.size, entry.origin) == (3, "etag-2")
    folder.path("new/deep/c").write_bytes(b"xxx")
    assert folder.destination_listing()["new/deep/c"].origin is None


def test_without_extended_attributes_nothing_is_remembered_and_nothing_fails(
    folder: LocalFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_folder, "_HAS_ATTRIBUTES", False)
    assert folder.tag("a") == md5(b"a")
    put(folder, "c", b"c", "t")
    assert folder.source_listing()["a"].tag is None
    assert folder.destination_listing()["c"].origin is None


def test_unfinished_files_are_no_files_and_are_tidied(folder: LocalFolder) -> None:
    part, done = folder.partial("sub/c")
    part.touch()
    done.touch()
    assert set(folder.destination_listing()) == set(folder.source_listing()) == {"a", "sub/b"}
    folder.remove_leftovers()
    assert not part.exists()
    assert not done.exists()


def test_deleting_removes_folders_that_become_empty(folder: LocalFolder) -> None:
    put(folder, "x/y/z", b"", "t")
    folder.delete("x/y/z")
    assert not (folder.root / "x").exists()
    folder.delete("a")
    folder.delete("sub/b")
    assert folder.root.is_dir()


def test_links_inside_are_copied_as_files_and_links_outside_refused(folder: LocalFolder, tmp_path: Path) -> None:
    (folder.root / "link").symlink_to("sub/b")
    assert folder.source_listing()["link"].size == 2
    (tmp_path / "secret").write_text("secret")
    for target in (tmp_path / "secret", Path("../secret"), Path("/etc/passwd")):
        (folder.root / "bad").symlink_to(target)
        with pytest.raises(UnsafePathError, match="outside"):
            folder.source_listing()
        (folder.root / "bad").unlink()


def test_linked_folders_dangling_links_and_devices_are_refused_as_source(folder: LocalFolder) -> None:
    (folder.root / "dir").symlink_to("sub")
    with pytest.raises(UnsafePathError, match="links to a folder"):
        folder.source_listing()
    (folder.root / "dir").unlink()
    os.mkfifo(folder.root / "pipe")
    with pytest.raises(UnsafePathError, match="neither a file nor a folder"):
        folder.source_listing()


def test_nothing_is_written_through_a_link(folder: LocalFolder, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (folder.root / "dir").symlink_to(outside)
    for name in ("dir/x", "dir/deep/x"):
        with pytest.raises(UnsafePathError, match="link"):
            folder.partial(name)
    with pytest.raises(UnsafePathError, match="link"):
        folder.delete("dir/x")
    assert list(outside.rglob("*")) == []


def test_a_link_in_a_files_place_is_replaced_not_followed(folder: LocalFolder, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("mine")
    (folder.root / "c").symlink_to(outside)
    assert folder.destination_listing()["c"].size == -1
    put(folder, "c", b"new", "t")
    assert outside.read_text() == "mine"
    assert not folder.path("c").is_symlink()


def test_files_and_folders_in_each_others_place_are_refused(folder: LocalFolder) -> None:
    with pytest.raises(UnsafePathError, match="in the way"):
        folder.partial("a/x")
    part, _ = folder.partial("sub")
    part.touch()
    with pytest.raises(UnsafePathError, match="is a folder"):
        folder.finish("sub", part, "t")


def test_names_that_are_not_utf8_are_refused(folder: LocalFolder) -> None:
    Path(os.fsdecode(os.fsencode(folder.root) + b"/\xff")).touch()
    with pytest.raises(UnsafePathError, match="UTF-8"):
        folder.source_listing()


def test_a_missing_folder_is_no_source_but_an_empty_destination(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="no folder"):
        LocalFolder(tmp_path / "none").source_listing()
    assert LocalFolder(tmp_path / "none").destination_listing() == {}
