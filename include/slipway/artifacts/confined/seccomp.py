"""A seccomp filter: no sockets, no new sessions, no other processes' memory, no changes to the system.

The filter is a classic BPF program over ``struct seccomp_data`` (offsets below), see
https://docs.kernel.org/userspace-api/seccomp_filter.html. Numbers are those of ``asm/unistd_64.h`` (x86_64) and
``asm-generic/unistd.h`` (aarch64).
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from dataclasses import dataclass

_LOAD, _JUMP_EQUAL, _JUMP_GREATER_EQUAL, _JUMP_BITS, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCHITECTURE, _ARGUMENT_0 = 0, 4, 16
_KILL, _ERRNO, _ALLOW = 0x80000000, 0x00050000, 0x7FFF0000
_X32 = 0x40000000  # x86_64's second numbering of the same calls
_AF_UNIX = 1
_NEW_NAMESPACES = 0x7E020080  # every CLONE_NEW* flag of clone(2)
_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _MODE_FILTER = 38, 22, 2


@dataclass(frozen=True)
class Architecture:
    """A machine as seccomp names it, and the numbers of the calls that the filter looks at."""

    audit: int
    socket: int
    socketpair: int
    clone: int
    clone3: int
    refused: dict[str, int]


_SAME_EVERYWHERE = {
    "pidfd_getfd": 438, "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427, "open_tree": 428,
    "move_mount": 429, "fsopen": 430, "fsmount": 432, "mount_setattr": 442,
}  # fmt: skip
ARCHITECTURES = {
    "x86_64": Architecture(0xC000003E, socket=41, socketpair=53, clone=56, clone3=435, refused=_SAME_EVERYWHERE | {
        "setpgid": 109, "setsid": 112, "ptrace": 101, "process_vm_readv": 310, "process_vm_writev": 311, "bpf": 321,
        "perf_event_open": 298, "userfaultfd": 323, "mount": 165, "umount2": 166, "pivot_root": 155, "chroot": 161,
        "unshare": 272, "setns": 308, "add_key": 248, "request_key": 249, "keyctl": 250, "open_by_handle_at": 304,
        "init_module": 175, "finit_module": 313, "delete_module": 176, "kexec_load": 246, "kexec_file_load": 320,
        "reboot": 169, "swapon": 167, "swapoff": 168, "acct": 163, "settimeofday": 164, "clock_settime": 227,
        "sethostname": 170, "setdomainname": 171,
    }),
    "aarch64": Architecture(0xC00000B7, socket=198, socketpair=199, clone=220, clone3=435, refused=_SAME_EVERYWHERE | {
        "setpgid": 154, "setsid": 157, "ptrace": 117, "process_vm_readv": 270, "process_vm_writev": 271, "bpf": 280,
        "perf_event_open": 241, "userfaultfd": 282, "mount": 40, "umount2": 39, "pivot_root": 41, "chroot": 51,
        "unshare": 97, "setns": 268, "add_key": 217, "request_key": 218, "keyctl": 219, "open_by_handle_at": 265,
        "init_module": 105, "finit_module": 273, "delete_module": 106, "kexec_load": 104, "kexec_file_load": 294,
        "reboot": 142, "swapon": 224, "swapoff": 225, "acct": 89, "settimeofday": 170, "clock_settime": 112,
        "sethostname": 161, "setdomainname": 162,
    }),
}  # fmt: skip


def build_filter(machine: Architecture) -> bytes:
    """The BPF program for one machine, as an array of ``struct sock_filter``.

    Refused calls return EPERM (``socket``: EACCES, as a firewall would; ``clone3``: ENOSYS, so that the C library falls
    back to ``clone``, whose flags a filter can see). A call in another machine's numbering kills the process.
    """
    program = [
        _op(_LOAD, _ARCHITECTURE),
        _op(_JUMP_EQUAL, machine.audit, 1, 0),
        _op(_RETURN, _KILL),
        _op(_LOAD, _NUMBER),
        _op(_JUMP_GREATER_EQUAL, _X32, 0, 1),
        _op(_RETURN, _KILL),
    ]
    for number in sorted(machine.refused.values()):
        program += [_op(_JUMP_EQUAL, number, 0, 1), _op(_RETURN, _ERRNO | errno.EPERM)]
    program += [
        _op(_JUMP_EQUAL, machine.socket, 0, 1),
        _op(_RETURN, _ERRNO | errno.EACCES),
        _op(_JUMP_EQUAL, machine.clone3, 0, 1),
        _op(_RETURN, _ERRNO | errno.ENOSYS),
        _op(_JUMP_EQUAL, machine.socketpair, 0, 4),
        _op(_LOAD, _ARGUMENT_0),
        _op(_JUMP_EQUAL, _AF_UNIX, 1, 0),
        _op(_RETURN, _ERRNO | errno.EACCES),
        _op(_RETURN, _ALLOW),
        _op(_JUMP_EQUAL, machine.clone, 0, 3),
        _op(_LOAD, _ARGUMENT_0),
        _op(_JUMP_BITS, _NEW_NAMESPACES, 0, 1),
        _op(_RETURN, _ERRNO | errno.EPERM),
        _op(_RETURN, _ALLOW),
    ]
    return b"".join(program)


def install() -> None:
    """Give up gaining privileges, then install the filter for this process and all it starts. Cannot be undone.

    Raises:
        OSError: the kernel refuses, or there is no filter for this machine.
    """
    machine = ARCHITECTURES.get(platform.machine())
    if machine is None:
        raise OSError(errno.ENOSYS, f"no filter is known for machine {platform.machine()!r}")
    program = build_filter(machine)
    # Both buffers have to live until the kernel has read them.
    instructions = ctypes.create_string_buffer(program, len(program))
    header = ctypes.create_string_buffer(struct.pack("@HP", len(program) // 8, ctypes.addressof(instructions)))
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    _prctl(_PR_SET_SECCOMP, _MODE_FILTER, ctypes.addressof(header))


def _op(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)


def _prctl(option: int, first: int, second: int = 0) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    arguments = [ctypes.c_ulong(value) for value in (first, second, 0, 0)]
    if libc.prctl(option, *arguments):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
