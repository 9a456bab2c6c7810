"""Fit → save in one process, load → unfit → refit in another: the same outputs, or a loss that is named."""

from __future__ import annotations

import importlib
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
from estimator_table import PAGE, table_page, table_row

pytestmark = [pytest.mark.spark, pytest.mark.long]
HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    out = tmp_path_factory.mktemp("fitted")
    done = subprocess.run([sys.executable, HERE / "fit_and_save.py", out], capture_output=True, text=True, cwd=HERE)
    assert done.returncode == 0, done.stderr[-4000:]
    return out


@pytest.fixture(scope="module")
def spark(tmp_path_factory):
    from slipway_trainer.spark.session import start_session

    session = start_session("refit", cache_dir=tmp_path_factory.mktemp("java"))
    yield session
    session.stop()


@pytest.fixture(scope="module")
def module():
    sys.path.insert(0, str(HERE))
    try:
        yield importlib.import_module("estimator_cases")
    finally:
        sys.path.remove(str(HERE))


def test_every_estimator_of_pyspark_has_a_case(spark, module):
    import inspect

    from pyspark.ml import Estimator

    covered = {type(make()).__name__ for make in module.cases().values()}
    found = set()
    for name in ("classification", "clustering", "feature", "fpm", "recommendation", "regression", "tuning"):
        members = inspect.getmembers(importlib.import_module(f"pyspark.ml.{name}"), inspect.isclass)
        found |= {
            n
            for n, c in members
            if issubclass(c, Estimator)
            and c.__module__ == f"pyspark.ml.{name}"
            and not n.startswith("_")
            and hasattr(c, "_java_obj") is False
            and not inspect.isabstract(c)
        }
    abstract = {"Classifier", "ProbabilisticClassifier", "Regressor", "JavaClassifier"}
    assert found - covered - abstract == set()


def test_refits_equal_the_originals_and_the_page_says_so(fitted, spark, module):
    from slipway_trainer.spark.unfit import unfit

    data = module.make_data(spark)
    answers = json.loads((fitted / "answers.json").read_text())
    rows, wrong = [], {}
    for name in module.cases():
        package, _, class_name = answers[name]["class"].rpartition(".")
        model = getattr(importlib.import_module(package), class_name).load(str(fitted / "models" / name))
        unfitted = unfit(model)
        refitted = unfitted.estimator.fit(data)
        difference = _difference(answers[name]["outputs"], module.outputs(refitted, data))
        allowed, why = module.KNOWN_DIFFERENCES.get(name, (1e-9, ""))
        rows.append(table_row(name, class_name, difference, [str(loss) for loss in unfitted.losses], why))
        if not difference <= allowed:
            wrong[name] = difference
        if name in module.KNOWN_DIFFERENCES and "not in a fixed order" not in why:
            assert unfitted.losses, f"{name} may differ, so unfit must say what is lost"
    assert wrong == {}
    page = table_page(rows)
    if os.environ.get("SLIPWAY_WRITE_DOCS"):
        PAGE.write_text(page, encoding="utf-8")
    if PAGE.exists():
        assert PAGE.read_text(encoding="utf-8") == page, "SLIPWAY_WRITE_DOCS=1 writes the page again"


def _difference(left, right) -> float:
    if len(left) != len(right):
        return math.inf
    largest = 0.0
    for a, b in zip(left, right, strict=True):
        if len(a) != len(b):
            return math.inf
        largest = max([largest, *(abs(x - y) for x, y in zip(a, b, strict=True))])
    return largest


def test_a_model_of_another_library_is_refused_by_name():
    from pyspark.ml import Model

    from slipway_trainer.spark.unfit import UnfitError, unfit

    class TheirModel(Model):
        def _transform(self, dataset):
            return dataset

    with pytest.raises(UnfitError, match="TheirModel is a fitted model"):
        unfit(TheirModel())
