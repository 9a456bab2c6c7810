"""What AWS returns against what was asked for, with AWS's own additions taken away. Pure.

A description is never the request: SageMaker adds names, times, ARNs and defaults, and returns lists in an order of its
own. What is left after that is a real difference: a resource under our name that is not ours, or a field that AWS did
not keep.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from slipway.canonical import canonical_json
from slipway.errors import ResourceConflictError

_NOT_COMPARED = frozenset({
    "CreationTime", "DeploymentRecommendation", "EndpointConfigArn", "LastModifiedTime", "ModelArn", "ResponseMetadata",
    "Tags",  # descriptions have none; ListTags has
})  # fmt: skip
_DEFAULTS: Mapping[str, Any] = {
    "EnableNetworkIsolation": False,
    "EnableSSMAccess": False,
    "InitialVariantWeight": 1.0,
    "Mode": "SingleModel",
}
"""What SageMaker fills in when a request leaves it out."""
_UNORDERED = frozenset({"CaptureOptions", "CsvContentTypes", "JsonContentTypes", "SecurityGroupIds", "Subnets"})
_NAMED_LISTS: Mapping[str, str] = {"ProductionVariants": "VariantName", "ShadowProductionVariants": "VariantName"}


@dataclass(frozen=True)
class Difference:
    """One field that is not as wanted.

    Args:
        field: its path, as in ``ProductionVariants.a1.InstanceType``.
        wanted: what was asked for, None when nothing was.
        found: what is there, None when nothing is.
    """

    field: str
    wanted: Any
    found: Any

    def __str__(self) -> str:
        return f"{self.field} is {self.found!r}, expected {self.wanted!r}"


def differences(request: Mapping[str, Any], description: Mapping[str, Any]) -> list[Difference]:
    """Compare a Create request with the description of what stands under its name.

    Args:
        request: CreateModel or CreateEndpointConfig request.
        description: DescribeModel's or DescribeEndpointConfig's answer.

    Returns:
        The fields that differ, by path; empty when it is the same thing.
    """
    wanted, found = _flat(_normal(request)), _flat(_normal(description))
    return [
        Difference(field, wanted.get(field), found.get(field))
        for field in sorted(wanted.keys() | found.keys())
        if wanted.get(field) != found.get(field)
    ]


def require_same(kind: str, name: str, request: Mapping[str, Any], description: Mapping[str, Any]) -> None:
    """Refuse a resource that has our name but another content.

    Args:
        kind: in words, as in "endpoint config".
        name: its name.
        request: see `differences`.
        description: see `differences`.

    Raises:
        ResourceConflictError: it differs; the message names the fields.
    """
    found = differences(request, description)
    if found:
        listed = "; ".join(str(difference) for difference in found[:10])
        raise ResourceConflictError(
            f"There is a {kind} {name} with other content: {listed}. Names follow from content, so something other "
            f"than Slipway made it, or AWS did not keep all fields. Delete that {kind} when nothing uses it."
        )


def _normal(value: Any, key: str = "") -> Any:
    if isinstance(value, Mapping):
        fields = {name: _normal(inner, name) for name, inner in value.items() if name not in _NOT_COMPARED}
        return {name: inner for name, inner in fields.items() if not _is_nothing(name, inner)}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        items = [_normal(item) for item in value]
        if key in _NAMED_LISTS:
            return {str(item.get(_NAMED_LISTS[key])): item for item in items}
        return sorted(items, key=canonical_json) if key in _UNORDERED else items
    if isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    return value


def _is_nothing(name: str, value: Any) -> bool:
    return value is None or value in ({}, [], "") or (name in _DEFAULTS and value == _DEFAULTS[name])


def _flat(value: Any, path: str = "") -> dict[str, Any]:
    if not isinstance(value, Mapping):
        return {path: value}
    found: dict[str, Any] = {}
    for name, inner in value.items():
        found.update(_flat(inner, f"{path}.{name}" if path else name))
    return found
