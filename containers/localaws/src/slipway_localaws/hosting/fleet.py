"""The containers behind one deployment of an endpoint: started together, kept alive, stopped together."""

from __future__ import annotations

import logging
import shutil
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from slipway_localaws.faults import Faults
from slipway_localaws.hosting.container import Container
from slipway_localaws.hosting.container_logs import ContainerLogs
from slipway_localaws.hosting.images import ImageStore
from slipway_localaws.hosting.launch_spec import CannotStartError
from slipway_localaws.hosting.layers import LayerError
from slipway_localaws.hosting.model_data import ModelDataError, fetch_model_data
from slipway_localaws.hosting.plan import DeploymentPlan, EndpointKey, VariantPlan

log = logging.getLogger(__name__)
_START_ATTEMPTS = 3
_RESTART_PAUSES = (0.2, 1.0, 2.0, 5.0, 10.0)


class LaunchFailedError(RuntimeError):
    """A deployment did not become healthy; the message is the endpoint's FailureReason."""


@dataclass(frozen=True, slots=True)
class Host:
    """What fleets need of the machine.

    Args:
        images: unpacks images.
        logs: takes what containers print.
        faults: what tests want to go wrong.
        containers: folder of the containers' scratch folders.
        interpreters: folder of lent interpreters.
        max_processes: most containers that one variant gets, however many instances it asks for.
        max_startup_seconds: cap on every variant's start-up health check, for tests.
    """

    images: ImageStore
    logs: ContainerLogs
    faults: Faults
    containers: Path
    interpreters: Path
    max_processes: int = 1
    max_startup_seconds: float = float("inf")


class Slot:
    """Keeps one container of a variant running.

    Args:
        host: the machine.
        key: the endpoint.
        plan: the variant.
    """

    def __init__(self, host: Host, key: EndpointKey, plan: VariantPlan) -> None:
        self._host = host
        self._key = key
        self._plan = plan
        self._stopped = threading.Event()
        self._decided = threading.Event()
        self._container: Container | None = None
        self.healthy: Container | None = None
        self.failure = ""
        self._thread = threading.Thread(target=self._run, name=f"slot-{key.name}-{plan.name}", daemon=True)
        self._thread.start()

    def wait(self) -> str:
        """Block until it is healthy for the first time or has failed; returns the reason of a failure."""
        self._decided.wait()
        return self.failure

    def stop(self) -> None:
        """Stop the container; returns when it is gone."""
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        deadline = time.monotonic() + min(self._plan.startup_seconds, self._host.max_startup_seconds)
        try:
            for attempt in count():
                became_healthy = self._serve_once(deadline)
                if self._stopped.is_set():
                    return
                if became_healthy:
                    deadline = float("inf")
                elif not self._decided.is_set() and (attempt + 1 >= _START_ATTEMPTS or time.monotonic() >= deadline):
                    self.failure = _ping_failed(self._plan.name)
                    return
                self._stopped.wait(_RESTART_PAUSES[min(attempt, len(_RESTART_PAUSES) - 1)])
        except ModelDataError as error:
            self.failure = str(error)
        except (CannotStartError, LayerError) as error:
            self.failure = _cannot_start(self._plan.name, str(error))
        except Exception as error:
            log.exception("hosting %s failed", self._key)
            self.failure = f"{type(error).__name__}: {error}"
        finally:
            self._decided.set()

    def _serve_once(self, deadline: float) -> bool:
        """Start a container and stay with it until it ends; whether it was ever healthy."""
        instance = f"i-{uuid.uuid4().hex[:17]}"
        group, stream = f"/aws/sagemaker/Endpoints/{self._key.name}", f"{self._plan.name}/{instance}"
        write = self._host.logs.writer(self._key.account, self._key.region, group, stream)
        container = self._start(instance, write)
        try:
            if self._never_healthy():
                self._stopped.wait(1.0)
                self._decide_failure(_ping_failed(self._plan.name))
                return False
            if not container.wait_healthy(deadline, self._stopped):
                return False
            self.healthy = container
            self._decided.set()
            while container.exit_code is None and not self._stopped.wait(0.2):
                pass
            self.healthy = None
            if not self._stopped.is_set():
                write(f"[slipway-localaws] the container ended with exit code {container.exit_code}; starting another")
            return True
        finally:
            container.stop()
            container.connections.close()
            self._host.logs.flush()

    def _start(self, instance: str, write: Callable[[str], None]) -> Container:
        scratch = self._host.containers / instance
        scratch.mkdir(parents=True)
        environment = {"AWS_REGION": self._key.region, "AWS_DEFAULT_REGION": self._key.region, **self._plan.environment}
        try:
            image = self._host.images.unpack(self._plan.digest)
            if self._plan.sources:
                image = self._host.images.own_root(image, scratch / "rootfs")
                for source in self._plan.sources:
                    fetch_model_data(source, self._key.account, image.rootfs / "opt" / "ml" / "model")
                environment.setdefault("SM_MODEL_DIR", "/opt/ml/model")
            return Container(image, environment, scratch=scratch, interpreters=self._host.interpreters, on_output=write)
        except BaseException:
            shutil.rmtree(scratch, ignore_errors=True)
            raise

    def _never_healthy(self) -> bool:
        subject = {"endpoint": self._key.name, "variant": self._plan.name}
        return not self._decided.is_set() and self._host.faults.hit(("never_healthy",), **subject) is not None

    def _decide_failure(self, reason: str) -> None:
        self.failure = reason
        self._stopped.set()
        self._decided.set()


class VariantHost:
    """The containers of one variant."""

    def __init__(self, host: Host, key: EndpointKey, plan: VariantPlan) -> None:
        self.plan = plan
        size = max(1, min(plan.instance_count, host.max_processes))
        self._slots = [Slot(host, key, plan) for _ in range(size)]
        self._turn = count()

    def pick(self) -> Container | None:
        """A healthy container, each in turn; None when there is none just now."""
        first = next(self._turn)
        for offset in range(len(self._slots)):
            container = self._slots[(first + offset) % len(self._slots)].healthy
            if container is not None:
                return container
        return None

    @property
    def busy(self) -> bool:
        """Whether any container is answering a request."""
        return any(slot.healthy is not None and slot.healthy.connections.busy for slot in self._slots)

    def wait(self) -> str:
        """Block until all are healthy or one has failed; returns the reason of a failure."""
        return next((reason for slot in self._slots if (reason := slot.wait())), "")

    def stop(self) -> None:
        """Stop them all."""
        threads = [threading.Thread(target=slot.stop, daemon=True) for slot in self._slots]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


class Fleet:
    """All containers of one deployment."""

    def __init__(self, variants: dict[str, VariantHost], plan: DeploymentPlan) -> None:
        self.variants = variants
        self.plan = plan

    @classmethod
    def launch(cls, host: Host, key: EndpointKey, plan: DeploymentPlan) -> Fleet:
        """Start all variants and wait until every one is healthy.

        Raises:
            LaunchFailedError: one is not; everything is stopped again.
        """
        for variant in plan.variants:
            if variant.problem:
                raise LaunchFailedError(variant.problem)
        if host.faults.hit(("no_capacity",), endpoint=key.name, variant=plan.variants[0].name):
            raise LaunchFailedError(NO_CAPACITY)
        fleet = cls({variant.name: VariantHost(host, key, variant) for variant in plan.variants}, plan)
        for hosted in fleet.variants.values():
            if reason := hosted.wait():
                fleet.stop()
                raise LaunchFailedError(reason)
        return fleet

    def stop(self) -> None:
        """Stop everything; returns when it is gone."""
        threads = [threading.Thread(target=variant.stop, daemon=True) for variant in self.variants.values()]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


NO_CAPACITY = (
    "Unable to provision requested ML compute capacity due to InsufficientInstanceCapacity error. "
    "Please retry using a different ML instance type or after some time."
)


def _ping_failed(variant: str) -> str:
    return (
        f"The primary container for production variant {variant} did not pass the ping health check. "
        "Please check CloudWatch logs for this endpoint."
    )


def _cannot_start(variant: str, detail: str) -> str:
    return (
        f"CannotStartContainerError. Please ensure the model container for variant {variant} starts correctly when "
        f"invoked with 'docker run <image> serve'. {detail}"
    )
