from __future__ import annotations

import collections
import copyreg
import datetime
import decimal
import functools
import io
import os
import pickle
import random
import tracemalloc
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from picklescan.scanner import SafetyLevel, scan_pickle_bytes  # type: ignore[import-untyped]
from sklearn.ensemble import RandomForestClassifier

from slipway.images.pickle_stream import calls_something, imports_of

LEAVES: tuple[Any, ...] = (
    *(None, True, -1, 1 << 70, 0.5, b"bytes", bytearray(b"array"), "text", "ö\n\\'\"\ud800", "long" * 400),
    *(os.path.join, len, os.system, decimal.Decimal("1.5"), datetime.date(2026, 1, 2), functools.partial(max, 1)),
    *(collections.OrderedDict(a=1), collections.deque([1]), copyreg.pickle, np.arange(3), np.float64(2.0), range(3)),
)


def random_value(chance: random.Random, depth: int = 0) -> Any:
    kind = chance.randrange(6 if depth < 4 else 1)
    values = [random_value(chance, depth + 1) for _ in range(chance.randrange(6))] if kind else []
    if len(values) > 1 and chance.random() < 0.3:
        values[-1] = values[0]  # the memo's
    made: dict[int, Any] = {1: values, 2: tuple(values), 3: dict(enumerate(values)), 4: {"key": values}}
    return chance.choice(LEAVES) if kind in {0, 5} else made[kind]


def imports(content: bytes, suffix: str = "") -> tuple[set[tuple[str, str]], bool]:
    return imports_of(io.BytesIO(content), "model", suffix, must_parse=False)


def by_picklescan(content: bytes) -> tuple[set[tuple[str, str]], bool]:
    result = scan_pickle_bytes(io.BytesIO(content), "model")
    worth = [entry for entry in result.globals if entry.safety != SafetyLevel.Innocuous]
    return {(f"{entry.module}.{entry.name}", entry.safety.value) for entry in worth}, not result.scan_err


@pytest.mark.parametrize("protocol", range(6))
def test_pickles_import_what_picklescan_says(protocol: int) -> None:
    chance = random.Random(protocol)
    seen: set[str] = set()
    for _ in range(150):
        values = [random_value(chance) for _ in range(chance.randrange(1, 3))]
        pickles = [pickle.dumps(value, protocol) for value in values]
        found, is_readable = imports(b"".join(pickles))
        one_by_one = [by_picklescan(each)[0] for each in pickles]  # it mixes up the memos of several
        assert is_readable
        assert found == set().union(*one_by_one)
        seen |= {name for name, _ in found}
    assert {"posix.system", "functools.partial", "collections.deque"} <= seen


@pytest.mark.parametrize("protocol", [2, 5])
def test_a_model_imports_what_picklescan_says(protocol: int) -> None:
    model = RandomForestClassifier(3, random_state=0).fit(np.arange(8.0).reshape(4, 2), [0, 1, 0, 1])
    content = pickle.dumps(model, protocol)
    assert imports(content) == by_picklescan(content)
    assert any("RandomForestClassifier" in name for name, _ in imports(content)[0])


def text(value: str) -> bytes:
    return b"\x8c" + bytes([len(value)]) + value.encode()


COMMAND = b"\x93" + text("true") + b"\x85R."
HIDDEN = {
    "a value between": b"\x80\x04" + text("posix") + b"N0" + text("system") + COMMAND,
    "a text under the top": b"\x80\x04" + text("posix") + text("x") + b"0\x940h\x00" + text("system") + COMMAND,
    "a memo of the pickle before": b"\x80\x04" + text("math") + b"\x94.\x80\x04" + text("posix") + b"\x940"
    b"h\x00" + text("system") + COMMAND,
    "taken twice": b"\x80\x04" + text("posix") + b"2\x940h\x00" + text("system") + COMMAND,
    "an end of a frame": b"\x80\x04" + text("posix") + b"\x95" + bytes(8) + text("system") + COMMAND,
}


@pytest.mark.parametrize("content", HIDDEN.values(), ids=HIDDEN)
def test_names_are_those_on_the_unpicklers_stack(content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Picklescan looks at what stands before in the stream, and goes on with the memo of the pickle before."""
    called: list[str] = []
    monkeypatch.setattr("posix.system", called.append)
    stream = io.BytesIO(content)
    while stream.tell() < len(content):
        pickle.load(stream)
    assert called == ["true"]
    assert imports(content) == ({("posix.system", "dangerous")}, True)


def test_a_name_that_a_pickle_computes_is_dangerous() -> None:
    content = b"\x80\x04" + text("os") + b"cbuiltins\nstr\n" + text("system") + b"\x85R" + COMMAND
    assert ("os.unknown", "dangerous") in imports(content)[0]


MAGIC = pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2)
HARMLESS = b"ccollections\nOrderedDict\n0"


def test_what_breaks_off_in_a_file_of_pytorchs_is_unreadable() -> None:
    """Behind five pickles are raw bytes, but none is among them."""
    pickles = MAGIC + b"".join(pickle.dumps(each, protocol=2) for each in (1001, {"little_endian": True}))
    keys = pickle.dumps([], protocol=2)
    assert imports(pickles + HARMLESS + b"N." + keys + b"\xff raw", ".bin") == (set(), True)
    assert imports(pickles + HARMLESS + b"N\xff." + keys, ".bin") == (set(), False)
    assert imports(pickles + HARMLESS + b"N." + keys + b"\xff raw", ".pkl") == (set(), False)
    behind = MAGIC[:-1] + b"0" + HARMLESS + b"Np1\0 x\n0" * 6 + b"cposix\nsystem\n."
    assert imports(behind, ".bin")[0] == {("posix.system", "dangerous")}


def test_objects_in_an_array_are_read() -> None:
    numbers, objects = io.BytesIO(), io.BytesIO()
    np.save(numbers, np.arange(3))
    np.save(objects, np.array([os.system, 1], dtype=object), allow_pickle=True)
    assert imports(numbers.getvalue()) == (set(), True)
    found, is_readable = imports(objects.getvalue())
    assert ("posix.system", "dangerous") in found
    assert is_readable
    assert not imports(objects.getvalue()[:-1])[1]


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_large_values_are_not_held(protocol: int) -> None:
    content = pickle.dumps([bytes(8 << 20) for _ in range(20 if protocol > 2 else 4)] + [os.system], protocol)
    stream = io.BytesIO(content)
    tracemalloc.start()
    try:
        assert calls_something(stream)
        found = imports_of(stream, "model", "", must_parse=True)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found[1]
    assert ("posix.system", "dangerous") in found[0]
    assert peak_bytes < 8 << 20


@pytest.mark.parametrize(
    "start", [b"B\xff\xff\xff\xff", b"X\xff\xff\xff\x7f", b"\x8e" + b"\xff" * 8, b"V", b"F", b"cname\n"]
)
def test_a_file_that_is_no_pickle_is_not_held(start: bytes) -> None:
    stream = io.BytesIO(start + bytes(30 << 20))
    tracemalloc.start()
    try:
        assert not calls_something(stream)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < 8 << 20


class Anything:
    """Takes every call and change, and counts them."""

    deeds = 0

    def __init__(self, *_: object) -> None:
        Anything.deeds += 1

    __setstate__ = __setitem__ = append = add = __init__


class Watched(pickle.Unpickler):
    """Notes what it is asked to import, in place of importing it."""

    def __init__(self, content: bytes) -> None:
        super().__init__(io.BytesIO(content), encoding="utf-8")
        self.asked: set[tuple[str, str]] = set()

    def find_class(self, module: str, name: str) -> Any:
        self.asked.add((module, name))
        return Anything

    def persistent_load(self, _: object) -> Any:
        return None


PIECES = (
    *(b"N", b"0", b"1", b"2", b"(", b")", b"]", b"}", b"\x8f", b"l", b"d", b"t", b"a", b"e", b"s", b"u", b"\x90", b"b"),
    *(
        b"\x85",
        b"\x86",
        b"\x87",
        b"\x91",
        b"R",
        b"\x81",
        b"\x92",
        b"o",
        b"Q",
        b"\x88",
        b"\x93",
        b"\x93",
        b"\x93",
        b"\x94",
    ),
    *(b"p0\n", b"p 1\0x\n", b"q\x01", b"r\x02\0\0\0", b"g0\n", b"g1\0\n", b"h\x00", b"h\x01", b"j\x02\0\0\0", b"\x94"),
    *(
        b"I1\n",
        b"I\0\n",
        b"I0x_f\n",
        b"L1L\n",
        b"F.5\0x\n",
        b"F-Infinity\n",
        b"Pid\\x\n",
        b"K\x01",
        b"J\xff\0\0\0",
        b"\x8a\x00",
    ),
    *(
        b"S'posix'\n",
        b'S"system"\n',
        "S'é'\n".encode(),
        b"Vposix\n",
        b"V\\u006f\n",
        b"U\x02os",
        b"T\x02\0\0\0os",
        b"C\x01x",
    ),
    *(b"\x8c\x02os", b"\x8c\x06system", b"X\x04\0\0\0eval", b"\x8d\x04" + bytes(7) + b"exec", b"B\x01\0\0\0x"),
    *(
        b"cos\nsystem\n",
        b"(iposix\nsystem\n",
        "cbuiltins\né v\n".encode(),
        b"chy-phen\nname\n",
        b"\x80\x02",
        b"\x80\x04",
    ),
    *(
        b"cos\nsystem\n" + deed
        for deed in (b")R", b")\x81", b")}\x92", b"Na", b"(Ne", b"NNs", b"(NNu", b"(N\x90", b"Nb")
    ),
    b"(cos\nsystem\nNo",
)
DEPENDS = {"é": "unknown"}  # on the encoding that is given to the unpickler


def test_all_that_the_unpickler_would_import_is_found() -> None:
    chance = random.Random(0)
    asked = 0
    for _ in range(5000):
        weight_of_texts = chance.choice((0, 6))
        pieces = [chance.choice(PIECES) for _ in range(chance.randrange(1, 25))]
        pieces[:0] = [b"\x8c\x02os", b"\x8c\x06system"] * chance.randrange(1 + weight_of_texts)
        content = b"".join(pieces) + b"."
        unpickler, before = Watched(content), Anything.deeds
        with suppress(Exception):
            unpickler.load()
        found = {name for name, _ in imports(content)[0]}
        asked_for = [[DEPENDS.get(each, each) for each in names] for names in unpickler.asked]
        assert {".".join(names) for names in asked_for} <= found, content
        assert calls_something(io.BytesIO(content)) >= (Anything.deeds > before), content
        asked += len(unpickler.asked)
    assert asked > 1000, asked
    assert Anything.deeds > 500, Anything.deeds
