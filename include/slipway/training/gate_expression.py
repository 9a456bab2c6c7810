"""The language of gates: small, parsed, never evaluated as code.

    areaUnderROC >= 0.70                  a metric against a number
    rmse <= champion * 1.02               against the champion's own value, scaled ...
    f1 >= champion - 0.005                ... or shifted
    f1 beats champion by 0.01 (95%)       the paired difference, by its confidence interval

Grammar::

    expression := metric comparator operand | metric "beats" "champion" [ "by" number ] [ "(" number "%" ")" ]
    comparator := ">=" | ">" | "<=" | "<"
    operand    := number | "champion" [ ("*" | "+" | "-") number ]
    metric     := letter or "_", then letters, digits, "_", ".", "/", "@", "-"
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from slipway.errors import InvalidInputError

Comparator = Literal[">=", ">", "<=", "<"]

_NUMBER = r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?"
_METRIC = r"[A-Za-z_][\w./@-]*"
_COMPARISON = re.compile(
    rf"(?P<metric>{_METRIC})\s*(?P<comparator>>=|<=|>|<)\s*"
    rf"(?:(?P<number>{_NUMBER})|(?P<champion>champion)(?:\s*(?P<operator>[*+-])\s*(?P<amount>{_NUMBER}))?)"
)
_BEATS = re.compile(
    rf"(?P<metric>{_METRIC})\s+beats\s+champion(?:\s+by\s+(?P<amount>{_NUMBER}))?"
    rf"(?:\s*\(\s*(?P<confidence>{_NUMBER})\s*%\s*\))?"
)
DEFAULT_CONFIDENCE_PCT = 95.0
_MAX_LENGTH = 200


@dataclass(frozen=True)
class ChampionBound:
    """The champion's value of the metric, times ``factor``, plus ``offset``."""

    factor: float = 1.0
    offset: float = 0.0


@dataclass(frozen=True)
class Threshold:
    """``metric comparator bound``."""

    text: str
    metric: str
    comparator: Comparator
    bound: float | ChampionBound

    @property
    def needs_champion(self) -> bool:
        """Whether the champion's value is part of the comparison."""
        return isinstance(self.bound, ChampionBound)


@dataclass(frozen=True)
class Beats:
    """The challenger is better than the champion by ``amount`` or more, with confidence."""

    text: str
    metric: str
    amount: float
    confidence_pct: float

    @property
    def needs_champion(self) -> bool:
        """Whether the champion's value is part of the comparison."""
        return True


GateExpression = Threshold | Beats


def parse_expression(text: str) -> GateExpression:
    """Parse one expression.

    Args:
        text: The expression, as written in the spec or the form.

    Returns:
        Its parts.

    Raises:
        InvalidInputError: The text is not an expression; the message shows the forms that are.
    """
    stripped = text.strip()
    if len(stripped) > _MAX_LENGTH:
        raise _refusal(stripped[:40] + "…", f"it is longer than {_MAX_LENGTH} characters")
    if found := _BEATS.fullmatch(stripped):
        return _beats(stripped, found)
    if found := _COMPARISON.fullmatch(stripped):
        return _threshold(stripped, found)
    raise _refusal(stripped, "it has none of the known forms")


def _beats(text: str, found: re.Match[str]) -> Beats:
    amount = float(found["amount"] or 0.0)
    confidence = float(found["confidence"] or DEFAULT_CONFIDENCE_PCT)
    if amount < 0:
        raise _refusal(text, "the amount after 'by' must not be negative")
    if not 50 <= confidence < 100:
        raise _refusal(text, "the confidence must be at least 50 % and below 100 %")
    return Beats(text=text, metric=found["metric"], amount=amount, confidence_pct=confidence)


def _threshold(text: str, found: re.Match[str]) -> Threshold:
    comparator: Comparator = found["comparator"]  # type: ignore[assignment]  # the pattern admits only these four
    if found["champion"]:
        bound: float | ChampionBound = _champion_bound(found["operator"], found["amount"])
    else:
        bound = float(found["number"])
    return Threshold(text=text, metric=found["metric"], comparator=comparator, bound=bound)


def _champion_bound(operator: str | None, amount: str | None) -> ChampionBound:
    if operator is None or amount is None:
        return ChampionBound()
    if operator == "*":
        return ChampionBound(factor=float(amount))
    return ChampionBound(offset=float(amount) if operator == "+" else -float(amount))


def _refusal(text: str, why: str) -> InvalidInputError:
    return InvalidInputError(
        f"'{text}' is not a gate expression: {why}. Expected for example 'areaUnderROC >= 0.70', "
        "'rmse <= champion * 1.02' or 'f1 beats champion by 0.01 (95%)'."
    )
