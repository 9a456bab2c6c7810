"""A service that is retrained for real: a champion in MLflow, rows in S3, and its tasks as Airflow would run them."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
from airflow.sdk.api.datamodels._generated import DagRunType

from slipway.drift.reference import ARTIFACT, Reference, read_reference
from slipway.ledger import Ledger
from slipway.platform import Platform
from slipway.spec import ServiceSpec
from slipway.training.store import RetrainStore
from slipway.training.watermark import Watermark
from slipway_airflow.operators.candidate_register import CandidateRegisterOperator
from slipway_airflow.operators.data_prepare import DataPrepareOperator
from slipway_airflow.operators.data_validate import DataValidateOperator
from slipway_airflow.operators.model_refit import RetrainOperator
from slipway_airflow.sensors.new_data import NewDataSensor
from slipway_airflow.sensors.s3_new_data import S3NewDataSensor
from slipway_airflow.sensors.table_new_data import TableNewDataSensor

FEATURES = ["colour", "size"]
BUCKET = "slipway-123456789012-eu-central-1"
LAKE = "lake"
DEPLOY = {"action": "deploy", "reason": "it is better", "comparisons": [], "mode": "threshold"}
HOLD = {"action": "hold", "reason": "it is worse", "comparisons": [], "mode": "threshold"}


def make_rows(count: int, *, start: str = "2026-01-01", seed: int = 0) -> pd.DataFrame:
    """One row an hour; ``late`` depends on size and colour."""
    random = np.random.default_rng(seed)
    size, colour = random.normal(size=count), random.choice(["red", "green"], count)
    late = (random.random(count) < 1 / (1 + np.exp(-(1.5 * size + (colour == "red"))))).astype(int)
    moments = pd.date_range(start, periods=count, freq="h")
    return pd.DataFrame({"colour": colour.astype(object), "size": size, "at": moments, "late": late})


def retrain_section(name: str, **changes: Any) -> dict[str, Any]:
    """The spec's section ``retrain`` of a service whose rows lie below its own folder of the lake."""
    data = {"s3": f"s3://{LAKE}/{name}/", "settle_seconds": 0}
    return {"data": data, "engine": "python", "target": "late", "time_column": "at", **changes}


@cache
def _logged_champion(tracking_uri: str) -> str:
    """URI of a pipeline that was fitted on few rows, logged once per server."""
    import mlflow
    from mlflow.models import infer_signature
    from sklearn.compose import ColumnTransformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import OneHotEncoder

    rows = make_rows(60, seed=9)
    columns = ColumnTransformer([("hot", OneHotEncoder(handle_unknown="ignore"), ["colour"])], remainder="passthrough")
    fitted = Pipeline([("columns", columns), ("model", LogisticRegression(C=0.01))])
    fitted.fit(rows[FEATURES], rows["late"])
    signature = infer_signature(rows[FEATURES], fitted.predict_proba(rows[FEATURES]))
    mlflow.set_experiment("champions")
    with mlflow.start_run():
        logged = mlflow.sklearn.log_model(
            fitted, name="model", signature=signature, pip_requirements=["scikit-learn", "skops", "pandas"]
        )
    return str(logged.model_uri)


@dataclass
class Retraining:
    """The service, and what is known of it in S3 and MLflow."""

    spec: ServiceSpec
    platform: Platform
    s3: Any
    mlflow: Any

    def put(self, name: str, rows: pd.DataFrame | bytes) -> None:
        """Put an object into the lake: Parquet of the rows, or these bytes."""
        body = rows
        if isinstance(rows, pd.DataFrame):
            file = io.BytesIO()
            rows.to_parquet(file, index=False)
            body = file.getvalue()
        self.s3.put_object(Bucket=LAKE, Key=f"{self.spec.name}/{name}", Body=body)

    def register_champion(self) -> None:
        """Register version 1 under the alias ``champion``."""
        import mlflow

        version = mlflow.register_model(_logged_champion(mlflow.get_tracking_uri()), self.spec.model)
        self.mlflow.set_registered_model_alias(self.spec.model, "champion", version.version)

    def baseline(self, model_uri: str) -> Reference:
        """What was logged beside a model for the monitor."""
        import mlflow

        place = self.mlflow.get_logged_model(model_uri.removeprefix("models:/")).artifact_location
        return read_reference(Path(mlflow.artifacts.download_artifacts(f"{place}/{ARTIFACT}")).read_bytes())

    def task(self, kind: str, **arguments: Any) -> Any:
        """A task of ``<service>.retrain``, made anew as each try makes it."""
        ours = {"spec": self.spec, "platform": self.platform}
        makers: dict[str, Callable[[], Any]] = {
            "await_data": lambda: self._sensor(task_id=kind, **ours, **arguments),
            "prepare": lambda: DataPrepareOperator(task_id=kind, **ours, **arguments),
            "validate_data": lambda: DataValidateOperator(task_id=kind, **ours, **arguments),
            "refit": lambda: RetrainOperator(task_id=kind, **ours, **arguments),
            "register": lambda: CandidateRegisterOperator(
                task_id=kind, verdict=DEPLOY, as_candidate=True, **ours, **arguments
            ),
            "hold": lambda: CandidateRegisterOperator(
                task_id=kind, verdict=HOLD, as_candidate=False, **ours, **arguments
            ),
        }
        return makers[kind]()

    @property
    def _sensor(self) -> type[NewDataSensor]:
        retrain = self.spec.retrain
        return TableNewDataSensor if retrain and retrain.data.jdbc else S3NewDataSensor

    def context(self, task_id: str, run_id: str = "manual__1", **params: Any) -> Any:
        """The part of Airflow's task context that the tasks read."""
        instance = SimpleNamespace(
            dag_id="dag", run_id=run_id, task_id=task_id, id=f"{run_id}/{task_id}", xcom_push=lambda **_: None
        )
        run = SimpleNamespace(conf=params, triggering_user_name="carol", run_type=DagRunType.MANUAL, run_id=run_id)
        return {"ti": instance, "task_instance": instance, "run_id": run_id, "dag_run": run, "params": params}

    def run(self, *kinds: str, run_id: str = "manual__1", **params: Any) -> dict[str, Any]:
        """Run these tasks, one after the other; returns what the last one returns."""
        found: dict[str, Any] = {}
        for kind in kinds:
            found = self.task(kind).execute(self.context(kind, run_id, **params))
        return found

    @property
    def versions(self) -> list[Any]:
        """The registered versions, oldest first."""
        found = self.mlflow.search_model_versions(f"name='{self.spec.model}'")
        return sorted(found, key=lambda each: int(each.version))

    @property
    def finished_runs(self) -> list[Any]:
        """MLflow's runs of the service's trainings that got to their end."""
        experiment = self.mlflow.get_experiment_by_name(f"{self.spec.name}.retrain")
        if experiment is None:
            return []
        return list(self.mlflow.search_runs([experiment.experiment_id], "attributes.status = 'FINISHED'"))

    @property
    def aliases(self) -> dict[str, int]:
        """The model's aliases."""
        found = self.mlflow.get_registered_model(self.spec.model).aliases
        return {name: int(version) for name, version in found.items()}

    @property
    def watermark(self) -> Watermark:
        """What has been dealt with."""
        return RetrainStore(self.s3, BUCKET, self.spec.name).watermark()

    def ledger(self) -> list[str]:
        """Actions, oldest first."""
        return [record.action for record in reversed(Ledger(self.s3, BUCKET).read(self.spec.name))]

    def reasons(self) -> str:
        """What is written beside the quarantined objects."""
        listed = self.s3.list_objects_v2(Bucket=BUCKET, Prefix=f"retrain/{self.spec.name}/quarantine/")
        keys = [each["Key"] for each in listed.get("Contents", []) if each["Key"].endswith("reasons.json")]
        return json.dumps([json.load(self.s3.get_object(Bucket=BUCKET, Key=key)["Body"])["reasons"] for key in keys])
