"""Equal content has one spelling, other content another, and what JSON cannot say is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.canonical import canonical_json, content_digest

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def shuffled(value: Any, random: Any) -> Any:
    if isinstance(value, dict):
        items = [(key, shuffled(inner, random)) for key, inner in value.items()]
        random.shuffle(items)
        return dict(items)
    return [shuffled(inner, random) for inner in value] if isinstance(value, list) else value


@given(value=json_values, random=st.randoms(use_true_random=False))
def test_canonical_json_ignores_the_order_of_keys_and_survives_a_round_trip(value: Any, random: Any) -> None:
    spelt = canonical_json(value)
    assert canonical_json(shuffled(value, random)) == spelt
    assert canonical_json(json.loads(spelt)) == spelt


@given(left=json_values, right=json_values)
def test_canonical_json_differs_when_values_differ(left: Any, right: Any) -> None:
    if json.dumps(left, sort_keys=True) != json.dumps(right, sort_keys=True):
        assert content_digest(left) != content_digest(right)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1: "a"}, {"a": {None: 1}}, {"a"}, [{True: 1}]])
def test_what_json_cannot_say_is_refused(value: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        canonical_json(value)
