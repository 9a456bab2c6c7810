from __future__ import annotations

import json
from typing import Any

import pytest

from slipway.errors import HookFailedError
from slipway.hooks.exchange import HookAnswer, HookQuestion, read_answer

QUESTION = HookQuestion(
    hook="stock",
    service="flights",
    model="flights-delay",
    endpoint="flights-prod",
    run_id="run_1",
    place="step 2",
    strategy="canary",
    release_id="b" * 12,
    model_version=2,
    champion="a" * 12,
    weight_pct=5,
    next_weight_pct=25,
    steps=({"number": 1, "verdict": "PASS"},),
)


@pytest.mark.parametrize(
    ("found", "answer"),
    [
        (None, HookAnswer(True)),
        (True, HookAnswer(True)),
        (False, HookAnswer(False)),
        ({"allow": True}, HookAnswer(True)),
        ({"allow": False, "reason": "no stock"}, HookAnswer(False, "no stock")),
        ({"allow": True, "reason": None}, HookAnswer(True)),
    ],
)
def test_what_is_understood(found: Any, answer: HookAnswer) -> None:
    assert read_answer("stock", found) == answer


@pytest.mark.parametrize("found", [1, "yes", [], {}, {"allow": "true"}, {"allow": True, "ok": 1}, {"reason": "x"}])
def test_what_nobody_understands_is_never_a_yes(found: Any) -> None:
    with pytest.raises(HookFailedError, match="Hook stock answered"):
        read_answer("stock", found)


def test_a_long_reason_is_cut() -> None:
    assert len(read_answer("stock", {"allow": False, "reason": "x" * 9999}).reason) == 500


def test_a_question_is_plain_json() -> None:
    told = json.loads(json.dumps(QUESTION.to_dict()))
    assert (told["place"], told["next_weight_pct"], told["steps"]) == ("step 2", 25, [{"number": 1, "verdict": "PASS"}])
