"""Retraining in one Python process: scikit-learn, and what has its interface (XGBoost, LightGBM)."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from slipway_trainer.baseline import TrainedRows, thinning
from slipway_trainer.champion import SavedModel
from slipway_trainer.feature_types import typed
from slipway_trainer.labels import check_classes, classified
from slipway_trainer.metric import Predictions
from slipway_trainer.objects import unified
from slipway_trainer.problem import BadDataError, TrainingError
from slipway_trainer.progress import tell
from slipway_trainer.retrainer import Estimator, Retrainer, Split
from slipway_trainer.split import ArrayTimes, find_bounds, guard

_FLAVORS = ("sklearn", "xgboost", "lightgbm")
_EXAMPLE_ROWS = 20


class PythonRetrainer(Retrainer[pd.DataFrame]):
    """Fits in this process; all rows are in memory."""

    def load(self, features: dict[str, str]) -> Split[pd.DataFrame]:
        """See :class:`Retrainer`."""
        target, time = self.require_target(), self.require_time_column()
        rows = self.frame([*features, target, time])
        moments = times_of(rows[time], time)
        bounds = find_bounds(ArrayTimes(moments), self.job.window, self.job.holdout_pct)
        inside = (moments >= bounds.first) & (moments <= bounds.last)
        # Only now: what nobody trains on need not fit the signature.
        rows, moments = typed(rows[inside], features), moments[inside]
        older = moments < bounds.cutoff
        train, holdout = rows[older], rows[~older]
        guard(int(moments[older].max()), int(moments[~older].min()))
        missing = int(rows[target].isna().sum())
        counts = {} if self.job.task == "regression" else train[target].value_counts().to_dict()
        check_classes(self.job.task, {str(label): int(count) for label, count in counts.items()}, missing, target)
        classes = {str(label): int(count) for label, count in counts.items()}
        return Split(train, holdout, bounds, len(train), len(holdout), classes)

    def frame(self, columns: list[str]) -> pd.DataFrame:
        """Read all objects; the columns wanted, in that order."""
        wanted = list(dict.fromkeys([*columns, *self.job.slices]))
        tables: dict[str, pa.Table] = {}
        rows = 0
        for number, source in enumerate(self.job.objects, 1):
            tables[source.uri] = self.reader.table(source)
            rows += tables[source.uri].num_rows
            tell(f"read {number} of {len(self.job.objects)} objects, {rows:,} rows")
        if not tables:
            raise BadDataError("there are no objects to train on")
        schema = unified({uri: table.schema for uri, table in tables.items()}, wanted)
        parts = [table.select(wanted).cast(schema) for table in tables.values()]
        return pa.concat_tables(parts).to_pandas()

    def open(self, saved: SavedModel) -> Any:
        """See :class:`Retrainer`."""
        return _flavor_module(saved).load_model(str(saved.folder))

    def unfit(self, saved: SavedModel, fitted: Any) -> Estimator:
        """See :class:`Retrainer`."""
        from sklearn.base import clone

        if not hasattr(fitted, "get_params"):
            raise TrainingError(
                f"{type(fitted).__name__} has no scikit-learn interface, so it cannot be fitted again by itself; give "
                "the service a retrainer"
            )
        return Estimator(clone(fitted), "champion")

    def fit(self, estimator: Any, split: Split[pd.DataFrame], features: Sequence[str]) -> Any:
        """See :class:`Retrainer`."""
        if self.job.hyperparameters:
            try:
                estimator.set_params(**self.job.hyperparameters)
            except (ValueError, TypeError) as error:
                raise TrainingError(f"hyperparameters: {str(error).splitlines()[0]}") from error
        return estimator.fit(split.train[list(features)], split.train[self.require_target()])

    def predict(self, fitted: Any, split: Split[pd.DataFrame], features: Sequence[str]) -> Predictions:
        """See :class:`Retrainer`."""
        asked, truth = split.holdout[list(features)], split.holdout[self.require_target()]
        predicted = np.asarray(fitted.predict(asked))
        if self.job.task == "regression":
            return Predictions(truth.to_numpy(float), predicted.astype(float), np.zeros((len(truth), 0)))
        has_chances = hasattr(fitted, "predict_proba")
        chances = np.asarray(fitted.predict_proba(asked)) if has_chances else np.zeros((len(truth), 0))
        order = [_plain(label) for label in fitted.classes_]
        return classified(truth.tolist(), [_plain(label) for label in predicted], chances, order)

    def example(self, split: Split[pd.DataFrame], features: Sequence[str]) -> pd.DataFrame:
        """See :class:`Retrainer`."""
        count = min(_EXAMPLE_ROWS, len(split.train))
        return split.train[list(features)].sample(count, random_state=self.job.seed).reset_index(drop=True)

    def trained_rows(
        self, fitted: Any, info: Any, split: Split[pd.DataFrame], features: Sequence[str]
    ) -> TrainedRows | None:
        """See :class:`Retrainer`; asks the model as it was logged, because that is what production asks."""
        import mlflow

        time = self.require_time_column()
        every = thinning(split.train_rows)
        order = np.argsort(times_of(split.train[time], time), kind="stable")[::every]
        asked = split.train[list(features)].iloc[order].reset_index(drop=True)
        answers = mlflow.pyfunc.load_model(info.model_uri).predict(asked)
        return TrainedRows(pa.Table.from_pandas(asked, preserve_index=False), answers, every)

    def sample(self, split: Split[pd.DataFrame], features: Sequence[str], rows: int) -> pd.DataFrame | None:
        """See :class:`Retrainer`."""
        wanted = split.holdout[[*features, self.require_target()]]
        return wanted.sample(min(rows, len(wanted)), random_state=self.job.seed).reset_index(drop=True)

    def holding_out(self, split: Split[pd.DataFrame], rows: pd.DataFrame) -> Split[pd.DataFrame]:
        """See :class:`Retrainer`."""
        return replace(split, holdout=rows, holdout_rows=len(rows))

    def slice_values(self, split: Split[pd.DataFrame], column: str) -> Any:
        """See :class:`Retrainer`."""
        return split.holdout[column].to_numpy()

    def log(self, fitted: Any, estimator: Any, saved: SavedModel | None, example: Any) -> Any:
        """See :class:`Retrainer`."""
        from slipway_trainer.tracking import pinned_requirements

        options: dict[str, Any] = {"input_example": example, "pip_requirements": pinned_requirements(saved, fitted)}
        name = _flavor(saved) if saved else "sklearn"
        if saved:
            options["signature"] = saved.info.signature
            flavor = saved.info.flavors.get("sklearn", {})
            function = saved.info.flavors.get("python_function", {})
            if name == "sklearn":
                options["pyfunc_predict_fn"] = function.get("predict_fn", "predict")
                if flavor.get("serialization_format"):
                    options["serialization_format"] = flavor["serialization_format"]
                if flavor.get("skops_trusted_types"):
                    options["skops_trusted_types"] = flavor["skops_trusted_types"]
        else:
            from mlflow.models import infer_signature

            options["signature"] = infer_signature(example, fitted.predict(example))
        return importlib.import_module(f"mlflow.{name}").log_model(fitted, name="model", **options)


def times_of(column: pd.Series, name: str) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Microseconds since 1970 of a column of times, dates, ISO texts, or whole numbers (seconds since 1970).

    Raises:
        BadDataError: A value is missing or no time.
    """
    missing = int(column.isna().sum())
    if missing:
        raise BadDataError(f"{missing} rows have no {name!r}; rows without a time cannot be split in time")
    try:
        parsed = pd.to_datetime(column, utc=True, unit="s" if pd.api.types.is_numeric_dtype(column) else None)
    except (ValueError, TypeError) as error:
        raise BadDataError(f"the time column {name!r} holds what is no time: {error}") from error
    return parsed.dt.tz_localize(None).to_numpy("datetime64[us]").astype(np.int64)


def _flavor(saved: SavedModel) -> str:
    for name in _FLAVORS:
        if name in saved.info.flavors:
            return name
    raise TrainingError(
        f"the champion has the flavors {', '.join(saved.info.flavors)}; expected one of {', '.join(_FLAVORS)}, or "
        "engine: spark, or a retrainer of its own"
    )


def _flavor_module(saved: SavedModel) -> Any:
    return importlib.import_module(f"mlflow.{_flavor(saved)}")


def _plain(label: Any) -> Any:
    return label.item() if hasattr(label, "item") else label
