"""Retraining with PySpark: the champion's pipeline unfitted, fitted on the window, judged on the same rows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as fn

from slipway_trainer.baseline import TrainedRows, thinning
from slipway_trainer.champion import SIDECAR, SavedModel, fetch
from slipway_trainer.job import Champion
from slipway_trainer.labels import check_classes, classified
from slipway_trainer.metric import Predictions
from slipway_trainer.objects import unified
from slipway_trainer.problem import BadDataError, TrainingError
from slipway_trainer.progress import tell
from slipway_trainer.retrainer import Estimator, Retrainer, Split
from slipway_trainer.spark.feature_types import typed
from slipway_trainer.spark.flavor import flavor, pyfunc_model
from slipway_trainer.spark.frame_split import TIME, FrameTimes, class_counts, sides
from slipway_trainer.spark.golden import GOLDEN_FILE, golden_document
from slipway_trainer.spark.session import place_of, runs_here, start_session, stop_session
from slipway_trainer.spark.shared import SharedFolder, shared_place
from slipway_trainer.spark.source import object_rows
from slipway_trainer.spark.times import micros
from slipway_trainer.split import find_bounds, guard

_ROW = "__slipway_row"
_EXAMPLE_ROWS = 20
_GOLDEN_POOL = 2000


class SparkRetrainer(Retrainer[DataFrame]):
    """Fits with Spark: on this machine's cores, or on the cluster that the service's properties name."""

    def __init__(self, job: Any, reader: Any, workdir: Path) -> None:
        super().__init__(job, reader, workdir)
        self.shared = shared_place(job, workdir)
        tell(f"starting Spark ({'as submitted' if job.submitted else place_of(job.spark)})")
        self.spark = start_session(
            f"{job.service} retrain", cache_dir=workdir, configuration=job.spark, submitted=job.submitted
        )
        self._here = runs_here(self.spark)
        if job.submitted and self._here:  # it needs nothing that is shared, and may not know s3://
            self.shared = SharedFolder({}, workdir)
        tell(f"Spark {self.spark.version} is up")
        self._persisted: list[DataFrame] = []

    def load(self, features: dict[str, str]) -> Split[DataFrame]:
        """See :class:`Retrainer`."""
        target, time = self.require_target(), self.require_time_column()
        frame = self.frame([*features, target, time])
        frame = frame.withColumn(TIME, micros(frame, time)).withColumn(_ROW, fn.monotonically_increasing_id())
        frame = frame.persist()
        self._persisted.append(frame)
        times = FrameTimes(frame)
        if times.missing:
            raise BadDataError(f"{times.missing} rows have no {time!r}, or one that is no time")
        tell(f"read {len(self.job.objects)} objects, {times.rows:,} rows")
        bounds = find_bounds(times, self.job.window, self.job.holdout_pct)
        # Only now: what nobody trains on need not fit the signature.
        inside = typed(frame.where(fn.col(TIME).between(bounds.first, bounds.last)), features)
        train, holdout = inside.where(fn.col(TIME) < bounds.cutoff), inside.where(fn.col(TIME) >= bounds.cutoff)
        trained, judged = sides(inside, bounds, target)
        guard(trained.newest, judged.oldest)
        counts = {} if self.job.task == "regression" else class_counts(train, target)
        check_classes(self.job.task, counts, trained.without_target + judged.without_target, target)
        return Split(train, holdout, bounds, trained.rows, judged.rows, counts)

    def frame(self, columns: list[str]) -> DataFrame:
        """The columns wanted of all objects."""
        if not self.job.objects:
            raise BadDataError("there are no objects to train on")
        wanted = list(dict.fromkeys([*columns, *self.job.slices]))
        schema = unified({each.uri: self.reader.schema(each) for each in self.job.objects}, wanted)
        return object_rows(self.spark, self.job.objects, self.reader, schema)

    def open(self, saved: SavedModel) -> Any:
        """See :class:`Retrainer`."""
        from pyspark.ml import PipelineModel

        spark = saved.info.flavors.get("spark")
        if spark is None:
            raise TrainingError(
                f"the champion has the flavors {', '.join(saved.info.flavors)}; engine: spark expects spark. Set "
                "retrain.engine: python for scikit-learn models"
            )
        return PipelineModel.load(self.shared.given(saved.folder / spark["model_data"]))

    def unfit(self, saved: SavedModel, fitted: Any) -> Estimator:
        """The pipeline that was saved beside the champion; else the champion's own, unfitted."""
        from pyspark.ml import Pipeline

        from slipway_trainer.spark.unfit import UnfitError, unfit

        sidecar = saved.folder / SIDECAR
        if sidecar.is_dir():
            return Estimator(Pipeline.load(self.shared.given(sidecar)), "sidecar")
        try:
            found = unfit(fitted)
        except UnfitError as error:
            raise TrainingError(str(error)) from error
        return Estimator(found.estimator, "champion", tuple(str(loss) for loss in found.losses))

    def fit(self, estimator: Any, split: Split[DataFrame], features: Sequence[str]) -> Any:
        """See :class:`Retrainer`."""
        for name, value in self.job.hyperparameters.items():
            _set_parameter(estimator, name, value)
        for stage in _stages(estimator):
            tell(f"stage {type(stage).__name__} {stage.uid}")
        return estimator.fit(split.train.select(*features, self.require_target()))

    def predict(self, fitted: Any, split: Split[DataFrame], features: Sequence[str]) -> Predictions:
        """See :class:`Retrainer`; only truth, answer and chances of the held-out rows are collected."""
        from pyspark.ml.functions import vector_to_array

        target, last = self.require_target(), _predictor(fitted)
        answers = fitted.transform(split.holdout.select(*features, target, _ROW))
        wanted = [fn.col(_ROW), fn.col(target).alias("truth"), fn.col(last.getPredictionCol()).alias("predicted")]
        chances_name = last.getProbabilityCol() if last.hasParam("probabilityCol") else None
        if chances_name in answers.columns and self.job.task != "regression":
            wanted.append(vector_to_array(chances_name).alias("chances"))
        found = answers.select(*wanted).toArrow().to_pandas().sort_values(_ROW)
        if len(found) != split.holdout_rows:
            raise BadDataError(
                f"{split.holdout_rows - len(found)} of {split.holdout_rows} held-out rows were skipped by a stage with "
                "handleInvalid='skip', so champion and new model are not judged by the same rows; set it to 'keep'"
            )
        return self._predictions(fitted, last, found)

    def _predictions(self, fitted: Any, last: Any, found: pd.DataFrame) -> Predictions:
        if self.job.task == "regression":
            empty = np.zeros((len(found), 0))
            return Predictions(found["truth"].to_numpy(float), found["predicted"].to_numpy(float), empty)
        has_chances = "chances" in found
        chances = np.stack(found["chances"].to_list()) if has_chances else np.zeros((len(found), 0))
        labels = _labels(fitted, last)
        count = chances.shape[1] or 1 + int(found["predicted"].max())
        order = labels[:count] if labels else [float(number) for number in range(count)]
        predicted = [order[int(each)] for each in found["predicted"]]
        truth = found["truth"].astype(str).tolist() if labels else found["truth"].astype(float).tolist()
        return classified(truth, predicted, chances, order)

    def example(self, split: Split[DataFrame], features: Sequence[str]) -> pd.DataFrame:
        """See :class:`Retrainer`."""
        rows: pd.DataFrame = split.train.select(*features).limit(_EXAMPLE_ROWS).toArrow().to_pandas()
        return rows

    def sample(self, split: Split[DataFrame], features: Sequence[str], rows: int) -> pd.DataFrame | None:
        """See :class:`Retrainer`; the types stay Arrow's, so that Spark gets back what it gave."""
        share = min(1.0, 1.2 * rows / split.holdout_rows)
        wanted = split.holdout.select(*features, self.require_target()).sample(share, seed=self.job.seed).limit(rows)
        found: pd.DataFrame = wanted.toArrow().to_pandas(types_mapper=pd.ArrowDtype)
        return found

    def holding_out(self, split: Split[DataFrame], rows: pd.DataFrame) -> Split[DataFrame]:
        """See :class:`Retrainer`."""
        table = pa.Table.from_pandas(rows.assign(**{_ROW: np.arange(len(rows))}), preserve_index=False)
        return replace(split, holdout=self.spark.createDataFrame(table), holdout_rows=len(rows))

    def slice_values(self, split: Split[DataFrame], column: str) -> Any:
        """See :class:`Retrainer`."""
        return split.holdout.select(_ROW, column).toArrow().to_pandas().sort_values(_ROW)[column].to_numpy()

    def log(self, fitted: Any, estimator: Any, saved: SavedModel | None, example: Any) -> Any:
        """Log the fitted pipeline as a logged model; ``mlflow.spark.log_model`` would have Spark write to S3 itself."""
        import mlflow.spark
        from mlflow.models import Model

        from slipway_trainer.tracking import pinned_requirements

        signature = saved.info.signature if saved else self._signature(fitted, example)
        how: dict[str, Any] = {"flavor": flavor(self.shared), "validate_serving_input": False}
        if self._here:
            how = {"flavor": mlflow.spark, "dfs_tmpdir": (self.workdir / "mlflow").as_uri()}
        return Model.log(
            None,
            name="model",
            spark_model=fitted,
            signature=signature,
            input_example=example,
            pip_requirements=pinned_requirements(saved, fitted),
            **how,
        )

    def beside(self, info: Any, estimator: Any, split: Split[DataFrame], features: Sequence[str]) -> None:
        """The unfitted pipeline for the next retraining, and answers by which a deployment without Spark verifies."""
        import mlflow

        folder = self.workdir / "beside"
        self.shared.save(estimator, folder / SIDECAR)
        tell("asking the logged model for the answers that its deployment is verified by")
        rows = split.holdout.select(*features).limit(_GOLDEN_POOL).toArrow().to_pandas()
        document = golden_document(self._logged(info), rows, features)
        (folder / GOLDEN_FILE).write_text(json.dumps(document, indent=1), encoding="utf-8")
        mlflow.MlflowClient().log_model_artifacts(info.model_id, str(folder))

    def _logged(self, info: Any) -> Any:
        """The logged model, read back from its files."""
        import mlflow

        if self._here:
            return mlflow.pyfunc.load_model(info.model_uri)
        saved = fetch(Champion(0, info.model_uri), self.workdir / "logged")
        return pyfunc_model(self.spark, saved, self.open(saved))

    def trained_rows(
        self, fitted: Any, info: Any, split: Split[DataFrame], features: Sequence[str]
    ) -> TrainedRows | None:
        """See :class:`Retrainer`; thinned by the hash of the row's number, so that Spark sends what is needed only."""
        every, answer = thinning(split.train_rows), _predictor(fitted).getPredictionCol()
        chosen = split.train.where(fn.pmod(fn.xxhash64(_ROW), fn.lit(every)) == 0)
        found = fitted.transform(chosen).select(TIME, _ROW, *features, answer).toArrow()
        found = found.sort_by([(TIME, "ascending"), (_ROW, "ascending")])
        return TrainedRows(found.select(list(features)), found.column(answer).to_numpy(), every)

    def _signature(self, fitted: Any, example: pd.DataFrame) -> Any:
        from mlflow.models import infer_signature

        name = _predictor(fitted).getPredictionCol()
        answers = fitted.transform(self.spark.createDataFrame(example)).select(name).toArrow().to_pandas()
        return infer_signature(example, answers[name])

    def close(self) -> None:
        """Stop Spark."""
        stop_session(self.spark, self._persisted)
        self.shared.close()


def _stages(stage: Any) -> list[Any]:
    """All stages of a pipeline, nested ones in their place; a stage that is no pipeline is its own only one."""
    from pyspark.ml import Pipeline, PipelineModel

    if isinstance(stage, Pipeline):
        return [inner for each in stage.getStages() for inner in _stages(each)]
    if isinstance(stage, PipelineModel):
        return [inner for each in stage.stages for inner in _stages(each)]
    return _stages(stage.bestModel) if hasattr(stage, "bestModel") else [stage]


def _predictor(fitted: Any) -> Any:
    for stage in reversed(_stages(fitted)):
        if stage.hasParam("predictionCol") and hasattr(stage, "getPredictionCol"):
            return stage
    raise TrainingError("the pipeline has no stage with a prediction, so it cannot be judged; give it a retrainer")


def _labels(fitted: Any, predictor: Any) -> list[str]:
    """Labels in the order of the class numbers when a StringIndexer made the label column; else nothing."""
    if not predictor.hasParam("labelCol"):
        return []
    label = predictor.getLabelCol()
    for stage in _stages(fitted):
        if type(stage).__name__ == "StringIndexerModel" and stage.isSet("outputCol") and stage.getOutputCol() == label:
            return [str(each) for each in stage.labels]
    return []


def _set_parameter(estimator: Any, name: str, value: Any) -> None:
    """Set ``name`` (or ``<stage uid>.name``) on every stage that has it."""
    uid, _, parameter = name.rpartition(".")
    stages = [each for each in _stages(estimator) if each.hasParam(parameter) and (not uid or each.uid == uid)]
    if not stages:
        raise TrainingError(f"hyperparameters: no stage of the pipeline has a parameter {name!r}")
    for stage in stages:
        try:
            stage._set(**{parameter: value})
        except TypeError as error:
            raise TrainingError(f"hyperparameters: {name} cannot be {value!r}: {error}") from error
