import pytest

from slipway.canary.comparison import Verdict
from slipway.canary.judge import Look
from slipway.canary.step import Action, StepClock, StepFlags, decide

EARLY = StepClock(elapsed_seconds=10, bake_seconds=600, max_hold_seconds=3600)
BAKED = StepClock(elapsed_seconds=700, bake_seconds=600, max_hold_seconds=3600)
EXPIRED = StepClock(elapsed_seconds=5000, bake_seconds=600, max_hold_seconds=3600)
HELD = StepClock(elapsed_seconds=5000, bake_seconds=600, max_hold_seconds=3600, on_hold_seconds=1000)
ASKED = StepClock(5000, 600, 3600, asked_seconds=100, answer_seconds=7200)
UNANSWERED = StepClock(15000, 600, 3600, asked_seconds=7200, answer_seconds=7200)


def look(verdict: Verdict) -> Look:
    return Look(verdict, (f"because {verdict}",), (), None)


@pytest.mark.parametrize(
    ("verdict", "clock", "flags", "policy", "action"),
    [
        (Verdict.PASS, EARLY, StepFlags(), "ask", Action.WAIT),
        (Verdict.PASS, BAKED, StepFlags(), "ask", Action.ADVANCE),
        (Verdict.FAIL, EARLY, StepFlags(), "promote", Action.ROLL_BACK),
        (Verdict.FAIL, BAKED, StepFlags(hold="ann"), "ask", Action.ROLL_BACK),
        (Verdict.FAIL, BAKED, StepFlags(approve_now="ann"), "ask", Action.ROLL_BACK),
        (Verdict.PASS, BAKED, StepFlags(abort="ann"), "ask", Action.ROLL_BACK),
        (Verdict.PASS, BAKED, StepFlags(hold="ann"), "ask", Action.WAIT),
        (Verdict.NO_DATA, EXPIRED, StepFlags(hold="ann"), "roll_back", Action.WAIT),
        (Verdict.INCONCLUSIVE, EARLY, StepFlags(approve_now="ann"), "ask", Action.ADVANCE),
        (Verdict.INCONCLUSIVE, BAKED, StepFlags(), "roll_back", Action.WAIT),
        (Verdict.INCONCLUSIVE, EXPIRED, StepFlags(), "ask", Action.ASK),
        (Verdict.INCONCLUSIVE, EXPIRED, StepFlags(), "roll_back", Action.ROLL_BACK),
        (Verdict.INCONCLUSIVE, EXPIRED, StepFlags(), "promote", Action.ADVANCE),
        (Verdict.NO_DATA, EXPIRED, StepFlags(), "promote", Action.ASK),
        (Verdict.INCONCLUSIVE, HELD, StepFlags(), "ask", Action.WAIT),
        (Verdict.INCONCLUSIVE, HELD, StepFlags(), "roll_back", Action.WAIT),
        (Verdict.PASS, HELD, StepFlags(), "ask", Action.ADVANCE),
        (Verdict.INCONCLUSIVE, ASKED, StepFlags(), "ask", Action.ASK),
        (Verdict.INCONCLUSIVE, ASKED, StepFlags(approve_now="ann"), "ask", Action.ADVANCE),
        (Verdict.INCONCLUSIVE, UNANSWERED, StepFlags(), "ask", Action.ROLL_BACK),
        (Verdict.INCONCLUSIVE, UNANSWERED, StepFlags(hold="ann"), "ask", Action.WAIT),
        (Verdict.NO_DATA, UNANSWERED, StepFlags(), "promote", Action.ROLL_BACK),
        (Verdict.PASS, UNANSWERED, StepFlags(), "ask", Action.ADVANCE),
    ],
)
def test_what_follows_a_look(verdict, clock, flags, policy, action):
    decision = decide(look(verdict), clock, flags, policy)
    assert decision.action is action
    assert decision.reason


def test_the_reason_names_who_asked():
    assert "ann" in decide(look(Verdict.PASS), BAKED, StepFlags(abort="ann"), "ask").reason
