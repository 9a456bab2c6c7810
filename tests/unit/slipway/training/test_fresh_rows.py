"""Rows that commit late, equal values, equal rows: each is read once, whenever the table is looked at."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from slipway.training.fresh_rows import FreshRows, pack, unpack
from slipway.training.mark import Mark

COLUMNS = ("id", "colour")
LATE = 3

#: Number, content, and how many readings late it is committed.
inserts = st.lists(st.tuples(st.integers(0, LATE), st.sampled_from("ab"), st.integers(0, 3)), max_size=8)


def read(rows, through, known, columns=COLUMNS, known_columns=COLUMNS):
    """One reading as a landing makes it: from the floor on, in the order of the column."""
    floor = Mark.of(through).floor(LATE).value if through is not None else None
    shown = sorted(row for row in rows if floor is None or row[0] >= floor)
    if not shown:
        return [], through, known
    reached = max(shown[-1][0], -1 if through is None else through)
    fresh = FreshRows(columns, "id", through, known, known_columns, Mark.of(reached).floor(LATE).value)
    return list(fresh.choose(shown)), reached, unpack(pack(fresh.remembered))


@given(st.lists(inserts, max_size=10))
def test_every_row_is_read_once_when_it_is_late_by_no_more_than_allowed(rounds):
    committed, waiting, taken = [], [], []
    through, known = None, Counter()
    for number, made in enumerate([*rounds, [], [], [], []]):
        highest = -1 if through is None else through
        # A row may turn up below the highest value, by at most LATE: that is what the column promises.
        waiting += [(number + late, (max(0, highest - LATE) + step, what)) for step, what, late in made]
        due = [row for at, row in waiting if at <= number and row[0] >= highest - LATE]
        dropped = [row for at, row in waiting if at <= number and row[0] < highest - LATE]
        waiting = [(at, row) for at, row in waiting if at > number]
        committed += due
        assert all(row[0] < highest - LATE for row in dropped)
        fresh, through, known = read(committed, through, known)
        taken += fresh
    assert Counter(taken) == Counter(committed)


def test_rows_that_share_the_highest_value_are_told_apart_and_counted():
    fresh, through, known = read([(7, "a"), (7, "a")], None, Counter())
    assert fresh == [(7, "a"), (7, "a")]
    fresh, through, known = read([(7, "a"), (7, "a"), (7, "a"), (7, "b")], through, known)
    assert sorted(fresh) == [(7, "a"), (7, "b")]
    assert through == 7
    assert known.total() == 4


def test_a_row_changed_in_place_is_new_again_within_the_range():
    _, through, known = read([(1, "a"), (9, "a")], None, Counter())
    fresh, _, _ = read([(1, "changed"), (9, "changed")], through, known)
    assert fresh == [(9, "changed")]


def test_a_column_that_was_added_does_not_make_known_rows_new():
    _, through, known = read([(9, "a")], None, Counter())
    fresh, _, _ = read([(9, "a", 1), (9, "b", 1)], through, known, columns=("id", "colour", "size"))
    assert fresh == [(9, "b", 1)]


def test_without_a_column_to_compare_by_only_higher_values_are_new():
    _, through, known = read([(9, "a")], None, Counter())
    floor = 10 - LATE
    fresh = FreshRows(("id",), "id", through, known, COLUMNS, floor)
    assert not fresh.is_comparable
    assert list(fresh.choose([(9,), (10,)])) == [(10,)]
