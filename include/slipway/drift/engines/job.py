"""The job by which Spark, in a process of its own, profiles capture objects; see ``slipway_trainer.job``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from slipway.drift.reference import Reference
from slipway.spec import ServiceSpec

#: The trainer's command that starts Spark and calls a function with it.
CALL = "call"
_FUNCTION = "slipway.drift.engines.spark:profile_objects"


def profiling_job(
    spec: ServiceSpec, reference: Reference, addresses: Mapping[str, str], folder: Path
) -> dict[str, Any]:
    """Make the job.

    Args:
        spec: The service.
        reference: The baseline; it is put into the folder.
        addresses: The signed address of each capture object, by its path.
        folder: Where the profiles will be.
    """
    file = folder / "reference.json"
    file.write_bytes(reference.to_bytes())
    objects = [[path, address] for path, address in addresses.items()]
    options = {"reference": str(file), "objects": objects, "folder": str(folder)}
    return {
        "service": spec.name,
        "model": spec.model,
        "job_id": f"{spec.name}/profile",
        "engine": "spark",
        "objects": [],
        "spark": dict(spec.monitor.profiling.spark),
        "call": {"function": _FUNCTION, "options": options},
    }
