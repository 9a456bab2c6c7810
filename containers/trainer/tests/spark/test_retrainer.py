"""Spark: the unfitted champion is fitted again; what is logged brings the unfitted pipeline for the next time."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from trainer_rows import FEATURES, make_rows, run_trainer

from slipway_trainer.job import Call, Champion, DataObject, Window
from slipway_trainer.objects import ObjectReader
from slipway_trainer.problem import BadDataError

pytestmark = [pytest.mark.spark, pytest.mark.long, pytest.mark.timeout(600)]

# Spark 4.3 takes ``python -c`` for a doctest and ends the process, so the champion is made by a file.
HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def spark_champion(tmp_path_factory):
    folder = tmp_path_factory.mktemp("spark")
    make_rows(300, seed=9).to_parquet(folder / "rows.parquet")
    done = subprocess.run(
        [sys.executable, HERE / "save_champion.py", folder / "rows.parquet", folder],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return Champion(1, str(folder / "model"))


def test_the_refit_is_judged_beside_the_champion(job, spark_champion, tmp_path):
    spark_job = replace(
        job,
        engine="spark",
        champion=spark_champion,
        spark={"spark.master": "local[2]"},
        hyperparameters={"maxIter": 6},
    )
    code, result, output = run_trainer("train", spark_job, tmp_path / "train")
    assert code == 0, (result, output[-3000:])
    assert sum(result["rows"].values()) == 1400
    assert abs(result["rows"]["holdout"] - 280) <= 2  # the cutoff is an approximate percentile
    assert result["estimator"] == "champion"
    assert result["losses"] == []
    assert 0.7 < result["metrics"]["candidate"]["areaUnderROC"] < 1.0
    assert result["metrics"]["champion"]["areaUnderROC"] != result["metrics"]["candidate"]["areaUnderROC"]
    assert result["improvements"][0]["low"] < result["improvements"][0]["high"]
    assert "stage GBTClassifier" in output
    assert set(FEATURES) == {"colour", "size", "weight"}


def test_the_first_version_comes_from_a_template_and_brings_what_the_second_and_the_deployment_need(job, tmp_path):
    from mlflow import MlflowClient
    from mlflow.artifacts import download_artifacts

    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    MlflowClient(uri).create_experiment("parcels", artifact_location=(tmp_path / "artifacts").as_uri())
    first = replace(
        job,
        engine="spark",
        champion=None,
        template=f"{HERE / 'pipelines.py'}:make",
        spark={"spark.master": "local[2]"},
        tracking_uri=uri,
        experiment="parcels",
        dry_run=False,
        baseline=Call("slipway.drift.training:baseline_file", {"window_hours": 72.0}),
    )
    code, result, output = run_trainer("train", first, tmp_path / "first")
    assert code == 0, (result, output[-3000:])
    assert (result["estimator"], result["champion_version"]) == ("template", None)
    model_id = result["model_uri"].removeprefix("models:/")
    place = Path(MlflowClient(uri).get_logged_model(model_id).artifact_location.removeprefix("file://"))
    golden = json.loads((place / "golden.json").read_text())
    assert len(golden["rows"]) == len(golden["answers"]) > 40
    assert set(golden["answers"]) == {0.0, 1.0}
    assert (place / "estimator" / "metadata").is_dir()
    assert result["baseline"] == "slipway/baseline.json"
    baseline = json.loads((place / "slipway" / "baseline.json").read_text())
    # 1,400 hours of January and February, of which a fifth judges; parts have at least 200 rows.
    assert baseline["origin"] == {"rows": result["rows"]["train"], "chunks": 6, "source": "training"}
    assert [name for name, _ in baseline["schema"]["inputs"]] == FEATURES
    assert baseline["schema"]["outputs"] == [["prediction", "double"]]
    answers = baseline["profile"]["columns"]["prediction"]["moments"]
    assert (answers["minimum"], answers["maximum"]) == (0.0, 1.0)

    champion = Champion(1, download_artifacts(artifact_uri=str(place), dst_path=str(tmp_path / "copy")))
    again = replace(first, champion=champion, template=None, job_id="parcels/second", dry_run=True)
    code, result, output = run_trainer("train", again, tmp_path / "second")
    assert code == 0, (result, output[-3000:])
    assert result["estimator"] == "sidecar"
    # The same rows and the same pipeline: the same model.
    assert result["metrics"]["candidate"] == pytest.approx(result["metrics"]["champion"], rel=1e-6)


def test_only_rows_of_the_window_must_fit_the_signature(job, tmp_path):
    from slipway_trainer.spark.retrainer import SparkRetrainer

    days = "".join(f"{n},2024-01-0{n},{n % 2}\n" for n in range(1, 6))
    (tmp_path / "rows.csv").write_text("amount,at,late\n" + days + "12.5,2024-01-06,0\n0.99,2024-01-07,1\n")
    objects = (DataObject(str(tmp_path / "rows.csv")),)
    given = replace(job, engine="spark", champion=None, objects=objects, slices=(), spark={"spark.master": "local[1]"})
    retrainer = SparkRetrainer(given, ObjectReader(), tmp_path)
    try:
        with pytest.raises(BadDataError, match=r"column 'amount' holds 0\.99, which is no whole number"):
            retrainer.load({"amount": "long"})
        retrainer.job = replace(given, window=Window(until="2024-01-06"))
        split = retrainer.load({"amount": "long"})
        sides = [split.train.collect(), split.holdout.collect()]
        assert sorted(row["amount"] for side in sides for row in side) == [1, 2, 3, 4, 5]
        assert dict(split.train.dtypes)["amount"] == "bigint"
        assert split.train_rows + split.holdout_rows == 5
    finally:
        retrainer.close()
