"""What one run may change about a service: a copy of the spec, the file stays as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from slipway.errors import InvalidParamsError

if TYPE_CHECKING:
    from slipway.spec.service import ServiceSpec
    from slipway.spec.stage import StageName


def override_stage(
    spec: ServiceSpec, stage: StageName, *, instance_type: str | None = None, instance_count: int | None = None
) -> ServiceSpec:
    """Return the spec with another size of one endpoint.

    Args:
        spec: the service as declared.
        stage: whose size is changed.
        instance_type: SageMaker instance type; None leaves the declared one.
        instance_count: number of instances, which also turns scaling off; None leaves the declared range.

    Returns:
        A validated copy, or the spec itself when nothing is changed.

    Raises:
        InvalidParamsError: a value that the spec would not accept either.
    """
    changes: dict[str, Any] = {}
    if instance_type is not None:
        changes["instance_type"] = instance_type
    if instance_count is not None:
        changes["instances"] = {"min": instance_count, "max": instance_count}
    if not changes:
        return spec
    try:
        changed = type(spec.stage(stage)).model_validate({**spec.stage(stage).model_dump(), **changes})
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
        raise InvalidParamsError(f"The {stage} endpoint of {spec.name} cannot be changed so: {faults}") from error
    return spec.model_copy(update={"stages": spec.stages.model_copy(update={stage: changed})})
