"""Names of SageMaker resources, derived from their content.

A name that follows from content makes every step repeatable: a task that runs again finds its own resource under the
name that it would give. Models and endpoint configs never change in SageMaker, so other content means another name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from slipway.canonical import content_digest

MAX_LENGTH = 63
"""Longest name that SageMaker takes for a model, an endpoint config or an endpoint."""

_UNNAMED = frozenset({"EndpointConfigName", "ModelName", "Tags"})


def config_name(service: str, stage: str, config: Mapping[str, Any]) -> str:
    """Name an endpoint config.

    Args:
        service: the service's name, at most 32 characters.
        stage: ``dev`` or ``prod``.
        config: the CreateEndpointConfig request; its own name and its tags do not count.

    Returns:
        ``<service>-<stage>-<10 hex>``, at most 48 characters.
    """
    return f"{service}-{stage}-{_digest(config)[:10]}"


def model_name(service: str, stage: str, release_id: str, model: Mapping[str, Any]) -> str:
    """Name a SageMaker model.

    The stage is part of it: both stages of a release may have the same role and network, and taking one stage's
    model away must not touch the other's.

    Args:
        service: the service's name, at most 32 characters.
        stage: ``dev`` or ``prod``.
        release_id: the release that the model runs.
        model: the CreateModel request; its own name and its tags do not count.

    Returns:
        ``<service>-<stage>-<release id>-<8 hex>``, at most 59 characters.
    """
    return f"{service}-{stage}-{release_id}-{_digest(model)[:8]}"


def _digest(request: Mapping[str, Any]) -> str:
    return content_digest({key: value for key, value in request.items() if key not in _UNNAMED})
