"""The trigger forms: their fields, and the check of what a run was given.

Forms are short: every task serialises the Params again, and a form with few fields is filled in right. What is
rarely needed goes into the one object ``overrides``, which a pydantic model checks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from airflow.sdk import Param
from airflow.sdk.definitions.param import DagParam
from pydantic import BaseModel

from slipway.run_overrides import read_overrides, refuse_unknown

if TYPE_CHECKING:
    from airflow.sdk import DAG, Context

MAX_REASON_CHARACTERS = 500


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
    :return: A function for ``pre_execute``; it raises :class:`slipway.errors.InvalidParamsError` for fields that
        the DAG does not take, or for overrides that the model refuses.
    """

    def check(context: Context) -> None:
        conf = context["dag_run"].conf or {}
        refuse_unknown(conf, accepted=list(context["dag"].params))
        read_overrides(overrides, context["params"].get("overrides") or {})

    return check
