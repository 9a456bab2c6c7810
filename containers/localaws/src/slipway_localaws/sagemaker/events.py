"""What SageMaker tells EventBridge about endpoints.

https://docs.aws.amazon.com/sagemaker/latest/dg/automating-sagemaker-with-eventbridge.html
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

from slipway_localaws.event_bus import emit
from slipway_localaws.sagemaker.records import HostedEndpoint


def send_status(endpoint: HostedEndpoint) -> None:
    """Tell the default bus of an endpoint's new status. Hold ``MOTO_LOCK``."""
    key = endpoint.key
    detail: dict[str, Any] = {
        "EndpointName": key.name,
        "EndpointArn": endpoint.arn,
        "EndpointConfigName": endpoint.endpoint_config_name,
        "ProductionVariants": [
            {"VariantName": name, "DesiredWeight": state.desired_weight, "DesiredInstanceCount": state.desired_count}
            for name, state in endpoint.variants.items()
            if not state.plan.shadow
        ],
        "EndpointStatus": re.sub(r"(?<=[a-z])(?=[A-Z])", "_", endpoint.endpoint_status).upper(),
        "CreationTime": _milliseconds(endpoint.creation_time),
        "LastModifiedTime": _milliseconds(endpoint.last_modified_time),
        "Tags": {each["Key"]: each["Value"] for each in endpoint.tags},
    }
    if endpoint.failure_reason:
        detail["FailureReason"] = endpoint.failure_reason
    emit(key.account, key.region, "aws.sagemaker", "SageMaker Endpoint State Change", [endpoint.arn], detail)


def _milliseconds(at: datetime) -> float:
    return float(round(at.replace(tzinfo=UTC).timestamp() * 1000))
