"""What a run's training asks of EMR Serverless, made of the spec.

Names and limits are those of the API reference,
https://docs.aws.amazon.com/emr-serverless/latest/APIReference/API_StartJobRun.html and API_Application.html.
"""

from __future__ import annotations

import hashlib
import math
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slipway.endpoints.requests import role_arn, tag_value
from slipway.errors import InvalidInputError

if TYPE_CHECKING:
    from slipway.endpoints.requests import Account
    from slipway.platform import Platform
    from slipway.spec import ServiceSpec
    from slipway.spec.compute import EmrServerlessSpec

SHARED_FOLDER = "spark.slipway.folder"
#: The oldest release whose Spark can run the trainer, which passes rows to and from Spark 4 as Arrow tables:
#: https://docs.aws.amazon.com/emr/latest/EMR-Serverless-UserGuide/release-version-emr-spark-8.0.0.html
OLDEST_RELEASE = "emr-spark-8.0.0"
_SPARK_3 = re.compile(r"emr-[5-7]\..*")
#: How a job names the service's own files, wherever they are brought to.
_CODE = "channel://code/"
_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "GX_ANALYTICS_ENABLED": "false",
    "PYTHONUNBUFFERED": "1",
}
_ARCHIVE_PYTHON = "./environment/bin/python"
_FEWEST_MINUTES = 5


@dataclass(frozen=True)
class EmrOrder:
    """Everything about a run's job run that does not change from one attempt to the next.

    Args:
        service: Name of the service.
        run_id: The DAG run.
        document: The trainer's job; its own code is named as ``channel://code/…``.
        place: Where the run's files go, ``s3://bucket/prefix``.
        compute: The spec's section.
        properties: Spark properties of the spec.
        role_arn: The job run's role.
        region: AWS region.
        max_runtime_minutes: After which EMR Serverless cancels the training.
        code: Files of the service's own, by the path below ``channel://code/``.
        tags: Tags of the job run.
    """

    service: str
    run_id: str
    document: Mapping[str, Any]
    place: str
    compute: EmrServerlessSpec
    properties: Mapping[str, str]
    role_arn: str
    region: str
    max_runtime_minutes: int
    code: Mapping[str, Path] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)

    def job_name(self, attempt: int) -> str:
        """Name of an attempt, and its client token: the same for every try of the run's task; 64 characters at most."""
        digest = hashlib.sha256(f"{self.service}/{self.run_id} {self.place}".encode()).hexdigest()[:12]
        return f"{self.service}-{digest}-{attempt}"

    def folder(self, name: str) -> str:
        """Where an attempt's files go."""
        return f"{self.place}/{name}"

    def log_uri(self, name: str) -> str:
        """Where an attempt's logs go."""
        return self.compute.log_uri or f"{self.folder(name)}/logs/"


def emr_order(
    spec: ServiceSpec,
    platform: Platform,
    account: Account,
    *,
    run_id: str,
    document: Mapping[str, Any],
    code: Mapping[str, Path],
    place: str,
) -> EmrOrder:
    """Make the order of one run's job run from the spec.

    Args:
        spec: The service; ``retrain.compute`` names EMR Serverless.
        platform: The installation.
        account: Where the job run is started.
        run_id: The DAG run.
        document: The trainer's job.
        code: The service's own files, by the path below ``channel://code/``.
        place: Where the run's files go, ``s3://bucket/prefix``.
    """
    retrain = spec.retrain
    compute = retrain.compute.emr_serverless if retrain and retrain.compute else None
    if retrain is None or compute is None:
        raise InvalidInputError(f"{spec.name} names no retrain.compute.emr_serverless")
    own = {"slipway:service": spec.name, "slipway:owner": spec.owner, "slipway:run-id": run_id}
    return EmrOrder(
        service=spec.name,
        run_id=run_id,
        document={**document, "mlflow_secret": compute.mlflow_secret},
        place=place,
        compute=compute,
        properties=retrain.spark,
        role_arn=role_arn(compute.role or platform.execution_role, account),
        region=account.region,
        max_runtime_minutes=max(_FEWEST_MINUTES, math.ceil(retrain.max_hours * 60)),
        code=code,
        tags={**platform.tags, **spec.tags, **{key: tag_value(value) for key, value in own.items()}},
    )


def order_document(order: EmrOrder, name: str) -> dict[str, Any]:
    """The trainer's job of an attempt: its own code lies in S3, and models pass between Spark and it through S3.

    Args:
        order: The training.
        name: Of the attempt.
    """
    folder = order.folder(name)

    def placed(reference: str | None) -> str | None:
        return reference.replace(_CODE, f"{folder}/code/", 1) if reference else None

    document = dict(order.document)
    return {
        **document,
        "template": placed(document.get("template")),
        "retrainer": placed(document.get("retrainer")),
        "spark": {SHARED_FOLDER: f"{folder}/spark/", **order.properties},
    }


def job_run_request(order: EmrOrder, name: str) -> dict[str, Any]:
    """Build the StartJobRun request of an attempt.

    Args:
        order: The training.
        name: Of the attempt.
    """
    folder = order.folder(name)
    logs = {"s3MonitoringConfiguration": {"logUri": order.log_uri(name)}}
    return {
        "applicationId": order.compute.application_id,
        "clientToken": name,
        "name": name,
        "executionRoleArn": order.role_arn,
        "executionTimeoutMinutes": order.max_runtime_minutes,
        "jobDriver": {
            "sparkSubmit": {
                "entryPoint": f"{folder}/entry_point.py",
                "entryPointArguments": ["train", "--job", f"{folder}/job.json", "--out", f"{folder}/"],
                "sparkSubmitParameters": submit_parameters(order),
            }
        },
        "configurationOverrides": {"monitoringConfiguration": logs},
        "tags": dict(order.tags),
    }


def submit_parameters(order: EmrOrder) -> str:
    """Everything that Spark is configured with, as words of spark-submit.

    https://docs.aws.amazon.com/emr/latest/EMR-Serverless-UserGuide/jobs-spark.html for the variables of the driver,
    https://docs.aws.amazon.com/emr/latest/EMR-Serverless-UserGuide/using-python-libraries.html for the archive.
    """
    environment = {**_ENVIRONMENT, "AWS_DEFAULT_REGION": order.region}
    properties = {}
    if order.compute.archive:
        environment |= {"PYSPARK_DRIVER_PYTHON": _ARCHIVE_PYTHON, "PYSPARK_PYTHON": _ARCHIVE_PYTHON}
        properties["spark.archives"] = f"{order.compute.archive}#environment"
        properties["spark.executorEnv.PYSPARK_PYTHON"] = _ARCHIVE_PYTHON
    properties |= {f"spark.emr-serverless.driverEnv.{key}": value for key, value in environment.items()}
    properties |= {key: value for key, value in order.properties.items() if key != SHARED_FOLDER}
    return " ".join(f"--conf {_word(f'{key}={value}')}" for key, value in sorted(properties.items()))


def _word(text: str) -> str:
    """Quoted only where it falls apart otherwise: AWS shows values such as ``x.tar.gz#environment`` without quotes."""
    return shlex.quote(text) if re.search(r"[\s'\"\\]", text) else text


def unfit(application: Mapping[str, Any]) -> str:
    """Say why an application cannot train, as the end of a sentence that names it; empty when it can.

    Args:
        application: As GetApplication describes it.
    """
    release = application["releaseLabel"]
    if application["type"].lower() != "spark":
        return f"is of type {application['type']}; expected one of type Spark."
    if _SPARK_3.fullmatch(release):
        return (
            f"is of release {release}, whose Spark is 3; expected {OLDEST_RELEASE} or later, since the trainer passes "
            "rows to and from Spark 4 as Arrow tables."
        )
    if application["state"] == "TERMINATED":
        return "is terminated; create another one, and name that in the spec."
    starts = (application.get("autoStartConfiguration") or {}).get("enabled", True)
    if application["state"] in {"CREATED", "STOPPING", "STOPPED"} and not starts:
        return (
            f"is {application['state'].lower()} and may not start by itself; start it, or allow that "
            "(autoStartConfiguration)."
        )
    return ""
