"""Ends the stack when the program that started it is gone, in whatever way.

``python -m demo.stack.keeper STATE_DIR`` reads its standard input, whose other end the starting program holds: its end
means that the program has ended, also when it was killed. ``let go`` before it means: leave the stack alone.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from demo.stack.components import base_environment
from demo.stack.processes import MARK
from demo.stack.settings import ROOT, StackSettings, load_settings
from demo.stack.supervisor import stop_stack

_LET_GO = b"let go"


@contextlib.contextmanager
def kept(settings: StackSettings) -> Iterator[None]:
    """While open, the stack ends with this process. Leaving it normally leaves the stack alone."""
    environment = base_environment(settings)
    del environment[MARK]  # it must not end itself
    settings.logs_dir.mkdir(parents=True, exist_ok=True)
    with (settings.logs_dir / "keeper.log").open("ab") as log:
        keeper = subprocess.Popen(
            [sys.executable, "-m", "demo.stack.keeper", str(settings.state_dir)],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            env=environment,
            cwd=ROOT,
            start_new_session=True,
        )
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            keeper.communicate(_LET_GO, timeout=10)


def main(state_dir: str) -> None:
    """Waits for the end of standard input, then stops the stack."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    if os.read(0, len(_LET_GO)) != _LET_GO:
        stop_stack(load_settings(Path(state_dir)))


if __name__ == "__main__":
    main(sys.argv[1])
