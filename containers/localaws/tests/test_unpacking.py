"""Layers and root file systems: https://github.com/opencontainers/image-spec/blob/main/layer.md"""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest
import tiny_image

from slipway_localaws.hosting.layers import LayerError, assemble, unpack_layer
from slipway_localaws.hosting.scoped_path import UnsafePathError, resolve_in


@pytest.fixture
def unpack(tmp_path: Path):
    def make(blob: bytes) -> Path:
        path = tmp_path / tiny_image.sha256(blob).removeprefix("sha256:")
        path.write_bytes(blob)
        (tmp_path / "layers").mkdir(exist_ok=True)
        return unpack_layer(path, tmp_path / "layers")

    return make


def tree(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): f"-> {path.readlink()}" if path.is_symlink() else path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.is_symlink() or path.is_file()
    }


def test_files_links_and_modes(unpack, tmp_path: Path) -> None:
    links = {"a/hard": ("hardlink", "a/b"), "a/soft": ("symlink", "b")}
    layer = unpack(tiny_image.layer({"a/b": "text", **links, "empty": ("folder", "")}))
    assemble([layer], tmp_path / "rootfs")
    assert tree(tmp_path / "rootfs") == {"a/b": "text", "a/hard": "text", "a/soft": "-> b"}
    assert (tmp_path / "rootfs" / "empty").is_dir()
    assert os.access(tmp_path / "rootfs" / "a" / "b", os.X_OK)


def test_upper_layers_win_and_whiteouts_delete(unpack, tmp_path: Path) -> None:
    lower = unpack(
        tiny_image.layer({"d/keep": "1", "d/gone": "1", "o/x": "1", "o/y": "1", "f": "lower", "was-dir/x": ""})
    )
    upper = unpack(
        tiny_image.layer({"d/.wh.gone": "", "o/.wh..wh..opq": "", "o/z": "2", "f": "upper", "was-dir": "now a file"})
    )
    assemble([lower, upper], tmp_path / "rootfs")
    assert tree(tmp_path / "rootfs") == {"d/keep": "1", "f": "upper", "o/z": "2", "was-dir": "now a file"}
    assemble([lower], tmp_path / "again")
    assert tree(tmp_path / "again")["d/gone"] == "1", "the shared layer is untouched"


def test_folders_behind_links_of_a_lower_layer(unpack, tmp_path: Path) -> None:
    lower = unpack(tiny_image.layer({"usr/lib/x": "1", "lib": ("symlink", "usr/lib")}))
    upper = unpack(tiny_image.layer({"lib/y": "2"}))
    assemble([lower, upper], tmp_path / "rootfs")
    assert tree(tmp_path / "rootfs") == {"lib": "-> usr/lib", "usr/lib/x": "1", "usr/lib/y": "2"}


@pytest.mark.parametrize(
    "files",
    [
        {"../evil": "x"},
        {"a/../../evil": "x"},
        {"out": ("symlink", ".."), "out/evil": "x"},
        {"out": ("symlink", "/"), "out/evil": "x"},
        {"deep/out": ("symlink", "../.."), "deep/out/evil": "x"},
        {"hard": ("hardlink", "../../secret")},
    ],
)
def test_nothing_gets_out_of_its_folder(unpack, tmp_path: Path, files: dict[str, str]) -> None:
    (tmp_path / "secret").write_text("secret")
    before = set(tmp_path.iterdir())
    try:
        layer = unpack(tiny_image.layer(files))
        assemble([layer], tmp_path / "rootfs")
    except LayerError:
        pass
    else:
        assert "secret" not in tree(tmp_path / "rootfs").values()
    assert not (tmp_path / "evil").exists()
    assert not Path("/evil").exists()
    outside = {path.name for path in set(tmp_path.iterdir()) - before}
    assert outside <= {"layers", "rootfs"} | {path.name for path in tmp_path.iterdir() if len(path.name) == 64}


def test_upper_layers_cannot_follow_links_out(unpack, tmp_path: Path) -> None:
    lower = unpack(tiny_image.layer({"out": ("symlink", "/etc"), "up": ("symlink", "../../..")}))
    upper = unpack(tiny_image.layer({"out/evil": "x", "up/evil": "x"}))
    assemble([lower, upper], tmp_path / "rootfs")
    assert not Path("/etc/evil").exists()
    assert tree(tmp_path / "rootfs") == {"etc/evil": "x", "evil": "x", "out": "-> /etc", "up": "-> ../../.."}


@pytest.mark.parametrize(
    "blob",
    [b"no tar", gzip.compress(b"no tar"), b"\x1f\x8b broken", b"\x28\xb5\x2f\xfd zstd"],
    ids=["no tar", "a compressed no tar", "broken gzip", "broken zstd"],  # gzip writes the time, which no id may hold
)
def test_what_is_no_layer_is_refused(unpack, tmp_path: Path, blob: bytes) -> None:
    with pytest.raises(LayerError):
        unpack(blob)
    assert list((tmp_path / "layers").iterdir()) == []


def test_paths_are_resolved_inside(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("/real")
    (tmp_path / "loop").symlink_to("loop")
    assert resolve_in(tmp_path, "/link/../x") == tmp_path / "x"
    assert resolve_in(tmp_path, "../../link/y") == tmp_path / "real" / "y"
    assert resolve_in(tmp_path, "link", follow_last=False) == tmp_path / "link"
    with pytest.raises(UnsafePathError):
        resolve_in(tmp_path, "loop/x")
