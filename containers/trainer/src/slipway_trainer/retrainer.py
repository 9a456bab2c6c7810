"""The steps of a training, each of which a service may override.

A service's own class extends :class:`slipway_trainer.python_retrainer.PythonRetrainer` or
:class:`slipway_trainer.spark.retrainer.SparkRetrainer` and is named in the spec as ``file.py:Class``.
"""

from __future__ import annotations

import importlib.util
import sys
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import pandas as pd

from slipway_trainer.baseline import TrainedRows
from slipway_trainer.champion import SavedModel
from slipway_trainer.job import Job
from slipway_trainer.metric import Predictions
from slipway_trainer.objects import ObjectReader, mlflow_type, unified
from slipway_trainer.problem import BadDataError, TrainingError
from slipway_trainer.split import Bounds

Rows = TypeVar("Rows")


@dataclass(frozen=True)
class Split(Generic[Rows]):
    """The rows of the window on both sides of the cutoff.

    Args:
        train: Rows to fit.
        holdout: Rows to judge by, all newer.
        bounds: The times that part them.
        train_rows: How many train.
        holdout_rows: How many judge.
        classes: Number of training rows by class; empty for regression.
    """

    train: Rows
    holdout: Rows
    bounds: Bounds
    train_rows: int
    holdout_rows: int
    classes: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Estimator:
    """What is fitted.

    Args:
        unfitted: The estimator.
        origin: Where it comes from: ``champion``, ``sidecar`` or ``template``.
        losses: What could not be recovered from the champion, in words.
    """

    unfitted: Any
    origin: str
    losses: tuple[str, ...] = ()


class Retrainer(ABC, Generic[Rows]):
    """Base of all retrainers; one is made for each job.

    Args:
        job: The job.
        reader: Reads the data's objects.
        workdir: Folder for files of this job alone.
    """

    def __init__(self, job: Job, reader: ObjectReader, workdir: Path) -> None:
        self.job = job
        self.reader = reader
        self.workdir = workdir

    def template(self) -> Any:
        """The unfitted pipeline of a first training, made by the job's template.

        Raises:
            TrainingError: There is no template, or it cannot be called.
        """
        if not self.job.template:
            raise TrainingError(
                f"{self.job.model} has no champion to retrain from. Register a first version under the alias champion, "
                "or name a function that makes the unfitted pipeline: retrain.template in the spec"
            )
        make = load_object(self.job.template)
        try:
            return make()
        except Exception as error:
            raise TrainingError(f"the template {self.job.template} fails: {type(error).__name__}: {error}") from error

    def template_features(self) -> dict[str, str]:
        """Feature columns of a first training with MLflow's type names: all of the first object but target and time.

        The types are those that hold the values of all objects.

        Raises:
            BadDataError: There is no object, objects do not fit together, or a column is of a type that no signature
                has.
        """
        if not self.job.objects:
            raise BadDataError("there are no objects to train on")
        schemas = {each.uri: self.reader.schema(each) for each in self.job.objects}
        others = {self.job.target, self.job.time_column}
        wanted = [name for name in schemas[self.job.objects[0].uri].names if name not in others]
        return {field.name: mlflow_type(field.type, field.name) for field in unified(schemas, wanted)}

    @abstractmethod
    def load(self, features: dict[str, str]) -> Split[Rows]:
        """Read the window's rows and split them in time."""

    @abstractmethod
    def open(self, saved: SavedModel) -> Any:
        """Load the fitted champion."""

    @abstractmethod
    def unfit(self, saved: SavedModel, fitted: Any) -> Estimator:
        """The champion's estimator."""

    @abstractmethod
    def fit(self, estimator: Any, split: Split[Rows], features: Sequence[str]) -> Any:
        """Fit the estimator on the training rows."""

    @abstractmethod
    def predict(self, fitted: Any, split: Split[Rows], features: Sequence[str]) -> Predictions:
        """Ask a model about the held-out rows; every model gets the same rows in the same order."""

    @abstractmethod
    def example(self, split: Split[Rows], features: Sequence[str]) -> Any:
        """A few feature rows as a pandas frame, saved as the model's input example."""

    def sample(self, split: Split[Rows], features: Sequence[str], rows: int) -> pd.DataFrame | None:
        """Some of the held-out rows, in memory, for the features' importance.

        Args:
            split: The rows.
            features: Names of the features.
            rows: Most rows that are wanted.

        Returns:
            Features and target; None when the retrainer cannot, and importance is left out.
        """
        return None

    def holding_out(self, split: Split[Rows], rows: pd.DataFrame) -> Split[Rows]:
        """The split with these rows held out in place of its own; needed by retrainers that give a :meth:`sample`."""
        raise NotImplementedError(f"{type(self).__name__} gives a sample, so it has to say how rows are held out")

    @abstractmethod
    def log(self, fitted: Any, estimator: Any, saved: SavedModel | None, example: Any) -> Any:
        """Log the fitted model into the active MLflow run; return MLflow's ``ModelInfo``."""

    def beside(self, info: Any, estimator: Any, split: Split[Rows], features: Sequence[str]) -> None:
        """Put further files beside the logged model, within the active MLflow run; nothing by default.

        Args:
            info: What :meth:`log` returned.
            estimator: The unfitted estimator.
            split: The rows.
            features: Columns that the model is asked with.
        """

    def trained_rows(self, fitted: Any, info: Any, split: Split[Rows], features: Sequence[str]) -> TrainedRows | None:
        """The rows that were trained on with the model's answers, for its baseline; None, the default, makes none.

        Args:
            fitted: The fitted model.
            info: What :meth:`log` returned.
            split: The rows.
            features: Columns that the model is asked with.
        """
        return None

    def slice_values(self, split: Split[Rows], column: str) -> Any:
        """The held-out rows' values of a column, in the order of :meth:`predict`; for metrics by slice."""
        raise TrainingError(f"this retrainer gives no slices, {column} was asked for")

    def close(self) -> None:
        """Give back what the retrainer holds."""

    def require_target(self) -> str:
        """The target column.

        Raises:
            TrainingError: The job names none.
        """
        if not self.job.target:
            raise TrainingError("no target column is named: set retrain.target in the spec")
        return self.job.target

    def require_time_column(self) -> str:
        """The column that orders the rows.

        Raises:
            TrainingError: The job names none.
        """
        if not self.job.time_column:
            raise TrainingError("no time column is named: set retrain.time_column in the spec, rows are split in time")
        return self.job.time_column


def make_retrainer(job: Job, reader: ObjectReader, workdir: Path) -> Retrainer[Any]:
    """The job's retrainer: its own class, or the engine's.

    Raises:
        TrainingError: The service's class cannot be imported or is no retrainer.
    """
    if job.retrainer:
        return _own_class(job.retrainer)(job, reader, workdir)
    if job.engine == "spark":
        from slipway_trainer.spark.retrainer import SparkRetrainer

        return SparkRetrainer(job, reader, workdir)
    from slipway_trainer.python_retrainer import PythonRetrainer

    return PythonRetrainer(job, reader, workdir)


def _own_class(reference: str) -> type[Retrainer[Any]]:
    found = load_object(reference)
    if not (isinstance(found, type) and issubclass(found, Retrainer)):
        raise TrainingError(f"{reference} is no Retrainer: extend PythonRetrainer or SparkRetrainer")
    return found


def load_object(reference: str) -> Any:
    """What ``path/of/file.py:name`` names.

    Raises:
        TrainingError: The file cannot be imported, or has no such name.
    """
    file, _, name = reference.rpartition(":")
    try:
        spec = importlib.util.spec_from_file_location(f"slipway_retrainer_{Path(file).stem}", file)
        if spec is None or spec.loader is None:
            raise ImportError("it is no Python file")
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
        return getattr(module, name)
    except Exception as error:
        raise TrainingError(f"{reference} cannot be loaded: {type(error).__name__}: {error}") from error
