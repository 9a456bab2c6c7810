"""What the monitor's operators have in common."""

from __future__ import annotations

from functools import cached_property
from typing import TypedDict

from airflow.sdk.exceptions import AirflowSkipException

from slipway.drift.reference import Reference
from slipway.drift.store import DriftStore
from slipway_airflow.operators.service import ServiceOperator


class Window(TypedDict):
    """What a run looks at, as it travels between the tasks.

    ``phase`` is ``judge``, ``learning`` (the baseline is not complete) or ``nothing`` (no champion).
    """

    phase: str
    since: str
    until: str
    release_id: str
    model: str
    model_version: int
    run_id: str
    variants: list[str]
    objects: int
    learned_rows: int


class DriftOperator(ServiceOperator):
    """Base of the operators that watch the production endpoint of a service.

    :param spec: The service.
    :param platform: The installation.
    :param bucket_conn_id: The Airflow connection of the artifact bucket; ``aws_conn_id`` when None. (templated)
    :param aws_conn_id: The Airflow connection of the endpoint's account. (templated, default: aws_default)
    :param region_name: AWS region; the connection's when None. (templated)
    :param verify: Whether to verify TLS certificates, or the path of a CA bundle. (templated)
    :param botocore_config: Configuration of the botocore clients.
    """

    @property
    def endpoint(self) -> str:
        """Name of the production endpoint."""
        return self.spec.endpoint_name("prod")

    @cached_property
    def store(self) -> DriftStore:
        """The monitor's documents."""
        return DriftStore(self.bucket.s3, self.bucket.name, self.spec.name, self.endpoint)

    def reference_of(self, window: Window) -> Reference:
        """Return the baseline that a window is compared with.

        :param window: What ``collect`` found.
        :raises AirflowSkipException: there is none (any more).
        """
        reference = self.store.reference(window["release_id"], window["model"], window["model_version"])
        if reference is None:
            raise AirflowSkipException(f"Release {window['release_id']} has no baseline yet.")
        return reference
