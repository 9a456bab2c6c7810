from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.artifacts import content_tag
from slipway.artifacts.content_tag import (
    MEBIBYTE,
    file_has_tag,
    file_tag,
    likely_part_sizes,
    part_count,
    part_size,
    ranges,
)

GIBIBYTE = 1 << 30


def test_part_sizes_are_those_of_boto3() -> None:
    assert part_size(8 * MEBIBYTE) == 8 * MEBIBYTE
    assert part_size(78 * GIBIBYTE) == 8 * MEBIBYTE
    assert part_size(79 * GIBIBYTE) == 16 * MEBIBYTE
    assert part_size(5 << 40) == 1 * GIBIBYTE


@given(st.integers(1, 5 << 40))
def test_s3s_limits_are_kept(size: int) -> None:
    assert 5 * MEBIBYTE <= part_size(size) <= 5 * GIBIBYTE
    assert -(-size // part_size(size)) <= 10_000


@given(st.integers(0, 10_000), st.integers(1, 999))
def test_ranges_cover_everything_once(size: int, part: int) -> None:
    spans = ranges(size, part)
    assert [byte for start, length in spans for byte in range(start, start + length)] == list(range(size))


@given(st.integers(1, 1 << 38), st.sampled_from([5, 8, 16, 50, 100]))
def test_usual_part_sizes_are_guessed(size: int, mebibytes: int) -> None:
    part = mebibytes * MEBIBYTE
    assert part in likely_part_sizes(size, -(-size // part))


def test_tags(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = tmp_path / "small"
    small.write_bytes(b"hello")
    assert file_tag(small, 5) == hashlib.md5(b"hello").hexdigest()
    assert file_has_tag(small, 5, hashlib.md5(b"hello").hexdigest())
    assert not file_has_tag(small, 5, hashlib.md5(b"jello").hexdigest())
    assert not file_has_tag(small, 5, "opaque")
    big = tmp_path / "big"
    content = bytes(range(256)) * 4096 * 17  # 17 MiB
    big.write_bytes(content)
    parts = [hashlib.md5(content[start : start + 8 * MEBIBYTE]).digest() for start in (0, 8 * MEBIBYTE, 16 * MEBIBYTE)]
    expected = hashlib.md5(b"".join(parts)).hexdigest() + "-3"
    assert file_tag(big, len(content)) == expected
    assert part_count(expected) == 3
    assert part_count(hashlib.md5(b"").hexdigest()) is None
    assert file_has_tag(big, len(content), expected)
    assert not file_has_tag(big, len(content), "0" * 32 + "-3")
    tens = [hashlib.md5(content[: 10 * MEBIBYTE]).digest(), hashlib.md5(content[10 * MEBIBYTE :]).digest()]
    assert file_has_tag(big, len(content), hashlib.md5(b"".join(tens)).hexdigest() + "-2")
    monkeypatch.setattr(content_tag, "BLOCK_BYTES", 1000)
    assert file_tag(big, len(content)) == expected


def test_an_empty_file_has_the_tag_of_nothing(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    assert file_tag(tmp_path / "empty", 0) == "d41d8cd98f00b204e9800998ecf8427e"
