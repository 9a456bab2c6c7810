"""YAML read into values that remember their line, within limits that no honest file reaches.

Built from parser events with a stack, so that neither depth nor aliases can exhaust the process. Scalars follow the
core schema of YAML 1.2 (https://yaml.org/spec/1.2.2/#103-core-schema): ``no`` and ``1:30`` are text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

MAX_BYTES = 256 * 1024
MAX_DEPTH = 20
MAX_VALUES = 10_000
"""Values in a file after its aliases are put in."""

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_NULL = re.compile(r"|~|null|Null|NULL")
_TRUE = re.compile(r"true|True|TRUE")
_FALSE = re.compile(r"false|False|FALSE")
_INTEGER = re.compile(r"[-+]?[0-9]{1,100}")
_OCTAL = re.compile(r"0o[0-7]{1,100}")
_HEXADECIMAL = re.compile(r"0x[0-9a-fA-F]{1,100}")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]{1,100}|[0-9]{1,100}(?:\.[0-9]{0,100})?)(?:[eE][-+]?[0-9]{1,10})?")
_INFINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)")
_NAN = re.compile(r"\.(?:nan|NaN|NAN)")


class YamlError(Exception):
    """A text is not the YAML that is wanted.

    Args:
        line: where, counted from 1.
        message: what is wrong, and what would be right.
    """

    def __init__(self, line: int, message: str) -> None:
        super().__init__(line, message)
        self.line = line
        self.message = message


@dataclass
class Located:
    """One YAML value with its place.

    Args:
        value: a scalar, a list of ``Located``, or a dict of ``Located`` by key.
        line: where the value begins, counted from 1.
        key_lines: for a dict, the line of each key.
        size: the number of values in it, with aliases put in.
        depth: how deeply the values in it are nested; 0 for a scalar.
        written: a plain scalar as it stands in the file: ``3.10``, not the number 3.1; else None.
    """

    value: Any
    line: int
    key_lines: dict[str, int] = field(default_factory=dict)
    size: int = 1
    depth: int = 0
    written: str | None = None

    def plain(self) -> Any:
        """Return the value without places."""
        if isinstance(self.value, dict):
            return {key: item.plain() for key, item in self.value.items()}
        if isinstance(self.value, list):
            return [item.plain() for item in self.value]
        return self.value

    def child(self, step: str | int) -> Located | None:
        """Return the value under a key or at a position, or None."""
        if isinstance(self.value, dict):
            return self.value.get(step)
        if isinstance(self.value, list) and isinstance(step, int) and step < len(self.value):
            item: Located = self.value[step]
            return item
        return None

    def find(self, path: Sequence[str | int]) -> Located | None:
        """Return the value at ``path``, or None when the file has none."""
        here: Located | None = self
        for step in path:
            here = here.child(step) if here else None
        return here

    def line_of(self, path: Sequence[str | int]) -> int:
        """Return the line of the field at ``path``, or of the nearest section around it that is in the file."""
        here, line = self, self.line
        for step in path:
            inner = here.child(step)
            if inner is None:
                break
            line = here.key_lines.get(str(step), inner.line)
            here = inner
        return line


def read_yaml(text: str) -> Located:
    """Read one YAML document.

    Raises:
        YamlError: not YAML, more or less than one document, a key that comes twice or is not text, a tag, or a
            nesting or an expansion of aliases beyond the limits.
    """
    try:
        return _Builder().build(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise YamlError(mark.line + 1 if mark else 1, _explain(error, text)) from error
    except yaml.reader.ReaderError as error:
        before = text[: error.position] if isinstance(error.position, int) else ""
        raise YamlError(before.count("\n") + 1, f"not YAML: {error.reason}") from error
    except yaml.YAMLError as error:
        raise YamlError(1, f"not YAML: {' '.join(str(error).split())}") from error


def scalar(text: str) -> Any:
    """Return what a plain (unquoted) YAML scalar means: None, a truth value, a number or the text itself."""
    meanings = (
        (_NULL, lambda _: None),
        (_TRUE, lambda _: True),
        (_FALSE, lambda _: False),
        (_INTEGER, int),
        (_FLOAT, float),
        (_OCTAL, lambda digits: int(digits[2:], 8)),
        (_HEXADECIMAL, lambda digits: int(digits[2:], 16)),
        (_INFINITE, lambda sign: float(sign.replace(".", ""))),
        (_NAN, lambda _: float("nan")),
    )
    for form, meaning in meanings:
        if form.fullmatch(text):
            return meaning(text)
    return text


def _explain(error: yaml.MarkedYAMLError, text: str) -> str:
    mark = error.problem_mark
    lines = text.splitlines()
    line = lines[mark.line] if mark and mark.line < len(lines) else ""
    found = f"; found {line.strip()[:80]!r}" if line.strip() else ""
    if line.startswith("\t"):
        return f"not YAML: indent with spaces, not with tabs{found}"
    if re.search(r"(?:[:\[{,-]\s|^)\s*[@`%]", line):
        return f"not YAML: put text that begins with '@', '`' or '%' in quotes{found}"
    problem = " ".join(part for part in (error.context, error.problem) if part)
    return f"not YAML: {problem}{found}"


@dataclass
class _Frame:
    """A list or mapping that is being read."""

    node: Located
    anchor: str | None
    key: str | None = None
    key_line: int = 0

    @property
    def wants_key(self) -> bool:
        return isinstance(self.node.value, dict) and self.key is None


class _Builder:
    """Builds the tree of one document from parser events."""

    def __init__(self) -> None:
        self.frames: list[_Frame] = []
        self.anchors: dict[str, Located | None] = {}
        self.root: Located | None = None

    def build(self, text: str) -> Located:
        for event in yaml.parse(text, Loader=_Loader):
            line = event.start_mark.line + 1 if event.start_mark else 1
            if isinstance(event, yaml.DocumentStartEvent) and self.root is not None:
                raise YamlError(line, "expected one document; found a second one after '---'")
            if isinstance(event, yaml.CollectionEndEvent):
                self._close()
            elif isinstance(event, yaml.NodeEvent):
                self._take(event, line)
        if self.root is None:
            raise YamlError(1, "the file is empty")
        return self.root

    def _take(self, event: yaml.NodeEvent, line: int) -> None:
        tag = getattr(event, "tag", None)
        if tag is not None:
            raise YamlError(line, f"tags are not allowed; found {tag}")
        if self.frames and self.frames[-1].wants_key:
            self._take_key(self.frames[-1], event, line)
        elif isinstance(event, yaml.AliasEvent):
            self._add(self._anchored(str(event.anchor), line), line)
        elif isinstance(event, yaml.ScalarEvent):
            plain = event.implicit[0]
            node = Located(scalar(event.value), line, written=event.value) if plain else Located(event.value, line)
            if event.anchor:
                self.anchors[event.anchor] = node
            self._add(node, line)
        else:
            self._open(event, line)

    def _take_key(self, frame: _Frame, event: yaml.NodeEvent, line: int) -> None:
        if not isinstance(event, yaml.ScalarEvent) or not event.value:
            raise YamlError(line, "a key must be text")
        if event.value == "<<":
            raise YamlError(line, "merge keys (<<) are not allowed: write the fields out")
        if event.value in frame.node.key_lines:
            first = frame.node.key_lines[event.value]
            raise YamlError(line, f"the key {event.value!r} comes twice, first in line {first}; keep one of them")
        frame.key, frame.key_line = event.value, line

    def _open(self, event: yaml.NodeEvent, line: int) -> None:
        if len(self.frames) >= MAX_DEPTH:
            raise YamlError(line, f"nested more than {MAX_DEPTH} deep")
        if event.anchor:
            self.anchors[event.anchor] = None  # no value yet: an alias to it would lie within itself
        self.frames.append(_Frame(Located({} if isinstance(event, yaml.MappingStartEvent) else [], line), event.anchor))

    def _close(self) -> None:
        frame = self.frames.pop()
        if frame.anchor:
            self.anchors[frame.anchor] = frame.node
        self._add(frame.node, frame.node.line)

    def _add(self, node: Located, line: int) -> None:
        if not self.frames:
            self.root = node
            return
        frame = self.frames[-1]
        if frame.key is None:
            frame.node.value.append(node)
        else:
            frame.node.value[frame.key] = node
            frame.node.key_lines[frame.key] = frame.key_line
            frame.key = None
        frame.node.size += node.size
        frame.node.depth = max(frame.node.depth, node.depth + 1)
        if frame.node.size > MAX_VALUES or frame.node.depth > MAX_DEPTH:
            raise YamlError(line, f"more than {MAX_VALUES:,} values or {MAX_DEPTH} levels after its aliases are put in")

    def _anchored(self, anchor: str, line: int) -> Located:
        if anchor not in self.anchors:
            raise YamlError(line, f"the alias *{anchor} has no anchor &{anchor} before it")
        node = self.anchors[anchor]
        if node is None:
            raise YamlError(line, f"the alias *{anchor} lies within its own value")
        return node
