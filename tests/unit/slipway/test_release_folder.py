from __future__ import annotations

from typing import Any

import pytest

from slipway.artifacts.engine import EngineChoice
from slipway.documents import DocumentStore
from slipway.errors import PermanentError
from slipway.images.pickle_scan import Finding, ScanReport
from slipway.release_folder import ReleaseFolder

RELEASE = "0123456789ab"
CHOICE = EngineChoice({"engine.json": b'{"engine": "native"}', "program.json": b"{}", "program.npz": b"\x00"})


@pytest.fixture
def folder(memory_s3: Any) -> ReleaseFolder:
    return ReleaseFolder(DocumentStore(memory_s3, "bucket"), "flights", RELEASE)


def test_a_file_is_written_once(folder: ReleaseFolder, memory_s3: Any) -> None:
    assert folder.write_once("bom.json", b"1") == b"1"
    assert folder.write_once("bom.json", b"2") == b"1"
    assert memory_s3.objects == {f"releases/flights/{RELEASE}/bom.json": b"1"}
    assert len(memory_s3.writes()) == 1


def test_an_engine_is_kept_and_found(folder: ReleaseFolder, memory_s3: Any) -> None:
    assert folder.engine() is None
    assert folder.keep_engine(CHOICE) == CHOICE
    assert folder.engine() == CHOICE
    assert memory_s3.writes()[-1].endswith("engine/engine.json")
    other = EngineChoice({"engine.json": b'{"engine": "pyfunc"}'})
    assert folder.keep_engine(other) == CHOICE


def test_what_a_broken_off_try_left_does_not_count(folder: ReleaseFolder, memory_s3: Any) -> None:
    memory_s3.objects[f"releases/flights/{RELEASE}/engine/program.npz"] = b"older"
    assert folder.engine() is None
    folder.keep_engine(CHOICE)
    assert folder.engine() == CHOICE


def test_a_scan_is_read_back_as_it_was(folder: ReleaseFolder) -> None:
    assert folder.scan() is None
    report = ScanReport("picklescan 1", ("a.pkl",), (Finding("a.pkl", "posix.system", "dangerous"),), ("b.pkl",))
    folder.keep_scan(report)
    assert folder.scan() == report


def test_the_id_must_be_one(memory_s3: Any) -> None:
    with pytest.raises(PermanentError, match="12 hex digits"):
        ReleaseFolder(DocumentStore(memory_s3, "bucket"), "flights", "../other")
