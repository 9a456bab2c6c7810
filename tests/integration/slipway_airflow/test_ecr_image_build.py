"""The build operator against a real registry protocol, with packages that are really installed."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import tiny_image

from slipway.artifacts.lock import LockStore
from slipway.errors import (
    DependencyLockError,
    EngineUnavailableError,
    ModelNotDeployableError,
    PermanentError,
    ResourceConflictError,
    SandboxError,
)
from slipway.images.base import resolve_base
from slipway.images.docker_engine import write_login
from slipway.images.ecr import ecr_registry, ensure_repository
from slipway.images.inspection import inspect_image
from slipway.images.serving_app import serving_app_digest
from slipway.platform import Platform
from slipway.release import ReleaseInputs, ReleaseStore, release_id
from slipway_airflow.operators.ecr_image_build import EcrImageBuildOperator
from slipway_airflow.progress_log import ProgressLog
from tests.integration.slipway_airflow.conftest import BUCKET, Service, golden
from tests.integration.slipway_airflow.kills import run_with_kills

pytestmark = pytest.mark.integration

MLMODEL = "flavors:\n  python_function:\n    loader_module: nothing_here\n"


@dataclass
class Build:
    """What came before the build: a mirrored model, a patch, a lock."""

    service: Service
    platform: Platform
    cache: Path
    patched: dict[str, Any]

    @property
    def folder(self) -> str:
        return f"releases/{self.service.spec.name}/{self.patched['release_id']}"

    def operator(self, **patched: Any) -> EcrImageBuildOperator:
        return EcrImageBuildOperator(
            task_id="build",
            spec=self.service.spec,
            platform=self.platform,
            cache_dir=str(self.cache),
            source={
                "model": self.service.spec.model,
                "version": 1,
                "run_id": "run-1",
                "artifact_uri": "s3://mlflow/1",
                "metrics": {"areaUnderROC": 0.7},
            },
            patched={**self.patched, **patched},
        )

    def know_the_answers(self) -> None:
        """Keep golden rows as an earlier try of the task would have, so that no model has to be loaded."""
        body = golden(2.0).to_json()
        self.service.aws.client("s3").put_object(Bucket=BUCKET, Key=f"{self.folder}/golden.json", Body=body)

    def document(self, name: str) -> dict[str, Any]:
        answer = self.service.aws.client("s3").get_object(Bucket=BUCKET, Key=f"{self.folder}/{name}")
        return dict(json.load(answer["Body"]))

    def images(self) -> list[dict[str, Any]]:
        ecr = self.service.aws.client("ecr")
        found = ecr.describe_images(repositoryName=f"slipway/{self.service.spec.name}")["imageDetails"]
        return [image for image in found if self.patched["release_id"] in image.get("imageTags", [])]


@pytest.fixture
def build(service: Service, platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> Build:
    return prepared(service, platform, tmp_path_factory, "iniconfig==2.1.0", base_image_digest="scratch")


def prepared(
    service: Service, platform: Platform, folders: pytest.TempPathFactory, requirement: str, **inputs_of_it: Any
) -> Build:
    s3, name = service.aws.client("s3"), service.spec.name
    lock, _ = LockStore(s3, BUCKET).get_or_resolve([requirement], "3.11", "linux/amd64", serving=[])
    inputs = ReleaseInputs(
        artifact_manifest_digest=name,
        lock_digest=lock.digest,
        serving_app_digest=serving_app_digest(),
        serving_spec={},
        **inputs_of_it,
    )
    identifier = release_id(inputs)
    s3.put_object(Bucket=BUCKET, Key=f"models/{name}/v1/MLmodel", Body=MLMODEL.encode())
    s3.put_object(Bucket=BUCKET, Key=f"models/{name}/v1/data/weights.bin", Body=b"weights")
    overlay = f"releases/{name}/{identifier}/model/"
    s3.put_object(Bucket=BUCKET, Key=f"{overlay}requirements.txt", Body=f"{requirement}\n".encode())
    patched = {
        "release_id": identifier,
        "inputs": inputs.model_dump(mode="json"),
        "model_uri": f"s3://{BUCKET}/models/{name}/v1/",
        "overlay_uri": f"s3://{BUCKET}/{overlay}",
        "lock_key": lock.key,
        "python": "3.11",
    }
    return Build(service, platform, folders.getbasetemp() / "slipway-cache", patched)


def test_a_release_is_built_recorded_and_not_built_again(build: Build, context: Any) -> None:
    build.know_the_answers()
    result = build.operator().execute(context("build"))
    (image,) = build.images()
    assert result["image_uri"].endswith("@" + image["imageDigest"])
    assert result["release_id"] == build.patched["release_id"]
    assert result["bytes_pushed"] > 0
    release = ReleaseStore(build.service.aws.client("s3"), BUCKET).read(build.service.spec.name, result["release_id"])
    assert release.image_uri == result["image_uri"]
    assert release.created_from["metrics"] == {"areaUnderROC": 0.7}
    assert build.service.ledger() == [("built", f"release {release.id}")]

    since = build.service.aws.position()
    again = build.operator().execute(context("build", run_id="manual__2"))
    assert again == {**result, "reused": True, "bytes_pushed": 0}
    assert build.service.aws.changes(since) == []


def test_an_image_that_was_deleted_is_built_again_with_the_same_digest(build: Build, context: Any) -> None:
    build.know_the_answers()
    first = build.operator().execute(context("build"))
    build.service.aws.client("ecr").batch_delete_image(
        repositoryName=f"slipway/{build.service.spec.name}",
        imageIds=[{"imageDigest": first["image_uri"].partition("@")[2]}],
    )
    assert build.images() == []
    assert build.operator().execute(context("build", run_id="manual__2"))["image_uri"] == first["image_uri"]
    assert len(build.images()) == 1


def test_the_papers_and_the_engine_are_kept_with_the_release(build: Build, context: Any) -> None:
    build.know_the_answers()
    result = build.operator().execute(context("build"))
    bill = build.document("bom.json")
    assert bill["metadata"]["component"]["version"] == result["image_uri"]
    assert "pkg:pypi/iniconfig@2.1.0" in {part["bom-ref"] for part in bill["components"]}
    statement = build.document("provenance.json")
    assert statement["subject"][0]["digest"] == {"sha256": result["image_uri"].rpartition(":")[2]}
    assert statement["predicate"]["runDetails"]["metadata"] == {"invocationId": "manual__1"}
    assert statement["predicate"]["buildDefinition"]["externalParameters"]["user"] == "carol"
    # iniconfig alone cannot load the model server, so the model keeps MLflow's own way, and says why.
    engine = build.document("engine/engine.json")
    assert engine["engine"] == "pyfunc"
    assert "ModuleNotFoundError" in engine["tried"][0]["reason"]
    release = ReleaseStore(build.service.aws.client("s3"), BUCKET).read(build.service.spec.name, result["release_id"])
    assert release.created_from["engine"] == "pyfunc"
    assert release.created_from["pickle_scan"].startswith("no")


def test_a_dangerous_pickle_is_told_or_refused_as_the_spec_says(build: Build, context: Any) -> None:
    build.know_the_answers()
    name = build.service.spec.name
    evil = b"cposix\nsystem\n(S'true'\ntR."
    build.service.aws.client("s3").put_object(Bucket=BUCKET, Key=f"models/{name}/v1/data/extra.pkl", Body=evil)
    spec = build.service.spec
    strict = spec.model_copy(update={"security": spec.security.model_copy(update={"pickle_scan": "refuse"})})
    build.service.spec = strict
    with pytest.raises(ModelNotDeployableError, match=r"data/extra.pkl imports posix.system"):
        build.operator().execute(context("build"))
    assert build.images() == []

    build.service.spec = spec
    result = build.operator().execute(context("build"))
    scan = build.document("pickle-scan.json")
    assert [(each["file"], each["safety"]) for each in scan["findings"]] == [("data/extra.pkl", "dangerous")]
    release = ReleaseStore(build.service.aws.client("s3"), BUCKET).read(name, result["release_id"])
    assert release.created_from["pickle_scan"].startswith("1 dangerous import")

    build.service.spec = strict  # the policy is tightened after the release was built
    with pytest.raises(ModelNotDeployableError, match="not safe to load"):
        build.operator().execute(context("build", run_id="manual__2"))


@pytest.mark.long
def test_killed_after_each_change_it_builds_one_image(build: Build, context: Any) -> None:
    build.know_the_answers()
    kills = run_with_kills(build.operator, context("build"))
    assert kills >= 3
    assert len(build.images()) == 1
    result = build.operator().execute(context("build"))
    assert result["reused"] is True


def test_a_model_that_cannot_be_loaded_is_told_before_anything_is_pushed(build: Build, context: Any) -> None:
    with pytest.raises(SandboxError, match="No golden rows"):
        build.operator().execute(context("build"))
    assert build.images() == []


def test_a_lock_that_was_made_anew_meanwhile_is_told(build: Build, context: Any) -> None:
    build.know_the_answers()
    other = {**build.patched["inputs"], "lock_digest": "another"}
    with pytest.raises(DependencyLockError, match="made anew"):
        build.operator(inputs=other).execute(context("build"))


def test_a_model_server_that_was_upgraded_meanwhile_is_told(build: Build, context: Any) -> None:
    build.know_the_answers()
    other = {**build.patched["inputs"], "serving_app_digest": "older"}
    with pytest.raises(PermanentError, match="upgraded"):
        build.operator(inputs=other).execute(context("build"))


def test_the_base_image_is_the_one_that_the_id_stands_for_also_from_another_accounts_ecr(
    service: Service, platform: Platform, tmp_path_factory: pytest.TempPathFactory, context: Any
) -> None:
    """The stand-in has the registries of all accounts at its own address, but a token of one region opens no other."""
    far, repository = service.aws.client("ecr", "us-east-1"), f"base/{service.spec.name}"
    layer = tiny_image.layer({"opt/base": "of old"})
    pinned = tiny_image.push(far, tiny_image.build(layer), repository, "3.11").partition("@")[2]
    tiny_image.push(far, tiny_image.build(tiny_image.layer({"opt/base": "moved on"})), repository, "3.11")
    name = f"763104351884.dkr.ecr.us-east-1.amazonaws.com/{repository}:3.11"
    foreign = platform.model_copy(update={"base_images": {"3.11": name}})
    build = prepared(service, foreign, tmp_path_factory, "iniconfig==2.1.0", base_image_digest=pinned)
    build.know_the_answers()
    result = build.operator().execute(context("build"))
    registry, _ = ecr_registry(service.aws.client("ecr"), f"slipway/{service.spec.name}")
    report = inspect_image(registry, f"slipway/{service.spec.name}", result["image_uri"].partition("@")[2])
    assert report.layers[0].digest == tiny_image.sha256(layer)
    assert build.document("release.json")["inputs"]["base_image_digest"] == pinned


def docker(*arguments: str) -> str:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=True, timeout=120)
    return done.stdout.strip()


@pytest.fixture
def docker_build(
    service: Service,
    platform: Platform,
    python_image: str,
    wheel: tuple[str, bytes],
    tmp_path_factory: pytest.TempPathFactory,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Build]:
    """A build by a Docker engine, on a base that lies in ECR."""
    ecr = service.aws.client("ecr")
    ensure_repository(ecr, "base/python")
    registry, _ = ecr_registry(ecr, "base/python")
    base = f"{registry.host}/base/python:{service.spec.name}"
    write_login(registry, tmp_path / "login")
    docker("tag", python_image, base)
    docker("--config", str(tmp_path / "login"), "push", "--quiet", base)
    (tmp_path / "wheels").mkdir()
    (tmp_path / "wheels" / wheel[0]).write_bytes(wheel[1])
    monkeypatch.setenv("UV_NO_INDEX", "1")
    monkeypatch.setenv("UV_FIND_LINKS", str(tmp_path / "wheels"))
    by_docker = platform.model_copy(update={"image_builder": "docker", "base_images": {"3.11": base}})
    digest = resolve_base(base, registry=registry).digest
    told = {"base_image_digest": digest, "image_builder": "docker"}
    yield prepared(service, by_docker, tmp_path_factory, "tiny-package==1.0", **told)
    mine = f"reference={registry.host}/*/*:*"
    left = docker("images", "--filter", mine, "--format", "{{.Repository}}:{{.Tag}}").split()
    docker("image", "rm", *left)


def forget_built(build: Build) -> None:
    """Remove the release from the engine, with the layers that it would take again."""
    mine = f"label=io.slipway.service={build.service.spec.name}"
    docker("image", "rm", *docker("images", "--quiet", "--filter", mine).split())


def forget_image(build: Build, **named: str) -> None:
    ecr = build.service.aws.client("ecr")
    ecr.batch_delete_image(repositoryName=f"slipway/{build.service.spec.name}", imageIds=[named])


@pytest.mark.docker
def test_a_docker_engine_builds_when_the_installation_says_so(
    docker_build: Build, context: Any, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    build = docker_build
    build.know_the_answers()
    result = build.operator().execute(context("build"))
    assert "Successfully installed tiny-package-1.0" in caplog.text + capsys.readouterr().out
    (image,) = build.images()
    assert result["image_uri"].endswith("@" + image["imageDigest"])
    assert (result["reused"], result["bytes_pushed"] > 0) == (False, True)
    release = ReleaseStore(build.service.aws.client("s3"), BUCKET).read(build.service.spec.name, result["release_id"])
    assert (release.inputs.image_builder, release.image_uri) == ("docker", result["image_uri"])
    statement = build.document("provenance.json")
    assert statement["predicate"]["runDetails"]["builder"] == {"id": "urn:slipway:docker-builder"}
    assert {"name": "slipway:image-builder", "value": "docker"} in build.document("bom.json")["metadata"]["properties"]
    assert build.operator().execute(context("build", run_id="manual__2")) == {
        **result,
        "reused": True,
        "bytes_pushed": 0,
    }

    # A second build would give another image than the one that was verified and recorded.
    forget_image(build, imageDigest=image["imageDigest"])
    with pytest.raises(ResourceConflictError, match=r"A second docker build gives another image.*serving\.environment"):
        build.operator().execute(context("build", run_id="manual__3"))
    assert build.images() == []


def broken(*_: Any) -> None:
    raise ConnectionError


@pytest.mark.docker
def test_what_a_killed_try_pushed_is_recorded_and_what_it_wrote_is_put_right(
    docker_build: Build, context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = docker_build
    build.know_the_answers()

    with monkeypatch.context() as broken_off:
        broken_off.setattr(ReleaseStore, "write_once", broken)
        with pytest.raises(ConnectionError):
            build.operator().execute(context("build"))
    (first,) = build.images()
    result = build.operator().execute(context("build"))
    assert result["reused"] is True
    assert result["image_uri"].endswith("@" + first["imageDigest"])

    build.service.aws.client("s3").delete_object(Bucket=BUCKET, Key=f"{build.folder}/release.json")
    forget_image(build, imageDigest=first["imageDigest"])
    forget_built(build)
    second = build.operator().execute(context("build"))
    assert second["image_uri"] != result["image_uri"]
    assert build.document("provenance.json")["subject"][0]["digest"]["sha256"] in second["image_uri"]
    assert build.document("bom.json")["metadata"]["component"]["version"] == second["image_uri"]


@pytest.mark.docker
def test_the_engines_work_ends_with_the_task(
    docker_build: Build, context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = docker_build
    build.know_the_answers()
    operator = build.operator()
    slow = "ARG BASE\nFROM ${BASE}\nRUN echo asleep && sleep 600\n"
    monkeypatch.setattr("slipway.images.docker_engine.DOCKERFILE", slow)
    tell = ProgressLog.image

    def kill_when_asleep(log: ProgressLog, progress: Any) -> None:
        tell(log, progress)
        if progress.item == "asleep":
            threading.Thread(target=operator.on_kill).start()

    monkeypatch.setattr(ProgressLog, "image", kill_when_asleep)
    with pytest.raises(EngineUnavailableError, match="ended with its task"):
        operator.execute(context("build"))
    assert build.images() == []
