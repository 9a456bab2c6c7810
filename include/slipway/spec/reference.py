"""The spec described for editors (JSON Schema) and for people (``docs/services.md``), both from the models.

``python -m slipway.spec.reference docs/services.md`` writes the field tables into the page again.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from slipway.platform import Platform
from slipway.spec.problems import section_of
from slipway.spec.service import ServiceSpec

BEGIN = "<!-- begin: written by `python -m slipway.spec.reference docs/services.md` -->"
END = "<!-- end -->"


def service_schema() -> dict[str, Any]:
    """Return the JSON Schema of ``services/*.yaml``; rules between fields are the loader's alone."""
    return _schema(ServiceSpec, "A service of Slipway")


def platform_schema() -> dict[str, Any]:
    """Return the JSON Schema of ``platform.yaml``."""
    return _schema(Platform, "The installation that all services of Slipway share")


def _schema(model: type[BaseModel], title: str) -> dict[str, Any]:
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return {**head, **model.model_json_schema(), "title": title}


def field_tables() -> str:
    """Return the Markdown of all fields of both files, a table per section."""
    services = [_table(place, model) for place, model in _sections(ServiceSpec, "")]
    return "\n".join(["## services/*name*.yaml", "", *services, "## platform.yaml", "", _table("", Platform)])


def write_tables(page: str) -> str:
    """Return ``page`` with the field tables between its marks made anew."""
    before, mark, rest = page.partition(BEGIN)
    _, end_mark, after = rest.partition(END)
    if not (mark and end_mark):
        raise ValueError(f"the page lacks the marks {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{field_tables()}\n{END}{after}"


def _sections(model: type[BaseModel], place: str) -> Iterator[tuple[str, type[BaseModel]]]:
    yield place, model
    for name, info in model.model_fields.items():
        section = section_of(info.annotation)
        if section is not None:
            yield from _sections(section, f"{place}.{name}".removeprefix("."))


def _table(place: str, model: type[BaseModel]) -> str:
    properties = model.model_json_schema()["properties"]
    lines = [f"### {place}", "", (model.__doc__ or "").strip(), ""] if place else []
    lines += ["| field | type | default | meaning |", "| --- | --- | --- | --- |"]
    for name, info in model.model_fields.items():
        cells = (f"`{name}`", _type_words(info, properties[name]), _default_words(info), info.description or "")
        lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join([*lines, ""])


def _default_words(info: FieldInfo) -> str:
    if info.is_required():
        return "**required**"
    if section_of(info.annotation) is not None and info.default != ():
        return "see below" if info.default is not None else "none"
    if info.default is None or info.default is PydanticUndefined:
        return "none"
    return f"`{json.dumps(info.default, ensure_ascii=False)}`"


def _type_words(info: FieldInfo, schema: dict[str, Any]) -> str:
    if section_of(info.annotation) is not None:
        return "list of sections" if schema.get("type") == "array" else "section"
    one = next((kind for kind in schema.get("anyOf", []) if kind.get("type") != "null"), schema)
    if "enum" in one:
        return " or ".join(f"`{value}`" for value in one["enum"])
    if "patternErrorMessage" in one:
        return str(one["patternErrorMessage"]).removeprefix("expected ")
    return _KIND_WORDS[one["type"]] + _limit_words(one)


_KIND_WORDS = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "true or false",
    "array": "list",
    "object": "mapping of text to text",
}

_LIMIT_WORDS = {
    "minimum": "≥ {:,}",
    "exclusiveMinimum": "> {:,}",
    "maximum": "≤ {:,}",
    "exclusiveMaximum": "< {:,}",
    "maxLength": "at most {:,} characters",
    "maxItems": "at most {:,}",
    "maxProperties": "at most {:,}",
}


def _limit_words(schema: dict[str, Any]) -> str:
    return "".join(f", {words.format(schema[key])}" for key, words in _LIMIT_WORDS.items() if key in schema)


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.write_text(write_tables(target.read_text(encoding="utf-8")), encoding="utf-8")
