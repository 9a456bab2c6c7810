from __future__ import annotations

from pathlib import Path

import pytest

from slipway.errors import HookFailedError
from slipway.hooks.exchange import HookAnswer
from slipway.hooks.function import ask_function, problem_of
from tests.unit.slipway.hooks.test_exchange import QUESTION

HOOKS = """
limit = 50

def enough(question):
    return {"allow": question["next_weight_pct"] <= limit, "reason": f"up to {limit} %"}

def never(question):
    raise RuntimeError("the store is closed")

def strange(question):
    return "fine"
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "hooks" / "deep").mkdir(parents=True)
    (tmp_path / "hooks" / "stock.py").write_text(HOOKS)
    (tmp_path / "hooks" / "deep" / "broken.py").write_text("def enough(:\n")
    (tmp_path / "hooks" / "late.py").write_text("import no_such_module\ndef enough(question): ...\n")
    return tmp_path


def test_a_function_answers(project: Path) -> None:
    assert ask_function(project, "stock.py:enough", QUESTION) == HookAnswer(True, "up to 50 %")


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("stock.py:never", "raised RuntimeError: the store is closed"),
        ("stock.py:strange", "answered 'fine'"),
        ("stock.py:missing", "cannot be loaded: AttributeError"),
        ("stock.py:limit", "is a int; expected a function"),
        ("late.py:enough", "No module named 'no_such_module'"),
        ("nowhere.py:enough", "cannot be loaded: FileNotFoundError"),
    ],
)
def test_a_function_that_cannot_answer_says_why(project: Path, reference: str, words: str) -> None:
    with pytest.raises(HookFailedError, match=words):
        ask_function(project, reference, QUESTION)


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("nowhere.py:enough", "there is no file"),
        ("deep/broken.py:enough", "is no Python"),
        ("stock.py:limit", "which has enough, never, strange"),
    ],
)
def test_a_reference_is_checked_without_running_it(project: Path, reference: str, words: str) -> None:
    problem = problem_of(project, reference)
    assert problem is not None
    assert words in problem
    assert problem_of(project, "stock.py:enough") is None
    assert problem_of(project, "late.py:enough") is None, "its imports are the worker's"
