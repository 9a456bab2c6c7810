"""Where a promotion stops to ask: hooks, which programs answer, and gates, which people answer."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, PlainValidator, WithJsonSchema, model_validator

from slipway.spec.section import Section, TextRule, broken_rule
from slipway.spec.values import ConnectionId, unique

BEFORE, BETWEEN, AFTER = "before", "between", "after"
_WORDS = (BEFORE, BETWEEN, AFTER)
_MOST_STEPS = 21
"""The 20 weights that a plan may have, and all traffic."""

Place = int | Literal["after"]
"""A place in a promotion: before the step of that number (the last is all traffic), or after all steps."""


def _check_point(value: Any) -> int | str:
    if value in _WORDS or (isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= _MOST_STEPS):
        return value  # type: ignore[no-any-return]
    raise broken_rule(f"{', '.join(_WORDS)}, or the number of a step from 1")


def _check_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        usable = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        usable = False
    if not usable:
        raise broken_rule("a URL with a host, such as https://checks.example.com/slipway")
    if "@" in parts.netloc:
        raise broken_rule("no name or password in the URL; put them into an Airflow connection", show_value=False)
    return url


PromotionPoint = Annotated[
    int | str,
    PlainValidator(_check_point),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 1, "maximum": _MOST_STEPS}, {"enum": list(_WORDS)}]}),
]
HookName = Annotated[str, TextRule("lower-case letters, digits and single '_'", r"[a-z][a-z0-9]*(?:_[a-z0-9]+)*", 40)]
HookFunction = Annotated[str, TextRule("file.py:function, the file in hooks/", r"(?:\w+/)*\w+\.py:[A-Za-z_]\w*", 200)]
HookUrl = Annotated[str, TextRule("a URL such as https://…", r"https?://\S+", 2000), AfterValidator(_check_url)]
HookPath = Annotated[str, TextRule("a path that begins with '/'", r"/(?!/)[^\s\\#]*", 1000)]


def meets(points: tuple[int | str, ...], place: Place) -> bool:
    """Tell whether some points of a spec name a place.

    Args:
        points: ``before`` is the first step, ``between`` all others with all traffic, ``after`` the end.
        place: The place.
    """
    if place == AFTER:
        return AFTER in points
    return place in points or (BEFORE if place == 1 else BETWEEN) in points


class HookSpec(Section):
    """A program of yours that a promotion asks. It answers yes or no; a no takes the release back."""

    name: HookName = Field(description="Name of the hook; its tasks are called after it.")
    at: Annotated[tuple[PromotionPoint, ...], AfterValidator(unique)] = Field(
        (BEFORE,),
        strict=False,
        min_length=1,
        max_length=24,
        description="When it is asked: `before` the first step, `between` steps, `after` the last, or before the step "
        "of a number.",
    )
    function: HookFunction | None = Field(None, description="Function in `hooks/`, as `file.py:function`.")
    url: HookUrl | None = Field(None, description="Address that is asked by HTTP POST, when it needs no credentials.")
    connection: ConnectionId | None = Field(
        None, description="Airflow connection of type HTTP with the address and the credentials."
    )
    path: HookPath | None = Field(None, description="Path below the address of `connection`.")
    timeout_seconds: float = Field(
        60.0, gt=0, le=900, description="Seconds for the answer; nobody judges the traffic meanwhile."
    )

    @model_validator(mode="after")
    def _check_kind(self) -> Self:
        given = [name for name in ("function", "url", "connection") if getattr(self, name) is not None]
        if len(given) != 1:
            found = f"; found {' and '.join(given)}" if given else ""
            raise broken_rule(f"exactly one of function, url and connection{found}", *given[1:2])
        if self.path is not None and self.connection is None:
            raise broken_rule("path only beside connection; a url has its own", "path")
        return self
