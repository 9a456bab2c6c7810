from __future__ import annotations

import pytest

from slipway.errors import InvalidParamsError
from slipway.spec import ServiceSpec
from slipway.spec.override import override_stage


@pytest.fixture
def spec() -> ServiceSpec:
    scaling = {"min": 2, "max": 10, "invocations_per_instance": 750}
    return ServiceSpec.model_validate(
        {"name": "flights", "model": "m", "owner": "team", "stages": {"prod": {"instances": scaling}}}
    )


def test_nothing_to_change_gives_the_spec_itself(spec: ServiceSpec) -> None:
    assert override_stage(spec, "dev") is spec


def test_one_stage_is_changed_the_other_stays(spec: ServiceSpec) -> None:
    changed = override_stage(spec, "dev", instance_type="ml.c6i.large", instance_count=3)
    assert changed.stages.dev.instance_type == "ml.c6i.large"
    assert (changed.stages.dev.instances.min, changed.stages.dev.instances.max) == (3, 3)
    assert changed.stages.dev.keep_hours == spec.stages.dev.keep_hours
    assert changed.stages.prod == spec.stages.prod


def test_a_number_of_instances_turns_scaling_off(spec: ServiceSpec) -> None:
    assert spec.stages.prod.instances.scales
    assert not override_stage(spec, "prod", instance_count=4).stages.prod.instances.scales


@pytest.mark.parametrize(
    ("changes", "named"), [({"instance_type": "m5.large"}, "instance_type"), ({"instance_count": 0}, "instances.min")]
)
def test_what_the_spec_would_not_accept_is_refused(spec: ServiceSpec, changes: dict[str, object], named: str) -> None:
    with pytest.raises(InvalidParamsError, match=f"dev endpoint of flights.*{named}"):
        override_stage(spec, "dev", **changes)  # type: ignore[arg-type]
