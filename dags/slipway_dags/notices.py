"""Who is told what, when the service's spec names a topic: ``notify: {sns_topic_arn: …}``."""

from __future__ import annotations

from slipway.platform import Platform
from slipway.spec import ServiceSpec
from slipway_airflow.notifiers.service_topic import ServiceTopicNotifier


def when_failed(spec: ServiceSpec, platform: Platform) -> list[ServiceTopicNotifier]:
    """Return what a DAG calls when a run has failed; nothing without a topic."""
    return _notice(spec, platform, "{{ dag.dag_id }} failed", "{{ dag.dag_id }}, run {{ run_id }}, has failed.")


def when_waiting(spec: ServiceSpec, platform: Platform) -> list[ServiceTopicNotifier]:
    """Return what the approval calls when it begins to wait; nothing without a topic."""
    return _notice(
        spec,
        platform,
        f"{spec.name}: a release waits for approval",
        f"A verified release of {spec.name} waits for approval, for {spec.approval.timeout_hours:g} hours at most.",
    )


def when_asked(spec: ServiceSpec, platform: Platform) -> list[ServiceTopicNotifier]:
    """Return what a gate of a promotion calls when it begins to wait; nothing without a topic."""
    return _notice(
        spec,
        platform,
        f"{spec.name}: a promotion waits for a person",
        f"{{{{ ti.task_id }}}} of {spec.name}.promote asks whether the release may go on, for "
        f"{spec.approval.timeout_hours:g} hours at most; then it is taken back.",
    )


def when_held(spec: ServiceSpec, platform: Platform) -> list[ServiceTopicNotifier]:
    """Return what a retraining calls when the gate has held its model; nothing without a topic."""
    reason = "{{ (ti.xcom_pull(task_ids='gate', key='verdict') or {}).get('reason') }}"
    return _notice(
        spec,
        platform,
        f"{spec.name}: a retrained model is held",
        f"The gate has held a new version of {spec.model}: {reason}",
    )


def when_quarantined(spec: ServiceSpec, platform: Platform) -> list[ServiceTopicNotifier]:
    """Return what a retraining calls when it has put data into quarantine; nothing without a topic."""
    return _notice(
        spec,
        platform,
        f"{spec.name}: new data is in quarantine",
        f"New data of {spec.name} is not fit to be trained on; the reasons are in the log of "
        "{{ ti.task_id }} and beside the copies. The champion stays.",
    )


def _notice(spec: ServiceSpec, platform: Platform, subject: str, message: str) -> list[ServiceTopicNotifier]:
    topic = spec.notify.sns_topic_arn
    if topic is None:
        return []
    return [ServiceTopicNotifier(topic_arn=topic, subject=subject, message=message, aws_conn_id=platform.aws_conn_id)]
