"""Pydantic's findings put into words: which line, which field, what was found, what is accepted."""

from __future__ import annotations

import difflib
import json
import math
import types
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from slipway.spec.located import Located


@dataclass(frozen=True, order=True)
class Problem:
    """One thing that is wrong in a file.

    Args:
        line: where, counted from 1.
        field: the path of the field, such as ``promote.weights_pct``; empty for the whole file.
        message: what was found and what is accepted.
    """

    line: int
    field: str
    message: str


def find_problems(model: type[BaseModel], document: Located, error: ValidationError) -> list[Problem]:
    """Return the findings of ``error`` about ``document``, in the order of lines."""
    return sorted({_describe(model, document, finding) for finding in error.errors(include_url=False)})


def report(path: object, problems: Sequence[Problem]) -> str:
    """Return one line per problem, each beginning with ``path:line:`` so that editors and terminals can jump there."""
    return "\n".join(
        f"{path}:{problem.line}: " + (f"{problem.field}: " if problem.field else "") + problem.message
        for problem in sorted(problems)
    )


def _describe(model: type[BaseModel], document: Located, finding: ErrorDetails) -> Problem:
    path = tuple(step for step in finding["loc"] if step != "[key]")
    context = finding.get("ctx", {})
    if finding["type"] == "broken_rule":
        path += tuple(context["field"])
        blamed = document.find(path)
        shown = blamed is not None and context["show_value"] and not isinstance(blamed.value, dict)
        found = f"found {show(blamed.plain())}; " if blamed is not None and shown else ""
        message = f"{found}expected {context['expected']}"
    elif finding["type"] == "missing":
        message = f"missing; expected {_description(model, path)}"
    elif finding["type"] == "extra_forbidden":
        message = _unknown_field(model, path)
    else:
        written = _as_written(document.find(path), finding["input"])
        message = f"found {written}; expected {_expected(finding['type'], context, finding['input'], written)}"
    return Problem(document.line_of(path), dotted(path), message)


def _as_written(blamed: Located | None, value: Any) -> str:
    """A number as the file has it: who reads that 3.1 must be put in quotes looks for 3.10 in vain."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return _printable(blamed.written[:80]) if is_number and blamed and blamed.written else show(value)


def show(value: Any) -> str:
    """Return ``value`` as a person would write it in YAML, on one line and cut short."""
    if isinstance(value, float) and not math.isfinite(value):
        text = str(value)
    else:
        text = json.dumps(value, ensure_ascii=False, default=str)
    text = _printable(text)
    return text if len(text) <= 80 else text[:77] + "…"


def dotted(path: Sequence[str | int]) -> str:
    """Return ``("promote", "weights_pct", 0)`` as ``promote.weights_pct[0]``."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step[:80]}" for step in path)
    return _printable(text.removeprefix("."))


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text)


_TYPES = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "a mapping of names to values",
    "model_type": "a section of fields",
    "model_attributes_type": "a section of fields",
}

_LIMITS = {
    "greater_than": ("gt", "more than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
}


def _expected(kind: str, context: dict[str, Any], found: Any, written: str) -> str:
    if kind in _LIMITS:
        key, words = _LIMITS[kind]
        return f"{words} {context[key]:g}"
    if kind == "literal_error":
        accepted = [word.strip("'") for word in context["expected"].replace(" or ", ", ").split(", ")]
        return _with_suggestion(f"one of {', '.join(accepted)}", found, accepted)
    if kind == "string_type" and isinstance(found, bool | int | float):
        return f'text; put it in quotes: "{written}"'
    if kind in ("int_type", "float_type") and isinstance(found, str) and _is_number(found):
        return f"{_TYPES[kind]}; leave out the quotes"
    if kind == "bool_type" and isinstance(found, str) and found.lower() in ("yes", "no", "on", "off", "true", "false"):
        return f"true or false; write {'true' if found.lower() in ('yes', 'on', 'true') else 'false'} without quotes"
    if kind in ("too_long", "string_too_long"):
        return f"at most {context['max_length']} {'characters' if kind == 'string_too_long' else 'entries'}"
    if kind == "too_short":
        return f"at least {context['min_length']} {'entry' if context['min_length'] == 1 else 'entries'}"
    return _TYPES.get(kind, kind.replace("_", " "))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _with_suggestion(expected: str, found: object, accepted: Sequence[str]) -> str:
    near = difflib.get_close_matches(str(found).lower(), accepted, n=1)
    return f"{expected}; did you mean {near[0]}?" if near else expected


def _unknown_field(model: type[BaseModel], path: tuple[str | int, ...]) -> str:
    section = _section_at(model, path[:-1])
    accepted = list(section.model_fields) if section else []
    name = str(path[-1])
    elsewhere = [place for place, field in _all_fields(model) if field == name]
    near = difflib.get_close_matches(name.lower(), accepted, n=1)
    if near:
        hint = f"did you mean {near[0]}? "
    elif elsewhere:
        hint = f"it belongs under {elsewhere[0] or 'the top level'}. "
    else:
        hint = ""
    return f"unknown field; {hint}accepted: {', '.join(accepted)}"


def _description(model: type[BaseModel], path: tuple[str | int, ...]) -> str:
    section = _section_at(model, path[:-1])
    info = section.model_fields.get(str(path[-1])) if section else None
    return info.description if info and info.description else "a value"


def _section_at(model: type[BaseModel], path: Sequence[str | int]) -> type[BaseModel] | None:
    section: type[BaseModel] | None = model
    for step in path:
        if isinstance(step, int):  # an entry of a list of sections
            continue
        info = section.model_fields.get(step) if section else None
        section = section_of(info.annotation) if info else None
    return section


def section_of(annotation: Any) -> type[BaseModel] | None:
    """Return the section class in a field's annotation, looking through ``| None``, ``Annotated`` and lists."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in (Union, types.UnionType, Annotated, tuple):
        for argument in get_args(annotation):
            found = section_of(argument)
            if found is not None:
                return found
    return None


def _all_fields(model: type[BaseModel], place: str = "") -> Iterator[tuple[str, str]]:
    for name, info in model.model_fields.items():
        yield place, name
        section = section_of(info.annotation)
        if section is not None:
            yield from _all_fields(section, f"{place}.{name}".removeprefix("."))
