"""The trigger forms: their fields, and the check of what a run was given.

Forms are short: every task serialises the Params again, and a form with few fields is filled in right. What is
rarely needed goes into the one object ``overrides``, which a pydantic model checks.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any, TypeVar

from airflow.sdk import Param
from airflow.sdk.definitions.param import DagParam
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from slipway.errors import InvalidParamsError
from slipway.spec.values import InstanceType

if TYPE_CHECKING:
    from airflow.sdk import DAG, Context

MAX_REASON_CHARACTERS = 500
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


def version_param() -> Param:
    """Return the field that says which model version is meant."""
    return Param(
        "candidate",
        type="string",
        title="Model version",
        description="An alias (candidate), a version number (7), or run:<run id>.",
        minLength=1,
        maxLength=250,
    )


def reason_param() -> Param:
    """Return the field in which a person says why; it goes into the ledger."""
    # Null is taken, too: else Airflow's form demands a text before it lets anybody press Trigger.
    return Param(
        "",
        type=["null", "string"],
        title="Reason",
        description="Why; kept in the ledger.",
        maxLength=MAX_REASON_CHARACTERS,
    )


def overrides_param(model: type[BaseModel]) -> Param:
    """Return the field for the rarely needed settings.

    :param model: The pydantic model of the settings; its descriptions become the field's help.
    """
    lines = [f"- `{name}`: {field.description}" for name, field in model.model_fields.items()]
    return Param(
        {},
        type="object",
        title="Overrides",
        description_md="Rarely needed, for this run only:\n" + "\n".join(lines),
        propertyNames={"enum": list(model.model_fields)},
    )


class Override(DagParam):
    """One of a run's overrides, resolved when the task runs; None when the run does not set it.

    :param dag: The DAG whose form has the field ``overrides``.
    :param field: Name of the override.
    """

    def __init__(self, dag: DAG, field: str) -> None:
        super().__init__(dag, "overrides")
        self._field = field

    def resolve(self, context: Context) -> Any:
        """Return the value that the run was given, or None."""
        return (super().resolve(context) or {}).get(self._field)

    def serialize(self) -> dict[str, str]:
        """Return what Airflow's pages show in place of the value."""
        return {"param": "overrides", "field": self._field}


def checked_by(overrides: type[BaseModel]) -> Callable[[Context], None]:
    """Return the check that a DAG's first task makes before anything else.

    Airflow validates the fields that it knows and accepts all others, so a misspelt field would be
    ignored silently.

    :param overrides: The pydantic model of the field ``overrides``.
    :return: A function for ``pre_execute``; it raises :class:`InvalidParamsError` for fields that
        the DAG does not take, or for overrides that the model refuses.
    """

    def check(context: Context) -> None:
        conf = context["dag_run"].conf or {}
        refuse_unknown(conf, accepted=list(context["dag"].params))
        read_overrides(overrides, context["params"].get("overrides") or {})

    return check


def refuse_unknown(found: Collection[str], *, accepted: Collection[str], of: str = "the run's conf") -> None:
    """Raise when a field was given that nobody reads.

    :param found: Names that were given.
    :param accepted: Names that are read.
    :param of: Where the names come from, for the message.
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

    :param model: The pydantic model to read them with.
    :param given: What the run was given.
    :return: The model.
    :raises InvalidParamsError: a field is unknown or its value is not acceptable.
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
