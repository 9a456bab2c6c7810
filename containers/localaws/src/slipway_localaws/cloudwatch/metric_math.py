"""Metric math.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/using-metric-math.html
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping

from slipway_localaws.cloudwatch.metric_functions import FUNCTIONS, Context, MetricMathError, Value, combine
from slipway_localaws.cloudwatch.time_series import TimeSeries

_TOKEN = re.compile(
    r"\s*(?:(\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+)|([A-Za-z_]\w*)|\"([^\"]*)\"|'([^']*)'"
    r"|(&&|\|\||[<>=!]=|[-+*/^<>(),\[\]]))"
)


def evaluate(
    expression: str, series: Mapping[str, TimeSeries], *, start: int, end: int, period: int
) -> list[TimeSeries]:
    """The time series that an expression yields.

    Args:
        expression: metric math.
        series: what its ids stand for.
        start, end: the window asked for, seconds since the epoch.
        period: seconds between the points of constants.

    Returns:
        One time series, or several when the expression yields an array.

    Raises:
        MetricMathError: syntax, unknown ids or functions, wrong types.
    """
    context = Context(series, range(start, end, period), period)
    parser = _Parser(_tokens(expression), context)
    value = parser.parse()
    if isinstance(value, str):
        raise MetricMathError("an expression cannot yield a string")
    if isinstance(value, list):
        return value
    return [value if isinstance(value, TimeSeries) else context.constant(value)]


def _tokens(expression: str) -> list[tuple[str, str]]:
    tokens, place = [], 0
    text = expression.rstrip()
    while place < len(text):
        match = _TOKEN.match(text, place)
        if match is None:
            raise MetricMathError(f"unexpected character at {text[place : place + 10]!r}")
        number, name, double, single, symbol = match.groups()
        if number is not None:
            tokens.append(("number", number))
        elif name is not None:
            tokens.append(("symbol", name) if name in {"AND", "OR"} else ("name", name))
        elif symbol is not None:
            tokens.append(("symbol", symbol))
        else:
            tokens.append(("string", double if double is not None else single))
        place = match.end()
    return tokens


# Binary operators from loosest to tightest.
_LEVELS: list[dict[str, Callable[[float, float], float]]] = [
    {"OR": lambda a, b: float(bool(a) or bool(b)), "||": lambda a, b: float(bool(a) or bool(b))},
    {"AND": lambda a, b: float(bool(a) and bool(b)), "&&": lambda a, b: float(bool(a) and bool(b))},
    {
        "<": lambda a, b: float(a < b), "<=": lambda a, b: float(a <= b), ">": lambda a, b: float(a > b),
        ">=": lambda a, b: float(a >= b), "==": lambda a, b: float(a == b), "!=": lambda a, b: float(a != b),
    },
    {"+": operator.add, "-": operator.sub},
    {"*": operator.mul, "/": operator.truediv},
]  # fmt: skip


class _Parser:
    """Recursive descent; evaluates as it goes."""

    def __init__(self, tokens: list[tuple[str, str]], context: Context) -> None:
        self._tokens = tokens
        self._place = 0
        self._context = context

    def parse(self) -> Value:
        value = self._binary(0)
        if self._place < len(self._tokens):
            raise MetricMathError(f"unexpected {self._tokens[self._place][1]!r}")
        return value

    def _peek(self, *symbols: str) -> str:
        if self._place < len(self._tokens):
            kind, text = self._tokens[self._place]
            if kind == "symbol" and text in symbols:
                return text
        return ""

    def _take(self, symbol: str) -> None:
        if not self._peek(symbol):
            raise MetricMathError(f"expected {symbol!r}")
        self._place += 1

    def _binary(self, level: int) -> Value:
        if level == len(_LEVELS):
            return self._unary()
        value = self._binary(level + 1)
        while symbol := self._peek(*_LEVELS[level]):
            self._place += 1
            value = combine(_LEVELS[level][symbol], value, self._binary(level + 1))
        return value

    def _unary(self) -> Value:
        if self._peek("-"):
            self._place += 1
            return combine(operator.mul, -1.0, self._unary())
        base = self._atom()
        if self._peek("^"):
            self._place += 1
            return combine(math.pow, base, self._unary())
        return base

    def _atom(self) -> Value:
        if self._place >= len(self._tokens):
            raise MetricMathError("the expression ends too early")
        if self._peek("("):
            self._place += 1
            value = self._binary(0)
            self._take(")")
            return value
        if self._peek("["):
            return [self._series(each) for each in self._arguments("[", "]")]
        kind, text = self._tokens[self._place]
        self._place += 1
        if kind == "number":
            return float(text)
        if kind == "string":
            return text
        if kind == "name":
            return self._call(text) if self._peek("(") else self._lookup(text)
        raise MetricMathError(f"unexpected {text!r}")

    def _arguments(self, opening: str, closing: str) -> list[Value]:
        self._take(opening)
        arguments: list[Value] = []
        while not self._peek(closing):
            arguments.append(self._binary(0))
            if not self._peek(closing):
                self._take(",")
        self._take(closing)
        return arguments

    def _lookup(self, name: str) -> Value:
        if name in self._context.series:
            return self._context.series[name]
        if name in {"REPEAT", "LINEAR", "ASC", "DESC"}:
            return name
        raise MetricMathError(f"the id {name!r} is not defined")

    def _call(self, name: str) -> Value:
        arguments = self._arguments("(", ")")
        if name == "METRICS":
            wanted = str(arguments[0]) if arguments else ""
            return [each for key, each in self._context.series.items() if wanted in key]
        function = FUNCTIONS.get(name)
        if function is None:
            raise MetricMathError(f"the function {name} is not modelled; known are {', '.join(sorted(FUNCTIONS))}")
        try:
            return function(self._context, *arguments)
        except TypeError as error:
            raise MetricMathError(f"{name}: wrong number or kinds of arguments ({error})") from None

    def _series(self, value: Value) -> TimeSeries:
        if isinstance(value, TimeSeries):
            return value
        if isinstance(value, float):
            return self._context.constant(value)
        raise MetricMathError("an array holds time series only")
