"""Events that AWS services send to EventBridge by themselves.

https://docs.aws.amazon.com/eventbridge/latest/ref/events-structure.html
"""

from __future__ import annotations

import json
import logging
import time
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from moto.core.exceptions import ServiceException
from moto.events.models import Rule, events_backends
from moto.sns.models import sns_backends
from moto.sqs.models import sqs_backends

log = logging.getLogger(__name__)


def emit(
    account: str, region: str, source: str, detail_type: str, resources: Sequence[str], detail: dict[str, Any]
) -> None:
    """Hand an event to the default bus's rules. Hold ``MOTO_LOCK``.

    Args:
        account, region: whose bus.
        source: such as ``aws.sagemaker``.
        detail_type: such as ``SageMaker Endpoint State Change``.
        resources: ARNs of what it is about.
        detail: the event's content.
    """
    event: dict[str, Any] = {
        "version": "0", "id": str(uuid.uuid4()), "detail-type": detail_type, "source": source, "account": account,
        "time": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"), "region": region, "resources": list(resources),
        "detail": detail,
    }  # fmt: skip
    for rule in list(events_backends[account][region].event_buses["default"].rules.values()):
        if rule.state == "ENABLED" and rule.event_pattern.get_pattern() and rule.event_pattern.matches_event(event):  # type: ignore[arg-type]
            _deliver(rule, event)


def _deliver(rule: Rule, event: dict[str, Any]) -> None:
    """To topics and queues here, to all other targets by moto, whose events lack the account."""
    all_targets = rule.targets
    for target in all_targets:
        _, _, service, region, account, name, *_ = target["Arn"].split(":")
        try:
            if service == "sns":
                sns_backends[account][region].publish(arn=target["Arn"], message=json.dumps(event))
            elif service == "sqs" and not target.get("InputTransformer"):
                group = target.get("SqsParameters", {}).get("MessageGroupId")
                sqs_backends[account][region].send_message(name, json.dumps(event), group_id=group)
            else:
                rule.targets = [target]
                rule.send_to_targets(event | {"time": time.time(), "ingestion-time": time.time()})  # type: ignore[arg-type]
        except (ServiceException, NotImplementedError) as error:
            log.warning("event %s was not delivered to %s: %s", event["detail-type"], target["Arn"], error)
        finally:
            rule.targets = all_targets
