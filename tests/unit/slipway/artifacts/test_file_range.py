from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from slipway.artifacts.file_range import FileRange
from slipway.errors import StorageUnavailableError

CONTENT = bytes(range(256)) * 40


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "weights.bin").write_bytes(CONTENT)
    return tmp_path / "weights.bin"


@pytest.fixture
def descriptor(path: Path) -> Iterator[int]:
    with path.open("rb") as file:
        yield file.fileno()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    start=st.integers(0, len(CONTENT)),
    length=st.integers(0, len(CONTENT)),
    sizes=st.lists(st.integers(0, 3000), max_size=8),
)
def test_it_reads_like_the_bytes_themselves(descriptor: int, start: int, length: int, sizes: list[int]) -> None:
    expected = CONTENT[start : start + length]
    body = FileRange(descriptor, start, len(expected), "weights.bin")
    read = b"".join(body.read(size) for size in sizes)
    assert read == expected[: sum(sizes)]
    assert body.tell() == len(read)
    assert read + body.read() == expected
    assert body.read(10) == b""
    assert len(body) == len(expected)


def test_it_can_be_sent_again_from_any_place(descriptor: int) -> None:
    body = FileRange(descriptor, 10, 100, "weights.bin")
    assert body.read() == CONTENT[10:110]
    assert (body.seek(0), body.read()) == (0, CONTENT[10:110])
    assert (body.seek(-10, os.SEEK_END), body.read()) == (90, CONTENT[100:110])
    assert (body.seek(20), body.seek(5, os.SEEK_CUR), body.read(3)) == (20, 25, CONTENT[35:38])
    assert body.seek(1000) == 100


def test_ranges_of_one_file_do_not_disturb_each_other(descriptor: int) -> None:
    one, other = FileRange(descriptor, 0, 600, "weights.bin"), FileRange(descriptor, 600, 600, "weights.bin")
    assert (one.read(100), other.read(100), one.read(100)) == (CONTENT[:100], CONTENT[600:700], CONTENT[100:200])


def test_a_file_that_became_shorter_is_an_error_not_an_end(path: Path, descriptor: int) -> None:
    body = FileRange(descriptor, 100, 5000, str(path))
    os.truncate(path, 2000)
    with pytest.raises(StorageUnavailableError, match=r"weights\.bin became shorter"):
        body.read()
