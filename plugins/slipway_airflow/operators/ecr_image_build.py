"""Build a release's image, and note the answers that it must give."""

from __future__ import annotations

import logging
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.providers.amazon.aws.utils.mixins import aws_template_fields

from slipway.errors import DependencyLockError, PermanentError, ResourceConflictError
from slipway.images.base import choose_base, pin
from slipway.images.cache import default_cache_dir, work_folder
from slipway.images.papers import release_papers
from slipway.images.pickle_scan import enforce, scan_model
from slipway.model_judge import ModelJudge
from slipway.release import Release, ReleaseInputs
from slipway.release_folder import GOLDEN, ReleaseFolder
from slipway_airflow.operators.service import ServiceOperator
from slipway_airflow.progress_log import ProgressLog
from slipway_airflow.task_run import TaskRun

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow.sdk import Context

    from slipway.artifacts.engine import EngineChoice
    from slipway.artifacts.lock import DependencyLock
    from slipway.images.base import BaseImage
    from slipway.images.builder import BuiltImage, ImageRequest
    from slipway.images.docker_client import DockerClient
    from slipway.images.pickle_scan import ScanReport
    from slipway.images.registry import RegistryClient


class EcrImageBuildOperator(ServiceOperator):
    """Build the release's image and push to ECR what it lacks.

    ``image_builder`` of the installation says how: by Slipway's own builder, without a Docker daemon,
    or by the worker's Docker engine.

    Before that, the model's pickles are scanned, and the original model is asked for its golden
    answers and compared with its compiled form, in a sandbox: a process of the release's own locked
    packages, without network or credentials. The model is never loaded in an Airflow process. What
    was built is recorded in ``releases/<service>/<release id>/``, with its bill of materials and
    provenance; a release that is recorded and still in the registry is not built again. Of one that
    is recorded and gone from the registry, the own builder makes the same image again; a Docker
    engine cannot, which is said.

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
        self._docker: DockerClient | None = None

    def on_kill(self) -> None:
        """End the Docker engine's work with the task."""
        if self._docker:
            self._docker.kill()
        super().on_kill()

    def execute(self, context: Context) -> dict[str, Any]:
        """Build and record the release, or find it recorded."""
        release_id = self.patched["release_id"]
        registry = self._registry()
        release = self.bucket.releases.read(self.spec.name, release_id)
        if release and self._is_complete(release, registry):
            self.log.info("Release %s is built: %s", release_id, release.image_uri)
            return {"release_id": release_id, "image_uri": release.image_uri, "reused": True, "bytes_pushed": 0}
        if release and self._inputs.image_builder == "docker":
            self._require_standing(release, registry)
        cache = Path(self.cache_dir) if self.cache_dir else default_cache_dir()
        run = TaskRun.of(context)
        with work_folder(cache, "build-") as folder:
            release, image = self._build(folder / "model", cache, registry, run, recorded=release is not None)
        release, written = self.bucket.releases.write_once(release)
        if written:
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

    @cached_property
    def _inputs(self) -> ReleaseInputs:
        return ReleaseInputs.model_validate(self.patched["inputs"])

    @cached_property
    def _folder(self) -> ReleaseFolder:
        return ReleaseFolder(self.bucket.documents, self.spec.name, self.patched["release_id"])

    def _is_complete(self, release: Release, registry: RegistryClient) -> bool:
        """Say whether nothing is left to do; a policy that was tightened since holds for what is built, too."""
        digest = release.image_uri.partition("@")[2]
        if registry.get_manifest(self._repository, digest) is None:
            self.log.warning("%s is recorded but not in the registry any more; it is built again.", release.image_uri)
            return False
        scan = self._folder.scan()
        if scan:
            enforce(scan, self.spec.security.pickle_scan)
        return scan is not None and self._folder.read(GOLDEN) is not None

    def _require_standing(self, release: Release, registry: RegistryClient) -> None:
        """Refuse to build by Docker what is recorded and gone: it would be another image than the verified one."""
        digest = release.image_uri.partition("@")[2]
        tagged = registry.get_manifest(self._repository, release.id)
        if tagged is None or tagged.digest != digest:
            raise ResourceConflictError(
                f"Release {release.id} of {self.spec.name} is recorded with {release.image_uri}, which is not in the "
                f"registry under the tag {release.id} any more (found: {tagged.digest if tagged else 'nothing'}). A "
                "second docker build gives another image, and a release never changes: push the recorded image back, "
                "or make another release by changing an input, such as a variable of serving.environment."
            )

    def _build(
        self, model: Path, cache: Path, registry: RegistryClient, run: TaskRun, *, recorded: bool
    ) -> tuple[Release, BuiltImage]:
        from slipway.images.builder import ImageRequest
        from slipway.images.runtime import RELEASE_LABEL, SERVICE_LABEL
        from slipway.images.serving_app import serving_app_dir

        lock = self._lock()
        self._check_serving_app()
        self._download(self.patched["model_uri"], model)
        scan = self._scan(model)
        judge = ModelJudge(model, lock, cache / "environments", self.spec, self._folder)
        golden, engine = judge.golden_answers(), judge.engine()
        self.log.info("%d golden rows, %d of them the model's own examples", len(golden.rows), golden.from_example)
        self.log.info("%s", engine.summary())
        self._download(self.patched["overlay_uri"], model)
        (model / GOLDEN).write_bytes(golden.to_json())
        engine.write(model)
        base = self._base_image(lock, registry)
        request = ImageRequest(
            repository=self._repository,
            tag=self.patched["release_id"],
            base_image=base,
            python=lock.python,
            platform=lock.platform,
            lock=lock,
            serving_app_dir=serving_app_dir(),
            model_dir=model,
            labels={RELEASE_LABEL: self.patched["release_id"], SERVICE_LABEL: self.spec.name},
            environment=self.spec.serving.variables(),
        )
        image = self._image(request, registry, cache / "images")
        release = self._release(image, engine, scan)
        papers = release_papers(
            release, image, request, base, parameters={"reason": run.reason, "user": run.user}, run_id=run.run_id
        )
        for name, body in papers.items():
            # What a broken-off try wrote may speak of an image that is not there any more.
            (self._folder.write_once if recorded else self._folder.put)(name, body)
        return release, image

    def _image(self, request: ImageRequest, registry: RegistryClient, cache: Path) -> BuiltImage:
        """Build with what the release's id stands for, even if the installation's choice has changed since."""
        from slipway.images.builder import build_image
        from slipway.images.docker_client import DockerClient
        from slipway.images.docker_engine import build_image_with_docker

        if self._inputs.image_builder == "layers":
            return build_image(request, registry, cache_dir=cache, on_progress=ProgressLog(self.log.info).image)
        self._docker = DockerClient()
        return build_image_with_docker(
            request, registry, cache_dir=cache, on_progress=ProgressLog(self.log.info).image, client=self._docker
        )

    def _scan(self, model: Path) -> ScanReport:
        """Look into the model's pickles before any is loaded."""
        report = scan_model(model, policy=self.spec.security.pickle_scan)
        self._folder.keep_scan(report)
        self.log.log(logging.INFO if report.is_safe else logging.WARNING, "Pickle scan: %s", report.summary())
        for finding in report.findings:
            self.log.warning("%s imports %s (%s)", finding.file, finding.imported, finding.safety)
        return report

    def _download(self, uri: str, folder: Path) -> None:
        from slipway.artifacts.transfer import sync

        sync(
            uri,
            str(folder),
            session=self.hook.get_session(),
            endpoint_url=self.hook.endpoint_url("s3"),
            verify=self.hook.verify,
            config=self.hook.conn_config.botocore_config,
            on_progress=ProgressLog(self.log.info).sync,
        )

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

    def _base_image(self, lock: DependencyLock, registry: RegistryClient) -> BaseImage:
        """Return the base image that the release's id stands for, even if its tag has moved on since."""
        from slipway.images.ecr import find_base

        digest = self.patched["inputs"]["base_image_digest"]
        reference = pin(choose_base(self.platform.base_images, lock.python), digest)
        clients = partial(self.hook.client, "ecr")
        return find_base(clients, reference, platform=lock.platform, registry=registry)

    def _release(self, image: BuiltImage, engine: EngineChoice, scan: ScanReport) -> Release:
        return Release(
            service=self.spec.name,
            id=self.patched["release_id"],
            model=self.source["model"],
            version=self.source["version"],
            image_uri=image.uri,
            inputs=self._inputs,
            created_from={
                "run_id": self.source["run_id"],
                "artifact_uri": self.source["artifact_uri"],
                "metrics": self.source["metrics"],
                "lock_key": self.patched["lock_key"],
                "python": self.patched["python"],
                "engine": engine.title,
                "pickle_scan": scan.summary(),
            },
        )
