"""The main process: listens, starts one worker per core, replaces workers that die, drains on SIGTERM."""

from __future__ import annotations

import multiprocessing
import os
import socket
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.net import SocketHolder
from granian.server.mp import MPServer

from slipway_serving.board import Board
from slipway_serving.drain import refuse_new_connections, wait_until_accepted
from slipway_serving.worker import LOAD_FAILED, make_app

if TYPE_CHECKING:
    from collections.abc import Callable

    from slipway_serving.settings import Settings

BACKLOG = 2048
MAX_CONNECTIONS = 4096
LAME_DUCK_SECONDS = 1.0
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def serve(settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT.

    Returns
    -------
    int
        Exit code: 0 after a drain, ``LOAD_FAILED`` when the model cannot be loaded, 1 when workers keep dying.
    """
    multiprocessing.set_start_method("fork", force=True)
    for variable in _THREAD_VARIABLES:
        os.environ.setdefault(variable, "1")
    server = Server(settings)
    try:
        server.serve(target_loader=partial(make_app, settings, server.board), wrap_loader=False)
    except SystemExit as stop:
        return server.exit_code or int(stop.code or 0)
    return server.exit_code


class Server(MPServer):
    """granian's process supervisor with one listening socket for all workers and a drain that loses nothing.

    One shared socket, where granian would open one for each worker, has two advantages: a connection goes to a worker
    that is free to take it, and none is reset because the worker whose queue it was in went away.
    """

    def __init__(self, settings: Settings) -> None:
        self.board = Board(settings.workers)
        self.exit_code = 0
        self._settings = settings
        super().__init__(
            target="slipway_serving",
            address=settings.host,
            port=settings.port,
            interface=Interfaces.RSGI,
            http=HTTPModes.http1,
            http1_settings=HTTP1Settings(header_read_timeout=30_000),
            workers=settings.workers,
            backlog=BACKLOG,
            backpressure=MAX_CONNECTIONS,
            websockets=False,
            log_enabled=False,
            respawn_failed_workers=True,
            workers_kill_timeout=max(1, round(settings.drain_seconds)),
        )

    def _init_shared_socket(self) -> None:
        family = socket.AF_INET6 if ":" in self.bind_addr else socket.AF_INET
        self._sso = socket.socket(family, socket.SOCK_STREAM)
        self._sso.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._sso.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sso.bind((self.bind_addr, self.bind_port))
        self._sso.listen(BACKLOG)
        self._sso.setblocking(False)
        self._sfd = self._sso.fileno()
        self._shd = SocketHolder(self._sfd, False, BACKLOG)
        self._ssp = None

    def _spawn_worker(self, idx: int, target: Any, callback_loader: Callable[..., Any]) -> Any:
        return super()._spawn_worker(idx, target, partial(callback_loader, idx))

    def _respawn_workers(self, workers: Any, spawn_target: Any, target_loader: Any, delay: float = 0) -> None:
        if any(self.wrks[index].inner.exitcode == LOAD_FAILED for index in workers):
            self.exit_code = LOAD_FAILED
            self.interrupt_signal = True
            self.main_loop_interrupt.set()
            return
        super()._respawn_workers(workers, spawn_target, target_loader, delay)

    def shutdown(self, exit_code: int = 0) -> None:
        """Drain, then stop the workers."""
        if not self.exit_code:
            self.board.start_draining()
            time.sleep(min(LAME_DUCK_SECONDS, self._settings.drain_seconds))
            refuse_new_connections(self._sso)
            wait_until_accepted(self._sso)
        super().shutdown(exit_code)
