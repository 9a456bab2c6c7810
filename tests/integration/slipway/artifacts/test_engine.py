"""The choice of an engine, made where models are loaded: in the sandbox."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import mlflow.sklearn
import numpy as np
import pandas as pd
import pytest
from mlflow.models import infer_signature
from sklearn.linear_model import LogisticRegression

from slipway.artifacts.engine import ENGINE_FILE, choose_engine, pyfunc_engine
from slipway.artifacts.sandbox import Limits, Sandbox, SandboxEnvironment
from slipway.images.serving_app import serving_app_dir

pytestmark = [pytest.mark.integration, pytest.mark.filterwarnings("ignore")]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    frame = pd.DataFrame(np.random.default_rng(1).normal(size=(80, 2)), columns=["a", "b"])
    fitted = LogisticRegression().fit(frame, frame.a + frame.b > 0)
    path = tmp_path_factory.mktemp("engine") / "model"
    signature = infer_signature(frame, fitted.predict(frame))
    mlflow.sklearn.save_model(
        fitted, path, signature=signature, input_example=frame.head(2), pip_requirements=["scikit-learn"]
    )
    return path


@pytest.fixture(scope="module")
def own_environment() -> Sandbox:
    return Sandbox(SandboxEnvironment.at(Path(sys.executable)), Limits(seconds=300))


def test_a_model_is_compiled_and_proven_in_the_sandbox(own_environment: Sandbox, model: Path, tmp_path: Path) -> None:
    choice = choose_engine(own_environment, model, serving_app_dir())
    assert choice.record["engine"] == "native", choice.summary()
    assert choice.record["parity"]["rows"] > 100
    assert set(choice.files) == {ENGINE_FILE, "program.json", "program.npz"}
    assert "engine native" in choice.summary()
    assert not list(model.glob("program*")), "the original's folder was written to"
    choice.write(tmp_path)
    assert json.loads((tmp_path / ENGINE_FILE).read_text()) == choice.record


@pytest.mark.long
def test_the_same_model_gives_the_same_files(own_environment: Sandbox, model: Path) -> None:
    one, other = (choose_engine(own_environment, model, serving_app_dir()) for _ in range(2))
    assert one == other
    assert one.record["engine"] == "native"


def test_a_conversion_that_takes_too_long_leaves_mlflows_own_way(model: Path) -> None:
    hurried = Sandbox(SandboxEnvironment.at(Path(sys.executable)), Limits(seconds=0.5))
    choice = choose_engine(hurried, model, serving_app_dir())
    assert choice.record["engine"] == "pyfunc"
    assert "ran longer than 0.5 s" in choice.record["tried"][0]["reason"]


def test_a_service_can_ask_for_mlflows_own_way() -> None:
    assert pyfunc_engine("the service asks for pyfunc").summary() == (
        "engine pyfunc (native: the service asks for pyfunc)"
    )
