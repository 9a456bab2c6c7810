"""One stream of bytes: whether unpickling it would do anything, and what it would import."""

from __future__ import annotations

import io
import pickle
import pickletools
import struct
from typing import IO, TYPE_CHECKING, Any

from slipway.images.pickle_operations import NAMED_IMPORTS, operations_of

if TYPE_CHECKING:
    from collections.abc import Iterable

PICKLE_MAGIC = tuple(bytes([0x80, protocol]) for protocol in range(6))  # protocols 0 and 1 write none themselves
ARRAY_MAGIC = b"\x93NUMPY"
# PyTorch before 1.6: https://github.com/pytorch/pytorch/blob/v2.8.0/torch/serialization.py (_legacy_save)
_TORCH_MAGIC = tuple(pickle.dumps(0x1950A86A20F9469CFC6C, protocol) for protocol in range(6))
_TORCH_PICKLES = 5  # magic number, version, system, object, keys of the raw bytes behind them
_TORCH_SUFFIXES = frozenset({".bin", ".pt", ".pth", ".ckpt"})
_IMPORTS = NAMED_IMPORTS | {"STACK_GLOBAL", "EXT1", "EXT2", "EXT4"}
_CALLS = frozenset({"REDUCE", "BUILD", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX"})
_CHANGES = frozenset({"APPEND", "APPENDS", "SETITEM", "SETITEMS", "ADDITEMS"})  # `sys.path`, for one
_DEEDS = _CALLS | _CHANGES
_TEXTS = frozenset(
    {"STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"}
)
_PUTS = frozenset({"PUT", "BINPUT", "LONG_BINPUT"})
_GETS = frozenset({"GET", "BINGET", "LONG_BINGET"})
_UNKNOWN = "unknown"  # picklescan's word for what a pickle computes, which it calls dangerous
_ENOUGH_OPERATIONS = 10_000  # that make sense one after the other: no other file has so many


def calls_something(file: IO[bytes]) -> bool:
    """Say whether a stream without a magic number is a pickle that imports something and calls or changes it.

    Pickles of the protocols 0 and 1 begin with any of fifty bytes, as texts do, and a pickle need not be whole to do
    harm. So its operations are followed, with the values that each finds and leaves, until one does not fit.
    """
    file.seek(0)
    try:
        return _calls(operations_of(file))
    except Exception:  # noqa: BLE001  # not a pickle, or one that breaks off before it calls anything
        return False
    finally:
        file.seek(0)


def _calls(operations: Iterable[tuple[Any, Any]]) -> bool:
    machine, has_imported = _Machine(), False
    for number, (operation, argument) in enumerate(operations, 1):
        machine.follow(operation, argument)
        has_imported = has_imported or operation.name in _IMPORTS
        if number == _ENOUGH_OPERATIONS or (has_imported and operation.name in _DEEDS):
            return True
    return False


class _Machine:
    """What an unpickler has on its stack and in its memo, as far as it is text: any may name a module.

    The stack holds texts, marks, and None for every other value.
    """

    def __init__(self) -> None:
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def follow(self, operation: Any, argument: Any) -> tuple[str, str] | None:
        """Do what an operation does; returns the module and the name that it imports.

        Raises:
            IndexError: it does not find what it takes.
        """
        imported = None
        if operation.name in NAMED_IMPORTS:
            imported = argument
        elif operation.name == "STACK_GLOBAL":
            module, name = self._stack[-2], self._stack[-1]
            imported = _text(module) or _UNKNOWN, _text(name) or _UNKNOWN
        self._move(operation, argument)
        return imported

    def _move(self, operation: Any, argument: Any) -> None:
        if operation.name in _PUTS:
            self._memo[argument] = self._stack[-1]
        elif operation.name == "MEMOIZE":
            self._memo[len(self._memo)] = self._stack[-1]
        elif operation.name in _GETS:
            self._stack.append(self._memo.get(argument))
        elif operation.name in _TEXTS:
            is_text = "UNICODE" in operation.name or (argument or "").isascii()  # else it depends on who loads it
            self._stack.append(argument if is_text else None)
        elif operation.name == "DUP":
            self._stack.append(self._stack[-1])
        elif operation.name == "STOP":
            self._stack.pop()
            self._stack, self._memo = [], {}
        else:
            self._exchange(operation)

    def _exchange(self, operation: Any) -> None:
        taken = operation.stack_before
        if pickletools.markobject in taken:
            while self._stack.pop() is not pickletools.markobject:
                pass
            taken = taken[: taken.index(pickletools.markobject)]
        lowest = None
        for _ in taken:
            lowest = self._stack.pop()
        if operation.name in _CHANGES or operation.name == "BUILD":
            self._stack.append(lowest)  # a text too, when there is nothing to change it by
        else:
            self._stack.extend(each if each is pickletools.markobject else None for each in operation.stack_after)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def imports_of(file: IO[bytes], name: str, suffix: str, *, must_parse: bool) -> tuple[set[tuple[str, str]], bool]:
    """Return what a pickle or array would import, each with ``dangerous`` or ``suspicious``, and if all was readable.

    Nothing of it is held but texts that can name a module.

    Args:
        file: the stream.
        name: for the scanner's log.
        suffix: of the file's name: PyTorch's older files are pickles with raw bytes behind them.
        must_parse: whether a stream that is no pickle at all counts as not readable.
    """
    try:
        imports, is_whole = _read_imports(file, suffix)
    except Exception:  # noqa: BLE001  # numpy raises anything over damaged headers
        return set(), False
    return _rated(imports, name), is_whole or not (imports or must_parse)


def _read_imports(file: IO[bytes], suffix: str) -> tuple[set[tuple[str, str]], bool]:
    file.seek(0)
    head = file.read(max(map(len, _TORCH_MAGIC)))
    file.seek(0)
    if head.startswith(ARRAY_MAGIC):
        return _follow(file, None) if _passes_header(file) else (set(), True)
    is_torch = suffix in _TORCH_SUFFIXES and head.startswith(_TORCH_MAGIC)
    return _follow(file, _TORCH_PICKLES if is_torch else None)


def _passes_header(file: IO[bytes]) -> bool:
    """Read the header of an array; returns whether a pickle is behind it."""
    from numpy.lib import format as array_format

    version = array_format.read_magic(file)
    read = array_format.read_array_header_1_0 if version == (1, 0) else array_format.read_array_header_2_0
    return bool(read(file)[2].hasobject)


def _follow(file: IO[bytes], pickles: int | None) -> tuple[set[tuple[str, str]], bool]:
    """Return what so many pickles, or all to the end, import before they break off, and whether they do not."""
    imports: set[tuple[str, str]] = set()
    machine, ended = _Machine(), 0
    try:
        for operation, argument in operations_of(file):
            imported = machine.follow(operation, argument)
            if imported:
                imports.add(imported)
            ended += operation.name == "STOP"
            if ended == pickles:
                break
    except Exception:  # noqa: BLE001  # no operation, one that does not fit, a file that cannot be read
        return imports, False
    return imports, True


def _rated(imports: set[tuple[str, str]], name: str) -> set[tuple[str, str]]:
    """Let picklescan say of each import what it thinks of it: of a small pickle that has nothing else in it."""
    from picklescan.scanner import SafetyLevel, scan_pickle_bytes  # type: ignore[import-untyped]

    worth = {SafetyLevel.Dangerous: "dangerous", SafetyLevel.Suspicious: "suspicious"}
    result = scan_pickle_bytes(io.BytesIO(b"".join(map(_import, sorted(imports))) + b"N."), name)
    return {(f"{entry.module}.{entry.name}", worth[entry.safety]) for entry in result.globals if entry.safety in worth}


def _import(names: tuple[str, str]) -> bytes:
    encoded = [text.encode("utf-8", "surrogatepass") for text in names]
    return b"".join(b"X" + struct.pack("<I", len(each)) + each for each in encoded) + b"\x930"
