"""The server: puts the parts together, listens, and cleans up."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slipway_localaws.admin import AdminPages
from slipway_localaws.faults import Faults
from slipway_localaws.front import Front
from slipway_localaws.journal import Journal
from slipway_localaws.listener import listen
from slipway_localaws.state_folder import StateFolder, StateFolderBusyError

log = logging.getLogger("slipway_localaws")


@dataclass(frozen=True, slots=True)
class Settings:
    """How the stand-in is started.

    Args:
        host, port: where to listen.
        state: the folder that keeps everything.
        threads: requests answered at the same time.
        transition_seconds: how long a change of weights or capacities takes.
        max_processes: most containers that a variant gets.
        max_startup_seconds: cap on start-up health checks.
        scaling_period_seconds: period of the scaling policies' metrics; AWS's is 60.
    """

    host: str
    port: int
    state: Path
    threads: int = 32
    transition_seconds: float = 0.5
    max_processes: int = 1
    max_startup_seconds: float = float("inf")
    scaling_period_seconds: int = 60


class StandIn:
    """All parts, put together.

    Args:
        settings: how it is started.
    """

    def __init__(self, settings: Settings) -> None:
        _configure_moto(settings.port)
        from moto.iam.models import get_account_id_from
        from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

        from slipway_localaws import sqs_waiting
        from slipway_localaws.autoscaling import targets as scaling_targets
        from slipway_localaws.autoscaling.actuator import Actuator
        from slipway_localaws.cloudwatch import api as cloudwatch
        from slipway_localaws.cloudwatch.alarm_watch import AlarmWatch
        from slipway_localaws.cloudwatch.series import MetricStore
        from slipway_localaws.hosting.container_logs import ContainerLogs
        from slipway_localaws.hosting.controller import Controller
        from slipway_localaws.hosting.fleet import Host
        from slipway_localaws.hosting.images import ImageStore
        from slipway_localaws.persistence import object_bodies
        from slipway_localaws.persistence.store import Store
        from slipway_localaws.registry import control_plane as ecr
        from slipway_localaws.registry.blobs import BlobStore
        from slipway_localaws.registry.protocol import RegistryApplication
        from slipway_localaws.registry.tokens import TokenSigner
        from slipway_localaws.runtime.invocations import InvocationApplication
        from slipway_localaws.runtime.recorder import Recorder
        from slipway_localaws.s3 import patches as s3
        from slipway_localaws.sagemaker import control_plane as sagemaker
        from slipway_localaws.sagemaker.events import send_status

        self._started_at = time.time()
        self.folder = StateFolder(settings.state)
        self.folder.acquire()
        self.journal = Journal(self.folder.journal)
        self.faults = Faults()
        self.store = Store(self.folder.backends, self.folder.objects)
        blobs = BlobStore(self.folder.registry)
        signer = TokenSigner(self.folder.secret())
        images = ImageStore(blobs, self.folder.layers, self.folder.images)
        self.metrics = MetricStore(self.folder.metrics)
        self.recorder = Recorder(self.metrics, self.store.note)
        self.container_logs = ContainerLogs(self.folder.container_logs, self.store.note)
        host = Host(
            images, self.container_logs, self.faults, self.folder.containers, self.folder.interpreters,
            settings.max_processes, settings.max_startup_seconds,
        )  # fmt: skip
        self.controller = Controller(host, transition_seconds=settings.transition_seconds, on_change=self.store.note)
        object_bodies.install(self.folder.objects)
        s3.install()
        sqs_waiting.install()
        ecr.install(blobs, signer)
        sagemaker.install(self.controller, images)
        self.controller.listeners.append(send_status)
        scaling_targets.install()
        Actuator(self.controller, self.metrics, settings.scaling_period_seconds, self.store.note)
        cloudwatch.install(self.metrics, AlarmWatch(self.metrics, self.store.note))
        self.front = Front(
            moto=DomainDispatcherApplication(create_backend_app),
            registry=RegistryApplication(blobs, signer, self.journal, self.faults, self.store.note),
            runtime=InvocationApplication(
                self.controller.routes, self.recorder, self.journal, self.faults, get_account_id_from
            ),
            admin=AdminPages(self.journal, self.faults, self.health),
            journal=self.journal,
            faults=self.faults,
            on_change=self.store.note,
        )

    def restore(self) -> None:
        """Bring back what the state folder holds, endpoints included."""
        from moto.sagemaker.models import sagemaker_backends

        from slipway_localaws.sagemaker.records import HostedEndpoint

        self.store.load()
        endpoints = [
            endpoint
            for _, _, backend in list(sagemaker_backends.iter_backends())
            for endpoint in backend.endpoints.values()
            if isinstance(endpoint, HostedEndpoint)
        ]
        self.controller.restore(endpoints)
        self.store.start()

    def health(self) -> dict[str, Any]:
        """What ``/_localaws/health`` shows."""
        return {"status": "ok", "pid": os.getpid(), "uptime_seconds": round(time.time() - self._started_at, 1)}

    def close(self) -> None:
        """Stop the containers and save everything."""
        self.controller.close()
        self.container_logs.flush()
        self.recorder.flush()
        self.metrics.flush()
        self.store.close()
        self.journal.close()


def _configure_moto(port: int) -> None:
    """moto reads its settings from the environment when it is imported."""
    os.environ.setdefault("MOTO_PORT", str(port))
    os.environ.setdefault("MOTO_DISABLE_GLOBAL_CORS", "true")
    os.environ.setdefault("AWS_ACCESS_KEY_ID", "localaws")
    os.environ.setdefault("AWS_SECRET_ACCESS_KEY", "localaws")
    os.environ.setdefault("AWS_DEFAULT_REGION", "us-east-1")


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT."""
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
