"""Fit the champion's pipeline again on the window, and judge both on the same held-out rows."""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowSkipException

from slipway.endpoints.requests import Account
from slipway.errors import SlipwayError
from slipway.images.cache import default_cache_dir
from slipway.spec import project_dir
from slipway.training.emr_job_run import emr_order
from slipway.training.emr_serverless import EmrServerlessTraining
from slipway.training.job import make_job
from slipway.training.own_code import own_files
from slipway.training.remote import POLL_SECONDS, require_reachable_mlflow, see_through
from slipway.training.sagemaker_job import SageMakerTraining
from slipway.training.store import from_record
from slipway.training.training_job_request import CODE_CHANNEL, job_order
from slipway_airflow.links.job_run import JobRunLogsLink
from slipway_airflow.links.training_job import TrainingJobLink
from slipway_airflow.operators.data_validate import VALIDATION
from slipway_airflow.operators.retrain_task import RetrainTaskOperator
from slipway_airflow.sensors.new_data import BATCH
from slipway_airflow.task_run import TaskRun

if TYPE_CHECKING:
    from pathlib import Path

    from airflow.sdk import Context

    from slipway.images.progress import Progress
    from slipway.spec.compute import ComputeSpec
    from slipway.training.remote import RemoteTraining
    from slipway.training.watermark import S3Object

RESULT = "result.json"


class RetrainOperator(RetrainTaskOperator):
    """Run the trainer with the engine that the spec names: in a process of its own, or where ``retrain.compute`` says.

    Killing the task ends the training. A task that runs again after the training was logged finds its MLflow run and
    takes that. A training that runs elsewhere goes on when the worker dies, and the next try finds it.

    :param evaluate_only: Train and evaluate, log nothing, and end here. (templated, default: False)
    :param poll_seconds: Time in seconds between looks at a training that runs elsewhere. (default: 15)
    :param mlflow_conn_id: The Airflow connection of MLflow. (templated, default: mlflow_default)
    :param spec: The service.
    :param platform: The installation.
    :return: ``run_id`` and ``model_uri`` in MLflow, ``metrics``, ``improvements``, ``rows``.
    """

    template_fields = (*RetrainTaskOperator.template_fields, "evaluate_only")
    operator_extra_links = (TrainingJobLink(), JobRunLogsLink())

    def __init__(self, *, evaluate_only: bool | str = False, poll_seconds: float = POLL_SECONDS, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.evaluate_only = evaluate_only
        self.poll_seconds = poll_seconds
        self._remote: RemoteTraining | None = None

    def execute(self, context: Context) -> dict[str, Any]:
        """Train."""
        run_id, dry_run = context["ti"].run_id, str(self.evaluate_only).lower() == "true"
        found = self.store.read(run_id, RESULT)
        if found:
            self.log.info("This run's training was logged before, as MLflow run %s.", found["run_id"])
            return self._kept(found)
        prepared = self.prepared(run_id)
        objects = self._objects(run_id, prepared)
        if not objects:
            raise AirflowSkipException("No object is left to train on.")
        compute = self.retrain.compute
        if compute:
            self._require_reachable_mlflow(compute)
        job = make_job(
            self.spec,
            self.retrain,
            run_id=run_id,
            objects=objects,
            champion=self.champion(),
            overrides=self.overrides(context),
            prepared=prepared,
            dry_run=dry_run,
            **(self._sent_code() if compute else self.own_code()),
            **self.job_places(),
        )
        result = self._run_elsewhere(context, compute, job) if compute else self.run_trainer("train", job)
        if dry_run:
            raise AirflowSkipException(f"Dry run: nothing is registered. {result['metrics']}")
        self.store.write(run_id, RESULT, result)
        return self._kept(result)

    def on_kill(self) -> None:
        """End the training with the task, wherever it runs."""
        try:
            if self._remote:
                self._remote.stop()
        except SlipwayError as error:
            self.log.error("The training goes on: %s", error)
        super().on_kill()

    def _run_elsewhere(self, context: Context, compute: ComputeSpec, job: dict[str, Any]) -> dict[str, Any]:
        """Run the trainer where the spec says; its lines go to this task's log."""
        run = TaskRun.of(context)
        given: dict[str, Any] = {
            "run_id": run.run_id,
            "document": job,
            "code": own_files(self._own_folder, [self.retrain.template, self.retrain.retrainer]),
            "place": f"s3://{self.bucket.name}/{self.store.key(run.run_id, 'training')}",
        }
        training = self._training(compute, given)
        self._remote = training
        return see_through(
            training,
            lambda line: self.log.info("%s", line),
            poll_seconds=self.poll_seconds,
            on_start=lambda: self._started(context, run, training),
        )

    def _training(self, compute: ComputeSpec, given: dict[str, Any]) -> SageMakerTraining | EmrServerlessTraining:
        account = Account(self.hook.account_id, self.hook.conn_region_name)
        if compute.emr_serverless:
            ordered = emr_order(self.spec, self.platform, account, **given)
            return EmrServerlessTraining(self.hook.client("emr-serverless"), self.bucket.s3, ordered)
        order = job_order(self.spec, self.platform, account, **given, image=self.trainer_image(compute))
        return SageMakerTraining(self.hook.client("sagemaker"), self.bucket.s3, self.hook.client("logs"), order)

    def _started(self, context: Context, run: TaskRun, training: SageMakerTraining | EmrServerlessTraining) -> None:
        """Note what was begun, or found, and lead to it."""
        if isinstance(training, EmrServerlessTraining):
            application, job_run = training.job_run
            subject, detail = f"job run {job_run}", {"application_id": application, "name": training.name}
            self._link_logs(context, training)
        else:
            subject, detail = f"training job {training.name}", {"image": training.order.image}
            self._link(context, training.name)
        self.bucket.note(self.spec.name, run, "training_started", subject, **detail)

    def trainer_image(self, compute: ComputeSpec) -> str | None:
        """The trainer's image of this installation when the spec names none; built when it is not in ECR."""
        if compute.sagemaker is None or compute.sagemaker.image:
            return None
        from slipway.images.trainer_image import provide_trainer_image

        # The worker's own Python, as a training beside the task has it.
        python = f"{sys.version_info.major}.{sys.version_info.minor}"
        cache = default_cache_dir() / "images"
        built = provide_trainer_image(
            partial(self.hook.client, "ecr"), self.platform, python, cache_dir=cache, on_progress=self._tell
        )
        how = "was there" if built.reused else f"{built.bytes_pushed} bytes pushed"
        self.log.info("Trainer's image %s: %s, %.1f s", built.uri, how, built.seconds)
        return built.uri

    def _tell(self, progress: Progress) -> None:
        if progress.done_bytes == progress.total_bytes:
            self.log.info("%s %s (%d bytes)", progress.step, progress.item, progress.total_bytes)

    def _require_reachable_mlflow(self, compute: ComputeSpec) -> None:
        connection = self.registry.connection
        require_reachable_mlflow(
            self.registry.tracking_uri,
            has_credentials=bool(connection.login or connection.password or connection.extra_dejson.get("token")),
            secret=compute.mlflow_secret,
            aws_endpoint_url=self.hook.endpoint_url("emr-serverless" if compute.emr_serverless else "sagemaker"),
        )

    @property
    def _own_folder(self) -> Path:
        return project_dir().resolve() / "retrainers"

    def _sent_code(self) -> dict[str, Any]:
        """The service's own template and retrainer as the training finds them: arguments of ``make_job``."""
        named = {"template": self.retrain.template, "retrainer": self.retrain.retrainer}
        return {kind: f"channel://{CODE_CHANNEL}/{name}" if name else None for kind, name in named.items()}

    def _link(self, context: Context, job_name: str) -> None:
        TrainingJobLink.persist(
            context=context,
            operator=self,
            region_name=self.hook.conn_region_name,
            aws_partition=self.hook.conn_partition,
            job_name=job_name,
        )

    def _link_logs(self, context: Context, training: EmrServerlessTraining) -> None:
        bucket, _, prefix = training.driver_logs.removeprefix("s3://").partition("/")
        JobRunLogsLink.persist(
            context=context,
            operator=self,
            region_name=self.hook.conn_region_name,
            aws_partition=self.hook.conn_partition,
            bucket_name=bucket,
            prefix=prefix,
        )

    @staticmethod
    def _kept(result: dict[str, Any]) -> dict[str, Any]:
        kept = ("run_id", "model_uri", "metrics", "improvements", "rows", "champion_version", "losses", "window")
        return {name: result[name] for name in kept}

    def _objects(self, run_id: str, prepared: dict[str, dict[str, Any]]) -> list[S3Object]:
        """Known objects and the new ones that passed, oldest first, without what ``prepare`` refuses by now."""
        batch = self.store.read(run_id, BATCH) or {"new": [], "known": []}
        validation = self.store.read(run_id, VALIDATION) or {"objects": []}
        passed = [from_record(entry) for entry in validation["objects"] if entry["passed"]]
        known = [from_record(record) for record in batch["known"]]
        refused = [each for each in known if "problem" in prepared.get(each.key, {})]
        for each in refused:
            self.log.warning("%s is left out, prepare refuses it: %s", each.key, prepared[each.key]["problem"])
        kept = [each for each in (*known, *passed) if each not in refused]
        return sorted(kept, key=lambda each: (each.modified, each.key))
