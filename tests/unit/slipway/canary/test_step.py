import pytest

from slipway.canary.judge import Look, Verdict
from slipway.canary.step import Action, StepClock, StepFlags, decide

EARLY = StepClock(elapsed_seconds=10, bake_seconds=600, max_hold_seconds=3600)
BAKED = StepClock(elapsed_seconds=700, bake_seconds=600, max_hold_seconds=3600)
EXPIRED = StepClock(elapsed_seconds=5000, bake_seconds=600, max_hold_seconds=3600)


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
    ],
)
def test_what_follows_a_look(verdict, clock, flags, policy, action):
    decision = decide(look(verdict), clock, flags, policy)
    assert decision.action is action
    assert decision.reason


def test_the_reason_names_who_asked():
    assert "ann" in decide(look(Verdict.PASS), BAKED, StepFlags(abort="ann"), "ask").reason
