"""All parts of the stand-in, put together. Import it only after moto's settings are in the environment."""

from __future__ import annotations

import os
import time
from typing import Any

from moto.iam.models import get_account_id_from
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from moto.sagemaker.models import sagemaker_backends

from slipway_localaws import sqs_waiting
from slipway_localaws.admin import AdminPages
from slipway_localaws.autoscaling import targets as scaling_targets
from slipway_localaws.autoscaling.actuator import Actuator
from slipway_localaws.cloudwatch import api as cloudwatch
from slipway_localaws.cloudwatch.alarm_watch import AlarmWatch
from slipway_localaws.cloudwatch.series import MetricStore
from slipway_localaws.emr_serverless import control_plane as emr_serverless
from slipway_localaws.emr_serverless.job_runs import JobHost
from slipway_localaws.faults import Faults
from slipway_localaws.front import Front
from slipway_localaws.hosting.container_logs import ContainerLogs
from slipway_localaws.hosting.controller import Controller
from slipway_localaws.hosting.fleet import Host
from slipway_localaws.hosting.images import ImageStore
from slipway_localaws.hosting.training import Trainer
from slipway_localaws.housekeeping import tidy
from slipway_localaws.journal import Journal
from slipway_localaws.persistence import object_bodies
from slipway_localaws.persistence.store import Store
from slipway_localaws.registry import control_plane as ecr
from slipway_localaws.registry.blobs import BlobStore
from slipway_localaws.registry.protocol import RegistryApplication
from slipway_localaws.registry.tokens import TokenSigner
from slipway_localaws.runtime.invocations import InvocationApplication
from slipway_localaws.runtime.recorder import Recorder
from slipway_localaws.s3 import large_bodies
from slipway_localaws.s3 import patches as s3
from slipway_localaws.sagemaker import control_plane as sagemaker
from slipway_localaws.sagemaker import training_jobs
from slipway_localaws.sagemaker.events import send_status
from slipway_localaws.sagemaker.records import HostedEndpoint
from slipway_localaws.sagemaker.training_record import TrainingJob
from slipway_localaws.settings import Settings, own_url
from slipway_localaws.state_folder import StateFolder


class StandIn:
    """All parts, put together.

    Args:
        settings: how it is started.
    """

    def __init__(self, settings: Settings) -> None:
        self._started_at = time.time()
        self.folder = StateFolder(settings.state)
        self.folder.acquire()
        self.journal = Journal(self.folder.journal)
        self.faults = Faults()
        self.store = Store(self.folder.backends, self.folder.objects)
        self._blobs = blobs = BlobStore(self.folder.registry)
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
        self.trainer = Trainer(host, own_url(settings), self.store.note)
        object_bodies.install(self.folder.objects)
        s3.install()
        large_bodies.install()
        sqs_waiting.install()
        ecr.install(blobs, signer)
        sagemaker.install(self.controller, images)
        training_jobs.install(self.trainer, images)
        self.controller.listeners.append(send_status)
        self.jobs = JobHost(self.folder.job_runs, f"http://127.0.0.1:{settings.port}", self.store.note)
        emr_serverless.install(self.jobs)
        scaling_targets.install()
        Actuator(self.controller, self.metrics, settings.scaling_period_seconds, self.store.note)
        cloudwatch.install(self.metrics, AlarmWatch(self.metrics, self.store.note))
        self.front = Front(
            moto=DomainDispatcherApplication(create_backend_app),
            registry=RegistryApplication(blobs, signer, self.journal, self.faults, self.store.note),
            runtime=InvocationApplication(
                self.controller.routes,
                self.controller.restoring,
                self.recorder,
                self.journal,
                self.faults,
                get_account_id_from,
            ),
            admin=AdminPages(self.journal, self.faults, self.health),
            journal=self.journal,
            faults=self.faults,
            on_change=self.store.requested,
        )

    def restore(self) -> None:
        """Bring back what the state folder holds, endpoints and training jobs included."""
        self.store.load()
        endpoints = [
            endpoint
            for _, _, backend in list(sagemaker_backends.iter_backends())
            for endpoint in backend.endpoints.values()
            if isinstance(endpoint, HostedEndpoint)
        ]
        jobs = [
            job
            for _, _, backend in list(sagemaker_backends.iter_backends())
            for job in backend.training_jobs.values()
            if isinstance(job, TrainingJob) and not job.ended
        ]
        tidy(self.folder, self._blobs, endpoints, {job.digest for job in jobs})
        self.controller.restore(endpoints)
        self.jobs.restore()
        self.trainer.restore(jobs)
        self.store.start()

    def health(self) -> dict[str, Any]:
        """What ``/_localaws/health`` shows."""
        return {
            "status": "ok",
            "pid": os.getpid(),
            "uptime_seconds": round(time.time() - self._started_at, 1),
            "restoring": sorted(key.name for key in list(self.controller.restoring)),
            "unsaved": self.store.unsaved(),
        }

    def close(self) -> None:
        """Stop the containers and save everything."""
        self.trainer.close()
        self.controller.close()
        self.jobs.close()
        self.container_logs.flush()
        self.recorder.flush()
        self.metrics.flush()
        self.store.close()
        self.journal.close()
