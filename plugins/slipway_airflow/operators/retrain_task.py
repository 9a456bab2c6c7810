"""What the tasks of a retraining have in common: the run's documents, the champion, the trainer's environment."""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from airflow.providers.amazon.aws.utils.mixins import aws_template_fields

from slipway.errors import InvalidInputError, InvalidParamsError, ModelNotFoundError
from slipway.registry import ResolvedModel, resolve_model_version, s3_text_reader
from slipway.spec import project_dir
from slipway.training.landing import LandingStore
from slipway.training.overrides import RetrainOverrides
from slipway.training.process import TrainerProcess
from slipway.training.store import RetrainStore
from slipway_airflow.hooks.mlflow_registry import MlflowRegistryHook
from slipway_airflow.operators.service import ServiceOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

    from slipway.spec.retrain import RetrainSpec


PREPARED = "prepared.json"


class RetrainTaskOperator(ServiceOperator):
    """Base of the operators of ``<service>.retrain``.

    :param mlflow_conn_id: The Airflow connection of MLflow. (templated, default: mlflow_default)
    :param spec: The service; its spec has a section ``retrain``.
    :param platform: The installation.
    :param bucket_conn_id: The Airflow connection of the artifact bucket; ``aws_conn_id`` when None. (templated)
    :param aws_conn_id: The Airflow connection that may read the data. (templated, default: aws_default)
    :param region_name: AWS region; the connection's when None. (templated)
    :param verify: Whether to verify TLS certificates, or the path of a CA bundle. (templated)
    :param botocore_config: Configuration of the botocore clients.
    """

    template_fields = aws_template_fields("bucket_conn_id", "mlflow_conn_id")

    def __init__(self, *, mlflow_conn_id: str = MlflowRegistryHook.default_conn_name, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.mlflow_conn_id = mlflow_conn_id
        self._process: TrainerProcess | None = None

    @property
    def retrain(self) -> RetrainSpec:
        """The spec's section."""
        if self.spec.retrain is None:
            raise InvalidInputError(f"{self.spec.name} has no section retrain")
        return self.spec.retrain

    @property
    def data_uri(self) -> str:
        """The folder of the data: the team's own, or where the rows of a table are landed."""
        return self.retrain.data.s3 or f"s3://{self.bucket.name}/{self.landing.prefix}"

    @cached_property
    def registry(self) -> MlflowRegistryHook:
        """MLflow."""
        return MlflowRegistryHook(self.mlflow_conn_id)

    @cached_property
    def store(self) -> RetrainStore:
        """The documents of this service's retrainings."""
        return RetrainStore(self.bucket.s3, self.bucket.name, self.spec.name)

    @cached_property
    def landing(self) -> LandingStore:
        """What was landed of the table that the service's rows come from."""
        return LandingStore(self.bucket.s3, self.bucket.name, self.spec.name)

    def overrides(self, context: Context) -> RetrainOverrides:
        """What this run does differently.

        :raises InvalidParamsError: An override is not acceptable.
        """
        try:
            return RetrainOverrides.model_validate(context["params"].get("overrides") or {})
        except ValueError as error:
            raise InvalidParamsError(f"overrides: {error}") from error

    def champion(self) -> ResolvedModel | None:
        """The model version under the alias ``champion``; None before the first."""
        try:
            return resolve_model_version(
                self.registry.client,
                self.spec.model,
                "champion",
                read_text=s3_text_reader(self.hook.client("s3")),
                allow_missing_signature=True,
            )
        except ModelNotFoundError:
            return None

    def run_trainer(self, command: str, job: dict[str, Any]) -> dict[str, Any]:
        """Run the trainer; its lines go to this task's log.

        :param command: ``train`` or ``validate``.
        :param job: The job document.
        """
        with TemporaryDirectory(prefix="slipway-retrain-") as folder:
            self._process = TrainerProcess(command, job, Path(folder), self._environment())
            return self._process.run(lambda line: self.log.info("%s", line))

    def on_kill(self) -> None:
        """End the trainer with the task."""
        if self._process:
            self._process.kill()

    def job_places(self) -> dict[str, Any]:
        """Where the trainer finds MLflow and S3: arguments of ``make_job``."""
        return {
            "data_bucket": self.data_uri.removeprefix("s3://").partition("/")[0],
            "tracking_uri": self.registry.tracking_uri,
            "s3_endpoint_url": self.hook.endpoint_url("s3"),
            "region": self.hook.conn_region_name,
        }

    def prepared(self, run_id: str) -> dict[str, dict[str, Any]]:
        """What ``prepare`` made of the run's objects, by key: what to read in their place, or a ``problem``.

        :param run_id: The DAG run.
        """
        found = (self.store.read(run_id, PREPARED) or {"objects": {}})["objects"]
        return {
            key: entry
            if "problem" in entry
            else {**_without_key(entry), "uri": f"s3://{self.bucket.name}/{entry['key']}"}
            for key, entry in found.items()
        }

    def own_code(self) -> dict[str, Any]:
        """The service's own template and retrainer as ``/path/file.py:name``: arguments of ``make_job``."""
        folder = project_dir().resolve() / "retrainers"
        named = {"template": self.retrain.template, "retrainer": self.retrain.retrainer}
        return {kind: str(folder / name) if name else None for kind, name in named.items()}

    def suite(self) -> dict[str, Any] | None:
        """The service's expectations; None when it has none."""
        path = project_dir() / "expectations" / f"{self.spec.name}.json"
        if not path.exists():
            return None
        try:
            found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise InvalidInputError(f"{path} is no JSON: {error}") from error
        return found

    def _environment(self) -> dict[str, str]:
        """Credentials of the connections, for the trainer's process alone."""
        endpoint, connection = self.hook.endpoint_url("s3"), self.registry.connection
        found = self.hook.get_credentials()
        environment = {
            "AWS_ACCESS_KEY_ID": found.access_key,
            "AWS_SECRET_ACCESS_KEY": found.secret_key,
            "AWS_SESSION_TOKEN": found.token,
            "AWS_DEFAULT_REGION": self.hook.conn_region_name,
            "AWS_ENDPOINT_URL_S3": endpoint,
            "MLFLOW_S3_ENDPOINT_URL": endpoint,
            "MLFLOW_TRACKING_USERNAME": connection.login,
            "MLFLOW_TRACKING_PASSWORD": connection.password,
            "MLFLOW_TRACKING_TOKEN": connection.extra_dejson.get("token"),
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
            "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
            "GX_ANALYTICS_ENABLED": "false",
        }
        return {name: value for name, value in environment.items() if value}


def _without_key(record: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name != "key"}
