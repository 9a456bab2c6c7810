"""Small models that the tests serve, made anew in a temporary folder."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pandas as pd


def save_linear(folder: Path, columns: int = 4, seed: int = 0) -> Path:
    """Save a logistic regression over double columns ``c0``, ``c1``, …"""
    import mlflow
    from mlflow.models import infer_signature
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    generator = np.random.default_rng(seed)
    frame = pd.DataFrame(generator.normal(size=(200, columns)), columns=[f"c{i}" for i in range(columns)])
    target = (frame.sum(axis=1) + generator.normal(scale=0.5, size=200) > 0).astype(int)
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(frame, target)
    mlflow.sklearn.save_model(
        model,
        folder,
        signature=infer_signature(frame, model.predict(frame)),
        input_example=frame.head(3),
        pip_requirements=["scikit-learn"],
        serialization_format="cloudpickle",
    )
    return folder


def save_sleeper(folder: Path, seconds: float) -> Path:
    """Save a model that takes a given time for each call and returns the sum of its columns."""
    import mlflow
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema

    schema = Schema([ColSpec("double", "a"), ColSpec("double", "b")])
    mlflow.pyfunc.save_model(
        folder,
        python_model=_sleeper(seconds),
        signature=ModelSignature(inputs=schema, outputs=Schema([ColSpec("double")])),
        pip_requirements=["numpy"],
    )
    return folder


def _sleeper(seconds: float):
    import mlflow

    class Sleeper(mlflow.pyfunc.PythonModel):
        def predict(self, context, model_input, params=None):
            time.sleep(seconds if model_input["a"].iloc[0] < 1000 else 60)
            return (model_input["a"] + model_input["b"]).to_numpy()

    return Sleeper()
