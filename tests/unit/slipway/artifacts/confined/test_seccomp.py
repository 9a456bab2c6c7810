"""The filter is interpreted here, so that the other machine's table is tested too."""

from __future__ import annotations

import errno
import struct

import pytest

from slipway.artifacts.confined.seccomp import ARCHITECTURES, Architecture, build_filter

ALLOW, KILL = 0x7FFF0000, 0x80000000
AF_UNIX, AF_INET, AF_INET6, AF_NETLINK = 1, 2, 10, 16
CLONE_THREAD_FLAGS, CLONE_NEWUSER, CLONE_NEWTIME = 0x3D0F00, 0x10000000, 0x80


def decide(machine: Architecture, number: int, *arguments: int, audit: int | None = None) -> int:
    """Run the program as the kernel would."""
    padded = [*arguments, 0, 0, 0, 0, 0, 0][:6]
    data = struct.pack("=IIQ6Q", number, machine.audit if audit is None else audit, 0, *padded)
    program = list(struct.iter_unpack("=HBBI", build_filter(machine)))
    accumulator = position = 0
    while True:
        code, if_true, if_false, value = program[position]
        position += 1
        if code == 0x20:
            (accumulator,) = struct.unpack_from("=I", data, value)
        elif code == 0x06:
            return value
        else:
            holds = {0x15: accumulator == value, 0x35: accumulator >= value, 0x45: bool(accumulator & value)}[code]
            position += if_true if holds else if_false


def refusal(number: int) -> int:
    return 0x00050000 | number


@pytest.fixture(params=ARCHITECTURES.values(), ids=ARCHITECTURES)
def machine(request: pytest.FixtureRequest) -> Architecture:
    return request.param


@pytest.mark.parametrize("family", [AF_UNIX, AF_INET, AF_INET6, AF_NETLINK, 0xFFFFFFFF])
def test_no_socket_of_any_family(machine: Architecture, family: int) -> None:
    assert decide(machine, machine.socket, family) == refusal(errno.EACCES)


def test_pairs_of_local_sockets_only(machine: Architecture) -> None:
    assert decide(machine, machine.socketpair, AF_UNIX) == ALLOW
    assert decide(machine, machine.socketpair, AF_INET) == refusal(errno.EACCES)


def test_every_listed_call_is_refused(machine: Architecture) -> None:
    assert len(machine.refused) > 30
    for number in machine.refused.values():
        assert decide(machine, number) == refusal(errno.EPERM)


def test_threads_and_processes_but_no_namespaces(machine: Architecture) -> None:
    assert decide(machine, machine.clone, CLONE_THREAD_FLAGS) == ALLOW
    assert decide(machine, machine.clone, CLONE_NEWUSER) == refusal(errno.EPERM)
    assert decide(machine, machine.clone, CLONE_NEWTIME) == refusal(errno.EPERM)
    assert decide(machine, machine.clone3) == refusal(errno.ENOSYS)


def test_all_other_calls_are_allowed(machine: Architecture) -> None:
    special = {*machine.refused.values(), machine.socket, machine.socketpair, machine.clone, machine.clone3}
    assert all(decide(machine, number) == ALLOW for number in range(600) if number not in special)


def test_another_machines_numbering_kills(machine: Architecture) -> None:
    i386 = 0x40000003
    assert decide(machine, machine.socket, audit=i386) == KILL
    assert decide(machine, 0x40000000 | machine.socket) == KILL


def test_both_machines_refuse_the_same_calls_and_no_number_twice() -> None:
    names = [set(machine.refused) for machine in ARCHITECTURES.values()]
    assert names[0] == names[1]
    for machine in ARCHITECTURES.values():
        assert len(set(machine.refused.values())) == len(machine.refused)
