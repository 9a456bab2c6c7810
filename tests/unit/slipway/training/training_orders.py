"""Services that train in SageMaker's training jobs, and the orders made of them."""

from __future__ import annotations

from typing import Any

from slipway.endpoints.requests import Account
from slipway.platform import Platform
from slipway.spec import ServiceSpec
from slipway.training.training_job_request import JobOrder, job_order

ACCOUNT = Account("123456789012", "eu-central-1")
IMAGE = "{account_id}.dkr.ecr.{region}.amazonaws.com/slipway/trainer:1"
PLACE = "s3://bucket/retrain/flights/runs/manual__1/training"
PLATFORM = Platform(execution_role="slipway-execution", tags={"team": "ml"})


def service(retrain: dict[str, Any] | None = None, **compute: Any) -> ServiceSpec:
    section = {
        "data": {"s3": "s3://lake/flights/"},
        "engine": "python",
        "compute": {"sagemaker": {"image": IMAGE, **compute}},
        **(retrain or {}),
    }
    return ServiceSpec.model_validate({"name": "flights", "model": "m", "owner": "o", "retrain": section})


def order(spec: ServiceSpec | None = None, **changes: Any) -> JobOrder:
    given = {"run_id": "manual__1", "document": {"service": "flights"}, "code": {}, "place": PLACE, **changes}
    return job_order(spec or service(), PLATFORM, ACCOUNT, **given)
