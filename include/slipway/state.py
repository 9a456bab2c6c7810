"""What Slipway knows about one endpoint: ``endpoints/<endpoint>/state.json``, changed only by conditional writes.

The schema is versioned: a document of a newer version is refused, never half understood and written back.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from slipway.canary.patience import Hold
from slipway.canary.plan import CanaryPlan
from slipway.canary.progress import StepProgress
from slipway.canonical import canonical_json
from slipway.documents import Document, DocumentStore, parse_document
from slipway.errors import PermanentError, StateConflictError
from slipway.lease import Granted, Lease, grant, require

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

SCHEMA_VERSION = 1
HISTORY_LENGTH = 50
"""Entries kept in the state; the ledger keeps everything."""

_ATTEMPTS = 20
_LONGEST_PAUSE_SECONDS = 2.0


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class WayTaken(_Part):
    """How a rollback brought a release back; a rollback that is taken up again goes on by it."""

    route: Literal["warm", "config"] = Field(description="by weights, or by an endpoint config")
    variant: str = Field(description="variant that serves the release")
    config_name: str = Field(description="SageMaker endpoint config that serves it alone")
    instances: int = Field(ge=0, description="how many it needs")
    leaving: tuple[str, ...] = Field((), description="variants that had the traffic before")
    champion: str | None = Field(None, description="release that was the champion before")


class Serving(_Part):
    """A release that has, or had, all traffic of the endpoint."""

    release_id: str
    model_version: int
    config_name: str = Field(description="SageMaker endpoint config that serves it alone")
    since: AwareDatetime
    run_id: str = Field(description="run that put it there")
    way: WayTaken | None = Field(None, description="how it got there again, when that run was a rollback")


class Approval(_Part):
    """A release that may go to this endpoint and has not begun to."""

    release_id: str
    model_version: int
    by: str = Field(description="user, or policy, that said yes")
    at: AwareDatetime
    reason: str = ""
    run_id: str = Field(description="deploy run whose release it is")


class Flag(_Part):
    """A wish of a person, polled by whatever runs."""

    by: str
    at: AwareDatetime
    reason: str = ""

    @property
    def said(self) -> str:
        """Who, and why if a reason was given."""
        return f"{self.by}: {self.reason}" if self.reason else self.by


class Flags(_Part):
    """The wishes that hold now; None means: not set."""

    hold: Flag | None = Field(None, description="stay at the present weights")
    abort: Flag | None = Field(None, description="roll back")
    frozen: Flag | None = Field(None, description="no promotion may begin")
    approve_now: Flag | None = Field(None, description="go on without waiting for more evidence")


class VariantShare(_Part):
    """One variant's part of an endpoint."""

    weight: float = Field(ge=0)
    instances: int = Field(ge=0)


class Recorded(_Part):
    """What stood before a promotion, and what a rollback restores."""

    config_name: str
    variants: dict[str, VariantShare]


class Place(_Part):
    """Where an endpoint is, for whoever has no spec that says it."""

    aws_conn_id: str | None = Field(description="Airflow connection that led there; None: boto3's own credentials")
    account_id: str
    region_name: str


class GateAnswer(_Part):
    """What a person said at a gate."""

    place: str = Field(description="``step 2``: before that step; ``after``: after all steps")
    allow: bool
    by: str
    at: AwareDatetime
    reason: str = ""


class Promotion(_Part):
    """A release on its way to all traffic: the challenger, how it gets there, and the way back."""

    run_id: str
    release_id: str
    model_version: int
    strategy: str = Field(description="first_launch, canary, all_at_once, …")
    begun_at: AwareDatetime
    plan: CanaryPlan | None = Field(None, description="frozen plan of a canary")
    steps: tuple[StepProgress, ...] = Field((), description="steps of the plan that have begun")
    recorded: Recorded | None = Field(None, description="None before the first launch: there was no endpoint")
    place: Place | None = Field(None, description="where the endpoint is; None: see ``recorded``, or an older state")
    alarm: str | None = Field(None, description="CloudWatch alarm that watches while no judge looks")
    gates: tuple[GateAnswer, ...] = Field((), description="what people said on the way, in the order of time")
    holds: tuple[Hold, ...] = Field((), description="holds that are over, in the order of time")
    stopped_because: str | None = Field(None, description="who or what said no")
    launched: tuple[str, ...] = Field((), description="endpoint configs that it asked for, in the order of time")

    def gate_answer(self, place: str) -> GateAnswer | None:
        """What was said at a gate, or None."""
        return next((answer for answer in self.gates if answer.place == place), None)


class HistoryEntry(_Part):
    """One thing that happened to the endpoint."""

    event: Literal["approved", "superseded", "begun", "promoted", "rolled_back", "undeployed"]
    release_id: str
    at: AwareDatetime
    by: str
    run_id: str
    reason: str = ""


class EndpointState(_Part):
    """All of ``state.json``."""

    schema_version: Literal[1] = 1
    endpoint: str
    champion: Serving | None = Field(None, description="has all traffic")
    previous: Serving | None = Field(None, description="had it before; where a rollback goes")
    approved: Approval | None = Field(None, description="waits for its promotion")
    promotion: Promotion | None = Field(None, description="is being promoted")
    lease: Lease | None = None
    flags: Flags = Flags()
    history: tuple[HistoryEntry, ...] = Field((), description=f"newest last, at most {HISTORY_LENGTH}")

    @property
    def holds(self) -> tuple[Hold, ...]:
        """All holds of the promotion, the present one included."""
        over = self.promotion.holds if self.promotion else ()
        present = self.flags.hold
        return (*over, Hold(by=present.by, began_at=present.at)) if present else over

    def last_of(self, run_id: str) -> HistoryEntry | None:
        """The latest thing that a DAG run did to the endpoint, or None."""
        return next((entry for entry in reversed(self.history) if entry.run_id == run_id), None)

    def begun_by(self, run_id: str) -> HistoryEntry | None:
        """The promotion that a DAG run began, also when it has ended; or None."""
        return next((entry for entry in self.history if (entry.event, entry.run_id) == ("begun", run_id)), None)


Change = Callable[[EndpointState], EndpointState]


class StateStore:
    """Reads and changes the states of endpoints.

    Args:
        s3: a boto3 S3 client.
        bucket: the artifact bucket.
        now: the clock, with time zone.
        sleep: waits between attempts after a lost race.
    """

    def __init__(
        self,
        s3: S3Client,
        bucket: str,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._documents = DocumentStore(s3, bucket)
        self._now = now
        self._sleep = sleep

    @staticmethod
    def key(endpoint: str) -> str:
        """Return the key of an endpoint's state."""
        return f"endpoints/{endpoint}/state.json"

    def read(self, endpoint: str) -> tuple[EndpointState | None, str | None]:
        """Read a state.

        Returns:
            The state and its entity tag, or twice None when nothing was ever written.

        Raises:
            PermanentError: the document is of a newer schema, or no state at all.
            SlipwayError: S3 does not answer or refuses.
        """
        document = self._documents.read(self.key(endpoint))
        if document is None:
            return None, None
        return self._parse(endpoint, document), document.etag

    def update(self, endpoint: str, change: Change, *, holder: str | None = None) -> EndpointState:
        """Change a state, whatever others write meanwhile; nothing is written when nothing changes.

        Args:
            endpoint: the endpoint's name.
            change: makes the new state from the present one (an empty one when there is none). It is called again
                after each lost race. A write whose answer gets lost looks like a lost race too, so it has to
                recognise its own work in the state that it is given.
            holder: when given, the change is made only while this holder has the lease.

        Returns:
            The state as it stands now.

        Raises:
            LeaseHeldError: ``holder`` does not have the lease.
            StateConflictError: others kept writing through all attempts.
            SlipwayError: whatever ``change`` raises; S3 does not answer or refuses. Nothing was written then.
        """
        for attempt in range(_ATTEMPTS):
            present, etag = self.read(endpoint)
            base = present or EndpointState(endpoint=endpoint)
            if holder is not None:
                require(base.lease, holder)
            wanted = change(base)
            if wanted == base or self._write(endpoint, wanted, etag):
                return wanted
            self._sleep(random.uniform(0, min(_LONGEST_PAUSE_SECONDS, 0.02 * 2**attempt)))
        raise StateConflictError(
            f"The state of {endpoint} was changed by others {_ATTEMPTS} times in a row while this change was made."
        )

    def take_lease(self, endpoint: str, holder: str, *, purpose: str, seconds: float) -> Granted:
        """Take or prolong the right to change an endpoint.

        Args:
            endpoint: the endpoint's name.
            holder: DAG and run; every task and try of a run names the same one.
            purpose: what for, in words that others read while they wait.
            seconds: how long from now. Longer than the longest pause between two calls of this method.

        Returns:
            The lease, and the run-out lease of another holder when one was taken over.

        Raises:
            LeaseHeldError: another holder has it and its time is not up.
            SlipwayError: see `update`.
        """
        granted: list[Granted] = []

        def take(state: EndpointState) -> EndpointState:
            granted.append(grant(state.lease, holder=holder, purpose=purpose, now=self._now(), seconds=seconds))
            return state.model_copy(update={"lease": granted[-1].lease})

        self.update(endpoint, take)
        # When the answer to the write got lost, the last look found this very lease; the first says whose it was.
        return next(one for one in granted if one.lease == granted[-1].lease)

    def release_lease(self, endpoint: str, holder: str) -> bool:
        """Give the lease back.

        Returns:
            False when ``holder`` did not have it: nothing was written.

        Raises:
            SlipwayError: see `update`.
        """
        had: list[bool] = []

        def give_back(state: EndpointState) -> EndpointState:
            had.append(state.lease is not None and state.lease.holder == holder)
            return state.model_copy(update={"lease": None}) if had[-1] else state

        self.update(endpoint, give_back)
        return any(had)

    def _write(self, endpoint: str, state: EndpointState, etag: str | None) -> bool:
        body = canonical_json(state.model_dump(mode="json"))
        if etag is None:
            return self._documents.create(self.key(endpoint), body)
        return self._documents.replace(self.key(endpoint), body, etag)

    def _parse(self, endpoint: str, document: Document) -> EndpointState:
        uri = self._documents.uri(self.key(endpoint))
        value = parse_document(document.body, uri)
        version = value.get("schema_version")
        if isinstance(version, int) and version > SCHEMA_VERSION:
            raise PermanentError(
                f"{uri} has schema version {version}, this Slipway knows up to {SCHEMA_VERSION}: it was written by a "
                "newer Slipway. Upgrade this one."
            )
        try:
            state = EndpointState.model_validate(value)
        except ValidationError as error:
            raise PermanentError(f"{uri} is not the state of an endpoint: {error}") from None
        if state.endpoint != endpoint:
            raise PermanentError(f"{uri} is the state of {state.endpoint}, expected {endpoint}.")
        return state
