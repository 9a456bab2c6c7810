"""The monitor's documents in the artifact bucket: baselines, profiles, runs, state, history, reports.

==============================================  =====================================================
``baselines/<service>/statistics.json``         a baseline brought along from Model Monitor (``constraints.json`` too)
``baselines/<service>/<release>.json``          what the release is compared with; written once
``profiles/<endpoint>/<bins>/…/<name>.slpf``    profile of one capture object; written once
``….rejected.json``                             the first of its calls that could not be read
``drift/<service>/state.json``                  where the service stands; conditional writes
``drift/<service>/runs/<until>.json``           what one run found
``drift/<service>/quality/<until>.json``        how good the answers were whose outcomes are known
``drift/<service>/history/<until>.parquet``     the same as rows, for Athena and the heat map
``drift/<service>/reports/…``                   pages for people
``drift/<service>/model_monitor/…``             the latest run in Model Monitor's files
==============================================  =====================================================
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from slipway.aws_errors import aws_call
from slipway.documents import DocumentStore, parse_document
from slipway.drift.capture.profiling import ProfiledObject, profile_object
from slipway.drift.encoding import from_bytes
from slipway.drift.model_monitor import read_statistics
from slipway.drift.objects import CaptureObject, capture_prefix, list_objects, list_variants, profile_prefix
from slipway.drift.profile import Profile
from slipway.drift.profiling import empty_profile
from slipway.drift.quality.report import QualityReport
from slipway.drift.reference import ARTIFACT, Reference, read_reference
from slipway.drift.run_report import RunReport, stamp
from slipway.drift.status import MonitorState
from slipway.errors import PermanentError, StateConflictError, StorageUnavailableError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_THREADS = 8


class DriftStore:
    """Reads and writes what the monitor of one service keeps.

    Args:
        s3: A boto3 S3 client.
        bucket: The artifact bucket.
        service: The service.
        endpoint: Its production endpoint.
    """

    def __init__(self, s3: S3Client, bucket: str, service: str, endpoint: str) -> None:
        self._s3 = s3
        self._documents = DocumentStore(s3, bucket)
        self.bucket = bucket
        self.service = service
        self.endpoint = endpoint

    def reference(self, release_id: str, model: str, version: int) -> Reference | None:
        """Return the baseline of a release: the kept one, else the one logged with the model, which is then kept.

        Else one brought along from Model Monitor as ``baselines/<service>/statistics.json``.

        Args:
            release_id: The release.
            model: MLflow registered model.
            version: Its version, whose artifacts are mirrored in ``models/<model>/v<version>/``.
        """
        kept = self._documents.read(self._baseline_key(release_id))
        if kept is not None:
            return read_reference(kept.body)
        logged = self._documents.read(f"models/{model}/v{version}/{ARTIFACT}")
        brought = None if logged else self._documents.read(f"baselines/{self.service}/statistics.json")
        if logged is not None:
            reference = read_reference(logged.body)
        elif brought is not None:
            uri = self._documents.uri(f"baselines/{self.service}/statistics.json")
            reference = read_statistics(parse_document(brought.body, uri))
        else:
            return None
        self.keep_reference(release_id, reference)
        return reference

    def kept_reference(self, release_id: str) -> Reference | None:
        """Return the baseline that a release was compared with before, or None."""
        kept = self._documents.read(self._baseline_key(release_id))
        return read_reference(kept.body) if kept else None

    def constraints(self) -> dict[str, Any] | None:
        """Return the ``constraints.json`` brought along from Model Monitor, or None."""
        key = f"baselines/{self.service}/constraints.json"
        found = self._documents.read(key)
        return parse_document(found.body, self._documents.uri(key)) if found else None

    def keep_reference(self, release_id: str, reference: Reference) -> None:
        """Keep the baseline of a release; the first one stands."""
        self._documents.create(self._baseline_key(release_id), reference.to_bytes())

    def replace_reference(self, release_id: str, reference: Reference) -> None:
        """Put another baseline in the place of a release's, as when it is learned anew from the same captures."""
        key = self._baseline_key(release_id)
        kept = self._documents.read(key)
        if kept is not None:
            self._documents.replace(key, reference.to_bytes(), kept.etag)

    def captures(self, variants: Iterable[str], since: datetime, until: datetime) -> list[CaptureObject]:
        """List the capture objects of a window, oldest first."""
        return self._list(capture_prefix(self.endpoint), variants, since, until)

    def variants(self) -> list[str]:
        """List the variants that were ever captured."""
        return list_variants(self._s3, self.bucket, self.endpoint)

    def profiled(self, bins_digest: str, variants: Iterable[str], since: datetime, until: datetime) -> set[str]:
        """Return the paths of the capture objects that have a profile."""
        found = self._list(profile_prefix(self.endpoint, bins_digest), variants, since, until)
        return {each.path for each in found}

    def profile(self, found: CaptureObject, reference: Reference) -> Profile:
        """Profile one capture object, streaming, and keep the profile; a kept one is not computed again."""
        key = found.profile_key(self.endpoint, reference.bins.digest)
        kept = self._documents.read(key)
        if kept is not None:
            return from_bytes(kept.body)
        with self.open_capture(found) as stream:
            profiled = profile_object(stream, reference.schema, reference.bins)
        return self.keep_profile(found, reference, profiled)

    def keep_profile(self, found: CaptureObject, reference: Reference, profiled: ProfiledObject) -> Profile:
        """Keep the profile of a capture object, wherever it was made; the first one stands."""
        key = found.profile_key(self.endpoint, reference.bins.digest)
        if profiled.rejected:
            self._documents.create(f"{key.removesuffix('.slpf')}.rejected.json", profiled.rejected)
        self._documents.create(key, profiled.profile)
        return from_bytes(profiled.profile)

    def signed_capture(self, found: CaptureObject, seconds: int = 3600) -> str:
        """Return an address by which anybody can read a capture object for some time."""
        place = {"Bucket": self.bucket, "Key": found.capture_key(self.endpoint)}
        return self._s3.generate_presigned_url("get_object", Params=place, ExpiresIn=seconds)

    def open_capture(self, found: CaptureObject) -> CaptureStream:
        """Open a capture object for reading."""
        return CaptureStream(self._s3, self.bucket, found.capture_key(self.endpoint))

    def window(self, reference: Reference, variants: Iterable[str], since: datetime, until: datetime) -> Profile:
        """Merge the profiles of a window."""
        digest = reference.bins.digest
        found = self._list(profile_prefix(self.endpoint, digest), variants, since, until)
        keys = [each.profile_key(self.endpoint, digest) for each in found]
        merged = empty_profile(reference.bins)
        with ThreadPoolExecutor(_THREADS) as pool:
            for body in pool.map(self._body, keys):
                merged = merged.merge(from_bytes(body))
        return merged

    def state(self) -> MonitorState:
        """Return where the service stands."""
        return self._state()[0]

    def change_state(self, change: Callable[[MonitorState], MonitorState]) -> MonitorState:
        """Change the state by a conditional write; nothing is written when it stays as it is.

        Raises:
            StateConflictError: Others kept changing it.
        """
        for _ in range(5):
            state, etag = self._state()
            after = change(state)
            if after == state:
                return state
            body = after.model_dump_json(indent=1).encode()
            key = self._key("state.json")
            if self._documents.replace(key, body, etag) if etag else self._documents.create(key, body):
                return after
        raise StateConflictError(f"{self._documents.uri(self._key('state.json'))} changes all the time; try again.")

    def keep_run(self, report: RunReport) -> str:
        """Keep what a run found; returns its key."""
        return self.keep(f"runs/{stamp(report.until)}.json", report.model_dump_json(indent=1).encode())

    def run(self, key: str) -> RunReport:
        """Read what a run found.

        Raises:
            PermanentError: It is not there, or is no report.
        """
        try:
            return RunReport.model_validate_json(self._body(key))
        except ValidationError as error:
            raise PermanentError(f"{self._documents.uri(key)} is no report of the monitor: {error}") from None

    def run_keys(self, limit: int) -> list[str]:
        """Return the keys of the latest runs, oldest first."""
        return sorted(each.key for each in self._documents.list(self._key("runs/")))[-limit:]

    def runs(self, limit: int) -> Iterator[RunReport]:
        """Read the latest runs, oldest first."""
        with ThreadPoolExecutor(_THREADS) as pool:
            yield from pool.map(self.run, self.run_keys(limit))

    def keep_quality(self, until: datetime, report: QualityReport) -> str:
        """Keep the quality that a run measured; returns its key."""
        return self.keep(f"quality/{stamp(until)}.json", report.model_dump_json(indent=1).encode())

    def quality(self, until: datetime) -> QualityReport | None:
        """Return the quality that the run of a window measured; None without outcomes."""
        found = self._documents.read(self._key(f"quality/{stamp(until)}.json"))
        return QualityReport.model_validate_json(found.body) if found else None

    def keep(self, name: str, body: bytes) -> str:
        """Write a file of the service's folder unless it is there with the same content; returns its key."""
        key = self._key(name)
        found = self._documents.read(key)
        if found is None:
            self._documents.create(key, body)
        elif found.body != body:
            self._documents.replace(key, body, found.etag)
        return key

    def put_page(self, name: str, body: bytes) -> str:
        """Write a page of the service's folder, with the media type of HTML and deflated by gzip; returns its key."""
        import gzip

        key = self._key(name)
        with aws_call(f"write {self._documents.uri(key)}", unavailable=StorageUnavailableError):
            self._s3.put_object(
                Bucket=self.bucket,
                Key=key,
                Body=gzip.compress(body, 5, mtime=0),
                ContentType="text/html; charset=utf-8",
                ContentEncoding="gzip",
            )
        return key

    def uri(self, key: str) -> str:
        """Return the ``s3://`` address of a key."""
        return self._documents.uri(key)

    def _state(self) -> tuple[MonitorState, str | None]:
        key = self._key("state.json")
        found = self._documents.read(key)
        if found is None:
            return MonitorState(), None
        document = parse_document(found.body, self._documents.uri(key))
        try:
            return MonitorState.model_validate_json(found.body), found.etag
        except ValidationError as error:
            version = document.get("schema_version")
            raise PermanentError(
                f"{self._documents.uri(key)} (version {version!r}) is not understood: {error}"
            ) from None

    def _body(self, key: str) -> bytes:
        found = self._documents.read(key)
        if found is None:
            raise PermanentError(f"{self._documents.uri(key)} is gone; clear the whole run to make it again.")
        return found.body

    def _list(self, prefix: str, variants: Iterable[str], since: datetime, until: datetime) -> list[CaptureObject]:
        found = [
            each for variant in variants for each in list_objects(self._s3, self.bucket, prefix, variant, since, until)
        ]
        return sorted(found, key=lambda each: (each.at, each.path))

    def _key(self, name: str) -> str:
        return f"drift/{self.service}/{name}"

    def _baseline_key(self, release_id: str) -> str:
        return f"baselines/{self.service}/{release_id}.json"


class CaptureStream:
    """The body of a capture object, read in pieces; S3's failures come as Slipway's."""

    def __init__(self, s3: S3Client, bucket: str, key: str) -> None:
        self._s3 = s3
        self._bucket = bucket
        self._key = key

    def __enter__(self) -> CaptureStream:
        with self._call():
            self._body = self._s3.get_object(Bucket=self._bucket, Key=self._key)["Body"]
        return self

    def __exit__(self, *_: object) -> None:
        self._body.close()

    def read(self, amount: int, /) -> bytes:
        """Return at most ``amount`` bytes; none at the end."""
        with self._call():
            return self._body.read(amount)

    def _call(self) -> AbstractContextManager[None]:
        return aws_call(f"read s3://{self._bucket}/{self._key}", unavailable=StorageUnavailableError)
