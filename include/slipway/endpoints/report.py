"""What a verification found, as JSON for machines and as Markdown for the person who approves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from slipway.canonical import canonical_json
from slipway.documents import DocumentStore, parse_document
from slipway.endpoints import markdown
from slipway.errors import PermanentError, StateConflictError, VerificationError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

Form = Literal["JSON", "CSV"]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True)
class Check:
    """One line of the report: what was checked, what was found, whether that is right."""

    name: str
    result: str
    passed: bool


class Mismatch(_Part):
    """One value that is not the original model's."""

    form: Form
    row: int | None = Field(description="number of the golden row, from 0; None: about the answer as a whole")
    field: str = Field(description="where within the row's answer; empty for a plain number or text")
    expected: Any
    found: Any


class FormResult(_Part):
    """What the endpoint answered to the golden rows in one form of request."""

    form: Form
    rows: int = Field(description="golden rows asked for")
    mismatch_count: int
    problem: str = Field("", description="why there is no answer to compare; empty when there is one")

    @property
    def result(self) -> str:
        """The result in words."""
        return self.problem or f"{self.rows} rows, {self.mismatch_count} mismatches"

    @property
    def passed(self) -> bool:
        """Whether all answers are the original model's."""
        return self.rows > 0 and not self.mismatch_count and not self.problem


class BadInput(_Part):
    """How the endpoint took a request that no client should send."""

    name: str
    status: int = Field(description="HTTP status of the container")

    @property
    def passed(self) -> bool:
        """Whether the client was told that the request is wrong."""
        return 400 <= self.status < 500


class Latency(_Part):
    """Time from request to answer as this client saw it, in milliseconds; nearest-rank percentiles."""

    requests: int
    p50: float
    p90: float
    p99: float


class ReleaseFacts(_Part):
    """What the approver wants to know beside the checks."""

    service: str
    stage: str
    release_id: str
    model: str
    version: int
    image_uri: str
    engine: str = Field("", description="which engine answers; empty: not recorded")
    pickle_scan: str = Field("", description="what the model's pickles would import, in a line; empty: not recorded")
    metrics: dict[str, float] = Field(default_factory=dict)
    champion_version: int | None = Field(None, description="model version that has all traffic now; None: the first")
    champion_metrics: dict[str, float] = Field(default_factory=dict)


class VerificationReport(_Part):
    """All that a verification found."""

    endpoint: str
    variant: str | None = Field(description="the variant that was asked, None: whichever the weights chose")
    at: AwareDatetime
    relative_tolerance: float
    forms: tuple[FormResult, ...]
    mismatches: tuple[Mismatch, ...] = Field(description="the first ones of each form")
    bad_inputs: tuple[BadInput, ...]
    latency_ms: Latency | None = Field(description="None when the endpoint answered no single row")
    notes: tuple[str, ...] = Field((), description="what could not be checked, and why")

    @property
    def passed(self) -> bool:
        """Whether every form that was asked and every bad input was answered as it has to be."""
        checks = [*(form.passed for form in self.forms), *(bad.passed for bad in self.bad_inputs)]
        return bool(self.forms) and all(checks) and self.latency_ms is not None

    @property
    def rows_compared(self) -> int:
        """Golden rows whose answers were compared, in the form that had most of them."""
        return max((form.rows for form in self.forms if not form.problem), default=0)

    @property
    def mismatch_count(self) -> int:
        """Values that are not the original model's, over all forms."""
        return sum(form.mismatch_count for form in self.forms)

    def checks(self) -> list[Check]:
        """List every check with its result, in the order in which a person reads them."""
        latency = self.latency_ms
        if latency:
            shown = f"p50 {latency.p50:.1f} ms, p90 {latency.p90:.1f} ms, p99 {latency.p99:.1f} ms"
            last = Check(f"Latency of one row ({latency.requests} requests)", shown, True)
        else:
            last = Check("Latency of one row", "no answer", False)
        return [
            *(
                Check(f"Answers to {form.form} equal the original model's", form.result, form.passed)
                for form in self.forms
            ),
            *(Check(f"{bad.name} is refused", f"status {bad.status}", bad.passed) for bad in self.bad_inputs),
            last,
        ]

    def require_passed(self) -> None:
        """Refuse to go on with an endpoint that did not pass.

        Raises:
            VerificationError: the message lists the failed checks and the first mismatches.
        """
        if self.passed:
            return
        found = [f"{check.name}: {check.result}" for check in self.checks() if not check.passed]
        found += [
            f"{one.form} row {one.row} {one.field}: expected {one.expected!r}, found {one.found!r}"
            for one in self.mismatches[:3]
        ]
        raise VerificationError(f"{self.endpoint} does not answer as the original model does. {'; '.join(found)}")

    def markdown(self, facts: ReleaseFacts | None = None) -> str:
        """Write the report for the person who approves.

        Args:
            facts: the release and its metrics, beside the champion's; None leaves them out.

        Returns:
            Markdown tables, at most some 12 KB.
        """
        verdict = "passed" if self.passed else "FAILED"
        lines = [
            f"**Verification of {markdown.text(self.endpoint)} {verdict}** ({self.at:%Y-%m-%d %H:%M %Z})",
            "",
            *(markdown.facts_table(facts) if facts else []),
            *markdown.checks_table(self.checks()),
            *markdown.mismatches_table(self.mismatches, self.mismatch_count),
            *(f"- {markdown.text(note)}" for note in self.notes),
        ]
        return "\n".join(lines).rstrip() + "\n"


class VerificationStore:
    """Verification reports in the artifact bucket: ``releases/<service>/<release>/verify/<stage>.json``.

    Args:
        s3: a boto3 S3 client.
        bucket: the artifact bucket.
    """

    def __init__(self, s3: S3Client, bucket: str) -> None:
        self._documents = DocumentStore(s3, bucket)

    @staticmethod
    def key(service: str, release_id: str, stage: str) -> str:
        """Return the key of a report."""
        return f"releases/{service}/{release_id}/verify/{stage}.json"

    def read(self, service: str, release_id: str, stage: str) -> VerificationReport | None:
        """Read a report; None when the release was never verified there.

        Raises:
            PermanentError: the document is no report.
            SlipwayError: S3 does not answer or refuses.
        """
        key = self.key(service, release_id, stage)
        document = self._documents.read(key)
        return None if document is None else self._parse(document.body, key)

    def write(self, report: VerificationReport, service: str, release_id: str, stage: str) -> bool:
        """Keep a report, unless one of the same verdict is kept already.

        Returns:
            Whether it was written.

        Raises:
            StateConflictError: somebody else keeps writing it.
            SlipwayError: S3 does not answer or refuses.
        """
        key, body = self.key(service, release_id, stage), canonical_json(report.model_dump(mode="json"))
        for _ in range(3):
            document = self._documents.read(key)
            if document is not None and self._parse(document.body, key).passed == report.passed:
                return False
            if document is None and self._documents.create(key, body):
                return True
            if document is not None and self._documents.replace(key, body, document.etag):
                return True
        raise StateConflictError(f"Others kept writing {self._documents.uri(key)}.")

    def _parse(self, body: bytes, key: str) -> VerificationReport:
        uri = self._documents.uri(key)
        try:
            return VerificationReport.model_validate(parse_document(body, uri))
        except ValidationError as error:
            raise PermanentError(f"{uri} is not a verification report: {error}") from None
