"""Every asset and what it means.

An asset only wakes a DAG; what there is to do is read from the registry and the state.
"""

from __future__ import annotations

from airflow.sdk import Asset, AssetWatcher

_MOST_MESSAGES, _BATCHES = 10, 5  # that many messages at once are one event: SQS gives ten at most
_POLL_SECONDS = 10


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


def arrived(service: str, queue_url: str, aws_conn_id: str | None) -> Asset:
    """Return the asset "data for this service has arrived", which a watcher of an SQS queue emits.

    S3 or EventBridge tells the queue; wakes ``<service>.retrain``. A message only wakes: it may come twice, too
    early or for an object that is no data, and what is new and complete is found out by the run, as in any other.

    :param service: Name of the service.
    :param queue_url: The queue. Messages are deleted as they are read.
    :param aws_conn_id: The Airflow connection that may read it.
    """
    from airflow.providers.amazon.aws.triggers.sqs import SqsSensorTrigger

    trigger = SqsSensorTrigger(
        sqs_queue=queue_url,
        aws_conn_id=aws_conn_id,
        max_messages=_MOST_MESSAGES,
        num_batches=_BATCHES,
        waiter_delay=_POLL_SECONDS,
    )
    watcher = AssetWatcher(name=f"{service}-arrivals", trigger=trigger)
    return Asset(name=f"arrived/{service}", uri=f"slipway://{service}/arrived", group="slipway", watchers=[watcher])
