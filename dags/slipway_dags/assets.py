"""Every asset and what it means.

An asset only wakes a DAG; what there is to do is read from the registry and the state.
"""

from __future__ import annotations

from airflow.sdk import Asset


def approved(service: str) -> Asset:
    """Return the asset "a release of this service has been approved".

    Emitted by ``<service>.deploy``, wakes ``<service>.promote``. Events may be lost, coalesced or
    late: the promotion takes the newest approved release that it finds in the state.

    :param service: Name of the service.
    """
    return Asset(name=f"approved/{service}", uri=f"slipway://{service}/approved", group="slipway")


def candidate(service: str) -> Asset:
    """Return the asset "a retraining has made a better model version".

    Emitted by ``<service>.retrain``, wakes ``<service>.deploy``, which takes the version under the alias ``candidate``.

    :param service: Name of the service.
    """
    return Asset(name=f"candidate/{service}", uri=f"slipway://{service}/candidate", group="slipway")


def drifted(service: str) -> Asset:
    """Return the asset "what this service receives has drifted, and its policy asks for a retraining".

    Emitted by ``<service>.monitor``, within the cool-down and the budget of ``monitor`` in the spec; wakes
    ``<service>.retrain``. The event's ``extra`` says which columns, for people; what to train on is decided there.

    :param service: Name of the service.
    """
    return Asset(name=f"drifted/{service}", uri=f"slipway://{service}/drifted", group="slipway")
