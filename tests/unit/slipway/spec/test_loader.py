from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from slipway.errors import InvalidSpecError
from slipway.spec import load_spec
from slipway.spec.located import MAX_BYTES

HEAD = "name: flights\nmodel: flights-delay\nowner: ml@example.com\n"

Write = Callable[..., Path]


def problems(path: Path) -> list[tuple[int, str]]:
    """Load a file that is not valid; return line and words of each problem."""
    with pytest.raises(InvalidSpecError) as caught:
        load_spec(path)
    found = []
    for line in str(caught.value).splitlines():
        assert line.startswith(f"{path}:")
        number, words = line.removeprefix(f"{path}:").split(": ", 1)
        found.append((int(number), words))
    return found


def test_the_example_of_the_embedded_stack_is_valid() -> None:
    path = Path(__file__).parents[4] / "include/services/flights.yaml"
    spec = load_spec(path)
    assert (spec.name, spec.model) == ("flights", "flights-delay")


def test_a_valid_file_with_a_byte_order_mark_and_windows_lines(write_service: Write) -> None:
    path = write_service(b"\xef\xbb\xbf" + HEAD.replace("\n", "\r\n").encode())
    assert load_spec(path).owner == "ml@example.com"


def test_all_problems_are_named_with_line_field_found_and_accepted(write_service: Write) -> None:
    path = write_service(
        HEAD
        + "stages:\n"
        + "  prd: {}\n"
        + "  prod:\n"
        + "    instance_type: m5.large\n"
        + 'promote: {strategy: canry, min_requests: "100"}\n'
        + "weights_pct: [5]\n"
        + "serving: {python: 3.11}\n"
        + "approval: {required: yes, timeout_hours: 0}\n"
    )
    assert problems(path) == [
        (5, "stages.prd: unknown field; did you mean prod? accepted: dev, prod"),
        (
            7,
            'stages.prod.instance_type: found "m5.large"; expected a SageMaker instance type such as ml.m5.large; '
            "did you mean 'ml.m5.large'?",
        ),
        (8, 'promote.min_requests: found "100"; expected a whole number; leave out the quotes'),
        (8, 'promote.strategy: found "canry"; expected one of canary, all_at_once; did you mean canary?'),
        (
            9,
            "weights_pct: unknown field; it belongs under promote. accepted: name, model, owner, description, stages, "
            "approval, promote, retrain, monitor, security, notify, serving, golden_rows, tags",
        ),
        (10, 'serving.python: found 3.11; expected text; put it in quotes: "3.11"'),
        (11, 'approval.required: found "yes"; expected true or false; write true without quotes'),
        (11, "approval.timeout_hours: found 0; expected more than 0"),
    ]


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("model: m\nowner: o\n", 1, "name: missing; expected Name of the service"),
        (HEAD + "retrain:\n  schedule: '@daily'\n", 4, "retrain.data: missing"),
        (HEAD + "stages: 3\n", 4, "stages: found 3; expected a section of fields"),
        (HEAD + "tags: [a]\n", 4, 'tags: found ["a"]; expected a mapping of names to values'),
        (HEAD + "promote: {weights_pct: 5}\n", 4, "promote.weights_pct: found 5; expected a list"),
        (HEAD + "promote:\n  weights_pct:\n  - 5\n  - x\n", 7, 'promote.weights_pct[1]: found "x"; expected a number'),
        (HEAD + "promote:\n  weights_pct: []\n", 5, "promote.weights_pct: found []; expected at least 1 entry"),
        (HEAD + "promote:\n  alpha: .inf\n", 5, "promote.alpha: found .inf; expected a finite number"),
        (HEAD + "promote:\n  weights_pct: [50, 20]\n", 5, "found [50, 20]; expected percentages that increase"),
        (HEAD + "tags:\n  a: 1\n", 5, 'tags.a: found 1; expected text; put it in quotes: "1"'),
        (HEAD + "serving:\n  python: 3.10\n", 5, 'serving.python: found 3.10; expected text; put it in quotes: "3.10"'),
        (HEAD + "description: null\n", 4, "description: found null; expected text"),
        (HEAD + "security:\n  subnets: [subnet-1]\n", 5, "security.subnets: found"),
        (HEAD + "monitor:\n  on_drift: retrain\n", 5, 'monitor.on_drift: found "retrain"; expected a retrain section'),
        (HEAD + "name: other\n", 4, "the key 'name' comes twice, first in line 1"),
        ("- a\n- b\n", 1, "expected fields, among them name, model, owner"),
        ("just words\n", 1, "expected fields"),
        ("", 1, "the file is empty"),
        (HEAD + "stages: {prod: [\n", 5, "not YAML"),
        ("name: plane\nmodel: m\nowner: o\n", 1, "name: found 'plane'; expected 'flights', the name of the file"),
    ],
)
def test_one_problem(write_service: Write, text: str, line: int, words: str) -> None:
    (found,) = problems(write_service(text))
    assert found[0] == line
    assert words in found[1]


def test_a_secret_is_not_repeated(write_service: Write) -> None:
    path = write_service(HEAD + "serving:\n  environment:\n    DB_PASSWORD: hunter2\n")
    ((line, words),) = problems(path)
    assert line == 6
    assert words.startswith("serving.environment.DB_PASSWORD: expected no secrets")
    assert "hunter2" not in words


def test_a_problem_stays_on_one_line_whatever_the_value_holds(write_service: Write) -> None:
    path = write_service(HEAD + 'owner2: "a\\nb"\n"line\\nbreak": 1\ntags: {a: "x\\ny\\u2028z"}\n')
    assert [line for line, _ in problems(path)] == [4, 5, 6]


def test_a_long_value_is_cut_short(write_service: Write) -> None:
    ((_, words),) = problems(write_service(HEAD + f"monitor: {{schedule: {'x' * 5000}}}\n"))
    assert len(words) < 400


def test_files_that_are_no_text(write_service: Write, tmp_path: Path) -> None:
    assert problems(write_service(HEAD.encode() + b"tags: \xff\n")) == [(4, "not UTF-8 text; save the file as UTF-8")]
    assert "not YAML" in problems(write_service(HEAD + "tags: \x00\n"))[0][1]
    assert "cannot be read" in problems(tmp_path / "missing.yaml")[0][1]
    assert "cannot be read" in problems(tmp_path)[0][1]


def test_an_enormous_file_is_not_read(write_service: Write) -> None:
    ((line, words),) = problems(write_service(HEAD + "#" * MAX_BYTES))
    assert line == 1
    assert "larger than 256 KiB" in words
