from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from slipway.training.watermark import REMEMBERED, S3Object, Watermark, find_ready

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def seen(key: str, etag: str = "a", minutes_ago: float = 60, size: int = 10) -> S3Object:
    return S3Object(key, etag, NOW - timedelta(minutes=minutes_ago), size)


objects = st.builds(seen, st.sampled_from("abcdef"), st.sampled_from("xyz"), st.integers(0, 60 * 24 * 6))


@given(st.lists(st.lists(objects, max_size=6), max_size=8))
def test_every_object_is_taken_once_whatever_the_listings_show(listings):
    watermark, taken = Watermark(), []
    for listing in listings:
        shown = {each.key: each for each in listing}.values()
        ready = find_ready(shown, watermark, NOW).ready
        for each in shown:
            assert (each in ready) == ((each.key, each.identity) != (each.key, watermark.taken.get(each.key)))
        taken += ready
        watermark = Watermark.from_document(watermark.advanced(ready).to_document())
        assert find_ready(shown, watermark, NOW).ready == ()


def test_advancing_twice_changes_nothing():
    once = Watermark().advanced([seen("a")], [seen("b")])
    assert once.advanced([seen("a")], [seen("b")]) == once


def test_an_overwritten_object_is_new_again_and_so_is_a_repaired_one():
    watermark = Watermark().advanced([seen("a")], [seen("b")])
    assert not watermark.is_new(seen("a"))
    assert not watermark.is_new(seen("b"))
    assert watermark.is_new(seen("a", etag="other"))
    assert watermark.is_new(seen("a", minutes_ago=1))
    assert watermark.is_new(seen("b", etag="repaired"))


def test_a_late_arrival_with_an_old_time_is_not_missed():
    watermark = Watermark().advanced([seen("new", minutes_ago=1)])
    assert watermark.is_new(seen("late", minutes_ago=60 * 24 * 7))


def test_what_is_long_past_is_remembered_by_time_alone():
    old = replace(seen("old"), modified=NOW - REMEMBERED - timedelta(hours=1))
    watermark = Watermark().advanced([old]).advanced([seen("new", minutes_ago=0)])
    assert dict(watermark.taken).keys() == {"new"}
    assert watermark.through == old.modified
    assert not watermark.is_new(old)
    assert not watermark.is_new(seen("new", minutes_ago=0))


def test_quarantine_is_never_forgotten():
    bad = replace(seen("bad"), modified=NOW - timedelta(days=100))
    watermark = Watermark().advanced([], [bad]).advanced([seen("new")])
    assert watermark.is_quarantined(bad)
    assert not watermark.is_new(bad)


def test_young_objects_markers_folders_and_hidden_names_wait():
    listing = [
        seen("lake/dt=1/a.parquet"),
        seen("lake/dt=1/_SUCCESS", size=0),
        seen("lake/dt=2/b.parquet"),
        seen("lake/dt=1/young.parquet", minutes_ago=0.5),
        seen("lake/_temporary/c.parquet"),
        seen("lake/dt=1/", size=0),
        seen("lake/dt=1/notes.txt"),
    ]
    found = find_ready(
        listing,
        Watermark(),
        NOW,
        prefix="lake/",
        pattern="dt=*/*.parquet",
        success_marker="_SUCCESS",
        settle_seconds=60,
    )
    assert [each.key for each in found.ready] == ["lake/dt=1/a.parquet"]
    assert found.reason == ""
    found = find_ready(listing[:1], Watermark(), NOW, prefix="lake/", min_objects=2)
    assert found.reason == "1 of 2 new objects are ready"
