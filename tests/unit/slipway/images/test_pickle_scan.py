from __future__ import annotations

import bz2
import gzip
import importlib.util
import io
import lzma
import os
import pickle
import struct
import sys
import sysconfig
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import cloudpickle
import joblib
import numpy as np
import onnx
import pyarrow
import pyarrow.parquet
import pytest
import skops.io
from sklearn.linear_model import LogisticRegression

from slipway.errors import ModelNotDeployableError, StorageUnavailableError
from slipway.images.pickle_scan import Finding, ScanReport, enforce, scan_model


class Evil:
    """Runs a command when it is unpickled; the tests never do that."""

    def __reduce__(self) -> tuple[object, tuple[str, ...]]:
        return os.system, ("touch /tmp/should-never-exist",)


EVIL = pickle.dumps(Evil())


EVIL_0 = pickle.dumps(Evil(), protocol=0)


def fitted() -> LogisticRegression:
    return LogisticRegression().fit(np.arange(8.0).reshape(4, 2), [0, 1, 0, 1])


def zipped(content: bytes, name: str = "data.pkl") -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return out.getvalue()


def tarred(content: bytes, name: str = "data", form: int = tarfile.PAX_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return out.getvalue()


def tarred_of_old(content: bytes) -> bytes:
    """Pack as before POSIX: no magic number, and a checksum that knows of none."""
    archive = bytearray(tarred(content))
    archive[257:265] = bytes(8)
    archive[148:156] = b" " * 8
    archive[148:156] = b"%06o\0 " % sum(archive[:512])
    return bytes(archive)


def lzma_alone(content: bytes) -> bytes:
    return lzma.compress(content, format=lzma.FORMAT_ALONE)


PACKED: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gzip": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "lzma": lzma_alone,
    "zlib": zlib.compress,
    "zip": zipped,
    "tar": tarred,
    "old tar": tarred_of_old,
    "tar.gz": lambda content: gzip.compress(tarred(content)),
    "zip in zip": lambda content: zipped(zipped(content), "inner.zip"),
    "gzip in zip": lambda content: zipped(gzip.compress(content), "inner.bin"),
    "zip in tar.xz": lambda content: lzma.compress(tarred(zipped(content, "inner"))),
    "zip behind text": lambda content: b"#!/bin/sh\n" + zipped(content),
    "before a zip": lambda content: content + zipped(b"harmless", "read.me"),
}


@pytest.mark.parametrize("pack", PACKED.values(), ids=PACKED)
@pytest.mark.parametrize("name", ["model.pkl", "code/harmless.txt", "model"])
def test_a_command_is_found_however_it_is_wrapped(tmp_path: Path, pack: Callable[[bytes], bytes], name: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(pack(EVIL))
    report = scan_model(tmp_path)
    assert report.files == (name,)
    assert [finding.imported for finding in report.dangerous] == ["posix.system"]
    with pytest.raises(ModelNotDeployableError, match=rf"{name} imports posix\.system"):
        scan_model(tmp_path, policy="refuse")


def test_an_honest_scikit_learn_model_passes(tmp_path: Path) -> None:
    (tmp_path / "model.pkl").write_bytes(pickle.dumps(fitted()))
    (tmp_path / "MLmodel").write_text("flavors: {}\n")
    report = scan_model(tmp_path, policy="refuse")
    assert report.files == ("model.pkl",)
    assert (report.dangerous, report.unreadable) == ((), ())
    assert any("LogisticRegression" in finding.imported for finding in report.findings)


@pytest.mark.parametrize("compress", [0, 3, ("gzip", 3), ("bz2", 3), ("xz", 3), ("lzma", 3)])
def test_a_joblib_file_is_read_to_its_first_array_and_said_so(tmp_path: Path, compress: object) -> None:
    joblib.dump({"before": Evil(), "model": fitted()}, tmp_path / "model.joblib", compress=compress)
    report = scan_model(tmp_path)
    assert [finding.imported for finding in report.dangerous] == ["posix.system"]
    assert report.unreadable == ("model.joblib",)


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize("name", ["model", "model.sav", "model.model", "model.txt", "model.bin", "model.npy", "m.data"])
def test_a_command_is_found_in_every_protocol_and_under_every_name(tmp_path: Path, protocol: int, name: str) -> None:
    (tmp_path / name).write_bytes(pickle.dumps(Evil(), protocol=protocol))
    with pytest.raises(ModelNotDeployableError, match=rf"{name} imports posix\.system"):
        scan_model(tmp_path, policy="refuse")


# A name with hyphens, and a module that takes any number of them.
SYSCONFIG = f"c{sysconfig._get_sysconfigdata_name()}\nbuild_time_vars\n0".encode()  # type: ignore[attr-defined]
TRICKS = {
    "cut": EVIL_0[:-1],
    "noise behind": EVIL_0 + b"\xff\xff",
    "a pickle before": b"N." + EVIL_0,
    "a value before": b"N0" + EVIL[2:],
    "infinity": b"Finfinity\n0" + EVIL_0,
    "hyphens": SYSCONFIG + EVIL_0,
    "any name": b"ctorch.ops\nany name\n0" + EVIL_0,
}


@pytest.mark.parametrize("trick", TRICKS.values(), ids=TRICKS)
@pytest.mark.parametrize("name", ["model", "model.bin", "model.pth"])
def test_a_command_runs_before_a_pickle_breaks_off_or_goes_on(tmp_path: Path, trick: bytes, name: str) -> None:
    (tmp_path / name).write_bytes(trick)
    with pytest.raises(ModelNotDeployableError, match=rf"{name} imports posix\.system"):
        scan_model(tmp_path, policy="refuse")


@pytest.mark.parametrize("change", [b"V/tmp\na", b"(V/tmp\ne"])
def test_what_changes_a_thing_that_it_imports_is_a_pickle(tmp_path: Path, change: bytes) -> None:
    """What is on `sys.path` can be imported next."""
    (tmp_path / "model").write_bytes(b"csys\npath\n" + change + b"0ccode\nrun\n.")
    with pytest.raises(ModelNotDeployableError, match=r"model imports sys\.path"):
        scan_model(tmp_path, policy="refuse")


TOLERATED = (b"I0x10\n", b"I1\0 one\n", b"I\0 none\n", b"F1.5\0\n", b"Np1\0 x\n", b"Np1\n0g1\0 x\n", b"S'\xc3\xa9'\n")


@pytest.mark.parametrize("harmless", TOLERATED)
@pytest.mark.parametrize("name", ["model", "model.pkl", "model.bin"])
def test_a_command_behind_what_only_the_unpickler_takes_is_found(tmp_path: Path, harmless: bytes, name: str) -> None:
    """The unpickler goes on to the command: it reads numbers as C does, and torch.load texts as UTF-8."""
    assert pickle.loads(harmless + b".", encoding="utf-8") in {16, 0, 1, 1.5, None, "é"}
    trick = harmless + b"0" + EVIL_0
    for content in (trick, b"\x80\x02" + trick, trick + zipped(b"harmless", "read.me")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ModelNotDeployableError, match=rf"{name} imports posix\.system"):
            scan_model(tmp_path, policy="refuse")


def test_a_command_behind_a_name_that_is_not_ascii_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("of_a_greek")
    module.__dict__["λ"] = 1
    monkeypatch.setitem(sys.modules, "of_a_greek", module)
    harmless = "cof_a_greek\nλ\n".encode()
    assert pickle.loads(harmless + b".") == 1
    (tmp_path / "model").write_bytes(harmless + b"0" + EVIL_0)
    with pytest.raises(ModelNotDeployableError, match=r"model imports posix\.system"):
        scan_model(tmp_path, policy="refuse")


def test_a_cut_pickle_is_not_called_safe(tmp_path: Path) -> None:
    (tmp_path / "model.pkl").write_bytes(zlib.compress(EVIL)[:-10])
    report = scan_model(tmp_path)
    assert report.unreadable == ("model.pkl",)
    with pytest.raises(ModelNotDeployableError, match=r"model\.pkl cannot be read"):
        scan_model(tmp_path, policy="refuse")


def test_a_bomb_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("slipway.images.wrapping.INFLATED_LIMIT_BYTES", 10 << 20)
    (tmp_path / "model.pkl").write_bytes(zlib.compress(bytes(50 << 20)))
    assert scan_model(tmp_path).unreadable == ("model.pkl",)


def test_off_looks_at_nothing_and_the_report_is_json(tmp_path: Path) -> None:
    (tmp_path / "model.pkl").write_bytes(EVIL)
    assert scan_model(tmp_path, policy="off").files == ()
    report = scan_model(tmp_path)
    assert report.findings == (Finding("model.pkl", "posix.system", "dangerous"),)
    assert report.to_dict()["findings"] == ({"file": "model.pkl", "imported": "posix.system", "safety": "dangerous"},)
    assert report.scanner.startswith("picklescan ")


def test_a_report_says_in_a_line_what_it_found() -> None:
    evil, odd = Finding("a.pkl", "posix.system", "dangerous"), Finding("a.pkl", "acme.Model", "suspicious")
    report = ScanReport("picklescan 1", ("a.pkl", "b.pkl"), (evil, odd), ("b.pkl",))
    assert report.summary() == (
        "1 dangerous import, 1 import unknown to the scanner, 1 file not readable to its end (2 files, picklescan 1)"
    )
    assert not report.is_safe
    assert ScanReport("picklescan 1", (), (), ()).summary() == "no pickles (no files, picklescan 1)"
    assert ScanReport("picklescan 1", ("a.pkl",), (), ()).summary() == "nothing dangerous (1 file, picklescan 1)"


def test_a_report_is_held_against_a_policy_that_came_later() -> None:
    report = ScanReport("picklescan 1", ("a.pkl",), (Finding("a.pkl", "posix.system", "dangerous"),), ())
    enforce(report, "warn")
    with pytest.raises(ModelNotDeployableError, match=r"a.pkl imports posix.system"):
        enforce(report, "refuse")
    enforce(ScanReport("picklescan 1", ("a.pkl",), (), ()), "refuse")


def odd_compression() -> bytes:
    """Return a zip archive whose member is packed in a way that this Python does not know."""
    archive = bytearray(zipped(EVIL))
    central = archive.index(b"PK\x01\x02")
    archive[8:10] = archive[central + 10 : central + 12] = struct.pack("<H", 97)
    return bytes(archive)


def encrypted() -> bytes:
    archive = bytearray(zipped(bytes(30), "read.me"))
    archive[archive.index(b"PK\x01\x02") + 8] |= 1
    return bytes(archive)


def deep(content: bytes) -> bytes:
    for _ in range(10):
        content = zipped(content, "inner.zip")
    return content


UNREADABLE = {
    "noise.pkl": bytes(range(255, 0, -1)),
    "noise.sav": b"not a pickle",
    "empty.pickle": b"",
    "noise-and-zip.pkl": b"\xff\xfe" + zipped(b"harmless", "read.me"),
    "text.joblib": b"a model\n",
    "numbers-and-noise.cloudpickle": pickle.dumps([1, 2]) + b"\xff",
    "model.7z": b"7z\xbc\xaf\x27\x1c" + bytes(40),
    "model.rar": b"Rar!\x1a\x07\x01\x00" + bytes(40),
    "model.zst": b"\x28\xb5\x2f\xfd" + bytes(40),
    "old-joblib": b"ZF0x1f" + bytes(40),
    "header.npy": b"\x93NUMPY\x01\x00\x0e\x00{'descr': ((((",
    "odd.zip": odd_compression(),
    "locked.zip": encrypted(),
    "cut.zip": zipped(EVIL)[:-30],
    "cut.tar": tarred(bytes(2000))[:1200],
    "cut.gz": gzip.compress(bytes(2000))[:-9],
    "noise.gz": b"\x1f\x8b\x08" + b"\xff" * 40,
    "noise.zip": zipped(b"noise", "model.pkl"),
    "deep.zip": deep(b"harmless"),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_what_cannot_be_read_is_told_under_warn_and_refused_under_refuse(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(UNREADABLE[name])
    report = scan_model(tmp_path)
    assert report.files == report.unreadable == (name,)
    with pytest.raises(ModelNotDeployableError, match=rf"{name} cannot be read to its end"):
        scan_model(tmp_path, policy="refuse")


def test_a_file_packed_by_lz4_is_readable_where_lz4_is_installed(tmp_path: Path) -> None:
    header = bytes.fromhex("04224d18604082")  # version 1, independent blocks of 64 KiB
    frame = header + struct.pack("<I", len(EVIL) | 1 << 31) + EVIL + bytes(4)
    (tmp_path / "model.pkl").write_bytes(frame)
    report = scan_model(tmp_path)
    if importlib.util.find_spec("lz4"):
        assert [finding.imported for finding in report.dangerous] == ["posix.system"]
    else:
        assert report.unreadable == ("model.pkl",)
    with pytest.raises(ModelNotDeployableError):
        scan_model(tmp_path, policy="refuse")


def test_an_archive_of_too_many_files_is_not_gone_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("slipway.images.wrapping.MEMBERS_LIMIT", 3)
    with zipfile.ZipFile(tmp_path / "many.zip", "w") as archive:
        for number in range(4):
            archive.writestr(str(number), "harmless")
    (tmp_path / "many.sh").write_bytes(b"#!/bin/sh\n" + (tmp_path / "many.zip").read_bytes())
    assert scan_model(tmp_path).unreadable == ("many.sh", "many.zip")


@pytest.mark.parametrize("size_bytes", [100, 3 << 20])  # written at the end, or at once
@pytest.mark.parametrize("pack", ["gzip", "zlib", "tar.gz", "zip in zip", "gzip in zip"])
def test_a_full_disk_is_not_the_models_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pack: str, size_bytes: int
) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "data").write_bytes(PACKED[pack](os.urandom(size_bytes)))
    folders: list[Path] = []

    def full(*, dir: Path) -> object:  # noqa: A002
        folders.append(dir)
        return Path("/dev/full").open("r+b")

    monkeypatch.setattr("slipway.images.wrapping.tempfile.TemporaryFile", full)
    with pytest.raises(StorageUnavailableError, match="No space left on device"):
        scan_model(tmp_path / "model", policy="refuse")
    assert folders == [tmp_path]


def test_a_bomb_in_an_archive_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("slipway.images.wrapping.INFLATED_LIMIT_BYTES", 10 << 20)
    (tmp_path / "model.zip").write_bytes(zipped(b"N0" * (6 << 20), "model.pkl"))
    (tmp_path / "model.tar").write_bytes(tarred(gzip.compress(bytes(50 << 20)), "data"))
    assert scan_model(tmp_path).unreadable == ("model.tar", "model.zip")


def torch_file(path: Path) -> None:
    """Write what ``torch.save`` of 2.x writes of ``{"w": tensor}``, with numbers that look like other formats."""
    tensor = (
        b"\x80\x02}q\x00X\x01\x00\x00\x00wq\x01ctorch._utils\n_rebuild_tensor_v2\nq\x02((X\x07\x00\x00\x00storageq\x03"
        b"ctorch\nFloatStorage\nq\x04X\x01\x00\x00\x000q\x05X\x03\x00\x00\x00cpuq\x06K\x04tq\x07QK\x00K\x04\x85q\x08K\x01"
        b"\x85q\t\x89ccollections\nOrderedDict\nq\n)Rq\x0btq\x0cRq\rs."
    )
    storages = (bytes(16), b"\x78\x9c" + bytes(range(14)), b"]\x00" + b"\xff" * 14, b"\x80\x02" + b"\xff" * 14)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model/data.pkl", tensor)
        archive.writestr("model/byteorder", "little")
        for number, storage in enumerate(storages):
            archive.writestr(f"model/data/{number}", storage)
        archive.writestr("model/version", "3\n")


def onnx_file(path: Path) -> None:
    node = onnx.helper.make_node("Identity", ["x"], ["y"])
    ends = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1]) for name in "xy"]
    onnx.save(onnx.helper.make_model(onnx.helper.make_graph([node], "g", ends[:1], ends[1:])), path)


def spark_folder(path: Path) -> None:
    (path / "metadata").mkdir(parents=True)
    (path / "metadata" / "part-00000").write_text('{"class":"org.apache.spark.ml.PipelineModel","uid":"p"}\n')
    (path / "metadata" / "_SUCCESS").touch()
    (path / "metadata" / ".part-00000.crc").write_bytes(b"crc\x00\x00\x00\x02\x00\x81\x92\xa3\xb4")
    (path / "data").mkdir()
    for codec in ("snappy", "gzip", "zstd"):
        table = pyarrow.table({"v": np.arange(9.0)})
        pyarrow.parquet.write_table(table, path / "data" / f"part-00000.{codec}.parquet", compression=codec)


def dumped_by_cloudpickle(path: Path) -> None:
    path.write_bytes(cloudpickle.dumps(fitted()))


def dumped_by_skops(path: Path) -> None:
    skops.io.dump(fitted(), path)


def written(content: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(content)


# XGBoost and LightGBM are not installed here: the beginnings of what their 3.x and 4.x write.
_UBJ = b"{L\x00\x00\x00\x00\x00\x00\x00\x07learner{L\x00\x00\x00\x00\x00\x00\x00\nattributes{}"
_TREES = b"tree\nversion=v4\nnum_class=1\nnum_tree_per_iteration=1\nlabel_index=0\nmax_feature_idx=1\n"

NORMAL: dict[str, Callable[[Path], object]] = {
    "model.pkl": dumped_by_cloudpickle,
    "plain.joblib": lambda path: joblib.dump({"intercept": 1.0, "names": ["a", "b"]}, path),
    "small.joblib": lambda path: joblib.dump({"names": ["a", "b"]}, path, compress=("lzma", 3)),
    "model.skops": dumped_by_skops,
    "model.json": written(b'{"learner":{"attributes":{},"feature_names":["a","b"]}}'),
    "model.ubj": written(_UBJ),
    "ubj.model": written(_UBJ),
    "model.xgb": written(struct.pack("<f", 0.5) + bytes(132) + b"\x0e\x00\x00\x00\x00\x00\x00\x00binary:logistic"),
    "binary.model": written(b"binf" + struct.pack("<f", 0.5) + bytes(132)),
    "model.lgb": written(_TREES),
    "trees.model": written(_TREES),
    "model.cbm": written(b"CBM1" + struct.pack("<I", 64) + bytes(range(64))),
    "data/model.pth": torch_file,
    "model.onnx": onnx_file,
    "sparkml": spark_folder,
    "weights.bin": written(bytes(range(256))),
    "weights.npy": lambda path: np.save(path, np.arange(4.0)),
    "arrays.npz": lambda path: np.savez(path, a=np.arange(4.0)),
    "words.txt": written(b"Ivory\ncat\ndog\nbird\ngrape\ncat\ndog\nbanana\nRabbit\n"),
    "numbers.txt": written(b"I\n1\nF\n2.5\nL\n3\n"),
    "labels.txt": written(b"cat\ndog\nbird\nRabbit\n(tR."),
    "requirements.txt": written(b"cloudpickle==3.1.2\nnumpy==2.4.1\nscikit-learn==1.8.0\n"),
    "notes.txt": written(b"x\x9c is how this text begins, by chance"),
    "vocabulary.gz": written(gzip.compress(b"one\ntwo\n")),
    "empty.data": written(b""),
    "MLmodel": written(b"flavors:\n  sklearn: {}\n"),
}


@pytest.mark.parametrize("name", NORMAL)
def test_a_normal_model_passes_under_refuse(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    NORMAL[name](tmp_path / name)
    report = scan_model(tmp_path, policy="refuse")
    assert (report.dangerous, report.unreadable) == ((), ())
