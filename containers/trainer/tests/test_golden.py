"""Golden answers: a document of the deployment's form, with the model's own answers, odd rows where it takes them."""

from __future__ import annotations

import mlflow
import pandas as pd
import pytest
from mlflow.models import infer_signature
from trainer_rows import FEATURES, make_rows

from slipway_trainer.problem import TrainingError
from slipway_trainer.spark.golden import UNKNOWN, evenly, golden_document


class Weigher(mlflow.pyfunc.PythonModel):
    """Adds up what it is given; ``strict`` ones refuse texts that they do not know, broken ones refuse everything."""

    def __init__(self, mood: str) -> None:
        self.mood = mood

    def predict(self, context, model_input, params=None):
        if self.mood == "broken" or (self.mood == "strict" and (model_input["colour"] == UNKNOWN).any()):
            raise ValueError("no")
        return (model_input["size"].fillna(0.5) + model_input["weight"].fillna(0.25)).tolist()


@pytest.fixture
def rows() -> pd.DataFrame:
    return make_rows(500, seed=3)[FEATURES]


@pytest.fixture
def ask(rows, tmp_path):
    def load(mood: str):
        signature = infer_signature(rows, [0.5])
        path = str(tmp_path / mood)
        mlflow.pyfunc.save_model(path, python_model=Weigher(mood), signature=signature, pip_requirements=["pandas"])
        return golden_document(mlflow.pyfunc.load_model(path), rows, FEATURES)

    return load


def test_the_document_holds_the_models_answers_also_to_odd_rows(ask):
    found = ask("kind")
    assert found["columns"] == FEATURES
    assert len(found["rows"]) == len(found["answers"]) == 55
    assert [row[0] for row in found["rows"]].count(UNKNOWN) == 5
    assert [row[1] for row in found["rows"]].count(None) == 5
    for (_, size, weight), answer in zip(found["rows"], found["answers"], strict=True):
        assert answer == pytest.approx(
            (0.5 if size is None else size) + (0.25 if weight is None else weight), abs=1e-12
        )
    assert found["json"]["dataframe_split"]["data"] == found["rows"]
    assert len(found["csv"].splitlines()) - 1 == len(found["csv_answers"]) == 40
    assert found["csv_answers"] == pytest.approx(found["answers"][:40], abs=1e-12)


def test_odd_rows_that_the_model_refuses_are_left_out(ask):
    found = ask("strict")
    assert len(found["rows"]) == len(found["answers"]) == 40
    assert all(row[0] != UNKNOWN for row in found["rows"])


def test_a_model_that_answers_nothing_is_refused(ask):
    with pytest.raises(TrainingError, match="answers none of the held-out rows"):
        ask("broken")


def test_rows_are_spread_over_all_and_complete():
    frame = pd.DataFrame({"a": [float(n) for n in range(100)]})
    frame.loc[10:19, "a"] = None
    chosen = evenly(frame, 9)["a"].tolist()
    assert chosen == [0.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0]
    assert len(evenly(frame.head(3), 9)) == 3
