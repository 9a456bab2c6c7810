"""The image of trainings that run elsewhere, for services that name none: against the AWS stand-in's registry."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest

from slipway.artifacts.lock import DependencyLock
from slipway.images import trainer_image
from slipway.spec.compute import ComputeSpec
from slipway_airflow.operators.model_refit import RetrainOperator

from .retraining import retrain_section

if TYPE_CHECKING:
    from pathlib import Path

    from slipway.platform import Platform

    from .conftest import Service

pytestmark = pytest.mark.integration
HERE = f"{sys.version_info.major}.{sys.version_info.minor}"
OWN = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/ours/trainer:7"
# In place of the trainer's real packages, which are a gigabyte.
SMALL = "iniconfig==2.1.0 --hash=sha256:9deba5723312380e77435581c6bf4935c94cbfab9b1ed33ef8d238ea168eb760\n"


@pytest.fixture
def task(service: Service, platform: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RetrainOperator:
    lock = DependencyLock.from_text(SMALL, key="trainer", python=HERE, platform=platform.image_platform)
    monkeypatch.setattr(trainer_image, "trainer_lock", lambda *_: lock)
    monkeypatch.setenv("SLIPWAY_CACHE_DIR", str(tmp_path / "cache"))
    section = retrain_section(service.spec.name, compute={"sagemaker": {}})
    spec = type(service.spec).model_validate({**service.spec.model_dump(exclude_defaults=True), "retrain": section})
    return RetrainOperator(task_id="refit", spec=spec, platform=platform)


def compute(**sagemaker: Any) -> ComputeSpec:
    return ComputeSpec.model_validate({"sagemaker": sagemaker})


def test_it_is_built_once_and_is_in_the_account_then(task: RetrainOperator, service: Service) -> None:
    uri = task.trainer_image(compute())
    assert uri
    repository, digest = uri.split("@")
    assert repository.endswith(".amazonaws.com/slipway/slipway_trainer")
    held = service.aws.client("ecr").describe_images(
        repositoryName="slipway/slipway_trainer", imageIds=[{"imageDigest": digest}]
    )
    (image,) = held["imageDetails"]
    assert [tag.partition("-")[0] for tag in image["imageTags"]] == ["trainer"]

    since = service.aws.position()
    assert task.trainer_image(compute()) == uri
    assert service.aws.changes(since) == []


def test_a_service_with_an_image_of_its_own_has_none_built(task: RetrainOperator, service: Service) -> None:
    since = service.aws.position()
    assert task.trainer_image(compute(image=OWN)) is None
    assert service.aws.changes(since) == []
