"""What one worker process does before it accepts requests: load, self-test, build the application."""

from __future__ import annotations

import ctypes
import gc
import logging
import os
import signal
import time
from typing import TYPE_CHECKING

import numpy as np

from slipway_serving.accesslog import AccessLog, configure_logging
from slipway_serving.app import App
from slipway_serving.engines.build import load_engine
from slipway_serving.selftest import run_self_test

if TYPE_CHECKING:
    from slipway_serving.board import Board
    from slipway_serving.settings import Settings

_logger = logging.getLogger(__name__)

LOAD_FAILED = 3
_PR_SET_PDEATHSIG = 1


def make_app(settings: Settings, board: Board, worker: int) -> App:
    """Load the model in this process and return its application.

    Parameters
    ----------
    settings
        How to serve.
    board
        Shared counters.
    worker
        Number of this worker, from 0.

    Raises
    ------
    SystemExit
        With ``LOAD_FAILED`` when the model cannot be loaded; the reason is in the log.
    """
    # Until granian sets its own handlers: those of the main process, which this one was forked from, only take notes.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _tie_to_parent()
    row = board.row(worker)
    row.clear_gauges()
    configure_logging()
    np.seterr(all="ignore")  # a row with an odd number is an odd answer, not a line in the log
    started = time.perf_counter()
    try:
        engine = load_engine(settings.model_dir, settings.explain)
        self_test = run_self_test(settings.model_dir, engine.answer, explain=bool(settings.explain))
    except BaseException:  # a model's SystemExit or a panic of an extension in Rust would be tried again without end
        _logger.exception("the model in %s cannot be served", settings.model_dir)
        raise SystemExit(LOAD_FAILED) from None
    seconds = time.perf_counter() - started
    gc.collect()
    gc.freeze()  # the model is here to stay: collections need not look at it
    row.set("load_seconds", seconds)
    row.set("ready", 1.0 if self_test.passed else 0.0)
    if self_test.passed:
        _logger.info("worker %d: engine %s, %.2f s, %d golden rows agree", worker, engine.name, seconds, self_test.rows)
    else:
        _logger.error("worker %d: self-test failed: %s", worker, self_test.reason)
    return App(settings, engine, self_test, board, row, AccessLog(enabled=settings.access_log, worker=worker))


def _tie_to_parent() -> None:
    """Leave the parent's process group, so that only the parent stops this worker, and die when it dies."""
    os.setpgid(0, 0)
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
