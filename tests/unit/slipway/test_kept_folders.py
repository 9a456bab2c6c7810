from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from slipway.kept_folders import in_use, note_use, prune


def kept(folder: Path, name: str, age_seconds: float, size_bytes: int = 1000) -> Path:
    place = folder / name
    (place / "deep").mkdir(parents=True)
    (place / "deep" / "file").write_bytes(bytes(size_bytes))
    then = time.time() - age_seconds
    os.utime(place, (then, then))
    return place


def test_those_used_longest_ago_go_until_all_are_within_the_limit(tmp_path: Path) -> None:
    old, older, new = kept(tmp_path, "old", 200), kept(tmp_path, "older", 300), kept(tmp_path, "new", 100)
    prune([old, older, new], 3000)
    assert all(place.is_dir() for place in (old, older, new))
    prune([old, older, new], 2999)
    assert (older.exists(), old.exists(), new.exists()) == (False, True, True)
    note_use(old)
    prune([old, new], 0)
    assert (old.exists(), new.exists()) == (True, False)


def test_what_was_used_a_moment_ago_stays_when_that_is_asked_for(tmp_path: Path) -> None:
    old, new = kept(tmp_path, "old", 200), kept(tmp_path, "new", 100)
    prune([old, new], 0, idle_seconds=250)
    assert old.exists()
    prune([old, new], 0, idle_seconds=150)
    assert not old.exists()


def test_what_is_in_use_stays_until_its_process_dies(tmp_path: Path) -> None:
    old, new = kept(tmp_path, "old", 200), kept(tmp_path, "new", 0)
    script = "import sys, time; from pathlib import Path; from slipway.kept_folders import in_use\n"
    script += "with in_use(Path(sys.argv[1])): print('now', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", script, str(old)], stdout=subprocess.PIPE, text=True) as user:
        assert user.stdout
        assert user.stdout.readline() == "now\n"
        os.utime(old, (1e9, 1e9))
        prune([old, new], 0)
        assert old.is_dir()
        user.kill()
    prune([old, new], 0)
    assert not old.exists()


def test_a_use_is_noted_at_its_beginning_and_its_end(tmp_path: Path) -> None:
    place = kept(tmp_path, "place", 200)
    with in_use(place):
        assert time.time() - place.stat().st_mtime < 100
        os.utime(place, (1e9, 1e9))
    assert time.time() - place.stat().st_mtime < 100
    with in_use(tmp_path / "to" / "come"):
        pass


def test_what_was_half_dropped_goes_with_the_next_and_a_missing_folder_is_fine(tmp_path: Path) -> None:
    half, new = kept(tmp_path, ".dropped-old", 200), kept(tmp_path, "new", 0)
    prune([new, tmp_path / "gone"], 1 << 30)
    assert not half.exists()
    assert new.is_dir()
