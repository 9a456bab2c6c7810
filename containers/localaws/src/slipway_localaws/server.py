"""The server: puts the parts together, listens, and cleans up."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
from pathlib import Path

from slipway_localaws.listener import listen
from slipway_localaws.settings import Settings
from slipway_localaws.state_folder import StateFolderBusyError

log = logging.getLogger("slipway_localaws")


def _configure_moto(port: int) -> None:
    """moto reads its settings from the environment when it is imported."""
    os.environ.setdefault("MOTO_PORT", str(port))
    os.environ.setdefault("MOTO_DISABLE_GLOBAL_CORS", "true")
    os.environ.setdefault("AWS_ACCESS_KEY_ID", "localaws")
    os.environ.setdefault("AWS_SECRET_ACCESS_KEY", "localaws")
    os.environ.setdefault("AWS_DEFAULT_REGION", "us-east-1")


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT."""
    _configure_moto(settings.port)
    from slipway_localaws.stand_in import StandIn  # reads the environment through moto

    stand_in = StandIn(settings)
    server = listen(stand_in.front, settings.host, settings.port, settings.threads)
    stand_in.restore()
    threading.current_thread().name = "listener"
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _leave)
    log.info("listening on http://%s:%s, state in %s", settings.host, settings.port, settings.state)
    try:
        server.run()
    finally:
        stand_in.close()


def _leave(number: int, _: object) -> None:
    raise SystemExit(0)


def main() -> None:
    """Entry point of ``python -m slipway_localaws`` and ``slipway-localaws``."""
    settings = parse_arguments(sys.argv[1:])
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for chatty in ("botocore", "werkzeug", "waitress.queue"):
        logging.getLogger(chatty).setLevel(logging.ERROR)
    try:
        serve(settings)
    except StateFolderBusyError as error:
        sys.exit(f"slipway-localaws: {error}")
    except OSError as error:
        sys.exit(f"slipway-localaws: cannot listen on {settings.host}:{settings.port}: {error}")


def parse_arguments(arguments: list[str]) -> Settings:
    """Settings from a command line."""
    parser = argparse.ArgumentParser(
        prog="slipway-localaws", description="A stand-in for the AWS services Slipway uses."
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: loopback only)")
    parser.add_argument("--port", type=int, default=4566)
    parser.add_argument("--state", type=Path, required=True, metavar="DIR", help="folder that keeps everything")
    parser.add_argument("--threads", type=int, default=32, help="requests answered at the same time")
    parser.add_argument("--transition-seconds", type=float, default=0.5, help="duration of weight and capacity changes")
    parser.add_argument("--max-processes", type=int, default=1, help="most containers that one variant gets")
    parser.add_argument(
        "--max-startup-seconds", type=float, default=float("inf"), help="cap on start-up health checks, for tests"
    )
    parser.add_argument(
        "--scaling-period-seconds", type=int, default=60, help="period of scaling policies' metrics, for tests"
    )
    return Settings(**vars(parser.parse_args(arguments)))
