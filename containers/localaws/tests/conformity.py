"""Holds every answer of the stand-in against the shapes that AWS publishes with botocore."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from botocore.model import OperationModel, Shape

_TYPES: dict[str, type | tuple[type, ...]] = {
    "structure": dict, "list": list, "map": dict, "string": str, "integer": int, "long": int,
    "float": (int, float), "double": (int, float), "boolean": bool, "timestamp": datetime,
}  # fmt: skip


def watch(client: Any) -> None:
    """Let ``client`` fail on any answer that does not conform."""
    client.meta.events.register("after-call", _check_answer)


def _check_answer(http_response: Any, parsed: dict[str, Any], model: OperationModel, **_: Any) -> None:
    if http_response.status_code >= 300 or model.output_shape is None:
        return
    content = {key: value for key, value in parsed.items() if key != "ResponseMetadata"}
    problems = list(_problems(model.output_shape, content, model.name))
    if model.service_model.metadata["protocol"] == "json" and http_response.content:
        problems += _unknown(model.output_shape, json.loads(http_response.content), model.name)
    assert not problems, problems


def _problems(shape: Shape, value: Any, path: str) -> Iterator[str]:
    expected = _TYPES.get(shape.type_name)
    if expected is not None and not isinstance(value, expected):
        yield f"{path}: expected {shape.type_name}, found {value!r}"
        return
    if shape.type_name == "structure":
        for name in shape.required_members:
            if name not in value:
                yield f"{path}: {name} is required"
        for name, entry in value.items():
            if name in shape.members:
                yield from _problems(shape.members[name], entry, f"{path}.{name}")
    elif shape.type_name == "list":
        for number, entry in enumerate(value):
            yield from _problems(shape.member, entry, f"{path}[{number}]")
    elif shape.type_name == "string":
        yield from _string_problems(shape, value, path)


def _string_problems(shape: Shape, value: str, path: str) -> Iterator[str]:
    if shape.enum and value not in shape.enum:
        yield f"{path}: {value!r} is not one of {shape.enum}"
    pattern = shape.metadata.get("pattern", "")
    python = not any(java in pattern for java in ("\\p{", "\\uD", "://"))  # some are not Python's
    if pattern and python and not re.search(pattern, value):
        yield f"{path}: {value!r} does not match {pattern}"
    if len(value) > shape.metadata.get("max", len(value)):
        yield f"{path}: longer than {shape.metadata['max']}"


def _unknown(shape: Shape, value: Any, path: str) -> Iterator[str]:
    """Members of a JSON answer that the shape does not have (botocore's parser drops them silently)."""
    if shape.type_name == "structure" and isinstance(value, dict):
        for name, entry in value.items():
            if name not in shape.members:
                yield f"{path}: unknown member {name}"
            elif entry is not None:
                yield from _unknown(shape.members[name], entry, f"{path}.{name}")
    elif shape.type_name == "list" and isinstance(value, list):
        for number, entry in enumerate(value):
            yield from _unknown(shape.member, entry, f"{path}[{number}]")
