"""From a fitted ``pyspark.ml`` model back to the estimator that made it.

A fitted stage keeps the parameters that its estimator shares with it, its uid, and (in the saved metadata) the
defaults of the process that fitted it. Defaults matter: Python's default ``seed`` is a hash of the class name, which
differs in every process, so a refit that used its own default would give another model.

What a fitted stage does not keep cannot be recovered; :class:`Unfitted` says what that is. Models that Slipway trains
carry the unfitted pipeline beside them, so this is for models that come from elsewhere.
"""

from __future__ import annotations

import functools
import importlib
import inspect
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pyspark.ml import Estimator, Model, Pipeline, PipelineModel, Transformer
from pyspark.ml.classification import OneVsRest, OneVsRestModel
from pyspark.ml.clustering import LDA, DistributedLDAModel, LocalLDAModel
from pyspark.ml.feature import Bucketizer, QuantileDiscretizer
from pyspark.ml.recommendation import ALS, ALSModel
from pyspark.ml.tuning import CrossValidator, CrossValidatorModel, TrainValidationSplit, TrainValidationSplitModel

if TYPE_CHECKING:
    from pyspark.ml.param import Params

_MODULES = ("classification", "clustering", "feature", "fpm", "recommendation", "regression")
_SIMPLE_TYPES = (str, int, float, bool)


class UnfitError(TypeError):
    """A model's class is not one whose estimator is known."""


@dataclass(frozen=True)
class Loss:
    """A parameter that the fitted stage does not hold."""

    stage_uid: str
    model_class: str
    parameter: str
    consequence: str

    def __str__(self) -> str:
        return f"{self.model_class} {self.stage_uid}: '{self.parameter}' is not kept by the model; {self.consequence}"


@dataclass(frozen=True)
class Unfitted:
    """The estimator, and what could not be recovered."""

    estimator: Any
    losses: tuple[Loss, ...] = field(default=())


def unfit(model: Transformer) -> Unfitted:
    """The unfitted counterpart of a fitted pipeline or stage.

    Call it before the model's first ``transform``, which overwrites the defaults that the model was saved with.

    Args:
        model: A fitted model, freshly loaded or just fitted. Plain transformers come back as copies.

    Returns:
        The estimator and the parameters that are lost.

    Raises:
        UnfitError: The class is a model but not one of ``pyspark.ml``; train it with a ``Retrainer`` of its own.
    """
    losses: list[Loss] = []
    return Unfitted(_unfit(model, losses), tuple(losses))


def _unfit(stage: Any, losses: list[Loss]) -> Any:
    if isinstance(stage, PipelineModel):
        return Pipeline(stages=[_unfit(inner, losses) for inner in stage.stages])
    if isinstance(stage, CrossValidatorModel):
        return _copied(stage, CrossValidator(), losses)
    if isinstance(stage, TrainValidationSplitModel):
        return _copied(stage, TrainValidationSplit(), losses)
    if isinstance(stage, OneVsRestModel):
        return _unfit_one_vs_rest(stage, losses)
    if isinstance(stage, ALSModel):
        als = _copied(stage, ALS(), losses)
        als.setRank(stage.rank)
        return als
    if isinstance(stage, Bucketizer):
        return _unfit_bucketizer(stage, losses)
    if isinstance(stage, Model):
        return _copied(stage, _estimator_class(type(stage))(), losses)
    return stage.copy()


def _unfit_one_vs_rest(stage: OneVsRestModel, losses: list[Loss]) -> OneVsRest:
    estimator: OneVsRest = _copied(stage, OneVsRest(), losses)
    if not estimator.isSet(estimator.classifier):
        estimator.setClassifier(_unfit(stage.models[0], losses))
    return estimator


def _unfit_bucketizer(stage: Bucketizer, losses: list[Loss]) -> Bucketizer | QuantileDiscretizer:
    """A ``QuantileDiscretizer`` fits to a plain ``Bucketizer``; its default output column tells."""
    origin = str(_defaults(stage).get("outputCol", ""))
    if not origin.startswith("QuantileDiscretizer_"):
        copied: Bucketizer = stage.copy()
        return copied
    discretizer = QuantileDiscretizer()
    discretizer._resetUid(stage.uid)
    discretizer._setDefault(outputCol=origin)
    for name in ("inputCol", "outputCol", "inputCols", "outputCols", "handleInvalid"):
        if stage.isSet(stage.getParam(name)):
            discretizer._set(**{name: stage.getOrDefault(name)})
    if stage.isSet(stage.splits):
        discretizer.setNumBuckets(len(stage.getSplits()) - 1)
    else:
        discretizer.setNumBucketsArray([len(splits) - 1 for splits in stage.getSplitsArray()])
    losses.append(_loss(stage, "relativeError", "the default is used, so bucket borders may move a little"))
    losses.append(_loss(stage, "numBuckets", "taken from the borders; fewer than asked if quantiles coincided"))
    return discretizer


@functools.lru_cache(maxsize=1)
def _estimator_by_model() -> dict[type, type]:
    """Model class → estimator class, from the return annotation of each estimator's ``_create_model``."""
    classes: dict[type, type] = {LocalLDAModel: LDA, DistributedLDAModel: LDA}
    for name in _MODULES:
        module = importlib.import_module(f"pyspark.ml.{name}")
        for _, estimator in inspect.getmembers(module, inspect.isclass):
            model = _model_class(module, estimator)
            if model is not None:
                classes[model] = estimator
    return classes


def _model_class(module: Any, estimator: type) -> type | None:
    if estimator.__module__ != module.__name__ or not issubclass(estimator, Estimator):
        return None
    create = getattr(estimator, "_create_model", None)
    annotation = inspect.get_annotations(create).get("return") if create else None
    if annotation is None:
        return None
    name = annotation.strip("\"'") if isinstance(annotation, str) else annotation.__name__
    model = getattr(module, name, None)
    return model if inspect.isclass(model) and issubclass(model, Model) else None


def _estimator_class(model_class: type) -> type:
    for base in model_class.__mro__:
        if base in _estimator_by_model():
            return _estimator_by_model()[base]
    raise UnfitError(
        f"{model_class.__module__}.{model_class.__qualname__} is a fitted model, but the estimator that makes it is "
        "not known: expected a class of pyspark.ml. Give the service a Retrainer class that builds the pipeline, or "
        "train the model once through Slipway, which saves the unfitted pipeline beside it."
    )


def _copied(stage: Any, estimator: Any, losses: list[Loss]) -> Any:
    """Give the estimator the stage's uid, its set parameters and, as defaults, its defaults."""
    estimator._resetUid(stage.uid)
    defaults = _defaults(stage)
    shared = {param.name for param in estimator.params} & {param.name for param in stage.params}
    for name in shared:
        if name in defaults:
            # As a default: a *set* outputCol makes multi-column stages refuse to fit.
            estimator._setDefault(**{name: defaults[name]})
        if stage.isSet(name):
            estimator._set(**{name: stage.getOrDefault(name)})
    lost = [param.name for param in estimator.params if param.name not in shared and _matters(stage, param.name)]
    losses.extend(_loss(stage, name, "the estimator's default is used") for name in lost)
    return estimator


def _matters(stage: Any, parameter: str) -> bool:
    """Parallelism and kept sub-models change how a search runs, not what it finds; ALS gets its rank back."""
    return parameter not in {"parallelism", "collectSubModels"} and not (
        isinstance(stage, ALSModel) and parameter == "rank"
    )


def _loss(stage: Any, parameter: str, consequence: str) -> Loss:
    return Loss(stage.uid, type(stage).__name__, parameter, consequence)


def _defaults(stage: Params) -> dict[str, Any]:
    """Defaults as they were when the stage was fitted: the JVM object's, which come from the saved metadata."""
    defaults = {param.name: value for param, value in stage._defaultParamMap.items()}
    java = getattr(stage, "_java_obj", None)
    if java is None or not hasattr(java, "getDefault"):
        return defaults
    for param in stage.params:
        if java.hasParam(param.name) and java.hasDefault(java.getParam(param.name)):
            value = java.getDefault(java.getParam(param.name)).get()
            if isinstance(value, _SIMPLE_TYPES):
                defaults[param.name] = value
    return defaults
