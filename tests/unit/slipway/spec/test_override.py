from __future__ import annotations

import pytest

from slipway.errors import InvalidParamsError
from slipway.spec import ServiceSpec
from slipway.spec.override import override_stage

SPEC = ServiceSpec.model_validate(
    {
        "name": "flights",
        "model": "m",
        "owner": "o",
        "stages": {"prod": {"instances": {"min": 2, "max": 9, "invocations_per_instance": 100}}},
    }
)


def test_one_stage_changes_and_the_rest_stays() -> None:
    changed = override_stage(SPEC, "prod", instance_type="ml.c5.large", instance_count=3)
    assert changed.stages.prod.instance_type == "ml.c5.large"
    assert (changed.stages.prod.instances.min, changed.stages.prod.instances.max) == (3, 3)
    assert changed.stages.dev == SPEC.stages.dev
    assert SPEC.stages.prod.instances.max == 9


def test_nothing_to_change_is_the_spec_itself() -> None:
    assert override_stage(SPEC, "dev") is SPEC


@pytest.mark.parametrize("wrong", [{"instance_type": "m5"}, {"instance_count": 0}, {"instance_count": 101}])
def test_what_the_spec_would_not_take_is_refused(wrong: dict) -> None:
    with pytest.raises(InvalidParamsError, match="dev endpoint of flights"):
        override_stage(SPEC, "dev", **wrong)
