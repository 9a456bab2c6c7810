"""What every section of a YAML file has in common: frozen, no unknown fields, no silent conversions."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema


class Section(BaseModel):
    """Base of all sections.

    Values are taken as YAML gives them (``"2"`` is text, not a number), so that a file which the loader accepts is
    also accepted by the JSON Schema in an editor.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    def changed_fields(self) -> set[str]:
        """Return the fields whose values are not the defaults; a copy that spells defaults out has the same ones."""
        return {name for name, info in type(self).model_fields.items() if getattr(self, name) != info.default}


def broken_rule(expected: str, *field: str | int, show_value: bool = True) -> PydanticCustomError:
    """Build the error of a rule that a plain type cannot express.

    Args:
        expected: what would be accepted; completes the sentence "expected …".
        field: the path of the field to blame, relative to the section that raises; empty for the section itself.
        show_value: whether the message may repeat what was found; False for what may be a secret.
    """
    # The text travels in the context: pydantic would read braces in a message template as placeholders.
    context = {"expected": expected, "field": field, "show_value": show_value}
    return PydanticCustomError("broken_rule", "{expected}", context)


@dataclass(frozen=True)
class TextRule:
    """Annotation of a text field: a pattern, and the words that say what it means.

    Args:
        accepted: what is accepted, in words; completes the sentence "expected …".
        pattern: regular expression of the whole text, without anchors.
        max_length: the most characters allowed, or None.
        suggest: from a refused text, what was probably meant, or None.
    """

    accepted: str
    pattern: str
    max_length: int | None = None
    suggest: Callable[[str], str | None] | None = None

    def check(self, text: str) -> str:
        """Return ``text`` when it keeps the rule, else raise what pydantic collects."""
        too_long = self.max_length is not None and len(text) > self.max_length
        if not too_long and re.fullmatch(self.pattern, text):
            return text
        meant = None if too_long or self.suggest is None else self.suggest(text)
        limit = f", at most {self.max_length} characters" if too_long else ""
        raise broken_rule(f"{self.accepted}{limit}" + (f"; did you mean {meant!r}?" if meant else ""))

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        described = handler(schema)
        described["pattern"] = f"^(?:{self.pattern})$"
        described["patternErrorMessage"] = f"expected {self.accepted}"  # what editors show instead of the pattern
        if self.max_length is not None:
            described["maxLength"] = self.max_length
        return described
