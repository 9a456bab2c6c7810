from __future__ import annotations

import fnmatch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.artifacts.sync_plan import Entry, plan_sync, selector, undecided


def listing(**files: tuple) -> dict[str, Entry]:
    return {path: Entry(path, *values) for path, values in files.items()}


def test_new_changed_same_and_gone() -> None:
    source = listing(new=(1, "a"), changed=(2, "b"), resized=(3, "c"), same=(4, "d"))
    there = listing(changed=(2, "x"), resized=(9, "c"), same=(4, "d"), gone=(5, "e"))
    plan = plan_sync(source, there)
    assert (plan.copy, plan.skip, plan.delete) == (("changed", "new", "resized"), ("same",), ())
    assert plan.bytes_to_copy == 6
    assert plan_sync(source, there, delete=True).delete == ("gone",)


def test_a_copy_with_another_tag_is_known_by_its_origin() -> None:
    source = listing(a=(1, "parts-2"))
    assert plan_sync(source, listing(a=(1, "kms", "parts-2"))).skip == ("a",)
    assert plan_sync(source, listing(a=(1, "kms", "older"))).copy == ("a",)


def test_what_is_not_known_is_copied_never_skipped() -> None:
    for source, there in [((1, None), (1, None)), ((1, None), (1, "a")), ((1, "a"), (1, None))]:
        assert plan_sync(listing(a=source), listing(a=there)).copy == ("a",)


def test_only_equal_sizes_deserve_a_closer_look() -> None:
    source = listing(a=(1, "x"), b=(2, "x"), c=(3, "x"), d=(4, "x"))
    there = listing(a=(1, "y"), b=(9, "y"), c=(3, "x"))
    assert undecided(source, there) == ("a",)
    assert undecided(source, there, exclude=["a"]) == ()


@pytest.mark.parametrize(
    ("pattern", "path", "fits"),
    [
        ("*.pkl", "model.pkl", True),
        ("*.pkl", "deep/down/model.pkl", True),
        ("*.pkl", "model.pkl.txt", False),
        ("data/*.csv", "data/a.csv", True),
        ("data/*.csv", "data/deep/a.csv", False),
        ("data/*.csv", "more/data/a.csv", False),
        ("data/**/*.csv", "data/a.csv", True),
        ("data/**/*.csv", "data/x/y/a.csv", True),
        ("**/tmp/**", "tmp/a", True),
        ("**/tmp/**", "x/tmp/y/a", True),
        ("tmp/", "tmp/x/y", True),
        ("tmp/", "a/tmp/x", True),
        ("/tmp/", "a/tmp/x", False),
        ("tmp/", "tmp", False),
        ("a?c", "abc", True),
        ("a?c", "a/c", False),
        ("[ab].txt", "a.txt", True),
        ("[!ab].txt", "a.txt", False),
        ("[!ab].txt", "c.txt", True),
        ("[]].txt", "].txt", True),
        ("a.b", "axb", False),
        ("weird[name", "weird[name", True),
        ("line\nend*", "line\nend\nmore", True),
    ],
)
def test_patterns(pattern: str, path: str, fits: bool) -> None:
    assert selector([pattern], [])(path) is fits
    assert selector([], [pattern])(path) is not fits


def test_exclude_is_stronger_and_protects_the_destination_from_deletion() -> None:
    source, there = listing(a=(1, "x"), b=(1, "x")), listing(keep=(1, "x"), c=(1, "x"))
    plan = plan_sync(source, there, delete=True, include=["*"], exclude=["b", "keep"])
    assert (plan.copy, plan.delete) == (("a",), ("c",))


@given(st.text("ab.*?[]!-^&\\", max_size=8), st.text("ab.*?[]!-^&\\", max_size=8))
def test_on_names_without_folders_patterns_mean_what_the_shell_means(pattern: str, name: str) -> None:
    if "**" in pattern or ("[" in pattern and "\\" in pattern):
        return
    assert selector([pattern], [])(name) == (fnmatch.fnmatchcase(name, pattern) or pattern == name == "")


_ENTRIES = st.builds(
    lambda size, tag, origin: (size, tag, origin),
    st.integers(0, 2),
    st.sampled_from([None, "t", "u"]),
    st.sampled_from([None, "t", "u"]),
)
_LISTINGS = st.dictionaries(st.sampled_from([f"{a}/{b}" for a in "xy" for b in "123"]), _ENTRIES).map(
    lambda files: {path: Entry(path, *values) for path, values in files.items()}
)


@given(_LISTINGS, _LISTINGS, st.booleans(), st.sampled_from([(), ("x/*",), ("*1",)]), st.sampled_from([(), ("y/",)]))
def test_plans_account_for_every_file_once(
    source: dict, there: dict, delete: bool, include: tuple, exclude: tuple
) -> None:
    plan = plan_sync(source, there, delete=delete, include=include, exclude=exclude)
    chosen = selector(include, exclude)
    assert sorted((*plan.copy, *plan.skip)) == sorted(path for path in source if chosen(path))
    assert set(plan.delete) == ({path for path in there if chosen(path)} - set(source) if delete else set())
    for path in plan.skip:  # never a false skip
        assert source[path].size == there[path].size
        assert source[path].tag is not None
        assert source[path].tag in (there[path].tag, there[path].origin)


@given(_LISTINGS, st.booleans())
def test_after_a_sync_nothing_is_left_to_do(source: dict, delete: bool) -> None:
    copied = {path: Entry(path, entry.size, "other", entry.tag) for path, entry in source.items()}
    plan = plan_sync(source, copied, delete=delete)
    assert set(plan.copy) == {path for path, entry in source.items() if entry.tag is None}
    assert plan.delete == ()
