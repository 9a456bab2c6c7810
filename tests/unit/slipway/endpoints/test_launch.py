"""Launching converges from any start, survives a kill at every write, and repeats nothing."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway import errors
from slipway.endpoints.launch import check_endpoint, ensure_endpoint, next_step
from slipway.endpoints.outcome import OutcomeName


def launch(sagemaker: Any, wanted: Any, **options: Any) -> Any:
    return ensure_endpoint(sagemaker, wanted, sleep=sagemaker.sleep, **options)


def bring_up(sagemaker: Any, wanted: Any) -> Any:
    """Launch and wait until it is settled."""
    action = launch(sagemaker, wanted)
    sagemaker.sleep(100)
    return check_endpoint(sagemaker, wanted, since=action.since)


def status_of(sagemaker: Any, wanted: Any) -> tuple[str, str]:
    description = sagemaker.describe_endpoint(EndpointName=wanted.name)
    return description["EndpointStatus"], description["EndpointConfigName"]


def tags_of(sagemaker: Any, wanted: Any) -> dict[str, str]:
    return dict(sagemaker.tags[sagemaker.arn("Endpoint", wanted.name)])


def test_from_nothing_to_in_service(sagemaker: Any, wanted_of: Any) -> None:
    wanted = wanted_of()
    action = launch(sagemaker, wanted)
    assert (action.name, action.changed, action.since) == ("created", True, None)
    assert action.made == (f"model {wanted.models[0]['ModelName']}", f"endpoint config {wanted.config_name}")
    assert check_endpoint(sagemaker, wanted).pending
    sagemaker.sleep(60)
    assert check_endpoint(sagemaker, wanted).name is OutcomeName.READY
    assert [write.split()[0] for write in sagemaker.writes] == ["CreateModel", "CreateEndpointConfig", "CreateEndpoint"]


def test_nothing_new_means_no_write(sagemaker: Any, wanted_of: Any) -> None:
    wanted = wanted_of()
    bring_up(sagemaker, wanted)
    before = list(sagemaker.writes)
    action = launch(sagemaker, wanted)
    assert (action.name, action.changed) == ("unchanged", False)
    assert check_endpoint(sagemaker, wanted).name is OutcomeName.READY
    assert sagemaker.writes == before


def test_another_release_is_an_update_that_keeps_the_old_config(sagemaker: Any, wanted_of: Any) -> None:
    old, new = wanted_of("a"), wanted_of("b")
    bring_up(sagemaker, old)
    action = launch(sagemaker, new)
    assert (action.name, action.previous_config) == ("updated", old.config_name)
    assert check_endpoint(sagemaker, new, since=action.since).pending
    assert tags_of(sagemaker, old) == dict(old.tags)  # until the new one serves
    sagemaker.sleep(60)
    assert check_endpoint(sagemaker, new, since=action.since).name is OutcomeName.READY
    assert tags_of(sagemaker, new) == dict(new.tags)
    assert old.config_name in sagemaker.resources["EndpointConfig"]
    assert not [write for write in sagemaker.writes if write.startswith("Delete")]


def test_a_silent_rollback_is_found_and_the_tags_still_say_what_serves(sagemaker: Any, wanted_of: Any) -> None:
    old, new = wanted_of("a"), wanted_of("b")
    bring_up(sagemaker, old)
    sagemaker.unhealthy.add(new.config_name)
    outcome = bring_up(sagemaker, new)
    with pytest.raises(errors.EndpointRolledBackError, match=old.config_name):
        outcome.raise_if_failed()
    assert status_of(sagemaker, new) == ("InService", old.config_name)
    assert tags_of(sagemaker, new) == dict(old.tags)


def test_an_update_that_aws_has_not_begun_is_waited_for(sagemaker: Any, wanted_of: Any) -> None:
    """Just after UpdateEndpoint, a read that lags behind still shows the old config in service."""
    old, new = wanted_of("a"), wanted_of("b")
    bring_up(sagemaker, old)
    stale = sagemaker.describe_endpoint(EndpointName=old.name)
    action = launch(sagemaker, new)
    sagemaker.describe_endpoint = lambda **_: stale
    assert check_endpoint(sagemaker, new, since=action.since).pending
    assert isinstance(check_endpoint(sagemaker, new).error, errors.EndpointRolledBackError)


def test_a_second_call_waits_for_the_first(sagemaker: Any, wanted_of: Any) -> None:
    wanted = wanted_of()
    launch(sagemaker, wanted)
    assert launch(sagemaker, wanted).name == "waiting"
    sagemaker.sleep(60)
    launch(sagemaker, wanted_of("b"))
    before = list(sagemaker.writes)
    assert launch(sagemaker, wanted_of("b")).name == "waiting"
    assert sagemaker.writes == before


@pytest.mark.parametrize("busy_with", ["creation", "update"])
def test_somebody_elses_change_is_not_touched_and_nothing_is_created(
    sagemaker: Any, wanted_of: Any, busy_with: str
) -> None:
    theirs, ours = wanted_of("theirs"), wanted_of("ours")
    if busy_with == "update":
        bring_up(sagemaker, wanted_of("old"))
    launch(sagemaker, theirs)
    before = sagemaker.snapshot()
    with pytest.raises(errors.EndpointBusyError, match=theirs.config_name):
        launch(sagemaker, ours)
    assert sagemaker.snapshot() == before


def test_maintenance_by_aws_can_be_tried_again(sagemaker: Any, wanted_of: Any) -> None:
    wanted = wanted_of()
    bring_up(sagemaker, wanted)
    sagemaker.resources["Endpoint"][wanted.name]["status"] = "SystemUpdating"
    assert launch(sagemaker, wanted).name == "waiting"
    with pytest.raises(errors.TransientError, match="AWS maintains flights-dev"):
        launch(sagemaker, wanted_of("b"))


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("Failed", errors.EndpointFailedError),
        ("OutOfService", errors.EndpointFailedError),
        ("UpdateRollbackFailed", errors.EndpointRollbackFailedError),
        ("Hibernating", errors.EndpointFailedError),
    ],
)
def test_an_endpoint_that_an_update_cannot_help_is_an_error(
    sagemaker: Any, wanted_of: Any, status: str, expected: type[Exception]
) -> None:
    bring_up(sagemaker, wanted_of())
    sagemaker.resources["Endpoint"]["flights-dev"]["status"] = status
    before = sagemaker.snapshot()
    with pytest.raises(expected):
        launch(sagemaker, wanted_of("b"))
    assert sagemaker.snapshot() == before


def test_a_failed_endpoint_is_replaced_only_where_that_is_allowed(sagemaker: Any, wanted_of: Any) -> None:
    bad, good = wanted_of("bad"), wanted_of("good")
    sagemaker.unhealthy.add(bad.config_name)
    assert isinstance(bring_up(sagemaker, bad).error, errors.EndpointFailedError)
    with pytest.raises(errors.EndpointFailedError):
        launch(sagemaker, good)
    removals: list[Any] = []
    assert launch(sagemaker, good, replace_failed=removals.append).name == "created"
    (removal,) = removals
    assert (removal.kind, removal.name) == ("endpoint", "flights-dev")
    assert removal.restore == {"EndpointName": "flights-dev", "EndpointConfigName": bad.config_name}
    sagemaker.sleep(60)
    assert check_endpoint(sagemaker, good).name is OutcomeName.READY


@pytest.mark.parametrize("status", ["InService", "Creating", "Updating"])
def test_an_endpoint_that_serves_is_never_replaced(sagemaker: Any, wanted_of: Any, status: str) -> None:
    bring_up(sagemaker, wanted_of())
    sagemaker.resources["Endpoint"]["flights-dev"]["status"] = status
    removals: list[Any] = []
    try:
        launch(sagemaker, wanted_of("b"), replace_failed=removals.append)
    except errors.EndpointBusyError:
        assert status != "InService"
    assert removals == []
    assert not [write for write in sagemaker.writes if write.startswith("Delete")]


def test_a_deletion_under_way_is_waited_for(sagemaker: Any, wanted_of: Any) -> None:
    bring_up(sagemaker, wanted_of())
    sagemaker.delete_endpoint(EndpointName="flights-dev")
    assert launch(sagemaker, wanted_of("b")).name == "created"


def test_a_deletion_that_never_ends_is_given_up(sagemaker: Any, wanted_of: Any) -> None:
    bring_up(sagemaker, wanted_of())
    sagemaker.deleting_seconds = 1e9
    sagemaker.delete_endpoint(EndpointName="flights-dev")
    with pytest.raises(errors.AwsUnavailableError, match="still being deleted after 15 minutes"):
        launch(sagemaker, wanted_of())


@pytest.mark.parametrize("kind", ["Model", "EndpointConfig"])
def test_another_content_under_our_name_is_refused(sagemaker: Any, wanted_of: Any, kind: str) -> None:
    wanted = wanted_of()
    launch(sagemaker, wanted)
    (found,) = sagemaker.resources[kind].values()
    if kind == "Model":
        found["request"]["PrimaryContainer"]["Image"] = "other@sha256:0"
    else:
        found["request"]["ProductionVariants"][0]["InstanceType"] = "ml.p4d.24xlarge"
    before = list(sagemaker.writes)
    with pytest.raises(errors.ResourceConflictError, match=r"other content: .*(Image|InstanceType)"):
        launch(sagemaker, wanted)
    assert sagemaker.writes == before


def test_a_config_deleted_under_its_endpoint_is_made_again(sagemaker: Any, wanted_of: Any) -> None:
    wanted = wanted_of()
    bring_up(sagemaker, wanted)
    del sagemaker.resources["EndpointConfig"][wanted.config_name]
    action = launch(sagemaker, wanted)
    assert (action.name, action.made) == ("unchanged", (f"endpoint config {wanted.config_name}",))


def test_changed_tags_are_added_without_a_deployment(sagemaker: Any, wanted_of: Any) -> None:
    bring_up(sagemaker, wanted_of())
    before = len(sagemaker.writes)
    retagged = wanted_of(owner="new owner", tags={"cost": "7"})
    assert launch(sagemaker, retagged).name == "unchanged"
    assert [write.split()[0] for write in sagemaker.writes[before:]] == ["AddTags"] * 3
    assert all({"cost", "slipway:owner"} <= tags.keys() for tags in sagemaker.tags.values())
    launch(sagemaker, retagged)
    assert len(sagemaker.writes) == before + 3


@pytest.mark.parametrize("call", ["create_model", "create_endpoint_config", "create_endpoint"])
def test_two_launches_at_once_make_everything_once(sagemaker: Any, wanted_of: Any, call: str) -> None:
    """The other process gets in just between our look and our write."""
    wanted = wanted_of()
    real = getattr(sagemaker, call)

    def other_first(**request: Any) -> None:
        setattr(sagemaker, call, real)
        launch(sagemaker, wanted)
        real(**request)

    setattr(sagemaker, call, other_first)
    assert launch(sagemaker, wanted).name == "waiting"
    assert [write.split()[0] for write in sagemaker.writes] == ["CreateModel", "CreateEndpointConfig", "CreateEndpoint"]


@pytest.mark.parametrize("theirs", ["b", "c"])
def test_an_update_that_comes_second_waits_or_is_refused(sagemaker: Any, wanted_of: Any, theirs: str) -> None:
    bring_up(sagemaker, wanted_of("a"))
    real = sagemaker.update_endpoint

    def other_first(**request: Any) -> None:
        sagemaker.update_endpoint = real
        launch(sagemaker, wanted_of(theirs))
        real(**request)

    sagemaker.update_endpoint = other_first
    if theirs == "b":
        assert launch(sagemaker, wanted_of("b")).name == "waiting"
    else:
        with pytest.raises(errors.EndpointBusyError, match=wanted_of("c").config_name):
            launch(sagemaker, wanted_of("b"))
    assert len([write for write in sagemaker.writes if write.startswith("UpdateEndpoint")]) == 1


@pytest.mark.parametrize("lag", [1, 3])
def test_reads_that_lag_behind_are_waited_for(sagemaker: Any, wanted_of: Any, lag: int) -> None:
    wanted = wanted_of()
    sagemaker.read_lag = {wanted.config_name: lag, wanted.models[0]["ModelName"]: lag}
    assert launch(sagemaker, wanted).name == "created"


def converge(sagemaker: Any, wanted: Any, killed: Any, **options: Any) -> int:
    """What Airflow does: run, and run again after each kill. Returns the number of kills."""
    kills = 0
    while True:
        try:
            launch(sagemaker, wanted, **options)
            sagemaker.sleep(60)
            check_endpoint(sagemaker, wanted)
        except killed:
            kills += 1
            sagemaker.sleep(2)
        else:
            return kills


@pytest.mark.parametrize("start", ["nothing", "older release", "failed endpoint"])
def test_killed_around_any_write_and_run_again_it_ends_the_same(
    new_sagemaker: Any, wanted_of: Any, killed: Any, start: str
) -> None:
    old, new = wanted_of("old"), wanted_of("new")

    def fresh() -> Any:
        sagemaker = new_sagemaker()
        if start == "older release":
            bring_up(sagemaker, old)
        if start == "failed endpoint":
            sagemaker.unhealthy.add(old.config_name)
            bring_up(sagemaker, old)
        sagemaker.writes.clear()
        return sagemaker

    removals: list[Any] = []
    undisturbed = fresh()
    assert converge(undisturbed, new, killed, replace_failed=removals.append) == 0
    for number in range(1, len(undisturbed.writes) + 1):
        for moment in ("before", "after"):
            sagemaker = fresh()
            sagemaker.kill_at = (number, moment)
            assert converge(sagemaker, new, killed, replace_failed=removals.append) == 1
            assert sagemaker.snapshot() == undisturbed.snapshot()
            assert sorted(sagemaker.writes) == sorted(undisturbed.writes)


@given(data=st.data())
def test_killed_again_and_again_it_still_converges(new_sagemaker: Any, wanted_of: Any, killed: Any, data: Any) -> None:
    sagemaker, wanted = new_sagemaker(), wanted_of()
    for _ in range(data.draw(st.integers(1, 5))):
        sagemaker.kill_at = (data.draw(st.integers(1, 4)), data.draw(st.sampled_from(["before", "after"])))
        converge(sagemaker, wanted, killed)
        sagemaker.sleep(data.draw(st.integers(0, 120)))
    assert converge(sagemaker, wanted, killed) <= 1
    assert sagemaker.snapshot()["endpoints"] == {"flights-dev": ("InService", wanted.config_name, None)}
    assert len([write for write in sagemaker.writes if write.startswith("Create")]) == 3


def test_the_decision_alone() -> None:
    assert next_step(None, "c", may_replace=False) == "create"
    for status, config, step in (("InService", "c", "keep"), ("InService", "d", "update"), ("Creating", "c", "wait")):
        found = {"EndpointName": "e", "EndpointStatus": status, "EndpointConfigName": config, "LastModifiedTime": None}
        assert next_step(found, "c", may_replace=False) == step
