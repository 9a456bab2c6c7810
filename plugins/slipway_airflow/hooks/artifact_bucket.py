"""Slipway's own documents: releases, states, locks and the ledger in the artifact bucket."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from slipway.artifacts.lock import LockStore
from slipway.documents import DocumentStore
from slipway.endpoints.report import VerificationStore
from slipway.errors import PermanentError
from slipway.ledger import Ledger, LedgerEntry
from slipway.release import Release, ReleaseStore
from slipway.state import StateStore

if TYPE_CHECKING:
    from slipway_airflow.hooks.slipway_aws import SlipwayAwsHook
    from slipway_airflow.task_run import TaskRun


class ArtifactBucket:
    """The artifact bucket, seen through one AWS connection.

    Every write looks first at what is there: a task that runs again and finds its work done writes nothing.

    :param hook: The connection.
    :param template: Name of the bucket; ``{account_id}`` and ``{region}`` are filled in from the connection.
    """

    def __init__(self, hook: SlipwayAwsHook, template: str) -> None:
        self.hook = hook
        self._template = template

    @cached_property
    def name(self) -> str:
        """Name of the bucket."""
        return self.hook.fill(self._template)

    @property
    def s3(self) -> Any:
        """The S3 client."""
        return self.hook.client("s3")

    @cached_property
    def documents(self) -> DocumentStore:
        """Small documents of any kind."""
        return DocumentStore(self.s3, self.name)

    def documents_of(self, bucket: str) -> DocumentStore:
        """Small documents of another bucket, through the same connection."""
        return DocumentStore(self.s3, bucket)

    @cached_property
    def releases(self) -> ReleaseStore:
        """Records of releases."""
        return ReleaseStore(self.s3, self.name)

    @cached_property
    def states(self) -> StateStore:
        """States of endpoints."""
        return StateStore(self.s3, self.name)

    @cached_property
    def locks(self) -> LockStore:
        """Dependency locks."""
        return LockStore(self.s3, self.name)

    @cached_property
    def ledger(self) -> Ledger:
        """What was done, by whom and why."""
        return Ledger(self.s3, self.name)

    @cached_property
    def verifications(self) -> VerificationStore:
        """Reports of verifications."""
        return VerificationStore(self.s3, self.name)

    def release(self, service: str, release_id: str) -> Release:
        """Return a release that has to exist.

        :raises PermanentError: it was never recorded.
        """
        release = self.releases.read(service, release_id)
        if release is None:
            raise PermanentError(
                f"Release {release_id} of {service} is not recorded in s3://{self.name}: its image was never built, or "
                f"its record was deleted. Run {service}.deploy again."
            )
        return release

    def note(self, service: str, run: TaskRun, action: str, subject: str, **detail: Any) -> None:
        """Write what was done into the ledger; the same entry of a task is written once.

        :param service: Name of the service.
        :param run: Who did it.
        :param action: What was done, e.g. ``endpoint_created``.
        :param subject: To what: a release, an endpoint.
        :param detail: What a reader would ask next.
        """
        entry = LedgerEntry(action=action, subject=subject, user=run.user, reason=run.reason, detail=detail)
        self.ledger.record(service, run.run_id, run.task_id, entry)

    def keep(self, key: str, body: bytes) -> bool:
        """Write a document unless it is there with the same content.

        :return: Whether it was written.
        """
        found = self.documents.read(key)
        if found is None:
            return self.documents.create(key, body)
        return found.body != body and self.documents.replace(key, body, found.etag)
