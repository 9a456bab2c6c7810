"""The API actions on job runs; applications stay moto's.

https://docs.aws.amazon.com/emr-serverless/latest/APIReference/API_Operations.html
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from moto.core.exceptions import JsonRESTError
from moto.core.responses import ActionResult
from moto.emrserverless.exceptions import AccessDeniedException, ResourceNotFoundException, ValidationException
from moto.emrserverless.models import Application, EMRServerlessBackend
from moto.emrserverless.responses import EMRServerlessResponse

from slipway_localaws.emr_serverless.job_runs import ENDED, HostedJobRun, JobHost
from slipway_localaws.emr_serverless.submission import RefusedSubmissionError, read_submission
from slipway_localaws.patching import replace
from slipway_localaws.request_validation import broken_constraints

#: Of a release that moto knows; it takes no label such as ``emr-spark-8.0.0``.
_KNOWN_LABEL = "emr-7.0.0"
_SPARK_LABEL = re.compile(r"emr-spark-\d+\.\d+\.\d+")
_FEWEST_MINUTES = 5


class ConflictError(JsonRESTError):
    """The same token with other parameters."""

    code = 409

    def __init__(self, message: str) -> None:
        super().__init__("ConflictException", message)


def install(host: JobHost) -> None:
    """Put these actions in the place of moto's.

    Args:
        host: Runs the job runs.
    """
    actions = Actions(host)
    replace(EMRServerlessResponse, "start_job_run", _as_action(actions.start_job_run))
    replace(EMRServerlessResponse, "cancel_job_run", _as_action(actions.cancel_job_run))
    create: Callable[..., Application] = EMRServerlessBackend.create_application

    def create_application(self: EMRServerlessBackend, *, release_label: str, **given: Any) -> Application:
        of_spark = _SPARK_LABEL.fullmatch(release_label)
        application = create(self, release_label=_KNOWN_LABEL if of_spark else release_label, **given)
        application.release_label = release_label
        self.job_runs.setdefault(application.id, [])  # without it moto's lists know no such application
        return application

    replace(EMRServerlessBackend, "create_application", create_application)


Handler = Callable[[EMRServerlessBackend, dict[str, Any]], dict[str, Any]]


def _as_action(handler: Handler) -> Callable[[EMRServerlessResponse], ActionResult]:
    def action(self: EMRServerlessResponse) -> ActionResult:
        parameters = dict(self._get_params())
        if problem := broken_constraints("emr-serverless", self._get_action(), parameters):
            raise ValidationException(problem)
        return ActionResult(handler(self.emrserverless_backend, parameters))

    return action


class Actions:
    """The handlers; each gets the backend of the caller's account and region, and checked parameters."""

    def __init__(self, host: JobHost) -> None:
        self._host = host

    def start_job_run(self, backend: EMRServerlessBackend, parameters: dict[str, Any]) -> dict[str, Any]:
        """StartJobRun: the same token is the same job run; a stopped application starts when it may."""
        application = _ready(backend.get_application(parameters["applicationId"]))
        if parameters["executionRoleArn"].split(":")[4] != backend.account_id:
            raise AccessDeniedException("Cross-account pass role is not allowed.")
        if 0 < (parameters.get("executionTimeoutMinutes") or 0) < _FEWEST_MINUTES:
            raise ValidationException(f"RunTimeout must be at least {_FEWEST_MINUTES} minutes.")
        try:
            submission = read_submission(parameters.get("jobDriver") or {})
        except RefusedSubmissionError as error:
            raise ValidationException(str(error)) from error
        runs = backend.job_runs.setdefault(application.id, [])
        run = HostedJobRun(backend, application.release_label, parameters)
        for known in runs:
            if known.client_token == run.client_token:
                if known.request != run.request:  # type: ignore[attr-defined]
                    raise ConflictError(f"The client token {run.client_token} was used with other parameters.")
                return _named(known)
        application.state = "STARTED"
        runs.append(run)
        self._host.start(backend, run, submission)
        return _named(run)

    def cancel_job_run(self, backend: EMRServerlessBackend, parameters: dict[str, Any]) -> dict[str, Any]:
        """CancelJobRun: CANCELLING until its processes are gone."""
        run = backend.get_job_run(parameters["applicationId"], parameters["jobRunId"])
        if run.state in ENDED:
            raise ValidationException(f"Job run {run.id} is in state {run.state} and cannot be cancelled.")
        run.move("CANCELLING")  # type: ignore[attr-defined]
        return {"applicationId": run.application_id, "jobRunId": run.id}


def _ready(application: Application) -> Application:
    starts = (application.auto_start_configuration or {}).get("enabled", True)  # type: ignore[union-attr]
    if application.state == "TERMINATED":
        raise ResourceNotFoundException(application.id)
    if application.state not in {"STARTED", "STARTING"} and not starts:
        raise ValidationException(
            f"Application {application.id} is not started and auto-start is not enabled. "
            f"Current status: {application.state}"
        )
    return application


def _named(run: Any) -> dict[str, Any]:
    return {"applicationId": run.application_id, "jobRunId": run.id, "arn": run.arn}
