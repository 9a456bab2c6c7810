"""Capture records as SageMaker writes them."""

from __future__ import annotations

import base64
import io
import json
from typing import Any

AT = "2013-04-01T10:00:00Z"


def side(mode: str, data: str | bytes, media: str = "application/json", encoding: str = "JSON") -> dict[str, str]:
    if encoding == "BASE64":
        data = base64.b64encode(data if isinstance(data, bytes) else data.encode()).decode()
    assert isinstance(data, str)
    return {"observedContentType": media, "mode": mode, "data": data, "encoding": encoding}


def record(request: Any, answer: Any = None, *, at: str = AT, inference_id: str | None = None, **kind: str) -> str:
    data: dict[str, Any] = {}
    body = request if isinstance(request, str | bytes) else json.dumps(request)
    data["endpointInput"] = side("INPUT", body, **kind)
    if answer is not None:
        text = answer if isinstance(answer, str) else json.dumps(answer)
        data["endpointOutput"] = side("OUTPUT", text)
    event = {"eventId": "e-1", "inferenceTime": at}
    if inference_id:
        event["inferenceId"] = inference_id
    return json.dumps({"captureData": data, "eventMetadata": event, "eventVersion": "0"})


def stream(*lines: str | bytes) -> io.BytesIO:
    return io.BytesIO(b"\n".join(line if isinstance(line, bytes) else line.encode() for line in lines) + b"\n")
