import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.errors import InvalidInputError
from slipway.training.gate import Evidence, GateAction, Improvement, decide
from slipway.training.gate_expression import Beats, ChampionBound, Threshold, parse_expression

EVIDENCE = Evidence(
    candidate={"areaUnderROC": 0.75, "rmse": 10.1, "f1": 0.61, "bad": math.nan},
    champion={"areaUnderROC": 0.74, "rmse": 10.0, "f1": 0.60, "bad": 1.0},
    improvements={
        ("f1", 95.0): Improvement(0.004, 0.016, 95.0),
        ("rmse", 95.0): Improvement(-0.5, -0.1, 95.0),
    },
)


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("areaUnderROC >= 0.70", Threshold("areaUnderROC >= 0.70", "areaUnderROC", ">=", 0.7)),
        ("rmse<=champion*1.02", Threshold("rmse<=champion*1.02", "rmse", "<=", ChampionBound(factor=1.02))),
        (" f1 > champion - .5 ", Threshold("f1 > champion - .5", "f1", ">", ChampionBound(offset=-0.5))),
        ("f1 beats champion", Beats("f1 beats champion", "f1", 0.0, 95.0)),
        ("f1 beats champion by 0.01 (90%)", Beats("f1 beats champion by 0.01 (90%)", "f1", 0.01, 90.0)),
        ("eval/f1@0.5 < 1e-3", Threshold("eval/f1@0.5 < 1e-3", "eval/f1@0.5", "<", 0.001)),
    ],
)
def test_expressions_that_are_accepted(text, parsed):
    assert parse_expression(text) == parsed


@pytest.mark.parametrize(
    "text",
    [
        "",
        "f1",
        "f1 >=",
        "f1 == 0.5",
        "0.7 <= f1",
        "f1 >= champion ** 2",
        "f1 >= nan",
        "f1 beats champion by -1",
        "f1 beats champion (120%)",
        "__import__('os').system('true')",
        "f1 >= 0.5 and rmse < 2",
        "f" * 500,
    ],
)
def test_expressions_that_are_refused_show_the_accepted_forms(text):
    with pytest.raises(InvalidInputError, match=r"Expected for example 'areaUnderROC >= 0\.70'"):
        parse_expression(text)


@given(st.text(max_size=300))
def test_any_text_is_parsed_or_refused_by_name(text):
    try:
        parsed = parse_expression(text)
    except InvalidInputError:
        return
    assert parsed.text == text.strip()


@pytest.mark.parametrize(
    ("expressions", "combination", "action"),
    [
        (["areaUnderROC >= 0.70"], "all", GateAction.DEPLOY),
        (["areaUnderROC >= champion", "rmse <= champion * 1.02"], "all", GateAction.DEPLOY),
        (["areaUnderROC >= champion", "rmse <= champion"], "all", GateAction.HOLD),
        (["areaUnderROC >= champion", "rmse <= champion"], "any", GateAction.DEPLOY),
        (["f1 beats champion"], "all", GateAction.DEPLOY),
        (["f1 beats champion by 0.01 (95%)"], "all", GateAction.HOLD),
        (["rmse beats champion by 0.1"], "all", GateAction.DEPLOY),
        (["f1 beats champion (99%)"], "all", GateAction.HOLD),
        (["missing >= 0"], "all", GateAction.HOLD),
        (["bad >= 0"], "all", GateAction.HOLD),
        (["bad < 5", "f1 > 0"], "any", GateAction.DEPLOY),
        ([], "all", GateAction.HOLD),
    ],
)
def test_threshold_gate(expressions, combination, action):
    verdict = decide("threshold", expressions, EVIDENCE, combination)
    assert verdict.action is action
    assert verdict.reason
    assert [comparison.expression for comparison in verdict.comparisons] == expressions


def test_without_a_champion_a_comparison_with_it_holds():
    verdict = decide("threshold", ["f1 >= champion"], Evidence(candidate={"f1": 1.0}))
    assert verdict.action is GateAction.HOLD
    assert "the champion has no metric 'f1'" in verdict.reason


def test_manual_holds_and_automatic_deploys_and_both_record_the_comparisons():
    assert decide("manual", ["f1 > 0"], EVIDENCE).action is GateAction.HOLD
    automatic = decide("automatic", ["f1 > 9"], EVIDENCE)
    assert automatic.action is GateAction.DEPLOY
    assert automatic.comparisons[0].passed is False


@given(st.floats(allow_nan=True, allow_infinity=True), st.floats(allow_nan=True, allow_infinity=True))
def test_a_gate_never_deploys_on_what_is_not_a_number(candidate, champion):
    verdict = decide(
        "threshold", ["m >= champion", "m >= 0"], Evidence(candidate={"m": candidate}, champion={"m": champion})
    )
    if math.isnan(candidate) or math.isnan(champion):
        assert verdict.action is GateAction.HOLD
