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
from granian.net import SocketHolder  # type: ignore[attr-defined]
from granian.server.mp import MPServer

from slipway_serving.board import Board
from slipway_serving.drain import refuse_new_connections, wait_until_accepted
from slipway_serving.settings import SettingsError
from slipway_serving.worker import LOAD_FAILED, make_app

if TYPE_CHECKING:
    from slipway_serving.settings import Settings

BACKLOG = 2048
MAX_CONNECTIONS = 4096
HEADER_TIMEOUT_MILLISECONDS = 30_000
LAME_DUCK_SECONDS = 1.0
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def serve(settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT.

    Returns
    -------
    int
        Exit code: 0 after a drain, ``LOAD_FAILED`` when the model cannot be loaded, 1 when workers keep dying.

    Raises
    ------
    SettingsError
        The address cannot be listened on.
    """
    multiprocessing.set_start_method("fork", force=True)
    for variable in _THREAD_VARIABLES:
        os.environ.setdefault(variable, "1")
    server = Server(settings, listen(settings))
    load: Any = partial(make_app, settings, server.board)
    try:
        server.serve(target_loader=load, wrap_loader=False)
    except SystemExit as stop:
        return server.exit_code or int(stop.code or 0)
    return server.exit_code


def listen(settings: Settings) -> socket.socket:
    """Open the listening socket that all workers share."""
    listener = socket.socket(socket.AF_INET6 if ":" in settings.host else socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        listener.bind((settings.host, settings.port))
    except OSError as error:
        place = f"{settings.host}:{settings.port}"
        raise SettingsError(f"{place} (SLIPWAY_BIND_HOST, SAGEMAKER_BIND_TO_PORT): {error.strerror}") from error
    listener.listen(BACKLOG)
    listener.setblocking(False)
    return listener


class Server(MPServer):
    """granian's process supervisor with one listening socket for all workers and a drain that loses nothing.

    One shared socket, where granian would open one for each worker, has two advantages: a connection goes to a worker
    that is free to take it, and none is reset because the worker whose queue it was in went away.

    Parameters
    ----------
    settings
        How to serve.
    listener
        The listening socket.
    """

    def __init__(self, settings: Settings, listener: socket.socket) -> None:
        self.board = Board(settings.workers)
        self.exit_code = 0
        self._settings = settings
        self._listener = listener
        super().__init__(
            target="slipway_serving",
            address=settings.host,
            port=settings.port,
            interface=Interfaces.RSGI,
            http=HTTPModes.http1,
            http1_settings=HTTP1Settings(header_read_timeout=HEADER_TIMEOUT_MILLISECONDS),
            workers=settings.workers,
            backlog=BACKLOG,
            backpressure=MAX_CONNECTIONS,
            websockets=False,
            log_enabled=False,
            respawn_failed_workers=True,
            workers_kill_timeout=max(1, round(settings.drain_seconds)),
        )

    def _init_shared_socket(self) -> None:
        self._sso: Any = self._listener
        self._shd: Any = SocketHolder(self._listener.fileno(), False, BACKLOG)  # type: ignore[call-arg]
        self._ssp: Any = None

    def _spawn_worker(self, idx: int, target: Any, callback_loader: Any) -> Any:  # type: ignore[override]
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
            refuse_new_connections(self._listener)
            wait_until_accepted(self._listener)
        super().shutdown(exit_code)  # type: ignore[no-untyped-call]
