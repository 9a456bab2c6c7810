"""Stands between the server and one container: starts it, waits for it, and leaves nothing of it behind.

Run as ``python -I -S shim.py``; the first line of its standard input is a JSON object (see ``Spec`` in
``container.py``). When the server closes that pipe, or dies in whatever way, the shim reads the end of the file and
kills the container with all its descendants: it is their subreaper, so none can hide. Its exit code is the
container's. Standard library only, one thread: it has to work where nothing else does.
"""

import contextlib
import ctypes
import json
import os
import pwd  # noqa: F401  (loaded before a chroot takes its files away)
import select
import signal
import sys
import time
from typing import Any

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
CLONE_NEWNS = 0x00020000
CLONE_NEWUSER = 0x10000000
MS_BIND = 0x1000
MS_REC = 0x4000
MS_PRIVATE = 0x40000
KILL_SECONDS = 5.0
_libc = ctypes.CDLL(None, use_errno=True)


def main() -> int:
    """Run one container to its end; with ``--probe`` only find out whether a root file system can be entered."""
    if sys.argv[1:] == ["--probe"]:
        return _probe()
    line = sys.stdin.buffer.readline()
    if not line:
        return 0
    spec = json.loads(line)
    _libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    signal.set_wakeup_fd(wake_write)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _note)
    shim = os.getpid()
    child = os.fork()
    if child == 0:
        _become_container(spec, shim)
    code = _watch(child, wake_read, spec["grace_seconds"])
    _kill_descendants(child)
    return code


_signals: "list[int]" = []


def _note(number: int, _frame: object) -> None:
    _signals.append(number)


def _become_container(spec: "dict[str, Any]", shim: int) -> None:
    """In the child: enter the root file system, drop privileges, execute. Never returns."""
    try:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        os.setsid()
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        if spec["root"]:
            _enter_root(spec["root"])
        os.chdir(spec["folder"])
        if spec["user"] is not None and os.geteuid() == 0:
            os.setgroups([])
            os.setgid(spec["group"])
            os.setuid(spec["user"])
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != shim:
            os._exit(1)
        os.execve(spec["arguments"][0], spec["arguments"], spec["environment"])
    except OSError as error:
        print(f"cannot start {spec['arguments']}: {error}", file=sys.stderr, flush=True)  # noqa: T201
        os._exit(127 if isinstance(error, FileNotFoundError) else 126)


def _probe() -> int:
    try:
        _enter_root("/")
    except OSError:
        return 1
    return 0


def _enter_root(root: str) -> None:
    """Change the root, as root or as the root of a user namespace; with the host's /proc and /dev where allowed."""
    if os.geteuid() != 0:
        _enter_user_namespace()
    if root != "/" and _libc.unshare(CLONE_NEWNS) == 0:
        _mount(None, "/", MS_REC | MS_PRIVATE)
        for name in ("/proc", "/dev"):
            _mount(name, root + name, MS_BIND | MS_REC)
    os.chroot(root)


def _mount(source: "str | None", target: str, flags: int) -> None:
    """Mount, or do without: a container without the right to mount has at least the devices that could be made."""
    _libc.mount(source.encode() if source else None, target.encode(), None, ctypes.c_ulong(flags), None)


def _enter_user_namespace() -> None:
    user, group = os.geteuid(), os.getegid()
    if _libc.unshare(CLONE_NEWUSER) != 0:
        raise OSError(ctypes.get_errno(), "no user namespaces here")
    for name, content in (("setgroups", "deny"), ("uid_map", f"0 {user} 1"), ("gid_map", f"0 {group} 1")):
        with open(f"/proc/self/{name}", "w") as file:  # noqa: PTH123
            file.write(content)


def _watch(child: int, wake: int, grace_seconds: float) -> int:
    """Until the container ends, or somebody wants it to: then it has so long to do so by itself."""
    deadline = None
    while True:
        wait = None if deadline is None else max(0.0, deadline - time.monotonic())
        readable, _, _ = select.select([wake] + ([0] if deadline is None else []), [], [], wait)
        if wake in readable:
            os.read(wake, 64)
        code = _reap(child)
        if code is not None:
            return code
        wanted = any(number != signal.SIGCHLD for number in _signals)
        _signals.clear()
        if deadline is None and (wanted or (0 in readable and not os.read(0, 4096))):
            deadline = time.monotonic() + grace_seconds
            _signal_group(child, signal.SIGTERM)
        elif deadline is not None and time.monotonic() >= deadline:
            _signal_group(child, signal.SIGKILL)
            deadline = time.monotonic() + KILL_SECONDS


def _reap(child: int) -> "int | None":
    """Collect whoever has ended; the container's exit code when it is among them."""
    while True:
        try:
            ended, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return 0
        if ended == 0:
            return None
        if ended == child:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def _signal_group(child: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child, number)


def _kill_descendants(child: int) -> None:
    """Kill what the container left running: its group, then whoever was handed to us."""
    _signal_group(child, signal.SIGKILL)
    for _ in range(100):
        left = _children()
        if not left:
            return
        for process in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def _children() -> "list[int]":
    try:
        with open(f"/proc/self/task/{os.getpid()}/children") as file:  # noqa: PTH123
            return [int(number) for number in file.read().split()]
    except OSError:
        return []


if __name__ == "__main__":
    sys.exit(main())
