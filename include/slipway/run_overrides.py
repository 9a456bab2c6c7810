"""What one run may do differently from the spec; the command line and each DAG's first task check it."""

from __future__ import annotations

import difflib
from collections.abc import Collection
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from slipway.errors import InvalidParamsError
from slipway.spec.values import InstanceType

Model = TypeVar("Model", bound=BaseModel)


class StageOverrides(BaseModel):
    """What one run may change about the endpoint that it touches; the spec stays as it is."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    instance_type: InstanceType | None = Field(
        None, description="SageMaker instance type for this run, in place of the spec's."
    )
    instance_count: int | None = Field(
        None, ge=1, le=100, description="Number of instances for this run, in place of the spec's."
    )


class PromoteOverrides(StageOverrides):
    """What one promotion may change."""

    weights_pct: list[float] | None = Field(
        None,
        min_length=1,
        description="Weights of the spec's plan that this run keeps; it may only leave some out.",
    )


class DeployOverrides(StageOverrides):
    """What one deployment may change."""

    relock: bool = Field(False, description="Resolve the model's dependencies again, though a lock is kept.")
    supersede: bool = Field(
        False,
        description="This run takes the place of one that waited for approval; `slipway deploy --supersede` sets it.",
    )


class NoOverrides(BaseModel):
    """Nothing that one run may change."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class MonitorOverrides(BaseModel):
    """What one look of the monitor may change."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    window_from: str | None = Field(None, description="Begin of the window, such as 2026-01-31T00:00:00Z.")
    window_until: str | None = Field(None, description="End of the window; left out: now.")


def refuse_unknown(found: Collection[str], *, accepted: Collection[str], of: str = "the run's conf") -> None:
    """Refuse a field that nobody reads.

    Args:
        found: names that were given.
        accepted: names that are read.
        of: where the names come from, for the message.

    Raises:
        InvalidParamsError: one is not read.
    """
    unknown = sorted(set(found) - set(accepted))
    if not unknown:
        return
    near = difflib.get_close_matches(unknown[0], list(accepted), n=1)
    raise InvalidParamsError(
        f"Unknown field in {of}: {', '.join(map(repr, unknown))}. Accepted are: {', '.join(accepted)}."
        + (f" Did you mean {near[0]!r}?" if near else "")
    )


def read_overrides(model: type[Model], given: Any) -> Model:
    """Validate the overrides of a run.

    Args:
        model: the pydantic model to read them with.
        given: what the run was given.

    Raises:
        InvalidParamsError: a field is unknown or its value is not acceptable.
    """
    if not isinstance(given, dict):
        raise InvalidParamsError(f"overrides is an object such as {{}}, found {given!r}.")
    refuse_unknown(given, accepted=list(model.model_fields), of="overrides")
    try:
        return model.model_validate(given)
    except ValidationError as error:
        faults = [
            f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}, found {fault['input']!r}" for fault in error.errors()
        ]
        raise InvalidParamsError("overrides: " + "; ".join(faults)) from error
