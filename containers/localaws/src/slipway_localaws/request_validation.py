"""Checks of requests against the constraints that AWS publishes in botocore's model."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from botocore.model import ServiceModel, Shape
from moto.core.utils import get_service_model

#: Parts of published patterns that Python reads otherwise; and those of URIs do not match AWS's own examples.
_NOT_PYTHON = ("\\p{", "\\uD", "://")


@cache
def _model(service: str) -> ServiceModel:
    model: ServiceModel = get_service_model(service)
    return model


def broken_constraints(service: str, operation: str, parameters: Mapping[str, Any]) -> str:
    """What of a request breaks a constraint of its shape (length, range, pattern, enumeration, required).

    Args:
        service: such as ``sagemaker``.
        operation: such as ``CreateModel``.
        parameters: the request.

    Returns:
        A message as AWS words it; empty when all is well.
    """
    shape = _model(service).operation_model(operation).input_shape
    problems = list(_problems(shape, parameters, "")) if shape is not None else []
    if not problems:
        return ""
    noun = "error" if len(problems) == 1 else "errors"
    return f"{len(problems)} validation {noun} detected: {'; '.join(problems)}"


def _problems(shape: Shape, value: Any, path: str) -> Iterator[str]:
    if value is None:
        return
    if shape.type_name == "structure":
        for name in shape.required_members:
            if value.get(name) is None:
                place = f"{path}.{_lower(name)}" if path else _lower(name)
                yield _sentence(None, place, "Member must not be null")
        for name, member in shape.members.items():
            yield from _problems(member, value.get(name), f"{path}.{_lower(name)}" if path else _lower(name))
    elif shape.type_name == "list":
        yield from _length(shape, value, path)
        for number, entry in enumerate(value, 1):
            yield from _problems(shape.member, entry, f"{path}.{number}.member")
    elif shape.type_name == "string":
        yield from _string(shape, str(value), path)
    elif shape.type_name in {"integer", "long", "float", "double"}:
        yield from _number(shape, value, path)


def _string(shape: Shape, value: str, path: str) -> Iterator[str]:
    if shape.enum and value not in shape.enum:
        allowed = ", ".join(shape.enum)
        yield _sentence(value, path, f"Member must satisfy enum value set: [{allowed}]")
    yield from _length(shape, value, path)
    pattern = shape.metadata.get("pattern", "")
    python = not any(java in pattern for java in _NOT_PYTHON)
    if pattern and python and not re.fullmatch(pattern, value):
        yield _sentence(value, path, f"Member must satisfy regular expression pattern: {pattern}")


def _length(shape: Shape, value: Any, path: str) -> Iterator[str]:
    most, least = shape.metadata.get("max"), shape.metadata.get("min")
    if most is not None and len(value) > most:
        yield _sentence(value, path, f"Member must have length less than or equal to {most}")
    if least and len(value) < least:
        yield _sentence(value, path, f"Member must have length greater than or equal to {least}")


def _number(shape: Shape, value: float, path: str) -> Iterator[str]:
    most, least = shape.metadata.get("max"), shape.metadata.get("min")
    if most is not None and value > most:
        yield _sentence(value, path, f"Member must have value less than or equal to {most}")
    if least is not None and value < least:
        yield _sentence(value, path, f"Member must have value greater than or equal to {least}")


def _sentence(value: Any, path: str, constraint: str) -> str:
    shown = "null" if value is None else value
    return f"Value '{shown}' at '{path}' failed to satisfy constraint: {constraint}"


def _lower(name: str) -> str:
    return name[:1].lower() + name[1:]
