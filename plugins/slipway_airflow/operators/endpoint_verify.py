"""Does the endpoint answer as the original model did?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.amazon.aws.utils.mixins import aws_template_fields

from slipway.artifacts.golden import GoldenRows
from slipway.endpoints.report import ReleaseFacts, VerificationReport
from slipway.endpoints.verify import run_verification
from slipway.errors import PermanentError
from slipway_airflow.operators.stage import StageOperator
from slipway_airflow.task_run import TaskRun

if TYPE_CHECKING:
    from airflow.sdk import Context

    from slipway.release import Release


class EndpointVerifyOperator(StageOperator):
    """Send a release's golden rows to its endpoint and compare the answers with the original model's.

    Asks in JSON and in CSV, sends what no client should send, and times single rows. No model is
    loaded here: the golden answers were made from the unpatched model when the image was built. The
    report is kept in ``releases/<service>/<release id>/verify/<stage>.json``.

    .. code-block:: python

        EndpointVerifyOperator(
            task_id="verify", spec=spec, platform=platform, stage="dev", release_id=launch.output["release_id"]
        )

    :param stage: ``dev`` or ``prod``.
    :param release_id: The release that the endpoint serves. (templated)
    :param variant: The variant to ask; None lets the weights choose. (templated)
    :param spec: The service.
    :param platform: The installation.
    :param bucket_conn_id: The Airflow connection of the artifact bucket; ``aws_conn_id`` when None. (templated)
    :param aws_conn_id: The Airflow connection of the endpoint's account. (templated, default: aws_default)
    :param region_name: AWS region; the connection's when None. (templated)
    :param verify: Whether to verify TLS certificates, or the path of a CA bundle. (templated)
    :param botocore_config: Configuration of the botocore clients.
    :return: ``release_id``, ``rows_compared``, ``report_uri``, ``markdown`` (the report for
        a person, some 10 KB at most).
    """

    template_fields = aws_template_fields("bucket_conn_id", "release_id", "variant")

    def __init__(self, *, release_id: str, variant: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.release_id = release_id
        self.variant = variant

    def execute(self, context: Context) -> dict[str, Any]:
        """Ask, compare, keep the report; fail when an answer differs."""
        release = self.bucket.release(self.spec.name, self.release_id)
        runtime = self.hook.client("sagemaker-runtime")
        report = run_verification(runtime, self.endpoint, self._golden(), variant=self.variant)
        markdown = report.markdown(self._facts(release))
        self.log.info("%s", markdown)
        reports = self.bucket.verifications
        reports.write(report, self.spec.name, self.release_id, self.stage)
        if not report.passed:
            self._note_failure(TaskRun.of(context), report)
        report.require_passed()
        return {
            "release_id": self.release_id,
            "rows_compared": report.rows_compared,
            "report_uri": self.bucket.documents.uri(reports.key(self.spec.name, self.release_id, self.stage)),
            "markdown": markdown,
        }

    def _golden(self) -> GoldenRows:
        key = f"releases/{self.spec.name}/{self.release_id}/golden.json"
        document = self.bucket.documents.read(key)
        if document is None:
            raise PermanentError(
                f"There are no golden rows at {self.bucket.documents.uri(key)}: they were deleted. "
                f"Run {self.spec.name}.deploy again to make them."
            )
        return GoldenRows.from_json(document.body)

    def _facts(self, release: Release) -> ReleaseFacts:
        """Gather what the approver wants to know: this release beside the one that has the traffic now."""
        state, _ = self.bucket.states.read(self.spec.endpoint_name("prod"))
        champion = state.champion if state and state.champion and state.champion.release_id != release.id else None
        recorded = self.bucket.releases.read(self.spec.name, champion.release_id) if champion else None
        return ReleaseFacts(
            service=self.spec.name,
            stage=self.stage,
            release_id=release.id,
            model=release.model,
            version=release.version,
            image_uri=release.image_uri,
            engine=release.created_from.get("engine") or "",
            pickle_scan=release.created_from.get("pickle_scan") or "",
            metrics=release.created_from.get("metrics") or {},
            champion_version=champion.model_version if champion else None,
            champion_metrics=(recorded.created_from.get("metrics") or {}) if recorded else {},
        )

    def _note_failure(self, run: TaskRun, report: VerificationReport) -> None:
        self.bucket.note(
            self.spec.name,
            run,
            "refused",
            f"release {self.release_id}",
            endpoint=self.endpoint,
            mismatches=report.mismatch_count,
        )
