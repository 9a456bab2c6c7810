"""Spark ML models among the artifacts: which of them the model server runs without a JVM.

The server compiles saved pipelines from their metadata and tables, so an image needs neither Java nor Spark as long as
every stage has a compiled form. Spark itself is on the package index as a source distribution only.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from slipway.errors import DependencyLockError, ModelNotDeployableError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from slipway.artifacts.mlmodel import MLmodel
    from slipway.artifacts.requirements import ModelRequirements

LOADER = "mlflow.spark"
_SPARK_PACKAGES = frozenset({"pyspark", "pyspark-client"})
_SECONDS = 120


def is_spark(mlmodel: MLmodel) -> bool:
    """Say whether the model is served by MLflow's Spark flavor, which takes a JVM."""
    return mlmodel.loader_module == LOADER


def spark_folder(mlmodel: MLmodel) -> str:
    """Return the folder that Spark saved, relative to the model's.

    Raises:
        ModelNotDeployableError: the MLmodel file does not say.
    """
    folder = (mlmodel.raw["flavors"].get("spark") or {}).get("model_data")
    if not isinstance(folder, str) or not folder:
        raise ModelNotDeployableError("The Spark flavor of the MLmodel names no model_data: log the model again.")
    return folder


def uncovered_stages(saved: Path) -> list[str]:
    """Return the stages that have no compiled form, by the saved metadata alone.

    Args:
        saved: the folder that Spark saved; the ``metadata`` folders suffice.

    Raises:
        ModelNotDeployableError: the metadata cannot be read.
    """
    command = [sys.executable, "-m", "slipway_serving", "stages", str(saved)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise ModelNotDeployableError(f"The saved Spark model cannot be read: {reason}. Log it again.")
    return list(json.loads(done.stdout)["uncovered"])


def without_spark(stated: ModelRequirements, uncovered: list[str]) -> ModelRequirements:
    """Leave Spark out of the image where every stage is compiled.

    Args:
        stated: what the model asks for.
        uncovered: stages without a compiled form; with any, Spark stays.

    Returns:
        The requirements, with a note of what was left out.
    """
    if uncovered:
        return stated
    kept = tuple(line for line in stated.requirements if not names_spark([line]))
    left_out = sorted(set(stated.requirements) - set(kept))
    notes = tuple(f"{line!r} is left out: the pipeline is compiled and needs no JVM" for line in left_out)
    return replace(stated, requirements=kept, notes=stated.notes + notes)


def names_spark(requirements: Iterable[str]) -> bool:
    """Say whether Spark is among requirement lines."""
    return any(canonicalize_name(Requirement(line).name) in _SPARK_PACKAGES for line in requirements)


def needs_spark(uncovered: list[str], error: DependencyLockError) -> DependencyLockError:
    """Explain a lock that failed for a pipeline that has to run in Spark itself."""
    stages = ", ".join(sorted(set(uncovered)))
    return DependencyLockError(
        f"The pipeline has stages without a compiled form ({stages}), so its image needs Spark, and Spark is not on "
        "the package index as a wheel. Either train with covered stages only (docs/serving.md lists them under 'Spark "
        "ML without a JVM'), or build a wheel of pyspark for the workers' own index (UV_INDEX_URL) and choose a base "
        f"image with Java 17 or newer in platform.yaml. The resolver said: {error}"
    )
