"""A data scientist's side: train the flights model, log it to MLflow, register it, name it candidate."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import TYPE_CHECKING

from demo import flights
from demo.stage import Stage
from slipway.drift.training import log_baseline

if TYPE_CHECKING:
    import pandas as pd  # type: ignore[import-untyped]
    from sklearn.pipeline import Pipeline

MODEL = "flights-delay"
EXPERIMENT = "flights"
RECIPE_TAG = "demo.recipe"
HELD_OUT_SHARE = 0.1
# Airlines of the deliberately broken model, which refuses flights of all others.
BROKEN = ("UA", "B6", "EV")
_REQUIREMENTS = ("mlflow", "scikit-learn", "skops", "pandas", "numpy")


@dataclass(frozen=True)
class Recipe:
    """All that decides what model comes out.

    Args:
        first_month: First month of 2013 to learn from (1 to 12).
        last_month: Last month, included.
        carriers: Only these airlines' flights, and none else is known afterwards; empty for all.
    """

    first_month: int
    last_month: int
    carriers: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The recipe in words."""
        only = f", only {', '.join(self.carriers)}" if self.carriers else ""
        return f"months {self.first_month} to {self.last_month}{only}"

    def rows(self) -> pd.DataFrame:
        """The flights to learn from."""
        chosen = flights.months(flights.load_flights(), self.first_month, self.last_month)
        return chosen[chosen["carrier"].isin(self.carriers)] if self.carriers else chosen

    def make_pipeline(self) -> Pipeline:
        """The unfitted pipeline."""
        return flights.make_pipeline(unknown="error" if self.carriers else "ignore")

    def digest(self) -> str:
        """Hex of everything that goes in: months, data, columns, library versions."""
        parts = {
            **asdict(self),
            "data": hashlib.sha256(flights.data_file().read_bytes()).hexdigest(),
            "features": flights.FEATURES,
            "pipeline": repr(self.make_pipeline()),
            "requirements": requirements(),
            "baseline": flights.WEEKS_PER_MONTH,
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Registered:
    """A registered version of the flights model."""

    version: int
    run_id: str
    metrics: dict[str, float]
    reused: bool


def requirements() -> list[str]:
    """What the model needs to be served, pinned to what it was trained with."""
    return [f"{name}=={metadata.version(name)}" for name in _REQUIREMENTS]


def train_and_register(stage: Stage, recipe: Recipe, *, alias: str) -> Registered:
    """The model of this recipe as a registered version under the alias.

    A version of the same recipe that is registered already is taken as it is, so that playing again does not
    pile up versions.

    Args:
        stage: The running stack.
        recipe: What to train.
        alias: The alias that shall point at the version.
    """
    registered = find_registered(stage, recipe) or _train(stage, recipe)
    client = stage.mlflow
    if client.get_registered_model(MODEL).aliases.get(alias) != str(registered.version):
        client.set_registered_model_alias(MODEL, alias, str(registered.version))
    return registered


def evaluate(pipeline: Pipeline, rows: pd.DataFrame) -> dict[str, float]:
    """Area under the ROC curve, Brier score and log loss of the chance of being late."""
    from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score

    late, chance = rows[flights.TARGET], pipeline.predict_proba(rows[flights.FEATURES])[:, 1]
    return {
        "areaUnderROC": float(roc_auc_score(late, chance)),
        "brier": float(brier_score_loss(late, chance)),
        "logLoss": float(log_loss(late, chance)),
    }


def find_registered(stage: Stage, recipe: Recipe) -> Registered | None:
    """The version that this recipe made earlier, or None."""
    client = stage.mlflow
    digest = recipe.digest()
    for version in client.search_model_versions(f"name = '{MODEL}'"):
        if version.tags.get(RECIPE_TAG) == digest and version.status == "READY":
            run = client.get_run(str(version.run_id))
            return Registered(int(version.version), run.info.run_id, dict(run.data.metrics), reused=True)
    return None


def _train(stage: Stage, recipe: Recipe) -> Registered:
    _ = stage.mlflow  # from here on the module below works with the stack's server
    import mlflow
    from mlflow.models import infer_signature

    rows = recipe.rows()
    cut = int(len(rows) * (1 - HELD_OUT_SHARE))  # in order of time: the last tenth judges
    metrics = evaluate(_fit(recipe, rows[:cut]), rows[cut:])
    pipeline = _fit(recipe, rows)
    example = rows[flights.FEATURES].sample(20, random_state=0).reset_index(drop=True)

    mlflow.set_experiment(EXPERIMENT)
    with mlflow.start_run(run_name=f"2013 {recipe.text}") as run:
        mlflow.log_params({**asdict(recipe), "rows": len(rows), "late_minutes": flights.LATE_MINUTES})
        mlflow.log_metrics(metrics)
        logged = mlflow.sklearn.log_model(
            pipeline,
            name="model",
            signature=infer_signature(example, pipeline.predict_proba(example)),
            input_example=example,
            pip_requirements=requirements(),
            pyfunc_predict_fn="predict_proba",
        )
        months = recipe.last_month - recipe.first_month + 1
        chunks = round(months * flights.WEEKS_PER_MONTH)
        log_baseline(
            logged.model_id, rows[flights.FEATURES], pipeline.predict_proba(rows[flights.FEATURES]), chunks=chunks
        )
    version = mlflow.register_model(logged.model_uri, MODEL, tags={RECIPE_TAG: recipe.digest()})
    return Registered(int(version.version), run.info.run_id, metrics, reused=False)


def _fit(recipe: Recipe, rows: pd.DataFrame) -> Pipeline:
    return recipe.make_pipeline().fit(rows[flights.FEATURES], rows[flights.TARGET])
