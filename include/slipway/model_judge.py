"""What is asked of an original model before its release is built: its answers, and which engine gives the same ones.

Both are asked in the sandbox, once, in one process where both are unknown, and kept with the release: a build that is
tried again finds them.
"""

from __future__ import annotations

import sys
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from slipway.artifacts.engine import choose_engine, make_golden_rows_and_engine, pyfunc_engine
from slipway.artifacts.golden import GoldenRows, make_golden_rows, stored_golden_rows
from slipway.artifacts.mlmodel import MLMODEL, read_mlmodel
from slipway.artifacts.sandbox import Limits, Sandbox, SandboxEnvironment, environment
from slipway.artifacts.spark_pipeline import is_spark, names_spark
from slipway.errors import ModelNotDeployableError
from slipway.images.serving_app import serving_app_dir
from slipway.release_folder import GOLDEN

if TYPE_CHECKING:
    from slipway.artifacts.engine import EngineChoice
    from slipway.artifacts.lock import DependencyLock
    from slipway.release_folder import ReleaseFolder
    from slipway.spec import ServiceSpec

_CONVERSION = Limits(seconds=900)


class ModelJudge:
    """Asks one original model.

    Args:
        model_dir: its files, unpatched.
        lock: packages of the release.
        environments: folder for environments, kept between builds.
        spec: the service.
        folder: where the answers are kept.
    """

    def __init__(
        self, model_dir: Path, lock: DependencyLock, environments: Path, spec: ServiceSpec, folder: ReleaseFolder
    ) -> None:
        self._model_dir, self._lock, self._environments = model_dir, lock, environments
        self._spec, self._folder = spec, folder

    @cached_property
    def _is_spark(self) -> bool:
        return is_spark(read_mlmodel((self._model_dir / MLMODEL).read_text(encoding="utf-8")))

    @cached_property
    def _environment(self) -> SandboxEnvironment:
        if self._is_spark:  # saved metadata and tables are read, with pyarrow, which few images have
            return SandboxEnvironment.at(Path(sys.executable))
        return environment(self._lock, self._environments)

    def golden_answers(self) -> GoldenRows:
        """Return the golden rows with the original's answers; where these are asked now, the engine is kept as well.

        Raises:
            SandboxError: the model does not load, or answers no row.
            ModelNotDeployableError: a Spark model without stored answers.
        """
        found = self._folder.read(GOLDEN)
        if found:
            return GoldenRows.from_json(found)
        golden, choice = self._ask()
        kept = GoldenRows.from_json(self._folder.write_once(GOLDEN, golden.to_json()))
        if choice:
            self._folder.keep_engine(choice)
        return kept

    def engine(self) -> EngineChoice:
        """Return the engine that serves the model: the fastest one whose answers are proven equal.

        Raises:
            ModelNotDeployableError: only Spark itself can answer, and the image has none; or the answers shall be
                explained and cannot be, which would end the container at its start.
        """
        choice = self._folder.engine() or self._folder.keep_engine(self._choose())
        wanted, possible = self._spec.serving.explain, choice.record.get("explains", "only compiled models can")
        if wanted not in {"none", possible}:
            raise ModelNotDeployableError(
                f"serving.explain is {wanted}, but this model's answers cannot be explained: {possible} "
                f"({choice.summary()}). Take explain out of the spec, or deploy another model."
            )
        return choice

    def _ask(self) -> tuple[GoldenRows, EngineChoice | None]:
        """Ask for golden rows, and for the engine where that takes no process more.

        A conversion that fails there, at worst for want of time, is tried again alone by ``engine``, within limits of
        its own and without what the golden rows left in memory.
        """
        if self._is_spark:
            return stored_golden_rows(self._model_dir), None
        sandbox, max_rows = Sandbox(self._environment), self._spec.golden_rows.max_rows
        if self._spec.serving.engine == "pyfunc" or self._folder.engine():
            return make_golden_rows(sandbox, self._model_dir, max_rows), None
        return make_golden_rows_and_engine(sandbox, self._model_dir, serving_app_dir(), max_rows)

    def _choose(self) -> EngineChoice:
        if self._spec.serving.engine == "pyfunc":
            choice = pyfunc_engine("the service asks for pyfunc")
        else:
            golden = self.golden_answers().to_json() if self._is_spark else None
            sandbox = Sandbox(self._environment, _CONVERSION)
            choice = choose_engine(sandbox, self._model_dir, serving_app_dir(), golden=golden)
        if not self._is_spark or choice.record["engine"] != "pyfunc":
            return choice
        if not names_spark(self._lock.requirements):
            raise ModelNotDeployableError(
                f"The Spark pipeline could not be compiled: {choice.summary()}. To have Spark itself serve it, in a "
                "JVM, set `serving: {engine: pyfunc}` in the spec and deploy again; docs/serving.md, 'Spark ML in a "
                "JVM', says what that costs."
            )
        return choice.in_jvm()
