"""How the model is served, and with what it is verified."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from slipway.spec.section import Section, TextRule, broken_rule
from slipway.spec.values import PythonMinor

_SECRET_NAME = re.compile(r"(?i)(?:^|_)(?:secret|password|passwd|token|api_?key|access_?key(?:_id)?|private_?key)$")
_OWN_NAMES = ("PYTHONPATH", "PATH", "SLIPWAY_MODEL_DIR")
EXPLAIN_VARIABLE = "SLIPWAY_EXPLAIN"  # of the model server

VariableName = Annotated[
    str, TextRule("a variable name of letters, digits and '_', not beginning with a digit", r"[A-Za-z_]\w*", 255)
]
VariableValue = Annotated[str, TextRule("text in quotes", r"[\s\S]*", 1024)]


def without_secrets(environment: dict[str, str]) -> dict[str, str]:
    """Return ``environment`` when no variable is named like a secret, else raise what pydantic collects."""
    for name in environment:
        if _SECRET_NAME.search(name):
            raise broken_rule(
                "no secrets in a spec: let the container's role read them from a store", name, show_value=False
            )
    return environment


def _without_own_names(environment: dict[str, str]) -> dict[str, str]:
    for name in environment:
        if name in _OWN_NAMES:
            raise broken_rule(f"none of {', '.join(_OWN_NAMES)}, which the image sets itself", name)
    return environment


Environment = Annotated[dict[VariableName, VariableValue], AfterValidator(without_secrets)]


class ServingSpec(Section):
    """How the model is served."""

    python: PythonMinor | None = Field(
        None, description='Python of the image, such as "3.11"; left out: the one that the model was trained with.'
    )
    engine: Literal["auto", "pyfunc"] = Field(
        "auto",
        description="`pyfunc` is always MLflow's own way, for Spark pipelines Spark in a JVM; `auto` takes a faster "
        "one where the answers are equal.",
    )
    explain: Literal["none", "contributions"] = Field(
        "none",
        description="`contributions` adds to each answer what each column contributed to it; for compiled models only.",
    )
    allow_missing_signature: bool = Field(
        False, description="Whether a model without signature may be deployed; its input is then not checked."
    )
    environment: Annotated[Environment, AfterValidator(_without_own_names)] = Field(
        {}, max_length=80, description="Environment variables of the container. Never secrets."
    )

    @model_validator(mode="after")
    def _check_explain(self) -> Self:
        if self.explain != "none" and self.engine == "pyfunc":
            raise broken_rule(f"engine: auto beside explain: {self.explain}, which takes a compiled model", "engine")
        return self

    def variables(self) -> dict[str, str]:
        """Return the environment variables of the container, in the order of names: those given, and our server's."""
        own = {} if self.explain == "none" else {EXPLAIN_VARIABLE: self.explain}
        return dict(sorted({**self.environment, **own}.items()))


class GoldenRowsSpec(Section):
    """The rows by which a release is verified."""

    max_rows: int = Field(
        50, ge=1, le=1000, description="Most rows whose answers are compared with those of the original model."
    )
