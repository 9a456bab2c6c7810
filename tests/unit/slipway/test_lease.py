"""Who may have a lease, decided without any store."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.errors import LeaseHeldError
from slipway.lease import Lease, grant, require

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@given(left=st.integers(-500, 500), seconds=st.integers(1, 300))
def test_the_holder_always_gets_at_least_half_the_time(left: int, seconds: int) -> None:
    held = Lease(holder="a", purpose="old", taken_at=NOW, expires_at=NOW + timedelta(seconds=left))
    granted = grant(held, holder="a", purpose="new", now=NOW, seconds=seconds)
    assert granted.lease.expires_at - NOW > timedelta(seconds=seconds / 2)
    assert granted.lease.taken_at == NOW
    assert granted.taken_from is None
    assert (granted.lease == held) == (left > seconds / 2)


@given(left=st.integers(-500, 500))
def test_another_gets_it_only_when_the_time_is_up_and_is_told_whose_it_was(left: int) -> None:
    held = Lease(holder="a", purpose="p", taken_at=NOW, expires_at=NOW + timedelta(seconds=left))
    if left > 0:
        with pytest.raises(LeaseHeldError):
            grant(held, holder="b", purpose="p", now=NOW, seconds=60)
    else:
        granted = grant(held, holder="b", purpose="p", now=NOW, seconds=60)
        assert (granted.lease.holder, granted.taken_from) == ("b", held)


def test_a_free_lease_is_taken_from_nobody() -> None:
    granted = grant(None, holder="a", purpose="p", now=NOW, seconds=60)
    assert granted.taken_from is None
    assert granted.lease == Lease(holder="a", purpose="p", taken_at=NOW, expires_at=NOW + timedelta(seconds=60))
    require(granted.lease, "a")


def test_messages_say_who_until_when_and_what_for() -> None:
    held = Lease(
        holder="flights.promote/r1", purpose="canary of abc", taken_at=NOW, expires_at=NOW + timedelta(hours=1)
    )
    with pytest.raises(
        LeaseHeldError, match=r"flights.promote/r1 may change .* until 2026-01-01 01:00:00 UTC \(canary of abc\)"
    ):
        grant(held, holder="flights.promote/r2", purpose="x", now=NOW, seconds=10)
    with pytest.raises(LeaseHeldError, match=r"r2 lost the lease .* to flights.promote/r1"):
        require(held, "r2")
    with pytest.raises(LeaseHeldError, match="given back"):
        require(None, "r2")
