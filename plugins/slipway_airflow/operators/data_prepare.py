"""Rows made fit for training by the service's own function or container."""

from __future__ import annotations

import hashlib
import json
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slipway.errors import ContainerFailedError, InvalidInputError
from slipway.images.cache import default_cache_dir, work_folder
from slipway.images.container_run import ContainerRun, find_image
from slipway.images.ecr import ecr_account
from slipway.spec import project_dir
from slipway.training.job import make_job
from slipway.training.overrides import RetrainOverrides
from slipway.training.prepare_container import OUTPUT, ContainerFolders, unfit_paths
from slipway.training.store import fetch_object, from_record, list_objects, to_record
from slipway_airflow.operators.retrain_task import PREPARED, RetrainTaskOperator
from slipway_airflow.sensors.new_data import BATCH

if TYPE_CHECKING:
    from airflow.sdk import Context

    from slipway.spec.prepare import PrepareSpec
    from slipway.training.watermark import S3Object


class DataPrepareOperator(RetrainTaskOperator):
    """Run ``retrain.prepare`` over each object of the run's batch: a function in the trainer's process, or a container
    on the Docker engine of the worker.

    What it makes of an object is kept by the object and the function's file, or the image and its command: an object is
    prepared once, and all of them again when that changes, so that old and new rows are always prepared alike.
    Validation, training and data manifest read what was prepared; what is new, taken or quarantined goes by the
    objects themselves.

    :param mlflow_conn_id: The Airflow connection of MLflow. (templated, default: mlflow_default)
    :param spec: The service.
    :param platform: The installation.
    :return: ``prepared``, ``reused``, ``refused`` (numbers of objects).
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._container: ContainerRun | None = None

    def execute(self, context: Context) -> dict[str, Any]:
        """Prepare what is not prepared yet."""
        run_id = context["ti"].run_id
        batch = self.store.read(run_id, BATCH) or {"new": [], "known": []}
        objects = [from_record(record) for record in (*batch["known"], *batch["new"])]
        there = self._there()
        missing = [each for each in objects if self._place(each) not in there]
        refused = self._prepare(missing, run_id) if missing else {}
        there = self._there() if missing else there
        found = {each.key: to_record(there[place]) for each in objects if (place := self._place(each)) in there}
        problems = {each.key: {"problem": refused[each.key]} for each in missing if refused.get(each.key)}
        self.store.write(run_id, PREPARED, {"objects": {**found, **problems}})
        return {
            "prepared": len(missing) - len(problems),
            "reused": len(objects) - len(missing),
            "refused": len(problems),
        }

    def on_kill(self) -> None:
        """End the container, or the trainer, with the task."""
        if self._container:
            self._container.kill()
        super().on_kill()

    def _prepare(self, missing: list[S3Object], run_id: str) -> dict[str, str]:
        """Prepare these objects; the reasons of refused ones by key."""
        if self._how.image:
            return self._by_container(missing, self._how.image, run_id)
        entries = self._trained(missing, None)
        return {each.key: entry["problem"] for each, entry in zip(missing, entries, strict=True)}

    def _trained(self, objects: list[S3Object], files: list[Path] | None) -> list[dict[str, Any]]:
        """Have the trainer store what the function makes of the objects, or what is in these files already."""
        job = make_job(
            self.spec,
            self.retrain,
            run_id="prepare",
            objects=objects,
            champion=None,
            overrides=RetrainOverrides(),
            **self.job_places(),
        )
        places = [f"s3://{self.bucket.name}/{self._place(each)}" for each in objects]
        if files is not None:
            made = {"objects": [{"uri": str(file)} for file in files], "data_format": None}
            job = {**job, **made, "prepare": {"places": places}}
        else:
            job = {**job, "prepare": {"function": self._function, "places": places}}
        entries: list[dict[str, Any]] = self.run_trainer("prepare", job)["objects"]
        return entries

    def _by_container(self, missing: list[S3Object], image: str, run_id: str) -> dict[str, str]:
        bucket, _, prefix = self.data_uri.removeprefix("s3://").partition("/")
        by_path = {each.key.removeprefix(prefix): each for each in missing}
        refused = unfit_paths(by_path)
        with work_folder(default_cache_dir() / "prepare", ".container-") as folder:
            folders = ContainerFolders(folder, self.retrain.data.format)
            placed = [path for path in by_path if path not in refused]
            for path in placed:
                fetch_object(self.hook.client("s3"), bucket, by_path[path], folders.place(path))
            self.log.info("Running a container of %s over %d objects.", image, len(placed))
            self._container = self._new_container(run_id)
            made = folders.run(self._container, image, placed, lambda line: self.log.info("%s", line)) if placed else {}
            self._keep({path: each.file for path, each in made.items() if each.file}, by_path)
        refused |= {path: each.refusal for path, each in made.items() if each.refusal}
        return {by_path[path].key: why for path, why in refused.items()}

    def _keep(self, files: dict[str, Path], objects: dict[str, S3Object]) -> None:
        """Store what a container left, by path of the objects."""
        entries = self._trained([objects[path] for path in files], list(files.values())) if files else []
        for path, entry in zip(files, entries, strict=True):
            if not entry["place"]:
                why = entry["unreadable"].replace(str(files[path]), str(OUTPUT / path))
                raise ContainerFailedError(f"the container of {self._how.image} left what cannot be read: {why}")

    def _new_container(self, run_id: str) -> ContainerRun:
        work = hashlib.sha256(f"{self.bucket.name} {self.spec.name} {run_id}".encode()).hexdigest()[:12]
        return ContainerRun(
            self._image_id,
            f"slipway-prepare-{self.spec.name}-{work}",
            command=self._how.command,
            arguments=self._how.arguments,
            environment=self._how.environment,
        )

    def _there(self) -> dict[str, S3Object]:
        listed = list_objects(self.bucket.s3, f"s3://{self.bucket.name}/{self._folder}")
        return {each.key: each for each in listed}

    def _place(self, each: S3Object) -> str:
        named = hashlib.sha256(f"{each.key} {each.identity}".encode()).hexdigest()[:24]
        return f"{self._folder}{named}.parquet"

    @property
    def _how(self) -> PrepareSpec:
        if self.retrain.prepare is None:
            raise InvalidInputError(f"{self.spec.name} has no section retrain.prepare")
        return self.retrain.prepare

    @property
    def _function(self) -> str:
        return str(project_dir().resolve() / "retrainers" / str(self._how.function))

    @cached_property
    def _image_id(self) -> str:
        image = str(self._how.image)
        return find_image(image, login=lambda: ecr_account(partial(self.hook.client, "ecr"), image))

    @cached_property
    def _folder(self) -> str:
        """Where what this very function or image makes is kept."""
        return f"retrain/{self.spec.name}/prepared/{hashlib.sha256(self._identity()).hexdigest()[:12]}/"

    def _identity(self) -> bytes:
        if self._how.image:
            settings = self._how.model_dump(mode="json", include={"command", "arguments", "environment"})
            return json.dumps({"image": self._image_id, **settings}, sort_keys=True).encode()
        file, _, name = self._function.rpartition(":")
        try:
            return Path(file).read_bytes() + name.encode()
        except OSError as error:
            raise InvalidInputError(f"retrain.prepare: {file} cannot be read: {error.strerror}") from error
