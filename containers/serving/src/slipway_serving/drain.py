"""Closing a listening socket without resetting a connection that the kernel has already accepted."""

from __future__ import annotations

import ctypes
import socket
import struct
import time

_SO_ATTACH_FILTER = 26
_BPF_RETURN_CONSTANT = 0x06
_TCP_INFO_UNACKED = 24


def refuse_new_connections(listener: socket.socket) -> bool:
    """Make the kernel drop packets that would open a new connection, while accepted ones stay in the queue.

    Closing a listening socket resets the connections that wait in its queue. A classic socket filter that lets
    nothing pass stops new handshakes first, so the queue can be emptied before the socket is closed. A client that
    tries meanwhile repeats its SYN and is then refused: nothing that it sent is lost.

    Returns
    -------
    bool
        Whether the kernel took the filter. Without it the drain still works, but for connections of the last moment.
    """
    program = ctypes.create_string_buffer(struct.pack("HBBI", _BPF_RETURN_CONSTANT, 0, 0, 0))
    filter_program = struct.pack("HxxxxxxP", 1, ctypes.addressof(program))
    try:
        listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, filter_program)
    except OSError:
        return False
    return True


def wait_until_accepted(listener: socket.socket, seconds: float = 1.0) -> bool:
    """Wait until the workers have accepted all connections that are in the queue.

    For a listening socket Linux reports the length of its queue in ``tcpi_unacked`` of ``TCP_INFO``.

    Returns
    -------
    bool
        Whether the queue became empty in time.
    """
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        information = listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
        if struct.unpack_from("I", information, _TCP_INFO_UNACKED)[0] == 0:
            return True
        time.sleep(0.01)
    return False
