from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import pickle
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import joblib
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from slipway.errors import ModelNotDeployableError
from slipway.images.pickle_scan import Finding, ScanReport, enforce, scan_model


class Evil:
    """Runs a command when it is unpickled; the tests never do that."""

    def __reduce__(self) -> tuple[object, tuple[str, ...]]:
        return os.system, ("touch /tmp/should-never-exist",)


EVIL = pickle.dumps(Evil())


def fitted() -> LogisticRegression:
    return LogisticRegression().fit(np.arange(8.0).reshape(4, 2), [0, 1, 0, 1])


def zipped(content: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("data.pkl", content)
    return out.getvalue()


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress, lzma.compress, zlib.compress, zipped])
@pytest.mark.parametrize("name", ["model.pkl", "code/harmless.txt"])
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


@pytest.mark.parametrize("compress", [0, 3, ("gzip", 3), ("xz", 3)])
def test_a_joblib_file_is_read_to_its_first_array_and_said_so(tmp_path: Path, compress: object) -> None:
    joblib.dump({"before": Evil(), "model": fitted()}, tmp_path / "model.joblib", compress=compress)
    report = scan_model(tmp_path)
    assert [finding.imported for finding in report.dangerous] == ["posix.system"]
    assert report.unreadable == ("model.joblib",)


def test_a_cut_pickle_is_not_called_safe(tmp_path: Path) -> None:
    (tmp_path / "model.pkl").write_bytes(zlib.compress(EVIL)[:-10])
    report = scan_model(tmp_path)
    assert report.unreadable == ("model.pkl",)
    with pytest.raises(ModelNotDeployableError, match=r"model\.pkl cannot be read"):
        scan_model(tmp_path, policy="refuse")


def test_a_bomb_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("slipway.images.pickle_scan._INFLATED_LIMIT_BYTES", 10 << 20)
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
