from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from slipway.artifacts.location import LocalLocation, S3Location, check_local_name, check_local_names, parse_location
from slipway.errors import InvalidInputError, UnsafePathError


@pytest.mark.parametrize(
    ("uri", "location"),
    [
        ("s3://b/p", S3Location("b", "p/")),
        ("s3://b/p/", S3Location("b", "p/")),
        ("s3://b/p q/é#?%41", S3Location("b", "p q/é#?%41/")),
        ("s3://b", S3Location("b", "")),
        ("s3://b/", S3Location("b", "")),
        ("s3a://b/p", S3Location("b", "p/")),
        ("/tmp/x", LocalLocation(Path("/tmp/x"))),
        ("file:///tmp/a%20b", LocalLocation(Path("/tmp/a b"))),
        ("rel", LocalLocation(Path.cwd() / "rel")),
    ],
)
def test_locations(uri: str, location: object) -> None:
    assert parse_location(uri) == location


@pytest.mark.parametrize("uri", ["gs://b/p", "https://h/x", "s3:///p", "s3://"])
def test_other_places_are_refused(uri: str) -> None:
    with pytest.raises(InvalidInputError):
        parse_location(uri)


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "../x", "a/../../x", "a/./x", "a//x", "", "a/", "a/..", "nul\0", "x" * 256, "é" * 128]
)
def test_names_that_would_leave_the_folder_are_refused(path: str) -> None:
    with pytest.raises(UnsafePathError):
        check_local_name(path)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=40).map(lambda text: text.replace("|", "/")))
@example("..a/b..")
@example("...")
@example("a\\..\\b")
def test_an_accepted_name_stays_below_the_folder(path: str) -> None:
    try:
        check_local_name(path)
    except UnsafePathError:
        return
    root = "/some/root"
    assert os.path.normpath(os.path.join(root, path)) == os.path.join(root, path)  # noqa: PTH118
    assert os.path.commonpath([root, os.path.join(root, path)]) == root  # noqa: PTH118


def test_names_that_meet_in_one_file_are_refused() -> None:
    check_local_names(["A", "a"], one_case=False)
    with pytest.raises(UnsafePathError, match="'A' and 'a'"):
        check_local_names(["A", "a"], one_case=True)
    with pytest.raises(UnsafePathError):
        check_local_names(["e\u0301", "\u00e9"], one_case=True)
    check_local_names(["e\u0301", "\u00e9"], one_case=False)


def test_a_file_cannot_be_a_folder_too() -> None:
    with pytest.raises(UnsafePathError, match="at once"):
        check_local_names(["a", "a/b"], one_case=False)
    with pytest.raises(UnsafePathError, match="at once"):
        check_local_names(["x/y/z", "x"], one_case=False)
    with pytest.raises(UnsafePathError, match="at once"):
        check_local_names(["X/y", "x"], one_case=True)
