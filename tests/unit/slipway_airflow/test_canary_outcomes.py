"""What a canary's answers are held against, on its way to the triggerer."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from slipway.canary.progress import StepProgress
from slipway.errors import PermanentError
from slipway.spec import ServiceSpec
from slipway.state import Promotion, Serving
from slipway_airflow.canary_outcomes import OutcomesRequest, outcome_source, outcomes_request
from slipway_airflow.hooks.artifact_bucket import ArtifactBucket
from slipway_airflow.hooks.slipway_aws import SlipwayAwsHook
from tests.unit.slipway_airflow.conftest import BUCKET
from tests.unit.slipway_airflow.operators.canaries import CHALLENGER, CHAMPION, ENDPOINT

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
MLMODEL = """\
flavors: {python_function: {loader_module: mlflow.sklearn}}
signature:
  inputs: '[{"type": "long", "name": "flight"}]'
  outputs: '[{"type": "double"}]'
"""


@pytest.fixture
def judged(spec: ServiceSpec) -> ServiceSpec:
    document = {
        **spec.model_dump(mode="json", exclude_defaults=True),
        "promote": {"metrics": {"wrong": {"tolerance": 15}}},
        "monitor": {"labels": "s3://lake/labels/", "quality": {"task": "regression", "key": ["flight"]}},
    }
    return ServiceSpec.model_validate(document)


def promotion(*ended_after: float | None) -> Promotion:
    """Steps an hour apart that ended after so many seconds."""
    steps = tuple(
        StepProgress(
            number=number,
            weight_pct=number,
            began_at=NOON + timedelta(hours=number),
            ended_at=None if seconds is None else NOON + timedelta(hours=number, seconds=seconds),
        )
        for number, seconds in enumerate(ended_after, start=1)
    )
    return Promotion(
        run_id="run", release_id=CHALLENGER, model_version=2, strategy="canary", begun_at=NOON, steps=steps
    )


SERVING = Serving(release_id=CHAMPION, model_version=1, config_name="c", since=NOON, run_id="before")


def test_steps_that_are_over_count_with_their_whole_periods(judged: ServiceSpec) -> None:
    request = outcomes_request(judged, promotion(150, 59, 600, None), SERVING, 4, together=True)
    assert request.steps == (
        {"start": "2026-03-01T13:00:00+00:00", "period_seconds": 60, "periods": 2},
        {"start": "2026-03-01T15:00:00+00:00", "period_seconds": 60, "periods": 10},
    )
    assert outcomes_request(judged, promotion(150, 600), SERVING, 1, together=True).steps == ()
    assert (request.versions, request.tolerance) == ((2, 1), 15)


def test_a_champion_that_nobody_knows_is_read_as_the_challenger(judged: ServiceSpec) -> None:
    assert outcomes_request(judged, promotion(), None, 1, together=True).versions == (2, 2)


def test_a_request_that_travels_as_json_gives_its_source(judged: ServiceSpec, aws: Callable[[str], Any]) -> None:
    hook = SlipwayAwsHook()
    bucket = ArtifactBucket(hook, BUCKET)
    request = outcomes_request(judged, promotion(150), SERVING, 2, together=False)
    travelled = OutcomesRequest(**json.loads(json.dumps(asdict(request))))
    variants = (CHALLENGER, CHAMPION)
    with pytest.raises(PermanentError, match=r"v2/MLmodel is gone; run flights\.deploy again"):
        outcome_source(travelled, ENDPOINT, variants, hook, bucket)
    for version in (1, 2):
        aws("s3").put_object(Bucket=BUCKET, Key=f"models/{judged.model}/v{version}/MLmodel", Body=MLMODEL.encode())
    assert outcome_source(travelled, ENDPOINT, variants, hook, bucket).describe() == "outcomes in s3://lake/labels/"
