"""Small models that the tests serve, made anew in a temporary folder."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

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


def save_slow_loader(folder: Path, seconds: float) -> Path:
    """Save a model that takes a given time to load."""
    import mlflow

    class SlowLoader(mlflow.pyfunc.PythonModel):
        def load_context(self, context):
            time.sleep(seconds)

        def predict(self, context, model_input, params=None):
            return [0.0] * len(model_input)

    mlflow.pyfunc.save_model(folder, python_model=SlowLoader(), pip_requirements=["numpy"])
    return folder


def save_quitter(folder: Path) -> Path:
    """Save a model that ends the interpreter while it loads."""
    import mlflow

    class Quitter(mlflow.pyfunc.PythonModel):
        def load_context(self, context):
            raise SystemExit(1)

        def predict(self, context, model_input, params=None):
            return [0.0] * len(model_input)

    mlflow.pyfunc.save_model(folder, python_model=Quitter(), pip_requirements=["numpy"])
    return folder


MIXED_COLUMNS = ["amount", "ratio", "count", "small", "flag", "city"]


def save_mixed(folder: Path) -> Path:
    """Save a scikit-learn pipeline over columns of every plain type, one of them optional."""
    import mlflow
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema
    from sklearn.compose import ColumnTransformer
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    generator = np.random.default_rng(3)
    size = 300
    frame = pd.DataFrame(
        {
            "amount": generator.normal(scale=100, size=size),
            "ratio": generator.random(size).astype(np.float32),
            "count": generator.integers(0, 50, size),
            "small": generator.integers(0, 5, size).astype(np.int32),
            "flag": generator.random(size) < 0.5,
            "city": generator.choice(["Bern", "Oslo", "Rome"], size),
        }
    )
    target = frame["amount"] + frame["count"] * frame["small"] + 50 * (frame["city"] == "Oslo")
    numbers = ["amount", "ratio", "count", "small", "flag"]
    columns = ColumnTransformer(
        [("numbers", SimpleImputer(), numbers), ("city", OneHotEncoder(handle_unknown="ignore"), ["city"])]
    )
    model = make_pipeline(columns, RandomForestRegressor(20, max_depth=6, random_state=0)).fit(frame, target)
    types = ["double", "float", "long", "integer", "boolean", "string"]
    schema = Schema(
        [ColSpec(kind, name, required=name != "ratio") for kind, name in zip(types, MIXED_COLUMNS, strict=True)]
    )
    mlflow.sklearn.save_model(
        model,
        folder,
        signature=ModelSignature(inputs=schema, outputs=Schema([ColSpec("double")])),
        pip_requirements=["scikit-learn"],
        serialization_format="cloudpickle",
    )
    return folder


def save_tensor(folder: Path) -> Path:
    """Save a classifier that was trained on an array."""
    import mlflow
    from mlflow.models import infer_signature
    from sklearn.ensemble import GradientBoostingClassifier

    rows = np.random.default_rng(4).normal(size=(200, 3))
    model = GradientBoostingClassifier(n_estimators=10, random_state=0).fit(rows, rows.sum(axis=1) > 0)
    mlflow.sklearn.save_model(
        model,
        folder,
        signature=infer_signature(rows, model.predict(rows)),
        input_example=rows[:2],
        pip_requirements=["scikit-learn"],
        serialization_format="cloudpickle",
        pyfunc_predict_fn="predict_proba",
    )
    return folder


def save_fitted(folder: Path, model: Any, rows: Any, **options: Any) -> Path:
    """Save a fitted scikit-learn model whose signature is that of its training rows."""
    import mlflow
    from mlflow.models import infer_signature

    mlflow.sklearn.save_model(
        model,
        folder,
        signature=infer_signature(rows, model.predict(rows)),
        input_example=rows[:3],
        pip_requirements=["scikit-learn"],
        serialization_format="cloudpickle",
        **options,
    )
    return folder


ECHO_CODE = """
import mlflow
import pandas as pd


class Echo(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        if isinstance(model_input, pd.DataFrame):
            seen = {name: [str(model_input[name].dtype), [repr(v) for v in model_input[name]]] for name in model_input}
        else:
            seen = repr(model_input)
        return {"seen": seen, "params": repr(params)}


mlflow.models.set_model(Echo())
"""


def save_echo(folder: Path, *, signature: bool = True) -> Path:
    """Save a model that answers with what reached it, for types that only MLflow's own code converts."""
    import mlflow
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema
    from mlflow.types.schema import Array, DataType, Map, Object, Property

    folder.parent.mkdir(parents=True, exist_ok=True)
    code = folder.parent / f"{folder.name}_echo.py"
    code.write_text(ECHO_CODE)
    point = Object([Property("x", DataType.double), Property("y", DataType.double, required=False)])
    schema = Schema(
        [
            ColSpec("datetime", "when", required=False),
            ColSpec("binary", "blob", required=False),
            ColSpec(Array(DataType.double), "series", required=False),
            ColSpec(point, "point", required=False),
            ColSpec(Map(DataType.long), "counts", required=False),
            ColSpec("string", "name"),
        ]
    )
    parameters = ParamSchema([ParamSpec("top", "long", 3), ParamSpec("scale", "double", 1.0)])
    mlflow.pyfunc.save_model(
        folder,
        python_model=str(code),
        signature=ModelSignature(inputs=schema, params=parameters) if signature else None,
        pip_requirements=["numpy"],
    )
    return folder


def compile_model(model: Path) -> dict[str, object]:
    """Choose the model's engine as the image builder does, in the model's own folder."""
    from slipway_serving.convert.convert import convert

    return convert(model, model)
