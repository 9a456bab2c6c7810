"""Captured calls to profiles, once for each capture object."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.amazon.aws.utils.mixins import aws_template_fields

from slipway_airflow.operators.drift import DriftOperator, Window

if TYPE_CHECKING:
    from airflow.sdk import Context

_THREADS = 4


class DriftProfileOperator(DriftOperator):
    """Profile the capture objects of one hour and keep each profile beside its object.

    Memory stays constant whatever the objects hold: they are read as streams, a few at a time.

    :param window: What ``collect`` found. (templated)
    :param group: The hour: ``variant`` and ``hour``. (templated)
    :param spec: The service.
    :param platform: The installation.
    :param bucket_conn_id: The Airflow connection of the artifact bucket; ``aws_conn_id`` when None. (templated)
    :param aws_conn_id: The Airflow connection of the endpoint's account. (templated, default: aws_default)
    :param region_name: AWS region; the connection's when None. (templated)
    :param verify: Whether to verify TLS certificates, or the path of a CA bundle. (templated)
    :param botocore_config: Configuration of the botocore clients.
    :return: ``objects``, ``rows``, ``rejected``.
    """

    template_fields = aws_template_fields("bucket_conn_id", "window", "group")

    def __init__(self, *, window: Window, group: Mapping[str, str], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.window = window
        self.group = group

    def execute(self, context: Context) -> dict[str, int]:
        """Profile what has no profile yet."""
        reference = self.reference_of(self.window)
        begin = datetime.fromisoformat(self.group["hour"])
        end = min(begin + timedelta(hours=1), datetime.fromisoformat(self.window["until"]))
        variants = [self.group["variant"]]
        done = self.store.profiled(reference.bins.digest, variants, begin, end)
        wanted = [each for each in self.store.captures(variants, begin, end) if each.path not in done]
        with ThreadPoolExecutor(_THREADS) as pool:
            profiles = list(pool.map(lambda each: self.store.profile(each, reference), wanted))
        rows = sum(profile.rows for profile in profiles)
        rejected = sum(sum(profile.rejected.values()) for profile in profiles)
        self.log.info("%d capture objects: %d rows, %d calls set aside.", len(profiles), rows, rejected)
        return {"objects": len(profiles), "rows": rows, "rejected": rejected}
