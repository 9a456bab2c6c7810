"""Build a release's image, and note the answers that it must give."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.providers.amazon.aws.utils.mixins import aws_template_fields

from slipway.errors import DependencyLockError, PermanentError
from slipway.release import Release, ReleaseInputs
from slipway_airflow.operators.service import ServiceOperator
from slipway_airflow.task_run import TaskRun

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow.sdk import Context

    from slipway.artifacts.lock import DependencyLock
    from slipway.images.builder import BuiltImage
    from slipway.images.progress import Progress
    from slipway.images.registry import RegistryClient

CACHE_VARIABLE = "SLIPWAY_CACHE_DIR"
GOLDEN = "golden.json"


def default_cache_dir() -> Path:
    """Return the worker's cache folder: ``SLIPWAY_CACHE_DIR``, or ``slipway`` below the user's cache folder."""
    if named := os.environ.get(CACHE_VARIABLE):
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "slipway"


class EcrImageBuildOperator(ServiceOperator):
    """Build the release's image without a Docker daemon and push to ECR what it lacks.

    Before that, the original model is asked for its golden answers, in a sandbox: a process of the
    release's own locked packages, without network or credentials. The model is never loaded in an
    Airflow process. What was built is recorded in ``releases/<service>/<release id>/release.json``;
    a release that is recorded and still in the registry is not built again.

    .. code-block:: python

        EcrImageBuildOperator(
            task_id="build", spec=spec, platform=platform, source=resolve.output, patched=patch.output
        )

    :param source: What :class:`ModelResolveOperator` returned: the model version. (templated)
    :param patched: What :class:`MLmodelPatchOperator` returned: the release id and what it is made of. (templated)
    :param cache_dir: Folder on the worker for layers and environments worth keeping. (templated, default:
        ``SLIPWAY_CACHE_DIR`` or ``~/.cache/slipway``)
    :param spec: The service.
    :param platform: The installation.
    :param bucket_conn_id: The Airflow connection of the artifact bucket; ``aws_conn_id`` when None. (templated)
    :param aws_conn_id: The Airflow connection used for AWS credentials. (templated, default: aws_default)
    :param region_name: AWS region; the connection's when None. (templated)
    :param verify: Whether to verify TLS certificates, or the path of a CA bundle. (templated)
    :param botocore_config: Configuration of the botocore clients.
    :return: ``release_id``, ``image_uri`` (by digest), ``reused``, ``bytes_pushed``.
    """

    template_fields = aws_template_fields("bucket_conn_id", "source", "patched", "cache_dir")

    def __init__(
        self, *, source: Mapping[str, Any], patched: Mapping[str, Any], cache_dir: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.source = source
        self.patched = patched
        self.cache_dir = cache_dir

    def execute(self, context: Context) -> dict[str, Any]:
        """Build and record the release, or find it recorded."""
        release_id = self.patched["release_id"]
        registry = self._registry()
        release = self.bucket.releases.read(self.spec.name, release_id)
        if release and self._is_complete(release, registry):
            self.log.info("Release %s is built: %s", release_id, release.image_uri)
            return {"release_id": release_id, "image_uri": release.image_uri, "reused": True, "bytes_pushed": 0}
        cache = Path(self.cache_dir) if self.cache_dir else default_cache_dir()
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="build-", dir=cache) as folder:
            image = self._build(Path(folder), cache, registry)
        release, written = self.bucket.releases.write_once(self._release(image))
        if written:
            run = TaskRun.of(context)
            self.bucket.note(self.spec.name, run, "built", f"release {release_id}", image_uri=image.uri)
        self.log.info("%s: %d bytes pushed in %.1f s", image.uri, image.bytes_pushed, image.seconds)
        return {
            "release_id": release_id,
            "image_uri": release.image_uri,
            "reused": image.reused,
            "bytes_pushed": image.bytes_pushed,
        }

    @property
    def _repository(self) -> str:
        return f"{self.platform.ecr_repository_prefix}/{self.spec.name}"

    def _registry(self) -> RegistryClient:
        from slipway.images.ecr import ecr_registry, ensure_repository

        ecr = self.hook.client("ecr")
        tags = {**self.platform.tags, **self.spec.tags, "slipway:service": self.spec.name}
        ensure_repository(ecr, self._repository, kms_key_id=self.spec.security.kms_key_id, tags=tags)
        registry, _ = ecr_registry(ecr, self._repository)
        return registry

    def _is_complete(self, release: Release, registry: RegistryClient) -> bool:
        digest = release.image_uri.partition("@")[2]
        if registry.get_manifest(self._repository, digest) is None:
            self.log.warning("%s is recorded but not in the registry any more; it is built again.", release.image_uri)
            return False
        return self.bucket.documents.read(self._golden_key) is not None

    @property
    def _golden_key(self) -> str:
        return f"releases/{self.spec.name}/{self.patched['release_id']}/{GOLDEN}"

    def _build(self, folder: Path, cache: Path, registry: RegistryClient) -> BuiltImage:
        from slipway.images.builder import ImageRequest, build_image
        from slipway.images.runtime import RELEASE_LABEL, SERVICE_LABEL
        from slipway.images.serving_app import serving_app_dir

        lock = self._lock()
        self._check_serving_app()
        model = folder / "model"
        self._download(self.patched["model_uri"], model)
        golden = self._golden_answers(model, lock, cache)
        self._download(self.patched["overlay_uri"], model)
        (model / GOLDEN).write_bytes(golden)
        request = ImageRequest(
            repository=self._repository,
            tag=self.patched["release_id"],
            base_image=self._base_image(lock),
            python=lock.python,
            platform=lock.platform,
            lock=lock,
            serving_app_dir=serving_app_dir(),
            model_dir=model,
            labels={RELEASE_LABEL: self.patched["release_id"], SERVICE_LABEL: self.spec.name},
            environment=self.spec.serving.environment,
        )
        return build_image(request, registry, cache_dir=cache / "images", on_progress=self._tell)

    def _download(self, uri: str, folder: Path) -> None:
        from slipway.artifacts.transfer import sync

        sync(uri, str(folder), session=self.hook.get_session(), endpoint_url=self.hook.endpoint_url("s3"))

    def _golden_answers(self, model: Path, lock: DependencyLock, cache: Path) -> bytes:
        """Return the golden document; the model is asked only if nobody has asked it before."""
        from slipway.artifacts.golden import make_golden_rows
        from slipway.artifacts.sandbox import Sandbox, environment

        found = self.bucket.documents.read(self._golden_key)
        if found:
            return found.body
        sandbox = Sandbox(environment(lock, cache / "environments"))
        golden = make_golden_rows(sandbox, model, self.spec.golden_rows.max_rows)
        self.log.info(
            "%d golden rows, %d of them from the model's input example", len(golden.rows), golden.from_example
        )
        self.bucket.keep(self._golden_key, golden.to_json())
        return golden.to_json()

    def _tell(self, progress: Progress) -> None:
        if progress.done_bytes == progress.total_bytes:
            self.log.info("%s %s (%d bytes)", progress.step, progress.item, progress.total_bytes)

    def _lock(self) -> DependencyLock:
        lock = self.bucket.locks.read(self.patched["lock_key"])
        if lock is None or lock.digest != self.patched["inputs"]["lock_digest"]:
            raise DependencyLockError(
                f"Lock {self.patched['lock_key']} was deleted or made anew since the release got its id. "
                "Clear the task that patches the model; this one follows."
            )
        return lock

    def _check_serving_app(self) -> None:
        from slipway.images.serving_app import serving_app_digest

        if serving_app_digest() != self.patched["inputs"]["serving_app_digest"]:
            raise PermanentError(
                "The model server was upgraded since the release got its id, so this would be another release. "
                "Clear the task that patches the model; this one follows."
            )

    def _base_image(self, lock: DependencyLock) -> str:
        """Return the base image that the release's id stands for, even if its tag has moved on since."""
        reference, digest = self.platform.base_images[lock.python], self.patched["inputs"]["base_image_digest"]
        return reference if digest == reference or "@" in reference else f"{reference}@{digest}"

    def _release(self, image: BuiltImage) -> Release:
        return Release(
            service=self.spec.name,
            id=self.patched["release_id"],
            model=self.source["model"],
            version=self.source["version"],
            image_uri=image.uri,
            inputs=ReleaseInputs.model_validate(self.patched["inputs"]),
            created_from={
                "run_id": self.source["run_id"],
                "artifact_uri": self.source["artifact_uri"],
                "metrics": self.source["metrics"],
                "lock_key": self.patched["lock_key"],
                "python": self.patched["python"],
            },
        )
