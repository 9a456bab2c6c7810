from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from slipway.images.cache import default_cache_dir, work_folder


def test_the_cache_folder_is_the_machines_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SLIPWAY_CACHE_DIR", str(tmp_path))
    assert default_cache_dir() == tmp_path
    monkeypatch.delenv("SLIPWAY_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert default_cache_dir() == tmp_path / "xdg" / "slipway"


def left_behind(cache: Path, *, locked: bool, old: bool) -> Path:
    folder = cache / f"build-{locked}-{old}"
    folder.mkdir(parents=True)
    (folder / "model.bin").write_bytes(b"x")
    (folder / ".in-use").touch()
    if old:
        an_hour_ago = time.time() - 3600
        os.utime(folder, (an_hour_ago, an_hour_ago))
    return folder


def test_what_a_killed_build_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    abandoned = left_behind(tmp_path, locked=False, old=True)
    in_use = left_behind(tmp_path, locked=True, old=True)
    just_made = left_behind(tmp_path, locked=False, old=False)
    other = tmp_path / "environments"
    other.mkdir()
    with (in_use / ".in-use").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with work_folder(tmp_path, "build-") as folder:
            assert folder.is_dir()
            present = set(tmp_path.iterdir())
    assert abandoned not in present
    assert {in_use, just_made, other} <= present
    assert not folder.exists()


def test_a_folder_is_its_process_s_until_that_dies(tmp_path: Path) -> None:
    script = "import sys, time; from pathlib import Path; from slipway.images.cache import work_folder\n"
    script += "with work_folder(Path(sys.argv[1]), 'build-') as folder: print(folder, flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdout
        folder = Path(worker.stdout.readline().strip())
        an_hour_ago = time.time() - 3600
        os.utime(folder, (an_hour_ago, an_hour_ago))
        with work_folder(tmp_path, "build-"):
            assert folder.is_dir()
        worker.kill()
    os.utime(folder, (an_hour_ago, an_hour_ago))
    with work_folder(tmp_path, "build-"):
        assert not folder.exists()
