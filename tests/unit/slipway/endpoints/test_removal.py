"""A launch is taken back in order, each part written down first, also after a kill."""

from __future__ import annotations

from typing import Any

import pytest

from slipway import errors
from slipway.endpoints.launch import ensure_endpoint
from slipway.endpoints.removal import read_launch, remove_endpoint


def bring_up(sagemaker: Any, wanted: Any) -> None:
    ensure_endpoint(sagemaker, wanted, sleep=sagemaker.sleep)
    sagemaker.sleep(100)


def test_removal_goes_in_order_and_says_what_brings_each_back(sagemaker: Any, wanted_of: Any) -> None:
    wanted = wanted_of()
    sagemaker.unhealthy.add(wanted.config_name)
    bring_up(sagemaker, wanted)
    written: list[Any] = []
    done = remove_endpoint(sagemaker, wanted, record=written.append, sleep=sagemaker.sleep)
    assert list(done) == written
    assert [removal.kind for removal in done] == ["endpoint", "endpoint config", "model"]
    assert sagemaker.snapshot() == {"models": {}, "configs": {}, "endpoints": {}, "tags": {}}
    # What was written down does bring it back.
    sagemaker.create_model(**done[2].restore)
    sagemaker.create_endpoint_config(**done[1].restore)
    sagemaker.create_endpoint(**done[0].restore)
    assert ensure_endpoint(sagemaker, wanted, sleep=sagemaker.sleep).name == "waiting"


def test_each_removal_is_written_down_before_it_happens(sagemaker: Any, wanted_of: Any) -> None:
    wanted = wanted_of()
    bring_up(sagemaker, wanted)
    before = sagemaker.snapshot()

    def ledger_is_down(removal: Any) -> None:
        raise errors.StorageUnavailableError("S3 does not answer")

    with pytest.raises(errors.StorageUnavailableError):
        remove_endpoint(sagemaker, wanted, record=ledger_is_down, sleep=sagemaker.sleep)
    assert sagemaker.snapshot() == before


def test_an_endpoint_that_serves_something_else_is_not_removed(sagemaker: Any, wanted_of: Any) -> None:
    bring_up(sagemaker, wanted_of("champion"))
    before = sagemaker.snapshot()
    with pytest.raises(errors.EndpointBusyError, match="serves something else by now"):
        remove_endpoint(sagemaker, wanted_of("challenger"), record=lambda removal: None, sleep=sagemaker.sleep)
    assert sagemaker.snapshot() == before


def test_removal_waits_for_a_creation_under_way_and_repeats_nothing(sagemaker: Any, wanted_of: Any) -> None:
    wanted = wanted_of()
    ensure_endpoint(sagemaker, wanted, sleep=sagemaker.sleep)
    assert len(remove_endpoint(sagemaker, wanted, record=lambda removal: None, sleep=sagemaker.sleep)) == 3
    writes = list(sagemaker.writes)
    assert remove_endpoint(sagemaker, wanted, record=lambda removal: None, sleep=sagemaker.sleep) == ()
    assert sagemaker.writes == writes


@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_removal_that_was_killed_goes_on(
    sagemaker: Any, wanted_of: Any, killed: Any, number: int, moment: str
) -> None:
    wanted = wanted_of()
    bring_up(sagemaker, wanted)
    sagemaker.writes.clear()
    sagemaker.kill_at = (number, moment)
    with pytest.raises(killed):
        remove_endpoint(sagemaker, wanted, record=lambda removal: None, sleep=sagemaker.sleep)
    remove_endpoint(sagemaker, wanted, record=lambda removal: None, sleep=sagemaker.sleep)
    assert sagemaker.snapshot() == {"models": {}, "configs": {}, "endpoints": {}, "tags": {}}
    assert [write.split()[0] for write in sagemaker.writes] == ["DeleteEndpoint", "DeleteEndpointConfig", "DeleteModel"]


def test_all_that_one_run_tried_goes_whichever_of_it_the_endpoint_is_on(sagemaker: Any, wanted_of: Any) -> None:
    first, second = wanted_of("champion"), wanted_of("challenger")
    bring_up(sagemaker, first)
    bring_up(sagemaker, second)
    done = remove_endpoint(sagemaker, first, second, record=lambda removal: None, sleep=sagemaker.sleep)
    assert [removal.kind for removal in done] == ["endpoint", *["endpoint config"] * 2, *["model"] * 2]
    assert done[0].restore["EndpointConfigName"] == second.config_name
    assert sagemaker.snapshot() == {"models": {}, "configs": {}, "endpoints": {}, "tags": {}}


def test_a_launch_is_read_back_from_aws_as_it_was_asked_for(sagemaker: Any, wanted_of: Any) -> None:
    wanted = wanted_of()
    bring_up(sagemaker, wanted)
    found = read_launch(sagemaker, wanted.name, wanted.config_name)
    assert (found.name, found.config_name) == (wanted.name, wanted.config_name)
    written: list[Any] = []
    remove_endpoint(sagemaker, found, record=written.append, sleep=sagemaker.sleep)
    assert sagemaker.snapshot() == {"models": {}, "configs": {}, "endpoints": {}, "tags": {}}
    sagemaker.create_model(**written[2].restore)
    sagemaker.create_endpoint_config(**written[1].restore)
    sagemaker.create_endpoint(**written[0].restore)
    assert ensure_endpoint(sagemaker, wanted, sleep=sagemaker.sleep).name == "waiting"


def test_a_launch_whose_config_is_gone_already_has_nothing_left_to_remove(sagemaker: Any, wanted_of: Any) -> None:
    found = read_launch(sagemaker, "flights-prod", "flights-prod-0123456789")
    assert remove_endpoint(sagemaker, found, record=lambda removal: None, sleep=sagemaker.sleep) == ()
