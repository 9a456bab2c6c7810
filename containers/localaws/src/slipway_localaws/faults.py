"""Faults that tests ask for: which requests they hit, what happens to those, and how often."""

from __future__ import annotations

import random
import threading
from dataclasses import dataclass, field, fields
from fnmatch import fnmatchcase
from typing import Any

#: What a rule can do. The first six hit requests, the others hit what the hosting does on its own.
REQUEST_EFFECTS = ("error", "answer", "latency", "throttle", "down", "drop")
HOSTING_EFFECTS = ("never_healthy", "silent_rollback", "rollback_failed", "no_capacity", "system_updating")


class InvalidFaultError(ValueError):
    """A rule that cannot be understood."""


@dataclass(slots=True)
class FaultRule:
    """One fault.

    Args:
        effect: ``error`` (``status``, ``code``, ``message``), ``answer`` (an endpoint's model answers 200 with the
            JSON ``message``), ``latency`` (``latency_ms``), ``throttle``, ``down`` (503, and nothing is done), ``drop``
            (done, but the answer is an error 500: the caller cannot know), or one of HOSTING_EFFECTS.
        service, action, resource, endpoint, variant: shell patterns; empty matches all. A rule that names an endpoint
            or a variant hits invocations and hosting only.
        count: how many times it hits; None for ever.
        skip: how many matches go by before the first hit.
        probability: share of the matches that it hits.
    """

    effect: str
    service: str = ""
    action: str = ""
    resource: str = ""
    endpoint: str = ""
    variant: str = ""
    count: int | None = None
    skip: int = 0
    probability: float = 1.0
    status: int = 500
    code: str = ""
    message: str = "A fault was asked for."
    latency_ms: float = 0.0
    hits: int = 0

    def matches(self, subject: dict[str, str]) -> bool:
        """Whether the rule speaks of this subject (a request, an invocation or a step of the hosting)."""
        for name in ("service", "action", "resource", "endpoint", "variant"):
            pattern = getattr(self, name)
            if pattern and not fnmatchcase(subject.get(name, ""), pattern):
                return False
        return True


@dataclass
class Faults:
    """The rules in force."""

    _rules: list[FaultRule] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __bool__(self) -> bool:
        return bool(self._rules)

    def replace(self, rules: list[dict[str, Any]]) -> None:
        """Put these rules in the place of all others.

        Raises:
            InvalidFaultError: a rule has an unknown field or effect.
        """
        parsed = [_parse(rule) for rule in rules]
        with self._lock:
            self._rules = parsed

    def describe(self) -> list[dict[str, Any]]:
        """The rules in force, with how often each has hit."""
        return [{item.name: getattr(rule, item.name) for item in fields(rule)} for rule in self._rules]

    def hit(self, effects: tuple[str, ...], **subject: str) -> FaultRule | None:
        """The first rule with one of ``effects`` that hits the subject now; its count goes down by one."""
        if not self._rules:
            return None
        with self._lock:
            for rule in self._rules:
                if rule.effect in effects and rule.matches(subject) and self._takes(rule):
                    return rule
        return None

    @staticmethod
    def _takes(rule: FaultRule) -> bool:
        if rule.count == 0 or random.random() >= rule.probability:
            return False
        if rule.skip > 0:
            rule.skip -= 1
            return False
        if rule.count is not None:
            rule.count -= 1
        rule.hits += 1
        return True


def _parse(rule: dict[str, Any]) -> FaultRule:
    known = {item.name for item in fields(FaultRule)}
    if unknown := set(rule) - known:
        raise InvalidFaultError(f"unknown fields {sorted(unknown)}; known are {sorted(known)}")
    effect = str(rule.get("effect", "")).replace("-", "_")
    if effect not in REQUEST_EFFECTS + HOSTING_EFFECTS:
        raise InvalidFaultError(f"unknown effect {effect!r}; known are {REQUEST_EFFECTS + HOSTING_EFFECTS}")
    return FaultRule(**{**rule, "effect": effect})
