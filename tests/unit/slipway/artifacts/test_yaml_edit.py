from __future__ import annotations

import pytest

from slipway.artifacts.yaml_edit import set_value


@pytest.mark.parametrize(
    ("before", "path", "after"),
    [
        ("a: 1\nb: 2\n", ["b"], "a: 1\nb: NEW\n"),
        ("a:\n  b: 'old'  # why\n  c: 1.50\n", ["a", "b"], "a:\n  b: NEW  # why\n  c: 1.50\n"),
        ("a:\n  b: 1\n", ["a", "z"], "a:\n  z: NEW\n  b: 1\n"),
        ("a: {b: 1}\n", ["a", "z"], "a: {z: NEW, b: 1}\n"),
        ("a: {}\n", ["a", "z"], "a: {z: NEW}\n"),
        ("a:\r\n    b: 1\r\n", ["a", "z"], "a:\r\n    z: NEW\r\n    b: 1\r\n"),
        ("# é\na: {b: [1,\n  2], c: 3}\n", ["a", "b"], "# é\na: {b: NEW, c: 3}\n"),
    ],
)
def test_only_the_value_changes(before: str, path: list[str], after: str) -> None:
    assert set_value(before, path, "NEW") == after


@pytest.mark.parametrize(
    ("text", "path"), [("a: 1\n", ["a", "b"]), ("a: 1\n", ["x", "b"]), ("- a\n", ["a"]), ("", ["a"])]
)
def test_a_path_that_leads_nowhere_is_an_error(text: str, path: list[str]) -> None:
    with pytest.raises(KeyError):
        set_value(text, path, "NEW")
