"""One stream of bytes: whether unpickling it would do anything, and what it would import."""

from __future__ import annotations

import pickletools
import re
from itertools import islice
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

PICKLE_MAGIC = tuple(bytes([0x80, protocol]) for protocol in range(6))  # protocols 0 and 1 write none themselves
ARRAY_MAGIC = b"\x93NUMPY"
_TORCH_SUFFIXES = frozenset({".bin", ".pt", ".pth", ".ckpt"})
_OPERATIONS = {operation.code: operation for operation in pickletools.opcodes}
_NAMED_IMPORTS = frozenset({"GLOBAL", "INST"})
_IMPORTS = _NAMED_IMPORTS | {"STACK_GLOBAL", "EXT1", "EXT2", "EXT4"}
_NUMBER = re.compile(
    rb"(?:\s*[+-]?(?:0[xob][0-9a-f_]+|[0-9_.]+(?:e[+-]?[0-9]+)?|inf(?:inity)?|nan)L?\s*|(?=\0))(?:\0|\n)", re.IGNORECASE
)
_KEY = re.compile(rb"\s*[+-]?[0-9_]+\s*(?:\0|\n)")
_QUOTED = re.compile(rb"(?:'.*'|\".*\")\n")
_LINES = {"INT": _NUMBER, "LONG": _NUMBER, "FLOAT": _NUMBER, "PUT": _KEY, "GET": _KEY, "STRING": _QUOTED}
_MODULE = re.compile(rb"[\w\x80-\xff-]+(?:\.[\w\x80-\xff-]+)*\n")  # files with hyphens are importable
_NAME = re.compile(rb".+\n")  # a module can answer to any
_CALLS = frozenset({"REDUCE", "BUILD", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX"})
_CHANGES = frozenset({"APPEND", "APPENDS", "SETITEM", "SETITEMS", "ADDITEMS"})  # `sys.path`, for one
_DEEDS = _CALLS | _CHANGES
_ENOUGH_OPERATIONS = 10_000  # that make sense one after the other: no other file has so many


def calls_something(file: IO[bytes]) -> bool:
    """Say whether a stream without a magic number is a pickle that imports something and calls or changes it.

    Pickles of the protocols 0 and 1 begin with any of fifty bytes, as texts do, and a pickle need not be whole to do
    harm. So its operations are followed, with the number of values that each finds and leaves, until one does not fit.
    """
    file.seek(0)
    try:
        return _calls(_operations(file))
    except Exception:  # noqa: BLE001  # not a pickle, or one that breaks off before it calls anything
        return False
    finally:
        file.seek(0)


def _operations(file: IO[bytes]) -> Iterator[Any]:
    """Read one pickle after another; ends in an error where there is none."""
    while True:
        operation = _OPERATIONS[file.read(1).decode("latin-1")]
        if operation.name in _NAMED_IMPORTS:
            _pass_line(file, _MODULE)
            _pass_line(file, _NAME)
        elif operation.name in _LINES:
            _pass_line(file, _LINES[operation.name])
        elif operation.arg:
            operation.arg.reader(file)
        yield operation


def _pass_line(file: IO[bytes], form: re.Pattern[bytes]) -> None:
    """Take a line as the unpickler does, less strict than ``pickletools``: numbers up to a zero byte, UTF-8."""
    line = file.readline()
    if not (line.endswith(b"\n") and form.match(line)):
        raise ValueError(f"not {form.pattern!r}")


def _calls(operations: Iterable[Any]) -> bool:
    stack: list[Any] = []
    has_imported = False
    for operation in islice(operations, _ENOUGH_OPERATIONS):
        has_imported = has_imported or operation.name in _IMPORTS
        if not _apply(stack, operation):
            return False
        if has_imported and operation.name in _DEEDS:
            return True
        if operation.name == "STOP":
            stack.clear()
    return True


def _apply(stack: list[Any], operation: Any) -> bool:
    """Take from the stack what an operation takes, and put what it puts; False when it does not find it there."""
    taken = operation.stack_before
    if pickletools.markobject in taken:
        if pickletools.markobject not in stack:
            return False
        while stack.pop() is not pickletools.markobject:
            pass
        taken = taken[: taken.index(pickletools.markobject)]
    if len(stack) < len(taken):
        return False
    del stack[len(stack) - len(taken) :]
    stack.extend(operation.stack_after)
    return True


def imports_of(file: IO[bytes], name: str, suffix: str, *, must_parse: bool) -> tuple[set[tuple[str, str]], bool]:
    """Return what a pickle or array would import, each with ``dangerous`` or ``suspicious``, and if all was readable.

    Args:
        file: the stream.
        name: for the scanner's log.
        suffix: of the file's name: PyTorch's older files are pickles with raw bytes behind them.
        must_parse: whether a stream that is no pickle at all counts as not readable.
    """
    from picklescan.scanner import SafetyLevel  # type: ignore[import-untyped]

    try:
        result = _scan(file, name, suffix)
        is_readable = not result.scan_err
        if must_parse and is_readable and not result.globals:
            is_readable = _is_array(file) or _is_pickles(file)  # the scanner calls what it cannot parse harmless
    except Exception:  # noqa: BLE001  # the scanner raises anything over damaged files
        return set(), False
    worth = {SafetyLevel.Dangerous: "dangerous", SafetyLevel.Suspicious: "suspicious"}
    found = {(f"{entry.module}.{entry.name}", worth[entry.safety]) for entry in result.globals if entry.safety in worth}
    return found, is_readable


def _scan(file: IO[bytes], name: str, suffix: str) -> Any:
    from picklescan.scanner import scan_numpy, scan_pickle_bytes, scan_pytorch
    from picklescan.torch import InvalidMagicError  # type: ignore[import-untyped]

    if _is_array(file):
        return scan_numpy(file, name)
    if suffix in _TORCH_SUFFIXES:
        try:
            return scan_pytorch(file, name)
        except InvalidMagicError:
            file.seek(0)
    return scan_pickle_bytes(file, name)


def _is_array(file: IO[bytes]) -> bool:
    file.seek(0)
    head = file.read(len(ARRAY_MAGIC))
    file.seek(0)
    return head == ARRAY_MAGIC


def _is_pickles(file: IO[bytes]) -> bool:
    """Say whether a stream is pickles to its end."""
    file.seek(0)
    try:
        while True:
            for _ in pickletools.genops(file):
                pass
            if not file.read(1):
                return True
            file.seek(-1, 1)
    except ValueError:
        return False
