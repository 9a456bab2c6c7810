"""Put a release on an endpoint, and wait until the endpoint serves it."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from airflow.providers.amazon.aws.exceptions import WaiterMaxAttemptsError
from airflow.providers.amazon.aws.utils.mixins import aws_template_fields
from airflow.providers.amazon.aws.utils.waiter_with_logging import wait
from airflow.sdk import conf
from airflow.sdk.exceptions import AirflowException

from slipway.aws_errors import aws_call
from slipway.endpoints.launch import LaunchAction, check_endpoint, ensure_endpoint
from slipway.endpoints.logs import log_tail
from slipway.errors import AwsUnavailableError, EndpointFailedError, EndpointRolledBackError, SlipwayError
from slipway.state import Serving
from slipway_airflow.links.endpoint import EndpointLink
from slipway_airflow.operators.stage import StageOperator
from slipway_airflow.task_run import TaskRun
from slipway_airflow.triggers.endpoint import EndpointSettledTrigger

if TYPE_CHECKING:
    from airflow.sdk import Context

    from slipway.endpoints.outcome import Outcome
    from slipway.endpoints.requests import WantedEndpoint
    from slipway.release import Release
    from slipway.state import EndpointState

MAX_WAITS = 5


class SageMakerDeployOperator(StageOperator):
    """Create or update ``<service>-<stage>`` so that it serves a release, with all traffic.

    What is wanted is compared with what is there, so the task may be killed and run again at any
    point: it finds its own model, config and endpoint by their names and goes on. It is done only
    when the endpoint is in service *on the wanted config*; an update that SageMaker rolled back by
    itself is a failure. The error of a container that does not get healthy shows the end of its log.

    .. code-block:: python

        SageMakerDeployOperator(
            task_id="launch", spec=spec, platform=platform, stage="dev", release_id=build.output["release_id"]
        )

    :param stage: ``dev`` or ``prod``. In dev, an endpoint in status Failed is deleted and created anew.
    :param release_id: The release; it has to be recorded. (templated)
    :param instance_type: SageMaker instance type in place of the spec's. (templated)
    :param instance_count: Number of instances in place of the spec's. (templated)
    :param log_lines: Number of log lines that the error of a failed endpoint shows. (default: 40)
    :param waiter_delay: Time in seconds between status checks. (default: 10)
    :param waiter_max_attempts: Number of status checks before giving up. (default: 450)
    :param deferrable: Whether to wait in the triggerer, without a worker. (default: Airflow's
        ``[operators] default_deferrable``)
    :param spec: The service.
    :param platform: The installation.
    :param bucket_conn_id: The Airflow connection of the artifact bucket; ``aws_conn_id`` when None. (templated)
    :param aws_conn_id: The Airflow connection of the endpoint's account. (templated, default: aws_default)
    :param region_name: AWS region; the connection's when None. (templated)
    :param verify: Whether to verify TLS certificates, or the path of a CA bundle. (templated)
    :param botocore_config: Configuration of the botocore clients.
    :return: ``endpoint``, ``config_name``, ``release_id``.
    """

    template_fields = aws_template_fields("bucket_conn_id", "release_id", "instance_type", "instance_count")
    operator_extra_links = (EndpointLink(),)

    def __init__(
        self,
        *,
        release_id: str,
        log_lines: int = 40,
        waiter_delay: int = 10,
        waiter_max_attempts: int = 450,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.release_id = release_id
        self.log_lines = log_lines
        self.waiter_delay = waiter_delay
        self.waiter_max_attempts = waiter_max_attempts
        self.deferrable = deferrable

    def execute(self, context: Context) -> dict[str, Any]:
        """Start whatever brings the endpoint to the release, then see it through."""
        run = TaskRun.of(context)
        self._link(context)
        action = ensure_endpoint(
            self.hook.client("sagemaker"),
            self.wanted,
            replace_failed=partial(self.note_removal, run) if self.may_replace_failed() else None,
        )
        self._note(run, action)
        return self._see_through(context, action.since)

    def execute_complete(
        self, context: Context, event: dict[str, Any], since: str | None = None, waits: int = 0
    ) -> dict[str, Any]:
        """Go on after the trigger has fired."""
        began = datetime.fromisoformat(since) if since else None
        if event["status"] == "success":
            return self._see_through(context, began, waits)
        self.log.warning("%s", event["message"])
        unread = None if event.get("timed_out") else str(event["message"])
        return self._see_through(context, began, MAX_WAITS, unread)

    @cached_property
    def release(self) -> Release:
        """The release as it is recorded."""
        return self.bucket.release(self.spec.name, self.release_id)

    @cached_property
    def wanted(self) -> WantedEndpoint:
        """The endpoint as it shall be."""
        return self.wanted_for(self.release)

    def carried(self) -> dict[str, Any]:
        """Return what :meth:`execute_complete` has to be told beside that, in the process that goes on after a wait."""
        return {}

    def may_replace_failed(self) -> bool:
        """Tell whether an endpoint in status Failed may be deleted and made anew: in dev, nobody misses it."""
        return self.stage == "dev"

    def _see_through(
        self, context: Context, since: datetime | None, waits: int = 0, unread: str | None = None
    ) -> dict[str, Any]:
        """Wait until the endpoint has settled, judge it, record it: the end of both paths.

        :param unread: Why the waiting ended before its time: the endpoint could not be read.
        """
        sagemaker = self.hook.client("sagemaker")
        while (outcome := check_endpoint(sagemaker, self.wanted, since=since)).pending:
            if unread is not None:
                raise _not_waited_for(outcome.message, unread)
            if waits >= MAX_WAITS:
                minutes = self.waiter_delay * self.waiter_max_attempts / 60
                raise self._with_log(EndpointFailedError(f"{outcome.message} It has not settled in {minutes:.0f} min."))
            waits = waits + 1 if self._wait(since, waits + 1) else MAX_WAITS
        if outcome.error is not None:
            raise self._with_log(outcome.error)
        self._record(TaskRun.of(context), outcome)
        return {
            "endpoint": self.wanted.name,
            "config_name": self.wanted.config_name,
            "release_id": self.release_id,
        }

    def _wait(self, since: datetime | None, waits: int) -> bool:
        """Wait until the endpoint has settled: here, or in the triggerer. False when it did not in time.

        :raises AwsUnavailableError: it could not be read.
        """
        if self.deferrable:
            self.defer(
                trigger=EndpointSettledTrigger(
                    endpoint_name=self.wanted.name,
                    waiter_delay=self.waiter_delay,
                    waiter_max_attempts=self.waiter_max_attempts,
                    aws_conn_id=self.aws_conn_id,
                    region_name=self.region_name,
                    verify=self.verify,
                    botocore_config=self.botocore_config,
                ),
                method_name="execute_complete",
                kwargs={"since": since.isoformat() if since else None, "waits": waits, **self.carried()},
            )
        try:
            with aws_call(f"wait for endpoint {self.wanted.name}"):
                wait(
                    self.hook.get_waiter("endpoint_settled"),
                    self.waiter_delay,
                    self.waiter_max_attempts,
                    {"EndpointName": self.wanted.name},
                    f"Endpoint {self.wanted.name} cannot be read",
                    f"Endpoint {self.wanted.name} is",
                    ["EndpointStatus", "FailureReason"],
                )
        except WaiterMaxAttemptsError as error:
            self.log.warning("%s", error)
            return False
        except AirflowException as error:
            raise _not_waited_for(f"{self.wanted.name} was being changed.", str(error)) from error
        return True

    def _with_log(self, error: SlipwayError) -> SlipwayError:
        """Add the end of the container's log to the error of a container that did not get healthy."""
        if not isinstance(error, EndpointFailedError | EndpointRolledBackError):
            return error
        try:
            tail = log_tail(self.hook.client("logs"), self.wanted.name, self.log_lines)
        except SlipwayError as unreadable:
            tail = f"(cannot be read: {unreadable})"
        return type(error)(f"{error}\nEnd of the container's log:\n{tail or '(empty)'}")

    def _record(self, run: TaskRun, outcome: Outcome) -> None:
        """Note what the dev endpoint serves now; what prod serves is noted by the promotion."""
        self.log.info("%s", outcome.message)
        if self.stage != "dev":
            return
        serving = Serving(
            release_id=self.release.id,
            model_version=self.release.version,
            config_name=self.wanted.config_name,
            since=datetime.now(UTC),
            run_id=run.run_id,
        )
        state, _ = self.bucket.states.read(self.wanted.name)
        if state and _serves(state, serving):
            return
        self.bucket.note(
            self.spec.name,
            run,
            "launched",
            f"release {self.release.id}",
            endpoint=self.wanted.name,
            config_name=serving.config_name,
        )
        self.bucket.states.update(self.wanted.name, lambda state: _now_serving(state, serving))

    def _note(self, run: TaskRun, action: LaunchAction) -> None:
        self.log.info("Endpoint %s: %s, config %s", action.endpoint, action.name, action.config_name)
        if action.changed:
            self.bucket.note(
                self.spec.name,
                run,
                action.name,
                f"endpoint {action.endpoint}",
                release_id=self.release_id,
                config_name=action.config_name,
                previous_config=action.previous_config,
                made=list(action.made),
            )

    def _link(self, context: Context) -> None:
        EndpointLink.persist(
            context=context,
            operator=self,
            region_name=self.hook.conn_region_name,
            aws_partition=self.hook.conn_partition,
            endpoint_name=self.wanted.name,
        )


def _not_waited_for(message: str, why: str) -> AwsUnavailableError:
    reason = " ".join(why.split()).rstrip(".")
    return AwsUnavailableError(
        f"{message} Its end could not be waited for: {reason}. Run the task again: it finds its own launch under way."
    )


def _serves(state: EndpointState, serving: Serving) -> bool:
    now = state.champion
    return now is not None and (now.release_id, now.config_name) == (serving.release_id, serving.config_name)


def _now_serving(state: EndpointState, serving: Serving) -> EndpointState:
    """Note a release as having all traffic, unless it is noted so already."""
    if _serves(state, serving):
        return state
    return state.model_copy(update={"champion": serving, "previous": state.champion})
