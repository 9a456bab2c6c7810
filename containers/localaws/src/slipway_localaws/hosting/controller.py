"""Brings endpoints from one state to the next, off the threads that answer requests.

Statuses and what may be done in each: https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_DescribeEndpoint.html
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Protocol

from slipway_localaws.hosting.container import INVOCATION_SECONDS
from slipway_localaws.hosting.fleet import Fleet, Host, LaunchFailedError
from slipway_localaws.hosting.plan import DeploymentPlan, EndpointKey
from slipway_localaws.patching import MOTO_LOCK
from slipway_localaws.runtime.routing import Route
from slipway_localaws.sagemaker.records import HostedEndpoint, VariantState, now

log = logging.getLogger(__name__)
_MAINTENANCE_TICK_SECONDS = 0.3
_DRAIN_GRACE_SECONDS = 0.5


class StatusListener(Protocol):
    """Is told of each change of an endpoint's status."""

    def __call__(self, endpoint: HostedEndpoint) -> None:
        """The endpoint's status has just changed."""


class Controller:
    """Owns the fleets of all endpoints.

    Args:
        host: the machine.
        transition_seconds: how long a change of weights or capacities shows as ``Updating``.
        on_change: called when SageMaker's state changed, with ``sagemaker``.
    """

    def __init__(self, host: Host, *, transition_seconds: float, on_change: Callable[[str], None]) -> None:
        self._host = host
        self._transition_seconds = transition_seconds
        self._on_change = on_change
        self._fleets: dict[EndpointKey, Fleet] = {}
        self._hosted: dict[EndpointKey, HostedEndpoint] = {}
        self.routes: dict[EndpointKey, Route] = {}
        self.listeners: list[StatusListener] = []
        self.restoring: set[EndpointKey] = set()
        self._closing = threading.Event()
        threading.Thread(target=self._maintain, name="maintenance", daemon=True).start()

    # -- operations: called with MOTO_LOCK held, they return at once ------------------------------------------------

    def create(self, endpoint: HostedEndpoint) -> None:
        """Start hosting a new endpoint, whose status is ``Creating``."""
        self._notify(endpoint)
        self._background("create", endpoint, self._create)

    def update(self, endpoint: HostedEndpoint, plan: DeploymentPlan, variants: dict[str, VariantState]) -> None:
        """Bring an endpoint that is in service to another plan: a new fleet for all variants, then the switch."""
        endpoint.pending, endpoint.pending_variants, endpoint.pending_since = plan, variants, now()
        self._set(endpoint, "Updating")
        self._background("update", endpoint, self._update)

    def scale(self, endpoint: HostedEndpoint) -> None:
        """Bring current weights and instance counts to the desired ones."""
        self._set(endpoint, "Updating")
        self._background("scale", endpoint, self._scale)

    def delete(self, endpoint: HostedEndpoint, forget: Callable[[], None]) -> None:
        """Stop hosting an endpoint and then ``forget`` it."""
        self._set(endpoint, "Deleting")
        self.routes.pop(endpoint.key, None)
        self._hosted.pop(endpoint.key, None)
        self._background("delete", endpoint, lambda each: self._delete(each, forget))

    def restore(self, endpoints: Iterable[HostedEndpoint]) -> None:
        """Host again what was hosted when the stand-in stopped. A failed endpoint stays failed.

        An update that was under way is dropped: the endpoint comes back with what it ran before.
        """
        for endpoint in endpoints:
            endpoint.pending = endpoint.pending_since = None
            endpoint.pending_variants = {}
            if endpoint.endpoint_status == "Failed":
                continue
            for state in endpoint.variants.values():
                state.current_weight, state.current_count = state.desired_weight, state.desired_count
            self.restoring.add(endpoint.key)
            self._background("restore", endpoint, self._restore)

    def close(self) -> None:
        """Stop all fleets; returns when everything is gone."""
        self._closing.set()
        threads = [threading.Thread(target=fleet.stop) for fleet in list(self._fleets.values())]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    # -- what they do in the background ------------------------------------------------------------------------------

    def _create(self, endpoint: HostedEndpoint) -> None:
        was_new = endpoint.endpoint_status == "Creating"
        try:
            fleet = Fleet.launch(self._host, endpoint.key, endpoint.plan)
        except LaunchFailedError as error:
            with MOTO_LOCK:
                if not self._closing.is_set():
                    self._set(endpoint, "Failed", str(error))
            return
        with MOTO_LOCK:
            if not self._closing.is_set():
                self._fleets[endpoint.key] = fleet
                self._hosted[endpoint.key] = endpoint
                self._open_route(endpoint, fleet)
                if was_new:
                    endpoint.creation_time = endpoint.creation_time or now()
                self._set(endpoint, "InService")
                return
        fleet.stop()  # without the lock, which the containers' last log lines need

    def _restore(self, endpoint: HostedEndpoint) -> None:
        try:
            self._create(endpoint)
        finally:
            self.restoring.discard(endpoint.key)

    def _update(self, endpoint: HostedEndpoint) -> None:
        plan = endpoint.pending
        assert plan is not None
        faults = self._host.faults
        subject = {"endpoint": endpoint.endpoint_name, "variant": plan.variants[0].name}
        if faults.hit(("silent_rollback",), **subject):
            time.sleep(self._transition_seconds)
            self._finish_update(endpoint, "InService", None)
            return
        try:
            fleet = Fleet.launch(self._host, endpoint.key, plan)
        except LaunchFailedError as error:
            failed = faults.hit(("rollback_failed",), **subject)
            with MOTO_LOCK:
                self._set(endpoint, "RollingBack", str(error))
            time.sleep(self._transition_seconds)
            self._finish_update(endpoint, "UpdateRollbackFailed" if failed else "InService", str(error))
            return
        with MOTO_LOCK:
            closing = self._closing.is_set()
            if not closing:
                old = self._fleets.get(endpoint.key)
                self._fleets[endpoint.key] = fleet
                endpoint.adopt(plan, endpoint.pending_variants)
                self._open_route(endpoint, fleet)
                self._finish_update(endpoint, "InService", None)
        if closing:
            fleet.stop()
        elif old is not None:
            self._drain(old)

    def _finish_update(self, endpoint: HostedEndpoint, status: str, reason: str | None) -> None:
        with MOTO_LOCK:
            endpoint.pending = endpoint.pending_since = None
            endpoint.pending_variants = {}
            self._set(endpoint, status, reason)

    def _scale(self, endpoint: HostedEndpoint) -> None:
        self._closing.wait(self._transition_seconds)
        with MOTO_LOCK:
            for state in endpoint.variants.values():
                state.current_weight, state.current_count = state.desired_weight, state.desired_count
            fleet = self._fleets.get(endpoint.key)
            if fleet is not None:
                self._open_route(endpoint, fleet)
            self._set(endpoint, "InService")

    def _delete(self, endpoint: HostedEndpoint, forget: Callable[[], None]) -> None:
        fleet = self._fleets.pop(endpoint.key, None)
        if fleet is not None:
            fleet.stop()
        with MOTO_LOCK:
            forget()
        self._on_change("sagemaker")

    def _drain(self, fleet: Fleet) -> None:
        """Let requests that are under way end before their containers are stopped."""
        time.sleep(_DRAIN_GRACE_SECONDS)  # somebody may have chosen a container and not yet sent the request
        deadline = time.monotonic() + INVOCATION_SECONDS
        while time.monotonic() < deadline and any(host.busy for host in fleet.variants.values()):
            time.sleep(0.05)
        fleet.stop()

    def _maintain(self) -> None:
        """SageMaker's own maintenance, which tests ask for: some time in ``SystemUpdating``, serving all the while."""
        while not self._closing.wait(_MAINTENANCE_TICK_SECONDS):
            if not self._host.faults:
                continue
            with MOTO_LOCK:
                for endpoint in list(self._hosted.values()):
                    if endpoint.endpoint_status != "InService":
                        continue
                    fault = self._host.faults.hit(("system_updating",), endpoint=endpoint.endpoint_name)
                    if fault is not None:
                        self._set(endpoint, "SystemUpdating")
                        seconds = fault.latency_ms / 1000 or self._transition_seconds
                        self._background("maintain", endpoint, partial(self._end_maintenance, seconds))

    def _end_maintenance(self, seconds: float, endpoint: HostedEndpoint) -> None:
        self._closing.wait(seconds)
        with MOTO_LOCK:
            self._set(endpoint, "InService")

    # -- helpers ------------------------------------------------------------------------------------------------------

    def _open_route(self, endpoint: HostedEndpoint, fleet: Fleet) -> None:
        weights = {name: state.current_weight for name, state in endpoint.variants.items() if not state.plan.shadow}
        self.routes[endpoint.key] = Route(
            {name: fleet.variants[name] for name in weights},
            weights,
            dict(endpoint.data_capture_config),
            {name: endpoint.variants[name].current_count for name in weights},
        )

    def _set(self, endpoint: HostedEndpoint, status: str, reason: str | None = None) -> None:
        endpoint.touch(status, reason)
        self._notify(endpoint)

    def _notify(self, endpoint: HostedEndpoint) -> None:
        self._on_change("sagemaker")
        for listener in self.listeners:
            try:
                listener(endpoint)
            except Exception:
                log.exception("nobody was told of the new status of %s", endpoint.endpoint_name)

    def _background(self, what: str, endpoint: HostedEndpoint, work: Callable[[HostedEndpoint], None]) -> None:
        def run() -> None:
            try:
                work(endpoint)
            except Exception:
                log.exception("%s of endpoint %s failed", what, endpoint.endpoint_name)
                with MOTO_LOCK, contextlib.suppress(Exception):
                    self._set(endpoint, "Failed", "Request to service failed. Contact the stand-in's log.")

        threading.Thread(target=run, name=f"{what}-{endpoint.endpoint_name}", daemon=True).start()
