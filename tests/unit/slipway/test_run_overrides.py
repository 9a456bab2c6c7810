from __future__ import annotations

from typing import Any

import pytest

from slipway.errors import InvalidParamsError
from slipway.run_overrides import DeployOverrides, MonitorOverrides, StageOverrides, read_overrides


@pytest.mark.parametrize(
    ("given", "blamed"),
    [
        ({"instance_type": "m5.large"}, "instance_type"),
        ({"instance_count": 0}, "instance_count"),
        ({"instance_count": "2"}, "instance_count"),
        ({"relock": "yes"}, "relock"),
        ([], "object"),
        ("ml.m5.large", "object"),
    ],
)
def test_a_wrong_value_is_refused_by_name(given: Any, blamed: str) -> None:
    with pytest.raises(InvalidParamsError, match=blamed):
        read_overrides(DeployOverrides, given)


def test_good_overrides_are_read() -> None:
    found = read_overrides(StageOverrides, {"instance_type": "ml.c6i.xlarge", "instance_count": 3})
    assert found == StageOverrides(instance_type="ml.c6i.xlarge", instance_count=3)


def test_a_misspelt_override_is_refused_with_what_was_meant() -> None:
    assert read_overrides(MonitorOverrides, {"window_from": "2026-01-01"}).window_until is None
    with pytest.raises(InvalidParamsError, match="Did you mean 'window_from'"):
        read_overrides(MonitorOverrides, {"window_form": "2026-01-01"})
