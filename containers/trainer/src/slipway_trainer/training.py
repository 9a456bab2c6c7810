"""One training from the job to the result."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from slipway_trainer.baseline import log_baseline
from slipway_trainer.bootstrap import intervals, paired_interval
from slipway_trainer.champion import SavedModel, fetch
from slipway_trainer.importance import importance
from slipway_trainer.job import Job
from slipway_trainer.metric import METRICS, Predictions, measure
from slipway_trainer.objects import ObjectReader
from slipway_trainer.problem import BadDataError
from slipway_trainer.progress import elapsed_seconds, tell
from slipway_trainer.report import report_html
from slipway_trainer.retrainer import Estimator, Retrainer, Split, make_retrainer
from slipway_trainer.split import show
from slipway_trainer.tracking import RESULT, data_digest, find_result, installed, recorded

_MAX_SLICES = 20
_MIN_SLICE_ROWS = 30


def train(job: Job) -> dict[str, Any]:
    """Train, evaluate and log.

    Args:
        job: What to do.

    Returns:
        The result document: ``run_id``, ``model_uri``, ``metrics``, ``improvements``, ``rows`` …; ``reused`` when an
        earlier try of the job had got to its end.

    Raises:
        TrainingError: Data, model or job are not what they should be.
        UnavailableError: S3 or MLflow does not answer.
    """
    if not job.dry_run:
        import mlflow

        mlflow.set_tracking_uri(job.tracking_uri)
        mlflow.set_registry_uri(job.tracking_uri)
        found = find_result(job)
        if found:
            tell(f"an earlier try finished MLflow run {found['run_id']}; nothing to do")
            return {**found, "reused": True}
    with tempfile.TemporaryDirectory(prefix="slipway-train-") as folder:
        workdir = Path(folder)
        retrainer = make_retrainer(job, ObjectReader(job.data_format, job.s3_endpoint_url, job.region), workdir)
        try:
            return _train(job, retrainer, workdir)
        finally:
            retrainer.close()


def _train(job: Job, retrainer: Retrainer[Any], workdir: Path) -> dict[str, Any]:
    saved = fetch(job.champion, workdir / "champion") if job.champion else None
    template = None if saved else retrainer.template()
    features = saved.features if saved else retrainer.template_features()
    tell(f"{len(features)} features, target {job.target}, {len(job.objects)} objects")
    split = retrainer.load(features)
    tell(
        f"{split.train_rows:,} rows train ({show(split.bounds.first)} to {show(split.bounds.cutoff)}), "
        f"{split.holdout_rows:,} judge (to {show(split.bounds.last)}); classes {split.classes or 'none'}"
    )
    champion = retrainer.open(saved) if saved else None
    estimator = retrainer.unfit(saved, champion) if saved else Estimator(template, "template")
    for loss in estimator.losses:
        tell(f"not recovered from the champion: {loss}")
    names = list(features)
    fitted = _fit(retrainer, estimator, split, names)
    challenger = _checked(retrainer.predict(fitted, split, names), "the new model")
    before = _checked(retrainer.predict(champion, split, names), "the champion") if champion is not None else None
    result = _result(job, split, estimator, challenger, before)
    result["slices"] = _slices(job, retrainer, split, challenger)
    result["importance"] = importance(job, retrainer, fitted, split, names)
    for name, value in result["metrics"]["candidate"].items():
        tell(f"{name}: {value:.6g}" + (f", champion {result['metrics']['champion'][name]:.6g}" if before else ""))
    return result if job.dry_run else _log(job, retrainer, fitted, estimator, saved, split, names, result)


def _fit(retrainer: Retrainer[Any], estimator: Estimator, split: Split[Any], names: Sequence[str]) -> Any:
    tell(f"fitting the estimator of the {estimator.origin}")
    fitted = retrainer.fit(estimator.unfitted, split, names)
    tell("fitted")
    return fitted


def _checked(predictions: Predictions, whose: str) -> Predictions:
    if not len(predictions):
        raise BadDataError(f"{whose} answers none of the held-out rows; are their categories unknown to it?")
    if not np.isfinite(predictions.predicted).all():
        raise BadDataError(f"{whose} answers with something that is not a number")
    return predictions


def _result(
    job: Job, split: Split[Any], estimator: Estimator, challenger: Predictions, champion: Predictions | None
) -> dict[str, Any]:
    improvements = []
    for metric, confidence_pct in job.improvements if champion else ():
        if metric in METRICS[job.task]:
            found = paired_interval(
                job.task, metric, challenger, champion, confidence_pct=confidence_pct, seed=job.seed
            )
            improvements.append({"metric": metric, "confidence_pct": confidence_pct, **asdict(found)})
    found_intervals = intervals(job.task, challenger, seed=job.seed)
    return {
        "run_id": None,
        "model_uri": None,
        "reused": False,
        "metrics": {
            "candidate": measure(job.task, challenger),
            "champion": measure(job.task, champion) if champion else {},
        },
        "intervals": {name: [each.low, each.high] for name, each in found_intervals.items()},
        "improvements": improvements,
        "rows": {"train": split.train_rows, "holdout": split.holdout_rows},
        "classes": split.classes,
        "window": {
            "first": show(split.bounds.first),
            "cutoff": show(split.bounds.cutoff),
            "last": show(split.bounds.last),
        },
        "champion_version": job.champion.version if job.champion else None,
        "estimator": estimator.origin,
        "losses": list(estimator.losses),
        "data_digest": data_digest(job),
        "objects": len(job.objects),
    }


def _slices(job: Job, retrainer: Retrainer[Any], split: Split[Any], predictions: Predictions) -> dict[str, Any]:
    """Metrics by value of each slice column, of values with enough rows."""
    found: dict[str, Any] = {}
    for column in job.slices:
        values = np.asarray(retrainer.slice_values(split, column)).astype(str)
        names, counts = np.unique(values, return_counts=True)
        common = [name for _, name in sorted(zip(-counts, names, strict=True)) if (values == name).sum() >= 1]
        for name in common[:_MAX_SLICES]:
            rows = np.flatnonzero(values == name)
            if len(rows) >= _MIN_SLICE_ROWS:
                found[f"{column}={name}"] = {"rows": len(rows), **measure(job.task, predictions.take(rows))}
    return found


def _log(
    job: Job,
    retrainer: Retrainer[Any],
    fitted: Any,
    estimator: Estimator,
    saved: SavedModel | None,
    split: Split[Any],
    names: Sequence[str],
    result: dict[str, Any],
) -> dict[str, Any]:
    import mlflow

    with recorded(job) as run:
        candidate, champion = result["metrics"]["candidate"], result["metrics"]["champion"]
        mlflow.log_metrics({name: value for name, value in candidate.items() if np.isfinite(value)})
        mlflow.log_metrics({f"champion.{name}": value for name, value in champion.items() if np.isfinite(value)})
        mlflow.log_metrics({f"rows.{name}": count for name, count in result["rows"].items()})
        mlflow.log_text("\n".join(installed()) + "\n", "slipway/environment.txt")
        mlflow.log_text(report_html(job, result), "slipway/report.html")
        mlflow.log_dict(result["importance"], "slipway/importance.json")
        info = retrainer.log(fitted, estimator.unfitted, saved, retrainer.example(split, names))
        retrainer.beside(info, estimator.unfitted, split, names)
        answered = functools.partial(retrainer.trained_rows, fitted, info, split, names)
        done = {
            **result,
            "baseline": log_baseline(job, answered, split.bounds, info.model_id),
            "run_id": run.info.run_id,
            "model_uri": info.model_uri,
            "seconds": round(elapsed_seconds(), 1),
        }
        mlflow.log_dict(done, RESULT)
    tell(f"logged MLflow run {run.info.run_id}")
    return done
