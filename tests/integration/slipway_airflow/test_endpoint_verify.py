"""The verification against an endpoint that really answers."""

from __future__ import annotations

from typing import Any

import pytest

from slipway.endpoints.report import VerificationStore
from slipway.errors import EndpointMissingError, PermanentError, VerificationError
from slipway.platform import Platform
from slipway_airflow.operators.endpoint_verify import EndpointVerifyOperator
from slipway_airflow.operators.sagemaker_deploy import SageMakerDeployOperator
from tests.integration.slipway_airflow.conftest import BUCKET, Service

pytestmark = pytest.mark.integration


def verify(service: Service, platform: Platform, release_id: str) -> EndpointVerifyOperator:
    return EndpointVerifyOperator(
        task_id="verify", spec=service.spec, platform=platform, stage="dev", release_id=release_id
    )


def launch(service: Service, platform: Platform, release_id: str, context: Any) -> None:
    SageMakerDeployOperator(
        task_id="launch", spec=service.spec, platform=platform, stage="dev", release_id=release_id, waiter_delay=1
    ).execute(context("launch"))


def test_an_endpoint_that_answers_as_the_model_passes(service: Service, platform: Platform, context: Any) -> None:
    release = service.release()
    launch(service, platform, release.id, context)
    result = verify(service, platform, release.id).execute(context("verify"))
    assert result["rows_compared"] == 3
    assert "passed" in result["markdown"]
    assert "areaUnderROC" in result["markdown"]
    assert result["report_uri"] == f"s3://{BUCKET}/releases/{service.spec.name}/{release.id}/verify/dev.json"
    kept = VerificationStore(service.aws.client("s3"), BUCKET).read(service.spec.name, release.id, "dev")
    assert kept is not None
    assert kept.passed

    since = service.aws.position()
    verify(service, platform, release.id).execute(context("verify", run_id="manual__2"))
    assert service.aws.changes(since) == []


def test_one_corrupt_weight_is_found(service: Service, platform: Platform, context: Any) -> None:
    release = service.release(weight=2.0000001, answers=2.0)
    launch(service, platform, release.id, context)
    with pytest.raises(VerificationError, match=r"expected 2\.0, found 2\.0000001"):
        verify(service, platform, release.id).execute(context("verify"))
    assert ("refused", f"release {release.id}") in service.ledger()


def test_an_endpoint_that_is_gone_is_told(service: Service, platform: Platform, context: Any) -> None:
    release = service.release()
    with pytest.raises(EndpointMissingError, match=f"{service.spec.name}-dev"):
        verify(service, platform, release.id).execute(context("verify"))


def test_golden_rows_that_are_gone_are_told(service: Service, platform: Platform, context: Any) -> None:
    release = service.release()
    key = f"releases/{service.spec.name}/{release.id}/golden.json"
    service.aws.client("s3").delete_object(Bucket=BUCKET, Key=key)
    with pytest.raises(PermanentError, match="no golden rows"):
        verify(service, platform, release.id).execute(context("verify"))
