import math
import pickle
from datetime import UTC, date, datetime
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slipway.drift.bins import BinSet, CategoryBins, NumericBins
from slipway.drift.encoding import from_bytes, from_json, to_bytes, to_json
from slipway.drift.profile import NEW_CATEGORIES, Profile
from slipway.drift.profiling import category_counts_of, empty_profile, profile_batch
from slipway.errors import InvalidInputError

BINS = BinSet({"x": NumericBins.of(np.arange(100.0)), "c": CategoryBins(known=("a", "b"))})
SCHEMA = pa.schema([("x", pa.float64()), ("c", pa.string())])
numbers = st.one_of(st.none(), st.floats(allow_nan=True, allow_infinity=True, width=64))
words = st.one_of(st.none(), st.sampled_from(["a", "b"]), st.text(max_size=4))
batches = st.lists(st.tuples(numbers, words), max_size=40)


def batch_of(rows) -> pa.RecordBatch:
    columns = list(zip(*rows, strict=True)) or [(), ()]
    return pa.record_batch([pa.array(column, kind.type) for column, kind in zip(columns, SCHEMA, strict=True)], SCHEMA)


def profile(rows) -> Profile:
    return profile_batch(batch_of(rows), BINS)


def exact(of: Profile):
    """All that must be equal to the last digit."""
    x, c = of.columns["x"], of.columns["c"]
    return (
        of.rows,
        x.counts.tolist(),
        (x.missing, x.infinite, x.mismatched, x.moments.count),
        c.counts.tolist(),
        (dict(c.new), c.new_unnamed, c.missing, c.mismatched),
    )


@given(batches, batches, batches)
@settings(deadline=None)
def test_merge_is_associative_and_commutative_and_equals_profiling_all_rows(a, b, c):
    left = profile(a).merge(profile(b)).merge(profile(c))
    right = profile(c).merge(profile(a).merge(profile(b)))
    assert exact(left) == exact(right) == exact(profile(a + b + c))


@given(batches)
@settings(deadline=None)
def test_the_profile_of_no_rows_changes_nothing(rows):
    assert exact(empty_profile(BINS).merge(profile(rows))) == exact(profile(rows))


@given(batches)
@settings(deadline=None)
def test_every_row_is_counted_once_in_every_column(rows):
    found = profile(rows)
    assert {column.rows for column in found.columns.values()} == {len(rows)}


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60), st.lists(st.floats(-1e6, 1e6), max_size=60))
@settings(deadline=None)
def test_merged_moments_are_those_of_all_values(left, right):
    merged = profile([(v, "a") for v in left]).merge(profile([(v, "a") for v in right])).columns["x"].moments
    values = np.array(left + right)
    assert merged.count == len(values)
    assert merged.mean == pytest.approx(values.mean(), rel=1e-9, abs=1e-6)
    assert merged.standard_deviation == pytest.approx(values.std(), rel=1e-6, abs=1e-4)
    assert (merged.minimum, merged.maximum) == (values.min(), values.max())


def test_more_new_categories_than_are_kept_by_name_merge_the_same_in_any_order():
    names = [f"new-{i}" for i in range(3 * NEW_CATEGORIES)]
    parts = [profile([(0.0, name) for name in names[i::4] * (i + 1)]) for i in range(4)]
    forth = parts[0].merge(parts[1]).merge(parts[2]).merge(parts[3])
    back = parts[3].merge(parts[2].merge(parts[1].merge(parts[0])))
    assert exact(forth) == exact(back)
    column = forth.columns["c"]
    assert len(column.new) == NEW_CATEGORIES
    assert column.new_rows == forth.rows
    assert all(count == names.index(name) % 4 + 1 for name, count in column.new.items())


def test_every_value_has_one_bin_and_the_border_values_stay_inside():
    bins = BINS.columns["x"]
    found = profile([(v, "a") for v in (-0.5, 0.0, 98.5, 99.0, 99.5)]).columns["x"].counts
    assert found[0] == 1
    assert found[-1] == 1
    assert found[1:-1].sum() == 3
    assert len(found) == len(bins)


def test_a_watched_column_that_is_absent_is_missing_in_every_row():
    batch = pa.record_batch([pa.array([1.0, 2.0])], names=["y"])
    found = profile_batch(batch, BINS)
    assert found.columns["x"].missing == 2
    assert found.columns["c"].missing == 2


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (pa.array(["1.5", "x", None]), (1, 1, 1)),
        (pa.array([True, False, None]), (2, 1, 0)),
        (pa.array([1, 2, 3], pa.int64()), (3, 0, 0)),
        (pa.array([0, None, 3, 4, 5], pa.int32()).slice(1), (3, 1, 0)),
        (pa.array([1.5, None, 2.5], pa.float16()), (2, 1, 0)),
        (pa.array([Decimal("1.5"), None]), (1, 1, 0)),
        (pa.array([date(2013, 4, 1), None]), (1, 1, 0)),
        (pa.array([None, None], pa.float64()), (0, 2, 0)),
        (pa.array([[1], [2]]), (0, 0, 2)),
    ],
)
def test_numbers_of_other_types(values, expected):
    found = profile_batch(pa.record_batch([values], names=["x"]), BINS).columns["x"]
    assert (found.moments.count, found.missing, found.mismatched) == expected


@given(st.lists(words), st.integers(0, 3))
@settings(deadline=None)
def test_a_dictionary_of_texts_is_counted_as_the_texts(values, start):
    plain = pa.array(values, pa.string())
    # Each text is in the dictionary twice.
    twice = pa.concat_arrays([plain, plain]).drop_null()
    places = iter(range(len(twice)))
    indices = pa.array([None if value is None else next(places) for value in values], pa.int32())
    for encoded in (plain.dictionary_encode(), pa.DictionaryArray.from_arrays(indices, twice)):
        found = profile_batch(pa.record_batch([encoded.slice(start)], names=["c"]), BINS).columns["c"]
        expected = profile_batch(pa.record_batch([plain.slice(start)], names=["c"]), BINS).columns["c"]
        assert (found.counts.tolist(), found.new, found.missing) == (
            expected.counts.tolist(),
            expected.new,
            expected.missing,
        )
        assert category_counts_of(encoded) == category_counts_of(plain)


@pytest.mark.parametrize("codes", [pa.int8(), pa.uint16(), pa.uint64()])
def test_what_a_dictionary_holds_in_vain_is_not_counted(codes):
    dictionary = pa.array(["never", "b", None, "new", "a"])
    encoded = pa.DictionaryArray.from_arrays(pa.array([1, 2, None, 3, 1], codes), dictionary)
    found = profile_batch(pa.record_batch([encoded], names=["c"]), BINS).columns["c"]
    assert (found.counts.tolist(), found.new, found.missing, found.mismatched) == ([0, 2], {"new": 1}, 2, 0)
    assert category_counts_of(encoded) == {"b": 2, "new": 1}


@pytest.mark.parametrize(
    ("values", "counts", "new", "missing", "mismatched"),
    [
        (pa.array(["a", None, "z"], pa.large_string()), [1, 0], {"z": 1}, 1, 0),
        (pa.array([True, None]), [0, 0], {"true": 1}, 1, 0),
        (pa.nulls(3), [0, 0], {}, 3, 0),
        (pa.array([["a"], None, ["b"]]), [0, 0], {}, 1, 2),
        (pa.array([], pa.string()), [0, 0], {}, 0, 0),
    ],
)
def test_categories_of_other_types(values, counts, new, missing, mismatched):
    found = profile_batch(pa.record_batch([values], names=["c"]), BINS).columns["c"]
    assert (found.counts.tolist(), found.new, found.missing, found.mismatched) == (counts, new, missing, mismatched)


def test_bins_that_have_counted_can_be_sent_to_another_process():
    rows = [(1.0, "a"), (None, "new")]
    profile(rows)
    assert exact(profile_batch(batch_of(rows), pickle.loads(pickle.dumps(BINS)))) == exact(profile(rows))


def test_dictionaries_of_other_types_are_counted_as_what_they_hold():
    for values in ([True, None, True], [1, 2, 1]):
        encoded = pa.array(values).dictionary_encode()
        assert category_counts_of(encoded) == category_counts_of(pa.array(values))


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_times_are_seconds(unit):
    values = pa.array([datetime(1970, 1, 2, tzinfo=UTC), None], pa.timestamp(unit, "UTC"))
    found = profile_batch(pa.record_batch([values], names=["x"]), BINS).columns["x"]
    assert (found.moments.minimum, found.missing) == (86400.0, 1)


def test_profiles_over_different_bins_do_not_merge():
    other = BinSet({"x": NumericBins.of(np.arange(50.0)), "c": CategoryBins(known=("a",))})
    with pytest.raises(InvalidInputError, match="different bins"):
        empty_profile(BINS).merge(empty_profile(other))


@given(batches)
@settings(deadline=None)
def test_both_forms_bring_the_profile_back(rows):
    made = profile(rows)
    at = datetime(2026, 1, 2, tzinfo=UTC)
    stamped = Profile(made.bins_digest, made.rows, made.columns, first=at, last=at)
    for again in (from_json(to_json(stamped)), from_bytes(to_bytes(stamped))):
        assert exact(again) == exact(stamped)
        assert again.first == at
        moments, before = again.columns["x"].moments, stamped.columns["x"].moments
        assert moments.mean == before.mean or math.isnan(before.mean)


@given(st.binary(max_size=200))
def test_rubbish_is_refused(data):
    for attempt in (data, b"SLPF\x01" + data):
        with pytest.raises(InvalidInputError):
            from_bytes(attempt)


def test_a_profile_of_a_newer_format_is_refused():
    with pytest.raises(InvalidInputError, match="newer Slipway"):
        from_json({**to_json(empty_profile(BINS)), "format": 99})


def test_the_compact_form_is_compact():
    rng = np.random.default_rng(0)
    bins = BinSet({f"n{i}": NumericBins.of(rng.normal(size=5000)) for i in range(25)})
    batch = pa.record_batch({name: pa.array(rng.normal(size=5000)) for name in bins.columns})
    assert len(to_bytes(profile_batch(batch, bins))) < 25 * 1500


def test_calls_add_up_and_older_profiles_had_one_for_each_row():
    rows = batch_of([(1.0, "a"), (2.0, "b"), (3.0, "b")])
    both = profile_batch(rows, BINS, calls=2).merge(profile_batch(rows, BINS))
    assert (both.rows, both.calls) == (6, 5)
    assert from_bytes(to_bytes(both)).calls == 5
    older = to_json(both)
    del older["calls"]
    assert from_json(older).calls == 6
