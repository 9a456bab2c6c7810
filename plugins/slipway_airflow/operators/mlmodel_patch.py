"""Pin a model's dependencies, and with that give the release its id."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.providers.amazon.aws.utils.mixins import aws_template_fields

from slipway.artifacts.mlmodel import MLMODEL, MLmodel, patch_mlmodel, read_mlmodel
from slipway.artifacts.requirements import choose_python, model_requirements
from slipway.artifacts.spark_pipeline import (
    FROM_SOURCE,
    is_spark,
    needs_spark,
    spark_folder,
    uncovered_stages,
    with_spark,
    without_spark,
)
from slipway.errors import DependencyLockError, ModelNotDeployableError
from slipway.release import ReleaseInputs, release_id
from slipway_airflow.hooks.slipway_aws import split_s3_uri
from slipway_airflow.operators.service import ServiceOperator

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow.sdk import Context

    from slipway.artifacts.lock import DependencyLock

TEXT_SUFFIXES = (".txt", ".yaml", ".yml")


class MLmodelPatchOperator(ServiceOperator):
    """Lock a model's dependencies and pin them in its MLmodel and environment files.

    The mirrored model is not touched: changed files go into the release's own folder,
    ``releases/<service>/<release id>/model/``, and are laid over the model when the image is built.
    The lock is resolved once and kept, so that the same model gets the same packages until
    somebody asks for a new lock.

    .. code-block:: python

        MLmodelPatchOperator(
            task_id="patch",
            spec=load_spec(Path("services/churn.yaml")),
            platform=load_platform(project_dir()),
            model_uri="s3://slipway-123456789012-eu-central-1/models/churn/v1/",
            manifest_digest=sync.output["manifest_digest"],
        )

    :param model_uri: Where the model's files lie, ``s3://bucket/prefix/``. (templated)
    :param manifest_digest: SHA-256 over the model's files, as :class:`S3SyncOperator` returns it. (templated)
    :param relock: Whether to resolve the dependencies again though a lock is kept. (templated, default: False)
    :param spec: The service.
    :param platform: The installation.
    :param bucket_conn_id: The Airflow connection of the artifact bucket; ``aws_conn_id`` when None. (templated)
    :param aws_conn_id: The Airflow connection used for AWS credentials. (templated, default: aws_default)
    :param region_name: AWS region; the connection's when None. (templated)
    :param verify: Whether to verify TLS certificates, or the path of a CA bundle. (templated)
    :param botocore_config: Configuration of the botocore clients.
    :return: ``release_id``, ``inputs`` (what the id is made of), ``model_uri``, ``overlay_uri``, ``lock_key``,
        ``python``.
    """

    template_fields = aws_template_fields("bucket_conn_id", "model_uri", "manifest_digest", "relock")

    def __init__(self, *, model_uri: str, manifest_digest: str, relock: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.model_uri = model_uri
        self.manifest_digest = manifest_digest
        self.relock = relock

    def execute(self, context: Context) -> dict[str, Any]:
        """Lock, patch, and write the files that the patch changes."""
        files = self._model_files()
        lock = self._lock(files, read_mlmodel(files[MLMODEL]))
        patch = patch_mlmodel(files, lock, lock.python)
        inputs = self._inputs(lock)
        release = release_id(inputs)
        self.log.info("Release %s. The patch:\n%s", release, patch.diff or "(nothing to change)")
        overlay = f"releases/{self.spec.name}/{release}/model/"
        for path, text in patch.files.items():
            self.bucket.keep(overlay + path, text.encode())
        return {
            "release_id": release,
            "inputs": inputs.model_dump(mode="json"),
            "model_uri": self.model_uri,
            "overlay_uri": self.bucket.documents.uri(overlay),
            "lock_key": lock.key,
            "python": lock.python,
        }

    def _model_files(self) -> dict[str, str]:
        """Read MLmodel and the environment files that lie beside it."""
        bucket, prefix = split_s3_uri(self.model_uri.rstrip("/") + "/")
        source = self.bucket.documents_of(bucket)
        names = [listed.key.removeprefix(prefix) for listed in source.list(prefix)]
        wanted = [name for name in names if "/" not in name and (name == MLMODEL or name.endswith(TEXT_SUFFIXES))]
        if MLMODEL not in wanted:
            raise ModelNotDeployableError(
                f"There is no {MLMODEL} at {self.model_uri}: sync the model's artifacts first."
            )
        found = {name: source.read(prefix + name) for name in wanted}
        return {name: document.body.decode("utf-8") for name, document in found.items() if document}

    def _lock(self, files: Mapping[str, str], mlmodel: MLmodel) -> DependencyLock:
        stated = model_requirements(files, mlmodel)
        reason = self._needs_spark(mlmodel)
        if is_spark(mlmodel):
            stated = with_spark(stated, mlmodel, reason) if reason else without_spark(stated)
        for note in stated.notes:
            self.log.info("%s", note)
        try:
            lock, resolved_now = self.bucket.locks.get_or_resolve(
                stated.requirements,
                choose_python(stated.python, list(self.platform.base_images), self.spec.serving.python),
                self.platform.image_platform,
                constraints=stated.constraints,
                from_source=FROM_SOURCE if reason else (),
                relock=bool(self.relock),
            )
        except DependencyLockError as error:
            raise (needs_spark(reason, error) if reason else error) from error
        how = "resolved now" if resolved_now else "kept from before"
        self.log.info("Lock %s, %s: %d packages, Python %s", lock.key, how, len(lock.requirements), lock.python)
        return lock

    def _needs_spark(self, mlmodel: MLmodel) -> str:
        """Say why Spark itself has to answer; empty when it need not."""
        if not is_spark(mlmodel):
            return ""
        if self.spec.serving.engine == "pyfunc":
            return "the service asks for pyfunc"
        uncovered = sorted(set(self._uncovered_stages(mlmodel)))
        return f"stages without a compiled form: {', '.join(uncovered)}" if uncovered else ""

    def _uncovered_stages(self, mlmodel: MLmodel) -> list[str]:
        """Read from a Spark pipeline's metadata which of its stages the model server cannot run without a JVM."""
        from slipway.artifacts.transfer import sync

        bucket, prefix = split_s3_uri(self.model_uri.rstrip("/") + "/")
        hook = self.bucket.hook
        with tempfile.TemporaryDirectory(prefix="slipway-stages-") as folder:
            source = f"s3://{bucket}/{prefix}{spark_folder(mlmodel)}/"
            session, endpoint = hook.get_session(), hook.endpoint_url("s3")
            sync(source, folder, session=session, endpoint_url=endpoint, include=["**/metadata/**", "metadata/**"])
            return uncovered_stages(Path(folder))

    def _inputs(self, lock: DependencyLock) -> ReleaseInputs:
        from slipway.images.serving_app import serving_app_digest

        return ReleaseInputs(
            artifact_manifest_digest=self.manifest_digest,
            lock_digest=lock.digest,
            base_image_digest=self._base_digest(lock),
            serving_app_digest=serving_app_digest(),
            serving_spec=self.spec.serving_digest_fields(),
            image_builder=self.platform.image_builder,
        )

    def _base_digest(self, lock: DependencyLock) -> str:
        from slipway.images.base import choose_base
        from slipway.images.ecr import find_base

        reference = choose_base(self.platform.base_images, lock.python)
        return find_base(partial(self.hook.client, "ecr"), reference, platform=lock.platform).digest
