from __future__ import annotations

import json
import math

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from slipway.spec.located import MAX_DEPTH, YamlError, read_yaml, scalar


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("~", None),
        ("null", None),
        ("true", True),
        ("False", False),
        ("12", 12),
        ("-0", 0),
        ("+7", 7),
        ("0o17", 15),
        ("0xFf", 255),
        ("1.5", 1.5),
        (".5", 0.5),
        ("1e3", 1000.0),
        ("-.inf", -math.inf),
        # Text in YAML 1.2, though not in 1.1.
        ("no", "no"),
        ("yes", "yes"),
        ("on", "on"),
        ("1:30", "1:30"),
        ("2026-11-21", "2026-11-21"),
        ("1_000", "1_000"),
        ("ml.m5.large", "ml.m5.large"),
        ("9" * 101, "9" * 101),
    ],
)
def test_plain_scalars_follow_yaml_1_2(text: str, value: object) -> None:
    assert scalar(text) == value
    assert type(scalar(text)) is type(value)


def test_not_a_number_is_a_number() -> None:
    assert math.isnan(scalar(".nan"))


def test_quoted_and_block_scalars_are_text() -> None:
    assert read_yaml("a: '12'\nb: \"true\"\nc: |\n  12\n").plain() == {"a": "12", "b": "true", "c": "12\n"}


def test_lines_are_those_of_keys_and_items() -> None:
    document = read_yaml(
        "# comment\nname: x\nstages:\n  dev: {instance_type: a}\n  prod:\n    list:\n    - 1\n    - 2\n"
    )
    assert document.line == 2
    assert document.line_of(["name"]) == 2
    assert document.line_of(["stages", "dev", "instance_type"]) == 4
    assert document.line_of(["stages", "prod", "list", 1]) == 8
    assert document.line_of(["stages", "prod", "missing", "deeper"]) == 5
    assert document.line_of(["nowhere"]) == 2


def test_aliases_are_put_in() -> None:
    document = read_yaml("a: &one {x: [1, 2]}\nb: *one\nc: &two text\nd: *two\n")
    assert document.plain() == {"a": {"x": [1, 2]}, "b": {"x": [1, 2]}, "c": "text", "d": "text"}


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("", 1, "empty"),
        ("# only a comment\n", 1, "empty"),
        ("a: 1\nb: 2\na: 3\n", 3, "'a' comes twice, first in line 1"),
        ("a:\n  x: 1\n  x: 1\n", 3, "comes twice"),
        ("a: {x: 1, x: 1}\n", 1, "comes twice"),
        ("a: 1\n---\nb: 2\n", 2, "second one"),
        ("a: 1\nb: !!python/object/apply:os.system [ls]\n", 2, "tags are not allowed"),
        ("a: !secret x\n", 1, "tags are not allowed"),
        ("a: &x [*x]\n", 1, "lies within its own value"),
        ("a: *x\n", 1, "no anchor"),
        ("? [a]\n: b\n", 1, "a key must be text"),
        ('"": b\n', 1, "a key must be text"),
        ("a: &x {b: 1}\n<<: *x\n", 2, "merge keys"),
        ("a: 1\n\tb: 2\n", 2, "indent with spaces"),
        ("a: @monthly\n", 1, "in quotes"),
        ("a: 1\nb: [1, 2\n", 3, "not YAML"),
        ("a: b: c\n", 1, "not YAML"),
        ("a: 'open\n", 2, "not YAML"),
        ("a: 1\nb: \x00\n", 2, "not YAML"),
        ("%YAML 3.0\n---\na: 1\n", 1, "not YAML"),
    ],
)
@pytest.mark.parametrize("loader", [yaml.SafeLoader, getattr(yaml, "CSafeLoader", yaml.SafeLoader)])
def test_what_is_refused(text: str, line: int, words: str, loader: type, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("slipway.spec.located._Loader", loader)
    with pytest.raises(YamlError) as caught:
        read_yaml(text)
    assert words in caught.value.message
    # The two parsers of PyYAML blame the end of an unfinished file or its last line.
    assert caught.value.line in (line, line - 1) if "not YAML" in words else caught.value.line == line


def test_a_bomb_of_aliases_does_not_go_off() -> None:
    lines = ["l0: &l0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]" for n in range(1, 9)]
    with pytest.raises(YamlError, match="values"):
        read_yaml("\n".join(lines))


def test_a_deep_nesting_is_refused_quickly() -> None:
    for opening in ("[" * 100_000, '{"a":' * 20_000, "- " * 5_000):
        with pytest.raises(YamlError, match="deep"):
            read_yaml(opening)


def test_aliases_cannot_nest_deeper_than_the_text_may() -> None:
    text = "a0: &a0 [1]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, MAX_DEPTH + 2))
    with pytest.raises(YamlError, match="levels"):
        read_yaml(text)


# JSON writes characters beyond U+FFFF as two escapes, which YAML does not know.
words = st.text(st.characters(max_codepoint=0xFFFF, exclude_categories=["Cs"]))
# A key of YAML has at most 1024 characters, escapes included.
keys = words.filter(lambda key: key not in ("", "<<") and len(key) < 100)
numbers = st.integers(-(10**20), 10**20) | st.floats(allow_nan=False, allow_infinity=False)
plain_values = st.recursive(
    st.none() | st.booleans() | numbers | words,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=20,
)


@settings(deadline=None)
@given(plain_values)
def test_json_is_read_as_json(value: object) -> None:
    assert read_yaml(json.dumps(value)).plain() == value


@settings(deadline=None)
@given(st.text(alphabet=st.characters(codec="utf-8")) | st.text(alphabet="ab:-[]{}&*!|>'\"%@`#,? \n\t012"))
def test_any_text_is_read_or_refused_with_a_line(text: str) -> None:
    line = 1
    try:
        read_yaml(text).plain()
    except YamlError as error:
        line = error.line
    assert 1 <= line <= sum(text.count(end) for end in "\n\r\x85\u2028\u2029") + 2
