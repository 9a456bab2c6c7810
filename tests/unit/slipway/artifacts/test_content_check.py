from __future__ import annotations

import base64
import hashlib
import zlib
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slipway.artifacts.content_check import (
    Checksum,
    Crc32,
    RollingCheck,
    even_split,
    file_holds,
    kept_checksum,
    likely_splits,
    tag_checksum,
)

MEBIBYTE = 1 << 20
CONTENT = bytes(range(256)) * 4096 * 18  # 18 MiB


def parts(mebibytes: int) -> list[bytes]:
    return [CONTENT[start : start + mebibytes * MEBIBYTE] for start in range(0, len(CONTENT), mebibytes * MEBIBYTE)]


def crc32(data: bytes) -> bytes:
    return zlib.crc32(data).to_bytes(4, "big")


def header(value: bytes) -> str:
    return base64.b64encode(value).decode()


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("content") / "file"
    path.write_bytes(CONTENT)
    return path


def test_crc32_is_s3s() -> None:
    digest = Crc32(b"1234")
    digest.update(b"56789")
    assert digest.digest() == bytes.fromhex("cbf43926")  # the check value of CRC-32/ISO-HDLC
    assert digest.base64() == "y/Q5Jg=="


@given(st.binary(), st.binary())
def test_crc32_goes_on(first: bytes, second: bytes) -> None:
    digest = Crc32(first)
    digest.update(second)
    assert digest.digest() == crc32(first + second)


@pytest.mark.parametrize(
    "head",
    [
        {},
        {"ChecksumCRC32": "y/Q5Jg==", "ChecksumType": "COMPOSITE"},  # of how many parts?
        {"ChecksumCRC32": "y/Q5Jg", "ChecksumType": "FULL_OBJECT"},
        {"ChecksumCRC32": "y/Q5Jg==-x", "ChecksumType": "COMPOSITE"},
        {"ChecksumCRC64NVME": "rosUhgyXm14=", "ChecksumType": "FULL_OBJECT"},
    ],
)
def test_other_checksums_are_not_taken_for_it(head: dict) -> None:
    assert kept_checksum(head) is None  # type: ignore[arg-type]


@pytest.mark.parametrize("tag", ["", "opaque", "0" * 31, "0" * 32 + "-", "0" * 32 + "-123456"])
def test_a_tag_that_is_no_md5_is_no_checksum(tag: str) -> None:
    assert tag_checksum(tag) is None


@cache
def checksums() -> dict[str, Checksum | None]:
    eights, fives = parts(8), parts(5)
    return {
        "crc32 of all": kept_checksum({"ChecksumCRC32": header(crc32(CONTENT)), "ChecksumType": "FULL_OBJECT"}),  # type: ignore[typeddict-item]
        "crc32 of parts": kept_checksum({"ChecksumCRC32": header(crc32(b"".join(map(crc32, eights)))) + "-3"}),  # type: ignore[typeddict-item]
        "md5 of all": tag_checksum(hashlib.md5(CONTENT).hexdigest()),
        "md5 of usual parts": tag_checksum(
            hashlib.md5(b"".join(hashlib.md5(each).digest() for each in fives)).hexdigest() + f"-{len(fives)}"
        ),
    }


def likely(expected: Checksum) -> list[int]:
    return likely_splits(len(CONTENT), expected)[0]


@pytest.mark.parametrize("kind", list(checksums()))
@settings(max_examples=30)
@given(cuts=st.lists(st.integers(0, len(CONTENT)), max_size=4))
def test_content_is_held_against_it_however_it_arrives(file: Path, kind: str, cuts: list[int]) -> None:
    expected = checksums()[kind]
    assert expected
    check = RollingCheck(len(CONTENT), expected, likely(expected))
    with file.open("rb") as opened:
        for cut in sorted(cuts):
            check.advance(opened.fileno(), cut)
            assert check.position == cut
            assert check.holds() == (cut == len(CONTENT))
        check.advance(opened.fileno(), len(CONTENT))
    assert check.holds()


@pytest.mark.parametrize("kind", list(checksums()))
@pytest.mark.parametrize("place", [0, 8 * MEBIBYTE, len(CONTENT) - 1])
def test_one_wrong_byte_shows(tmp_path: Path, kind: str, place: int) -> None:
    expected = checksums()[kind]
    assert expected
    damaged = bytearray(CONTENT)
    damaged[place] ^= 1
    (tmp_path / "file").write_bytes(damaged)
    assert not file_holds(tmp_path / "file", len(CONTENT), expected, likely(expected))


def test_a_file_that_is_shorter_does_not_hold(tmp_path: Path) -> None:
    expected = checksums()["crc32 of all"]
    assert expected
    (tmp_path / "file").write_bytes(CONTENT[:-1])
    assert not file_holds(tmp_path / "file", len(CONTENT), expected, likely(expected))
    (tmp_path / "file").write_bytes(CONTENT)
    assert file_holds(tmp_path / "file", len(CONTENT), expected, likely(expected))


def test_without_a_checksum_nothing_is_read_and_nothing_holds(file: Path) -> None:
    check = RollingCheck(len(CONTENT), None, ())
    with file.open("rb") as opened:
        check.advance(opened.fileno(), len(CONTENT))
    assert (check.position, check.holds()) == (0, False)


def test_parts_of_any_size_are_compared_where_they_are_known(file: Path) -> None:
    sizes = [7 * MEBIBYTE, 6 * MEBIBYTE, 5 * MEBIBYTE]
    pieces = [CONTENT[: sizes[0]], CONTENT[sizes[0] : sizes[0] + sizes[1]], CONTENT[-sizes[2] :]]
    expected = kept_checksum({"ChecksumCRC32": header(crc32(b"".join(map(crc32, pieces)))) + "-3"})  # type: ignore[typeddict-item]
    assert expected
    assert file_holds(file, len(CONTENT), expected, sizes)
    for split in ([6 * MEBIBYTE] * 3, [*sizes, MEBIBYTE], sizes[:2], []):
        assert not file_holds(file, len(CONTENT), expected, split)


def test_nothing_has_the_checksum_of_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    expected = tag_checksum(hashlib.md5(b"").hexdigest())
    assert expected
    assert file_holds(tmp_path / "file", 0, expected, [0])
    assert not file_holds(tmp_path / "file", 0, Checksum(expected.start, b"?", None), [0])


def test_an_even_split() -> None:
    assert even_split(10, 4) == [4, 4, 2]
    assert even_split(0, 4) == []
