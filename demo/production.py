"""A client of the production endpoint: plain boto3, as an application would call it, and what stands behind it."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from demo.errors import ChapterFailedError
from demo.stage import Stage, expect
from demo.training import MODEL
from slipway.release import Release, ReleaseStore

if TYPE_CHECKING:
    import pandas as pd  # type: ignore[import-untyped]

_ROWS_PER_CALL = 100
# JSON keeps a double's every bit; linear algebra over another number of rows may differ in the last ones.
_RELATIVE_TOLERANCE = 1e-9


@dataclass(frozen=True)
class Live:
    """What SageMaker, ECR and the release's record say about an endpoint."""

    arn: str
    status: str
    image_digest: str
    release: Release


@dataclass(frozen=True)
class Comparison:
    """The endpoint's answers beside the model's own."""

    rows: int
    mismatches: list[str]


def is_live(stage: Stage, endpoint: str) -> bool:
    """Whether an endpoint answers requests now."""
    found = stage.aws("sagemaker").list_endpoints(NameContains=endpoint, StatusEquals="InService")["Endpoints"]
    return any(each["EndpointName"] == endpoint for each in found)


def describe(stage: Stage, service: str, endpoint: str) -> Live:
    """Reads back an endpoint: status, release, image.

    Raises:
        ChapterFailedError: What SageMaker runs is not what the release's record says.
    """
    sagemaker = stage.aws("sagemaker")
    description = sagemaker.describe_endpoint(EndpointName=endpoint)
    config = sagemaker.describe_endpoint_config(EndpointConfigName=description["EndpointConfigName"])
    variant = max(config["ProductionVariants"], key=lambda each: each.get("InitialVariantWeight", 0))
    model = sagemaker.describe_model(ModelName=variant["ModelName"])
    image = str(model["PrimaryContainer"]["Image"])
    digest = image.rpartition("@")[2]
    release = ReleaseStore(stage.aws("s3"), stage.artifact_bucket).read(service, variant["VariantName"])
    if release is None:
        raise ChapterFailedError(f"endpoint {endpoint} runs {variant['VariantName']}, which no release.json describes.")
    expect(release.image_uri == image, f"endpoint {endpoint} runs {image}, its release says {release.image_uri}.")
    repository = release.image_uri.partition("@")[0].partition("/")[2]
    stage.aws("ecr").describe_images(repositoryName=repository, imageIds=[{"imageDigest": digest}])
    return Live(description["EndpointArn"], description["EndpointStatus"], digest, release)


def compare(stage: Stage, endpoint: str, version: int, rows: pd.DataFrame) -> Comparison:
    """Calls the endpoint with the rows and compares its answers with the registered model's own.

    Args:
        stage: The running stack.
        endpoint: SageMaker endpoint.
        version: Version of the flights model to compare with, loaded from MLflow as anybody could.
        rows: The features, one flight a row.
    """
    _ = stage.mlflow  # from here on the module below works with the stack's server
    import mlflow

    wanted = mlflow.pyfunc.load_model(f"models:/{MODEL}/{version}").predict(rows).tolist()
    runtime = stage.aws("sagemaker-runtime")
    answers: list[Any] = []
    for start in range(0, len(rows), _ROWS_PER_CALL):
        answers += ask(runtime, endpoint, rows[start : start + _ROWS_PER_CALL])
    mismatches = [
        f"row {number}: answered {answer}, the model says {expected}"
        for number, (answer, expected) in enumerate(zip(answers, wanted, strict=True))
        if not same(answer, expected)
    ]
    return Comparison(len(answers), mismatches)


def ask(runtime: Any, endpoint: str, rows: pd.DataFrame) -> list[Any]:
    """One call with many rows; returns an answer a row."""
    response = runtime.invoke_endpoint(
        EndpointName=endpoint, ContentType="application/json", Body=json.dumps(payload(rows)).encode()
    )
    predictions: list[Any] = json.loads(response["Body"].read())["predictions"]
    return predictions


def payload(rows: pd.DataFrame) -> dict[str, Any]:
    """MLflow's ``dataframe_split`` form of the rows."""
    return {"dataframe_split": {"columns": list(rows.columns), "data": rows.to_numpy(dtype=object).tolist()}}


def same(answer: Any, expected: Any) -> bool:
    """True when two answers agree, numbers to nine digits, lists element by element."""
    if isinstance(expected, list):
        return isinstance(answer, list) and len(answer) == len(expected) and all(map(same, answer, expected))
    if isinstance(expected, float) and isinstance(answer, int | float):
        return math.isclose(answer, expected, rel_tol=_RELATIVE_TOLERANCE, abs_tol=1e-12)
    return bool(answer == expected)
