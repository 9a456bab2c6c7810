"""Registers Slipway with Airflow; the only module that Airflow scans in this folder."""

from __future__ import annotations

from types import ModuleType
from typing import ClassVar

from airflow.plugins_manager import AirflowPlugin
from airflow.sdk import BaseOperatorLink

from slipway_airflow.links.endpoint import EndpointLink
from slipway_airflow.links.job_run import JobRunLogsLink
from slipway_airflow.links.training_job import TrainingJobLink
from slipway_airflow.listeners import preload, run_ended, run_note


class SlipwayPlugin(AirflowPlugin):
    """What Airflow cannot find by importing the operators."""

    name = "slipway"
    operator_extra_links: ClassVar[list[BaseOperatorLink]] = [EndpointLink(), TrainingJobLink(), JobRunLogsLink()]
    listeners: ClassVar[list[ModuleType]] = [preload, run_ended, run_note]
