"""Captured data in SageMaker's layout and schema.

https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-data-capture-endpoint.html
"""

from __future__ import annotations

import base64
import json
import random
import uuid
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from moto.core.exceptions import ServiceException
from moto.s3.models import s3_backends

from slipway_localaws.hosting.plan import EndpointKey

_CSV_TYPES = ("text/csv",)
_JSON_TYPES = ("application/json", "application/jsonlines")


@dataclass(frozen=True, slots=True)
class CapturedCall:
    """One invocation that is to be captured."""

    key: EndpointKey
    variant: str
    config: Mapping[str, Any]
    event_id: str
    inference_id: str
    custom_attributes: str
    at: float
    request_type: str
    request: bytes
    answer_type: str
    answer: bytes


def is_sampled(config: Mapping[str, Any]) -> bool:
    """Whether this invocation is to be captured under an endpoint's DataCaptureConfig."""
    return bool(config.get("EnableCapture")) and random.random() * 100 < config.get("InitialSamplingPercentage", 0)


def write_captures(calls: list[CapturedCall]) -> None:
    """Write captured calls to S3: one file for each variant and hour. Hold ``MOTO_LOCK``."""
    files: dict[tuple[EndpointKey, str, str, str], list[CapturedCall]] = defaultdict(list)
    for call in calls:
        hour = datetime.fromtimestamp(call.at, UTC).strftime("%Y/%m/%d/%H")
        files[call.key, call.variant, call.config["DestinationS3Uri"], hour].append(call)
    for (key, variant, uri, hour), group in files.items():
        bucket, _, prefix = uri.partition("://")[2].partition("/")
        first = datetime.fromtimestamp(group[0].at, UTC)
        name = f"{first:%M-%S}-{first.microsecond // 1000:03d}-{uuid.uuid4()}.jsonl"
        parts = [prefix.strip("/"), key.name, variant, hour, name]
        body = "".join(json.dumps(_record(call)) + "\n" for call in group).encode()
        try:
            s3_backends[key.account]["aws"].put_object(bucket, "/".join(part for part in parts if part), body)
        except ServiceException:  # no such bucket: SageMaker, too, goes on serving
            continue


def _record(call: CapturedCall) -> dict[str, Any]:
    modes = {option["CaptureMode"] for option in call.config.get("CaptureOptions", ())}
    header = call.config.get("CaptureContentTypeHeader") or {}
    data: dict[str, Any] = {}
    if modes & {"Input", "InputAndOutput"}:
        data["endpointInput"] = _side("INPUT", call.request_type, call.request, header)
    if modes & {"Output", "InputAndOutput"}:
        data["endpointOutput"] = _side("OUTPUT", call.answer_type, call.answer, header)
    at = datetime.fromtimestamp(call.at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    event: dict[str, Any] = {"eventId": call.event_id, "inferenceTime": at}
    if call.inference_id:
        event["inferenceId"] = call.inference_id
    if call.custom_attributes:
        event["customAttributes"] = [call.custom_attributes]
    return {"captureData": data, "eventMetadata": event, "eventVersion": "0"}


def _side(mode: str, content_type: str, body: bytes, header: Mapping[str, Any]) -> dict[str, str]:
    kind = content_type.partition(";")[0].strip().lower()
    encoding = "BASE64"
    if kind in {*_CSV_TYPES, *(each.lower() for each in header.get("CsvContentTypes", ()))}:
        encoding = "CSV"
    elif kind in {*_JSON_TYPES, *(each.lower() for each in header.get("JsonContentTypes", ()))}:
        encoding = "JSON"
    try:
        data = base64.b64encode(body).decode() if encoding == "BASE64" else body.decode()
    except UnicodeDecodeError:
        encoding, data = "BASE64", base64.b64encode(body).decode()
    return {"observedContentType": content_type, "mode": mode, "data": data, "encoding": encoding}
