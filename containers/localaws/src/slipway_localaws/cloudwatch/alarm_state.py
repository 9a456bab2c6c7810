"""Which state an alarm ought to be in: pure functions.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/AlarmThatSendsEmail.html (how alarms are evaluated, and
how they treat missing data)
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "GreaterThanOrEqualToThreshold": operator.ge,
    "GreaterThanThreshold": operator.gt,
    "LessThanThreshold": operator.lt,
    "LessThanOrEqualToThreshold": operator.le,
}
#: CloudWatch looks at more periods than it evaluates, so that a late or missing point does not decide.
EXTRA_PERIODS = 2


class AlarmRuleError(ValueError):
    """A composite alarm's rule that cannot be read."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the newest points say.

    Args:
        state: OK, ALARM or INSUFFICIENT_DATA; empty to stay as it is.
        points: the values that were looked at, newest first.
        breaching: how many of those breach.
    """

    state: str
    points: tuple[float, ...]
    breaching: int


def judge(
    points: Sequence[float | None],
    breaches: Callable[[float], bool],
    *,
    evaluation_periods: int,
    datapoints_to_alarm: int,
    treat_missing: str,
) -> Judgement:
    """The state that the newest points call for.

    Args:
        points: values by period, oldest first; None where there is none. More than ``evaluation_periods`` of them.
        breaches: whether a value is beyond the threshold.
        evaluation_periods: N of "M out of N".
        datapoints_to_alarm: M.
        treat_missing: ``missing``, ``ignore``, ``breaching`` or ``notBreaching``.
    """
    real = [value for value in reversed(points) if value is not None][:evaluation_periods]
    missing = evaluation_periods - len(real)
    count = sum(map(breaches, real))
    if treat_missing == "breaching":
        state = "ALARM" if count + missing >= datapoints_to_alarm else "OK"
    elif count >= datapoints_to_alarm:
        state = "ALARM"
    elif treat_missing == "notBreaching" or count < len(real):
        state = "OK"
    elif treat_missing == "ignore":
        state = ""
    else:
        state = "ALARM" if real else "INSUFFICIENT_DATA"
    return Judgement(state, tuple(real), count)


_RULE_TOKEN = re.compile(
    r"\s*(?:(AND|OR|NOT|TRUE|FALSE)\b|([()])|(ALARM|OK|INSUFFICIENT_DATA)\s*\(\s*(?:\"([^\"]+)\"|'([^']+)'|([^()\s]+))\s*\))"
)


def composite_state(rule: str, states: Mapping[str, str]) -> bool:
    """Whether a composite alarm's rule holds.

    https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutCompositeAlarm.html

    Args:
        rule: such as ``ALARM("a") AND NOT OK(b)``.
        states: state by alarm name and ARN.

    Raises:
        AlarmRuleError: syntax, or an alarm that does not exist.
    """
    tokens, place = [], 0
    text = rule.strip()
    while place < len(text):
        match = _RULE_TOKEN.match(text, place)
        if match is None:
            raise AlarmRuleError(f"cannot read the rule at {text[place : place + 20]!r}")
        word, parenthesis, function, *names = match.groups()
        if function:
            name = next(each for each in names if each)
            if name not in states:
                raise AlarmRuleError(f"the alarm {name!r} does not exist")
            tokens.append("TRUE" if states[name] == function else "FALSE")
        else:
            tokens.append(word or parenthesis)
        place = match.end()
    return _Rule(tokens).read()


class _Rule:
    """Recursive descent over words and parentheses."""

    def __init__(self, tokens: list[str]) -> None:
        self._tokens = tokens

    def read(self) -> bool:
        value = self._or()
        if self._tokens:
            raise AlarmRuleError(f"unexpected {self._tokens[0]!r}")
        return value

    def _or(self) -> bool:
        value = self._and()
        while self._next("OR"):
            value = self._and() or value
        return value

    def _and(self) -> bool:
        value = self._not()
        while self._next("AND"):
            value = self._not() and value
        return value

    def _not(self) -> bool:
        if self._next("NOT"):
            return not self._not()
        if self._next("("):
            value = self._or()
            if not self._next(")"):
                raise AlarmRuleError("a parenthesis is not closed")
            return value
        if self._tokens and self._tokens[0] in {"TRUE", "FALSE"}:
            return self._tokens.pop(0) == "TRUE"
        raise AlarmRuleError("the rule ends too early" if not self._tokens else f"unexpected {self._tokens[0]!r}")

    def _next(self, token: str) -> bool:
        if self._tokens and self._tokens[0] == token:
            self._tokens.pop(0)
            return True
        return False
