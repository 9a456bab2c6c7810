"""Which captured traffic is there to look at?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from math import ceil
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from airflow.providers.amazon.aws.utils.mixins import aws_template_fields

from slipway.drift.capture_baseline import Learned, learn_from_captures
from slipway.drift.mirrored import schema_of_model
from slipway.drift.objects import CaptureObject
from slipway.drift.run_report import blind_text
from slipway.errors import InvalidParamsError
from slipway_airflow.operators.drift import DriftOperator, Window

if TYPE_CHECKING:
    from airflow.sdk import Context

    from slipway.drift.reference import Reference
    from slipway.release import Release
    from slipway.state import Serving

#: Mapped tasks of one run at most; with more hours to profile each takes several.
MAX_GROUPS = 48
_GUARDRAIL_VARIANT = "main"


class DriftCollectOperator(DriftOperator):
    """Find the capture objects of the window, and those among them that have no profile yet.

    Learns the baseline first when the model was logged without one and enough rows were captured.
    Looks only at what the champion answered, since it is the champion.

    :param window_from: Begin of the window as ISO time, in place of the end less ``monitor.window_hours``. (templated)
    :param window_until: End of the window as ISO time, in place of the run's time. (templated)
    :param spec: The service.
    :param platform: The installation.
    :param bucket_conn_id: The Airflow connection of the artifact bucket; ``aws_conn_id`` when None. (templated)
    :param aws_conn_id: The Airflow connection of the endpoint's account. (templated, default: aws_default)
    :param region_name: AWS region; the connection's when None. (templated)
    :param verify: Whether to verify TLS certificates, or the path of a CA bundle. (templated)
    :param botocore_config: Configuration of the botocore clients.
    :return: The hours to profile, ``{"variant", "hour", "until"}``, oldest first, at most :data:`MAX_GROUPS` groups
        (for Spark one for each variant); under the key ``window`` what the other tasks need to know.
    """

    template_fields = aws_template_fields("bucket_conn_id", "window_from", "window_until")

    def __init__(self, *, window_from: str | None = None, window_until: str | None = None, **kwargs: Any) -> None:
        super().__init__(**{"multiple_outputs": False, **kwargs})
        self.window_from = window_from
        self.window_until = window_until

    def execute(self, context: Context) -> list[dict[str, str]]:
        """List; learn if need be."""
        until = _time(self.window_until) or context["dag_run"].run_after
        state, _ = self.bucket.states.read(self.endpoint)
        champion = state.champion if state else None
        if champion is None:
            self.log.info("Endpoint %s has no champion: there is nothing to watch.", self.endpoint)
            context["ti"].xcom_push(key="window", value={"phase": "nothing"})
            return []
        release = self.bucket.release(self.spec.name, champion.release_id)
        window = self._window(release, champion, until)
        groups = self._groups(window) if window["phase"] == "judge" else []
        context["ti"].xcom_push(key="window", value=window)
        self.log.info(
            "Window %s to %s, release %s: %d capture objects, %d groups of hours to profile (%s).",
            *(window["since"], window["until"], window["release_id"], window["objects"], len(groups), window["phase"]),
        )
        return groups

    def _window(self, release: Release, champion: Serving, until: datetime) -> Window:
        since = _time(self.window_from) or until - timedelta(hours=self.spec.monitor.window_hours)
        since = max(since, champion.since)
        variants = [release.id, _GUARDRAIL_VARIANT]
        rows, learned_until = self._learn(release, champion, variants, until)
        phase = "judge" if rows < 0 else "learning"
        if learned_until is not None:
            since = max(since, learned_until)
            phase = "judge" if since < until else "learning"
        objects = self.store.captures(variants, since, until) if since < until else []
        return Window(
            phase=phase,
            since=since.isoformat(),
            until=until.isoformat(),
            release_id=release.id,
            model=release.model,
            model_version=release.version,
            run_id=str(release.created_from.get("run_id") or ""),
            variants=variants,
            objects=len(objects),
            learned_rows=max(rows, 0),
        )

    def _learn(
        self, release: Release, champion: Serving, variants: list[str], until: datetime
    ) -> tuple[int, datetime | None]:
        """Make sure of a baseline: rows so far while it is incomplete (else -1), and the end of what it is made of."""
        reference = self.store.reference(release.id, release.model, release.version)
        if reference is not None and reference.blind:
            reference = self._learned_anew(reference, release, champion, variants, until)
        if reference is None:
            learned = self._learned(release, self.store.captures(variants, champion.since, until))
            if learned.reference is None:
                return learned.rows, None
            self.store.keep_reference(release.id, learned.reference)
            reference = learned.reference
        if reference.origin.get("source") != "captures":
            return -1, None
        return -1, datetime.fromisoformat(str(reference.origin["until"])) + timedelta(milliseconds=1)

    def _learned(self, release: Release, captures: list[CaptureObject]) -> Learned:
        schema = schema_of_model(self.bucket.documents, release.model, release.version, self.spec.name)
        return learn_from_captures(self.store, captures, schema, self.spec.monitor.learning_rows)

    def _learned_anew(
        self, old: Reference, release: Release, champion: Serving, variants: list[str], until: datetime
    ) -> Reference:
        """A baseline of an older Slipway, learned again where the captures that it was made of are still there."""
        captures = self.store.captures(variants, champion.since, until)
        if captures and captures[0].at.isoformat() == old.origin.get("since"):
            learned = self._learned(release, captures).reference
            if learned is not None:
                self.store.replace_reference(release.id, learned)
                self.log.info("The baseline of an older Slipway was learned anew from the same captures.")
                return learned
        self.log.warning("%s", blind_text(old.blind))
        return old

    def _groups(self, window: Window) -> list[dict[str, str]]:
        """The hours of the window that hold a capture object without a profile, all of them."""
        until, since = datetime.fromisoformat(window["until"]), datetime.fromisoformat(window["since"])
        reference = self.reference_of(window)
        found = self.store.captures(window["variants"], since, until)
        done = self.store.profiled(reference.bins.digest, window["variants"], since, until)
        hours: dict[str, list[datetime]] = {}
        for variant, hour in dict.fromkeys((each.variant, hour_of(each)) for each in found if each.path not in done):
            hours.setdefault(variant, []).append(hour)
        by_spark = self.spec.monitor.profiling.engine == "spark"  # which starts once and shares out the objects itself
        return shared_out(hours, len(hours) if by_spark else MAX_GROUPS)


def shared_out(hours: Mapping[str, Sequence[datetime]], most: int) -> list[dict[str, str]]:
    """Share hours out to tasks: one for each hour or, when these are too many, for as few following ones as suffice.

    :param hours: Begins of the hours of each variant, oldest first.
    :param most: Groups at most, not fewer than variants.
    :return: Groups, oldest first: ``variant``, ``hour`` (begin of the first) and ``until`` (end of the last one). No
        two of them have an hour in common.
    """
    size = next(size for size in count(1) if sum(ceil(len(each) / size) for each in hours.values()) <= most)
    groups = [
        {"variant": variant, "hour": part[0].isoformat(), "until": (part[-1] + timedelta(hours=1)).isoformat()}
        for variant, each in hours.items()
        for part in (each[first : first + size] for first in range(0, len(each), size))
    ]
    return sorted(groups, key=itemgetter("hour"))


def hour_of(found: CaptureObject) -> datetime:
    """Return the begin of the hour in which an object lies."""
    return found.at.replace(minute=0, second=0, microsecond=0)


def _time(text: str | None) -> datetime | None:
    if not text:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidParamsError(f"Expected a time such as 2026-01-31T12:00:00Z, found {text!r}.") from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)
