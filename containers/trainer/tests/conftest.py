"""A champion, and jobs on local files."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from slipway_trainer.job import Champion, DataObject, Job

sys.path.append(str(Path(__file__).parent))
from trainer_rows import FEATURES, make_rows  # found through the line above


@pytest.fixture(scope="session")
def champion(tmp_path_factory) -> Champion:
    """A scikit-learn pipeline fitted on few rows, saved by MLflow."""
    import mlflow
    from mlflow.models import infer_signature
    from sklearn.compose import ColumnTransformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import OneHotEncoder

    rows = make_rows(60, seed=9)
    columns = ColumnTransformer(
        [("colour", OneHotEncoder(handle_unknown="ignore"), ["colour"])], remainder="passthrough"
    )
    fitted = Pipeline([("columns", columns), ("model", LogisticRegression(C=0.01))]).fit(rows[FEATURES], rows["late"])
    folder = tmp_path_factory.mktemp("champion") / "model"
    mlflow.sklearn.save_model(
        fitted,
        str(folder),
        signature=infer_signature(rows[FEATURES], fitted.predict_proba(rows[FEATURES])),
        pip_requirements=["scikit-learn", "skops", "pandas"],
        pyfunc_predict_fn="predict_proba",
    )
    return Champion(3, str(folder))


@pytest.fixture
def job(tmp_path, champion) -> Job:
    objects = []
    for number, start in enumerate(["2024-01-01", "2024-02-01"]):
        path = tmp_path / f"part-{number}.parquet"
        make_rows(700, start=start, seed=number).to_parquet(path)
        objects.append(DataObject(str(path)))
    return Job(
        service="parcels",
        model="parcels",
        job_id="parcels/manual",
        engine="python",
        objects=tuple(objects),
        champion=champion,
        target="late",
        time_column="at",
        improvements=(("areaUnderROC", 95.0),),
        slices=("colour",),
        dry_run=True,
    )


@pytest.fixture
def with_rows(job, tmp_path):
    """The job with one object made of these rows in place of its own."""

    def make(rows: pd.DataFrame, **changes: Any) -> Job:
        path = tmp_path / "given.parquet"
        rows.to_parquet(path)
        return replace(job, objects=(DataObject(str(path)),), **changes)

    return make
