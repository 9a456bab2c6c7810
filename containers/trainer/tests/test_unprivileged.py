"""Giving up root, in processes of their own: what is given up does not come back."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give up root")
NOBODYS = 48_213  # a user id that no machine has a name for


def as_other(code: str, passwd: Path, user: int = NOBODYS) -> list[str]:
    """Run code after root was given up, with another file for users' names; returns its lines."""
    script = f"""
        import os, sys
        from pathlib import Path
        from slipway_trainer import unprivileged
        unprivileged.PASSWD = Path({str(passwd)!r})
        unprivileged.give_up_root([Path({str(passwd.parent)!r}) / "out" / "data"])
        {code}
    """
    environment = {**os.environ, "SLIPWAY_RUN_AS": str(user), "HOME": "/tmp"}
    call = [sys.executable, "-c", textwrap.dedent(script)]
    done = subprocess.run(call, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_it_goes_on_as_that_user_who_has_a_name_and_folders_then(tmp_path):
    passwd = tmp_path / "passwd"
    passwd.write_text("root:x:0:0::/root:/bin/sh")
    *_, who = as_other("print(os.getuid(), os.getgid(), os.getgroups())", passwd)
    assert who == f"{NOBODYS} {NOBODYS} []"
    assert (tmp_path / "out" / "data").stat().st_uid == NOBODYS
    lines = passwd.read_text().splitlines()
    assert lines == ["root:x:0:0::/root:/bin/sh", f"slipway:x:{NOBODYS}:{NOBODYS}::/tmp:/bin/false"]
    assert (passwd.stat().st_uid, passwd.stat().st_mode & 0o777) == (0, 0o644)


def test_a_system_without_names_gets_its_first(tmp_path):
    as_other("pass", tmp_path / "passwd")
    assert (tmp_path / "passwd").read_text() == f"slipway:x:{NOBODYS}:{NOBODYS}::/tmp:/bin/false\n"


def test_a_user_with_a_name_keeps_it(tmp_path):
    import pwd

    known = next(entry.pw_uid for entry in pwd.getpwall() if entry.pw_uid)
    as_other("pass", tmp_path / "passwd", user=known)
    assert not (tmp_path / "passwd").exists()


def test_where_no_name_can_be_entered_what_needs_none_goes_on(tmp_path):
    (tmp_path / "passwd").mkdir()
    told = as_other("print(os.getuid())", tmp_path / "passwd")
    assert told[-1] == str(NOBODYS)
    assert any("has no name" in line and "Spark will not start" in line for line in told)
