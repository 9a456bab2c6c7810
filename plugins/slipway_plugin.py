"""Registers Slipway with Airflow; the only module that Airflow scans in this folder."""

from __future__ import annotations

from airflow.plugins_manager import AirflowPlugin

from slipway_airflow.links.endpoint import EndpointLink


class SlipwayPlugin(AirflowPlugin):
    """What Airflow cannot find by importing the operators."""

    name = "slipway"
    operator_extra_links = [EndpointLink()]
