"""Is a port free, and if not: who holds it?"""

from __future__ import annotations

import contextlib
import socket

import psutil

from demo.errors import DemoError
from demo.stack.settings import HOST


def check_free(port: int, variable: str) -> None:
    """Raises when something listens on the port.

    Args:
        port: TCP port on loopback.
        variable: Environment variable that chooses another one, for the message.

    Raises:
        DemoError: The port is busy; names the holder where the system tells it.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except PermissionError as error:
            raise DemoError(f"no right to use port {port}; choose one above 1023: {variable}=<port>.") from error
        except OSError as error:
            raise DemoError(
                f"port {port} is held by {_holder(port)}; stop it or choose another port: {variable}=<port>."
            ) from error


def is_listening(port: int) -> bool:
    """True when somebody accepts connections on the loopback port."""
    with contextlib.suppress(OSError), socket.create_connection((HOST, port), timeout=1):
        return True
    return False


def _holder(port: int) -> str:
    with contextlib.suppress(psutil.Error, OSError):
        for connection in psutil.net_connections(kind="tcp"):
            if connection.laddr and connection.laddr.port == port and connection.status == psutil.CONN_LISTEN:
                return _describe(connection.pid)
    return "another program"


def _describe(pid: int | None) -> str:
    if pid is None:
        return "another user's program"
    try:
        command = " ".join(psutil.Process(pid).cmdline())
    except psutil.Error:
        command = "?"
    return f"process {pid} ({command[:80]})"
