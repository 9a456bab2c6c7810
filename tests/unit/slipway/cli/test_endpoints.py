"""What ``slipway status`` tells about a promotion under way."""

from __future__ import annotations

from datetime import UTC, datetime

from slipway.canary.comparison import Verdict
from slipway.canary.progress import Question, StepProgress
from slipway.cli.endpoints import _notes
from slipway.state import EndpointState, Promotion

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def test_each_step_tells_its_verdict_with_counts_and_what_is_still_needed() -> None:
    said = "error: not settled: 0.0% of 50 against 0.9% of 950; about 950 more requests needed"
    steps = (
        StepProgress(number=1, weight_pct=5, began_at=NOW, verdict=Verdict.PASS, looks=3, said="error: below 1.50%"),
        StepProgress(number=2, weight_pct=25, began_at=NOW, verdict=Verdict.INCONCLUSIVE, looks=1, said=said),
        StepProgress(
            number=3,
            weight_pct=50,
            began_at=NOW,
            verdict=Verdict.PASS,
            looks=2,
            failed_because="look 1: worse",
            shown=("error FAIL: 30 of 400 = 7.50%",),
        ),
    )
    promotion = Promotion(
        run_id="r", release_id="b", model_version=2, strategy="canary", begun_at=NOW, plan=None, steps=steps
    )
    notes = _notes(EndpointState(endpoint="flights-prod", promotion=promotion))
    assert notes[1:] == (
        "step 1 at 5 %: PASS after 3 looks; error: below 1.50%",
        f"step 2 at 25 %: INCONCLUSIVE after 1 look; {said}",
        "step 3 at 50 %: PASS after 2 looks; look 1: worse",
        "  error FAIL: 30 of 400 = 7.50%",
    )


def test_a_question_is_told_with_its_answers_until_the_step_ends() -> None:
    question = Question(asked_at=NOW, hours=72)
    step = StepProgress(number=1, weight_pct=5, began_at=NOW, verdict=Verdict.NO_DATA, looks=9, question=question)

    def notes(step: StepProgress) -> tuple[str, ...]:
        promotion = Promotion(
            run_id="r", release_id="b", model_version=2, strategy="canary", begun_at=NOW, steps=(step,)
        )
        return _notes(EndpointState(endpoint="flights-prod", promotion=promotion))

    assert notes(step)[2] == (
        "  people are asked since 2026-03-01 00:00 UTC, for 72 h without those on hold: "
        "`slipway approve-now flights` lets it go on, `slipway abort flights` takes it back"
    )
    assert not any("asked" in note for note in notes(step.model_copy(update={"ended_at": NOW})))
