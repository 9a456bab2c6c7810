"""A pickle's operations, read as the unpickler reads them, but in little memory."""

from __future__ import annotations

import codecs
import pickletools
import re
import struct
from functools import partial
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NAMED_IMPORTS = frozenset({"GLOBAL", "INST"})
_TEXT_LIMIT_BYTES = 1000  # what is longer names no module
_BLOCK_BYTES = 1 << 20
_OPERATIONS = {operation.code: operation for operation in pickletools.opcodes}
_SIZES = {
    pickletools.TAKEN_FROM_ARGUMENT4: "<i",
    pickletools.TAKEN_FROM_ARGUMENT4U: "<I",
    pickletools.TAKEN_FROM_ARGUMENT8U: "<Q",
}
_NUMBER = re.compile(
    rb"(?:\s*[+-]?(?:0[xob][0-9a-f_]+|[0-9_.]+(?:e[+-]?[0-9]+)?|inf(?:inity)?|nan)L?\s*|(?=\0))(?:\0|\n)", re.IGNORECASE
)
_TEXT = re.compile(rb".*\n")
_QUOTED = re.compile(rb"(?:'.*'|\".*\")\n")
_MODULE = re.compile(rb"[\w\x80-\xff-]+(?:\.[\w\x80-\xff-]+)*\n")  # files with hyphens are importable
_NAME = re.compile(rb".+\n")  # a module can answer to any


def operations_of(file: IO[bytes]) -> Iterator[tuple[Any, Any]]:
    """Read one pickle after another, to the end of a file.

    Yields:
        Each operation, of `pickletools.opcodes`, and its argument: a pair of texts for an import by name, a text, a
        key of the memo, or None for what does not matter and for texts that are too long for a name.

    Raises:
        Exception: there is no operation, or it breaks off; of many kinds.
    """
    code, is_between = file.read(1), False
    while code or not is_between:
        operation = _OPERATIONS[code.decode("latin-1")]
        yield operation, _argument(file, operation)
        code, is_between = file.read(1), operation.name == "STOP"


def _argument(file: IO[bytes], operation: Any) -> Any:
    """Take an argument as the unpickler does, less strict than ``pickletools``: up to a zero byte, or in UTF-8."""
    if operation.name in NAMED_IMPORTS:
        return (_line(file, _MODULE) or b"").decode(), (_line(file, _NAME) or b"").decode()
    if operation.name in _READERS:
        return _READERS[operation.name](file)
    if operation.arg is None:
        return None
    if operation.arg.n in _SIZES:
        return _sized(file, operation)
    return operation.arg.reader(file)


def _sized(file: IO[bytes], operation: Any) -> str | None:
    form = _SIZES[operation.arg.n]
    (size_bytes,) = struct.unpack(form, file.read(struct.calcsize(form)))
    if size_bytes < 0:
        raise ValueError("less than nothing")
    if size_bytes > _TEXT_LIMIT_BYTES:
        _skip(file, size_bytes)
        return None
    content = file.read(size_bytes)
    if len(content) < size_bytes:
        raise ValueError("cut short")
    return content.decode("utf-8", "surrogatepass") if "UNICODE" in operation.name else content.decode("latin-1")


def _skip(file: IO[bytes], size_bytes: int) -> None:
    while size_bytes:
        read = len(file.read(min(size_bytes, _BLOCK_BYTES)))
        if not read:
            raise ValueError("cut short")
        size_bytes -= read


def _line(file: IO[bytes], form: re.Pattern[bytes]) -> bytes | None:
    """Take a line without its end; None for one that is too long for a name, of whatever form."""
    line = file.readline(_BLOCK_BYTES)
    end = line
    while end and not end.endswith(b"\n"):
        end = file.readline(_BLOCK_BYTES)
    if not end:
        raise ValueError("cut short")
    if end is line and not form.match(line):
        raise ValueError(f"not {form.pattern!r}")
    return line[:-1] if len(line) <= _TEXT_LIMIT_BYTES else None


def _key(file: IO[bytes]) -> int:
    line = file.readline()  # whole, because blanks may lead it
    if not line.endswith(b"\n"):
        raise ValueError("cut short")
    return int(line.partition(b"\0")[0])


def _quoted(file: IO[bytes]) -> str | None:
    line = _line(file, _QUOTED)
    return None if line is None else codecs.escape_decode(line[1:-1])[0].decode("latin-1")


def _unicode(file: IO[bytes]) -> str | None:
    line = _line(file, _TEXT)
    return None if line is None else line.decode("raw-unicode-escape")


_READERS: dict[str, Callable[[IO[bytes]], Any]] = {
    "INT": partial(_line, form=_NUMBER),
    "LONG": partial(_line, form=_NUMBER),
    "FLOAT": partial(_line, form=_NUMBER),
    "PERSID": partial(_line, form=_TEXT),
    "PUT": _key,
    "GET": _key,
    "STRING": _quoted,
    "UNICODE": _unicode,
}
