"""Put up the sandbox's wall around a child, run the model environment's Python in it, and outlive nobody.

Started by ``slipway.artifacts.sandbox`` as ``python -I -S start.py <settings as JSON>``. Lines of JSON on the
descriptor ``status`` tell how it goes: ``{"layers": [...]}`` or ``{"refused": "<why>"}``, then ``{"code": <number>}``.
Whatever happens, to this process or to the worker, the whole process group is killed.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

_PR_SET_PDEATHSIG, _PR_CAPBSET_DROP = 1, 24
_CLONE_NEWUSER, _CLONE_NEWNET, _CLONE_NEWIPC = 0x10000000, 0x40000000, 0x08000000
_LAST_CAPABILITY = 63
_LINUX = sys.platform.startswith("linux")


def main(settings: dict[str, Any]) -> None:
    """Run ``settings["command"]`` behind the wall, tell its exit code, then kill the group, this process included."""
    child = os.fork()
    if child == 0:
        _become(settings)
    os.close(0)  # so that the worker notices when nobody reads its request
    threading.Thread(target=_die_with_worker, args=(settings["lifeline"],), daemon=True).start()
    _, ended = os.waitpid(child, 0)
    _tell(settings["status"], {"code": os.waitstatus_to_exitcode(ended)})
    os.killpg(0, signal.SIGKILL)


def confine(settings: dict[str, Any]) -> list[str]:
    """Apply every layer that this machine has; those that must not fail raise OSError.

    Returns:
        The names of the layers in force.
    """
    os.umask(0o077)
    _limit(settings)
    layers = ["limits"]
    if not _LINUX:
        return layers
    if _leave_network():
        layers.append("namespace")
    # After the namespace: a change of credentials clears the signal.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL), 0, 0, 0)
    from slipway.artifacts.confined import landlock, seccomp

    if landlock.restrict(settings["readable"], settings["writable"]):
        layers.append("landlock")
    try:
        seccomp.install()
    except OSError as error:
        raise OSError(error.errno, f"no seccomp filter can be installed: {error.strerror}") from None
    return [*layers, "seccomp"]


def _become(settings: dict[str, Any]) -> None:
    """In the child: confine it, report, and execute the command."""
    status = settings["status"]
    try:
        os.close(settings["lifeline"])
        _tell(status, {"layers": confine(settings)})
        os.set_inheritable(status, False)
        os.execve(settings["command"][0], settings["command"], settings["environment"])
    except OSError as error:
        _tell(status, {"refused": f"{error.strerror} (before {settings['command'][0]})"})
    os._exit(1)


def _limit(settings: dict[str, Any]) -> None:
    wanted = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: settings["file_bytes"],
        resource.RLIMIT_NOFILE: settings["open_files"],
        resource.RLIMIT_NPROC: settings["processes"],
        # Not RLIMIT_AS: numerical libraries reserve address space by the gigabyte that they never touch. RLIMIT_DATA
        # counts writable private memory only, mapped files and reservations without rights not.
        resource.RLIMIT_DATA: settings["memory_bytes"],
    }
    for kind, value in wanted.items():
        _lower(kind, value, value)
    _lower(resource.RLIMIT_CPU, settings["cpu_seconds"], settings["cpu_seconds"] + 2)  # SIGXCPU, then SIGKILL


def _lower(kind: int, soft: int, hard: int) -> None:
    present = resource.getrlimit(kind)[1]
    if present != resource.RLIM_INFINITY:
        soft, hard = min(soft, present), min(hard, present)
    with suppress(ValueError, OSError):  # macOS does not know all of them
        resource.setrlimit(kind, (soft, hard))


def _leave_network() -> bool:
    """Move into a user, network and IPC namespace of our own where the machine permits it, and drop its rights."""
    uid, gid = os.getuid(), os.getgid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET | _CLONE_NEWIPC):
        return False
    for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
        with suppress(OSError):
            Path(f"/proc/self/{name}").write_text(text)
    for capability in range(_LAST_CAPABILITY + 1):
        libc.prctl(_PR_CAPBSET_DROP, ctypes.c_ulong(capability), 0, 0, 0)
    return True


def _die_with_worker(lifeline: int) -> None:
    os.read(lifeline, 1)  # the worker never writes: this returns when the worker is gone
    os.killpg(0, signal.SIGKILL)


def _tell(status: int, message: dict[str, Any]) -> None:
    os.write(status, json.dumps(message).encode() + b"\n")


if __name__ == "__main__":
    # -I and -S keep everything but the standard library away; our own modules are found by their place.
    sys.path.append(str(Path(__file__).resolve().parents[3]))
    main(json.loads(sys.argv[1]))
