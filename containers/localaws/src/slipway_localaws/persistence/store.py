"""Saves what changed a moment after it changed, and brings it back at the next start.

A call to SageMaker is answered when what it did is saved, and all that came before it: a client never refers to an
endpoint that a crash could take away.
"""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from pathlib import Path
from typing import Any

from moto.backends import get_backend
from moto.core.base_backend import BackendDict

from slipway_localaws.patching import MOTO_LOCK
from slipway_localaws.persistence import object_bodies
from slipway_localaws.persistence.pickling import UnpicklableError, dump, load
from slipway_localaws.state_folder import write_atomically

log = logging.getLogger(__name__)
_DELAY_SECONDS = 0.4
_SWEEP_SECONDS = 30.0
#: Services whose state can be large: pickled only when they themselves were changed. All others are small, and are
#: pickled at every change, since a request to one service may change another (S3 notifies SQS).
_LARGE = frozenset({"s3", "logs", "ec2"})
#: Services whose requests are answered only when they are saved.
_SAVED_BEFORE_ANSWER = frozenset({"sagemaker", "application-autoscaling", "emr-serverless"})
_ALIASES = {"monitoring": "cloudwatch"}


class Store:
    """The files that hold the backends.

    Args:
        folder: where they are.
        objects: where S3 bodies are.
    """

    def __init__(self, folder: Path, objects: Path) -> None:
        self._folder = folder
        self._objects = objects
        self._changed: set[str] = set()
        self._wake = threading.Event()
        self._closed = False
        self._saving = threading.Lock()
        self._digests: dict[str, bytes] = {}
        self._given_up: set[str] = set()
        self._swept_at = time.monotonic()
        self._thread = threading.Thread(target=self._save_regularly, name="store", daemon=True)

    def load(self) -> list[str]:
        """Bring back what was saved; returns the services' names."""
        loaded = []
        for path in sorted(self._folder.glob("*.pickle")):
            service = path.stem
            try:
                content = load(path.read_bytes())
            except Exception:
                log.exception("the state of %s cannot be read: it is set aside and the service starts empty", service)
                path.replace(path.with_suffix(".unreadable"))
                continue
            backends = get_backend(service)  # type: ignore[arg-type]
            for account, regions in content["backends"].items():
                for region, state in regions.items():
                    backends[account][region].__dict__.update(state)
            if service == "s3":
                backends.bucket_accounts.update(content["bucket_accounts"])
            loaded.append(service)
        return loaded

    def start(self) -> None:
        """Save changes from now on."""
        self._thread.start()

    def note(self, service: str) -> None:
        """The state of ``service`` (its signing name) may have changed."""
        self._changed.add(_ALIASES.get(service, service))
        self._wake.set()

    def requested(self, service: str) -> None:
        """A request that is not answered yet may have changed ``service``. Not for callers that hold moto's lock."""
        self.note(service)
        if service in _SAVED_BEFORE_ANSWER:
            self.save()

    def unsaved(self) -> list[str]:
        """Services whose last changes a crash would lose now."""
        with self._saving:
            return sorted(self._changed)

    def close(self) -> None:
        """Save everything that is not saved yet."""
        self._closed = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()
        self.save()

    def save(self) -> None:
        """Save what changed since the last time."""
        with self._saving:
            with MOTO_LOCK:
                changed, self._changed = self._changed, set()
                if not changed:
                    return
                pickled = self._pickle(changed)
                bodies = object_bodies.names_saved_since()
            for service, data in pickled.items():
                digest = hashlib.blake2b(data).digest()
                if self._digests.get(service) != digest:
                    write_atomically(self._folder / f"{service}.pickle", data)
                    self._digests[service] = digest
            if "s3" in pickled and time.monotonic() - self._swept_at > _SWEEP_SECONDS:
                object_bodies.sweep(self._objects, bodies)
                self._swept_at = time.monotonic()

    def _pickle(self, changed: set[str]) -> dict[str, bytes]:
        pickled = {}
        for backends in list(BackendDict._instances):
            service = backends.service_name
            if service in self._given_up or (service in _LARGE and service not in changed):
                continue
            try:
                pickled[service] = dump(_content(backends))
            except UnpicklableError as error:
                self._given_up.add(service)
                log.warning("the state of %s is not kept over restarts: %s", service, error)
        return pickled

    def _save_regularly(self) -> None:
        pause = _DELAY_SECONDS
        while not self._closed:
            self._wake.wait()
            self._wake.clear()
            if self._closed:
                return
            time.sleep(pause)
            started = time.monotonic()
            try:
                self.save()
            except Exception:
                log.exception("the state was not saved")
            pause = max(_DELAY_SECONDS, 4 * (time.monotonic() - started))


def _content(backends: BackendDict[Any]) -> dict[str, Any]:
    content: dict[str, Any] = {
        "backends": {
            account: {region: backend.__dict__ for region, backend in regions.items()}
            for account, regions in backends.items()
        }
    }
    if backends.service_name == "s3":
        content["bucket_accounts"] = dict(backends.bucket_accounts)  # type: ignore[attr-defined]
    return content
