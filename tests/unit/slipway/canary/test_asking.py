from datetime import UTC, datetime

from slipway.canary.asking import question_text
from slipway.canary.progress import StepProgress


def test_the_question_says_what_is_asked_how_to_answer_and_what_follows_without_an_answer() -> None:
    step = StepProgress(number=2, weight_pct=25, began_at=datetime(2026, 3, 1, tzinfo=UTC))
    text = question_text("flights", "b" * 12, step, "still NO_DATA at the end of the hold: no requests", 72)
    question, answer = text.split("\n\n")
    assert question == (
        "Step 2 of flights, in which release bbbbbbbbbbbb has 25 % of the traffic, is still NO_DATA at the end of the "
        "hold: no requests."
    )
    for expected in (
        "`slipway approve-now flights`",
        "`slipway abort flights`",
        "Without an answer within 72 hours it is taken back",
        "`slipway hold flights`",
    ):
        assert expected in answer
