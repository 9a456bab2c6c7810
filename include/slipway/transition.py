"""How an endpoint's state goes on: approved → begun → promoted or rolled back.

Pure functions from state to state, to be given to ``StateStore.update``. Each recognises its own work: applied to a
state that it made, it returns that state, so a task that is run again writes nothing.

    approve        a release waits for its promotion; an older one that waits is superseded
    begin          the waiting release becomes the challenger of one run, with plan and way back recorded
    promote        the challenger becomes the champion, the champion the previous one
    record_sizes   how many instances the way back has, before anything is asked for
    launch         which endpoint config a promotion is about to ask for
    give_up        the challenger is gone, the champion stays
    go_back        the previous champion has the traffic again
    lapse          an approval that nobody made use of
    undeploy       the endpoint is gone, and with it champion, way back and waiting approval
    ask            people were asked about a step that stays unsettled
    answer_gate    a person said yes or no on the way
    stop           why it will be taken back: what the judge, a person or a hook said
    raise_flag     hold, abort, frozen, approve_now, each with who and why
    lower_flag     takes it back
    resume         takes a hold back, and keeps how long it was
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Literal

from slipway.canary.patience import Hold
from slipway.canary.progress import Question, find_step, with_step
from slipway.errors import CanaryFailedError, EndpointBusyError, NoWayBackError, SupersededError
from slipway.state import (
    HISTORY_LENGTH,
    Approval,
    EndpointState,
    Flag,
    Flags,
    GateAnswer,
    HistoryEntry,
    Promotion,
    Serving,
    WayTaken,
)

FlagName = Literal["hold", "abort", "frozen", "approve_now"]


def approve(state: EndpointState, approval: Approval) -> EndpointState:
    """Let a release wait for its promotion.

    A release that has all traffic, or is on its way there, does not wait again. An older one that waits is
    superseded by whatever is approved after it, also by going back to the champion. An approval that comes late
    (its task was run again after a newer one) changes nothing.
    """
    done = [entry for entry in state.history if entry.event == "approved"]
    if any(entry.run_id == approval.run_id or entry.at > approval.at for entry in done):
        return state
    waiting, ahead = state.approved, state.promotion or state.champion
    if waiting and waiting.release_id == approval.release_id:
        return state
    superseded = [_entry("superseded", waiting, approval.at, approval.by, approval.release_id)] if waiting else []
    if ahead and ahead.release_id == approval.release_id:
        return _with(state, superseded, approved=None)
    entry = _entry("approved", approval, approval.at, approval.by, approval.reason)
    return _with(state, [*superseded, entry], approved=approval)


def begin(state: EndpointState, promotion: Promotion, *, by: str) -> EndpointState:
    """Make the waiting release the challenger of one run.

    Raises:
        SupersededError: another release, or none, waits; or this run has begun a promotion before.
        EndpointBusyError: the endpoint is frozen, or another run's promotion has not been brought to an end.
    """
    under_way = state.promotion
    if under_way and under_way.run_id == promotion.run_id:
        return state
    if under_way:
        raise EndpointBusyError(
            f"{state.endpoint}: release {under_way.release_id} is still being promoted by {under_way.run_id}. "
            f"It has to be finished or rolled back first. {when_run_is_gone(state)}"
        )
    refuse_second_promotion(state, promotion.run_id)
    if state.flags.frozen:
        frozen, service = state.flags.frozen, state.endpoint.removesuffix("-prod")
        raise EndpointBusyError(
            f"{state.endpoint} is frozen since {frozen.at:%Y-%m-%d %H:%M %Z} by {frozen.by}: {frozen.reason or '-'}. "
            f"No promotion begins until `slipway unfreeze {service}`; then `slipway promote {service}` begins this one."
        )
    if state.approved is None or state.approved.release_id != promotion.release_id:
        found = f"release {state.approved.release_id}" if state.approved else "no release"
        raise SupersededError(f"{state.endpoint}: {found} waits for promotion, not {promotion.release_id}.")
    entry = _entry("begun", promotion, promotion.begun_at, by, promotion.strategy)
    flags = Flags(hold=state.flags.hold, frozen=state.flags.frozen)  # the others were about an earlier promotion
    return _with(state, [entry], approved=None, promotion=promotion, flags=flags)


def refuse_second_promotion(state: EndpointState, run_id: str) -> None:
    """Refuse that a run begins another promotion: its tasks that are green already were about the first one.

    Raises:
        SupersededError: the run has begun a promotion, which has ended.
    """
    begun, last = state.begun_by(run_id), state.last_of(run_id)
    if begun is None or last is None:
        return
    ended = f"{last.event} at {last.at:%Y-%m-%d %H:%M %Z}" + (f" ({last.reason})" if last.reason else "")
    raise SupersededError(
        f"{state.endpoint}: run {run_id} was the promotion of release {begun.release_id}, which has ended: {ended}. "
        f"One run promotes one release, so nothing is left to do here; `slipway promote "
        f"{state.endpoint.removesuffix('-prod')}` begins the promotion of what waits."
    )


def promote(state: EndpointState, *, run_id: str, config_name: str, at: datetime, by: str) -> EndpointState:
    """Make the challenger the champion.

    Args:
        state: the present state.
        run_id: the run whose promotion it is.
        config_name: the endpoint config that serves the new champion alone.
        at: when.
        by: on whose behalf.

    Raises:
        SupersededError: this run's promotion is not under way any more (it was rolled back).
        CanaryFailedError: somebody has aborted it, or it is to be taken back for another reason.
    """
    promotion = state.promotion
    if promotion is None or promotion.run_id != run_id:
        if state.champion and state.champion.run_id == run_id:
            return state
        raise SupersededError(f"{state.endpoint}: the promotion of {run_id} is not under way any more.")
    stopped = f"aborted by {state.flags.abort.said}" if state.flags.abort else promotion.stopped_because
    if stopped:
        raise CanaryFailedError(
            f"Release {promotion.release_id} does not become the champion of {state.endpoint}: {stopped}"
        )
    champion = Serving(
        release_id=promotion.release_id,
        model_version=promotion.model_version,
        config_name=config_name,
        since=at,
        run_id=run_id,
    )
    return _ended(state, _entry("promoted", promotion, at, by, ""), champion=champion, previous=state.champion)


def launch(state: EndpointState, run_id: str, config_name: str) -> EndpointState:
    """Keep which endpoint config a run is about to ask for: when it is undone, the spec may be another one."""
    promotion = _of_run(state, run_id)
    if promotion is None or config_name in promotion.launched:
        return state
    changed = promotion.model_copy(update={"launched": (*promotion.launched, config_name)})
    return state.model_copy(update={"promotion": changed})


def record_sizes(state: EndpointState, run_id: str, instances: Mapping[str, int]) -> EndpointState:
    """Keep how many instances a run's way back has, as long as the run has asked for no change of the endpoint."""
    promotion = _of_run(state, run_id)
    if promotion is None or promotion.recorded is None or promotion.launched:
        return state
    recorded = promotion.recorded
    shares = {
        name: share.model_copy(update={"instances": instances.get(name, share.instances)})
        for name, share in recorded.variants.items()
    }
    changed = promotion.model_copy(update={"recorded": recorded.model_copy(update={"variants": shares})})
    return state.model_copy(update={"promotion": changed})


def when_run_is_gone(state: EndpointState) -> str:
    """Say who ends a promotion whose run does not any more, and when."""
    lease, promotion = state.lease, state.promotion
    if lease and promotion and lease.holder.endswith(f"/{promotion.run_id}"):
        when = f"within an hour after its lease has run out ({lease.expires_at:%Y-%m-%d %H:%M %Z})"
    else:
        when = "in its next hourly run once the promotion is an hour old"
    return f"If that run is gone, slipway.housekeeping ends the promotion {when}."


def give_up(state: EndpointState, *, run_id: str, at: datetime, by: str, reason: str) -> EndpointState:
    """End this run's promotion after the endpoint was put back; nothing to do when it is not under way."""
    promotion = state.promotion
    if promotion is None or promotion.run_id != run_id:
        return state
    return _ended(state, _entry("rolled_back", promotion, at, by, reason))


def go_back(
    state: EndpointState,
    *,
    run_id: str,
    config_name: str,
    at: datetime,
    by: str,
    reason: str,
    way: WayTaken | None = None,
) -> EndpointState:
    """Make the previous champion the champion again.

    There is no previous one afterwards: a second rollback must not bring back what the first took away.

    Args:
        state: the present state.
        run_id: the run that does it.
        config_name: the endpoint config that serves the previous champion.
        at: when.
        by: on whose behalf.
        reason: why.
        way: how, for a run that is taken up again.

    Raises:
        EndpointBusyError: a promotion is under way.
        NoWayBackError: there is no previous champion.
    """
    champion, previous = state.champion, state.previous
    if champion and champion.run_id == run_id:
        return state
    if state.promotion:
        raise EndpointBusyError(f"{state.endpoint}: {state.promotion.run_id} has begun a promotion meanwhile.")
    if champion is None or previous is None:
        raise NoWayBackError(f"{state.endpoint} has no previous champion any more.")
    entry = HistoryEntry(
        event="rolled_back", release_id=champion.release_id, at=at, by=by, run_id=run_id, reason=reason
    )
    again = previous.model_copy(update={"since": at, "run_id": run_id, "config_name": config_name, "way": way})
    return _with(state, [entry], champion=again, previous=None)


def refuse_second_rollback(state: EndpointState, run_id: str) -> None:
    """Refuse that a run goes back once more, after what it brought back has been replaced.

    Raises:
        SupersededError: the run has gone back, and something else is the champion since.
    """
    went = next((entry for entry in state.history if (entry.event, entry.run_id) == ("rolled_back", run_id)), None)
    if went is None or (state.champion and state.champion.run_id == run_id):
        return
    raise SupersededError(
        f"{state.endpoint}: run {run_id} took release {went.release_id} back at {went.at:%Y-%m-%d %H:%M %Z}, and what "
        "it brought back is not the champion any more. Nothing is left to do here; start another rollback to go back "
        "from the present champion."
    )


def lapse(state: EndpointState, approval: Approval, *, at: datetime, by: str) -> EndpointState:
    """Take back an approval that was not made use of; another one that came meanwhile stays."""
    if state.approved != approval:
        return state
    return _with(state, [_entry("superseded", approval, at, by, "not promoted in time")], approved=None)


def undeploy(state: EndpointState, *, run_id: str, at: datetime, by: str, reason: str) -> EndpointState:
    """Keep that the endpoint is gone: nothing serves, there is no way back, and nothing waits; ``frozen`` stays.

    Args:
        state: the present state.
        run_id: the run that did it.
        at: when.
        by: on whose behalf.
        reason: why.
    """
    champion, waiting = state.champion, state.approved
    entries = [_entry("superseded", waiting, at, by, "undeployed")] if waiting else []
    if champion:
        entries.append(
            HistoryEntry(event="undeployed", release_id=champion.release_id, at=at, by=by, run_id=run_id, reason=reason)
        )
    return _with(state, entries, champion=None, previous=None, approved=None)


def ask(state: EndpointState, run_id: str, number: int, question: Question) -> EndpointState:
    """Keep that people were asked about a step of a run's promotion; the first question counts."""
    promotion = _of_run(state, run_id)
    step = find_step(promotion.steps, number) if promotion else None
    if promotion is None or step is None or step.question:
        return state
    asked = with_step(promotion.steps, step.model_copy(update={"question": question}))
    return state.model_copy(update={"promotion": promotion.model_copy(update={"steps": asked})})


def answer_gate(state: EndpointState, run_id: str, answer: GateAnswer) -> EndpointState:
    """Keep what a person said at a gate of a run's promotion; the first answer counts."""
    promotion = _of_run(state, run_id)
    if promotion is None or promotion.gate_answer(answer.place):
        return state
    changed = promotion.model_copy(update={"gates": (*promotion.gates, answer)})
    return state.model_copy(update={"promotion": changed})


def stop(state: EndpointState, run_id: str, reason: str) -> EndpointState:
    """Keep why a run's promotion is taken back; the first reason counts."""
    promotion = _of_run(state, run_id)
    if promotion is None or promotion.stopped_because:
        return state
    return state.model_copy(update={"promotion": promotion.model_copy(update={"stopped_because": reason})})


def _of_run(state: EndpointState, run_id: str) -> Promotion | None:
    promotion = state.promotion
    return promotion if promotion and promotion.run_id == run_id else None


def raise_flag(state: EndpointState, name: FlagName, flag: Flag) -> EndpointState:
    """Set a flag; one that is set keeps who set it first."""
    if getattr(state.flags, name) is not None:
        return state
    return state.model_copy(update={"flags": state.flags.model_copy(update={name: flag})})


def lower_flag(state: EndpointState, name: FlagName) -> EndpointState:
    """Take a flag back."""
    return state.model_copy(update={"flags": state.flags.model_copy(update={name: None})})


def resume(state: EndpointState, *, at: datetime) -> EndpointState:
    """Let a held promotion go on; from when until when it was held is kept, since no limit counts that time."""
    present, promotion = state.flags.hold, state.promotion
    if present is None:
        return state
    lowered = lower_flag(state, "hold")
    if promotion is None:
        return lowered
    over = Hold(by=present.by, began_at=present.at, ended_at=at)
    changed = promotion.model_copy(update={"holds": (*promotion.holds, over)})
    return lowered.model_copy(update={"promotion": changed})


def _entry(
    event: Literal["approved", "superseded", "begun", "promoted", "rolled_back"],
    about: Approval | Promotion,
    at: datetime,
    by: str,
    reason: str,
) -> HistoryEntry:
    return HistoryEntry(event=event, release_id=about.release_id, at=at, by=by, run_id=about.run_id, reason=reason)


def _with(state: EndpointState, entries: list[HistoryEntry], **changes: object) -> EndpointState:
    history = (*state.history, *entries)[-HISTORY_LENGTH:]
    return state.model_copy(update={**changes, "history": history})


def _ended(state: EndpointState, entry: HistoryEntry, **changes: object) -> EndpointState:
    """Wishes about one promotion end with it; ``frozen`` is about the endpoint."""
    return _with(state, [entry], promotion=None, flags=Flags(frozen=state.flags.frozen), **changes)
