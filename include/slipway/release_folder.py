"""What lies beside a release's record in the artifact bucket, each file written once and never changed.

::

    releases/<service>/<release id>/golden.json        golden rows and the original model's answers
                                    pickle-scan.json   what the model's pickles would import
                                    engine/…           the chosen engine: engine.json and its program
                                    bom.json           bill of materials, CycloneDX
                                    provenance.json    in-toto statement with SLSA provenance
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from slipway.artifacts.engine import ENGINE_FILE, EngineChoice
from slipway.canonical import canonical_json
from slipway.images.pickle_scan import ScanReport
from slipway.release import ReleaseStore

if TYPE_CHECKING:
    from slipway.documents import DocumentStore

GOLDEN = "golden.json"
PICKLE_SCAN = "pickle-scan.json"
BILL_OF_MATERIALS = "bom.json"
PROVENANCE = "provenance.json"
_ENGINE = "engine/"


class ReleaseFolder:
    """The files of one release.

    Args:
        documents: the artifact bucket.
        service: name of the service.
        release_id: id of the release.

    Raises:
        PermanentError: the id is no release id.
    """

    def __init__(self, documents: DocumentStore, service: str, release_id: str) -> None:
        self._documents = documents
        self._prefix = ReleaseStore.key(service, release_id).rpartition("/")[0] + "/"

    def read(self, name: str) -> bytes | None:
        """Return a file's content, None when there is none.

        Raises:
            SlipwayError: S3 does not answer or refuses.
        """
        document = self._documents.read(self._prefix + name)
        return document.body if document else None

    def write_once(self, name: str, body: bytes) -> bytes:
        """Write a file where there is none.

        Returns:
            What the file holds: ``body``, or what was there before.

        Raises:
            SlipwayError: S3 does not answer or refuses.
        """
        found = self.read(name)
        if found is None and not self._documents.create(self._prefix + name, body):
            found = self.read(name)
        return body if found is None else found

    def put(self, name: str, body: bytes) -> None:
        """Write a file of a release that is not recorded yet, over what a broken-off try may have left.

        Raises:
            SlipwayError: S3 does not answer or refuses.
        """
        key = self._prefix + name
        found = self._documents.read(key)
        if found is None:
            self._documents.create(key, body)
        elif found.body != body:
            self._documents.replace(key, body, found.etag)

    def engine(self) -> EngineChoice | None:
        """Return the engine that was chosen for the release, None when none was yet."""
        record = self.read(_ENGINE + ENGINE_FILE)
        if record is None:
            return None
        prefix = self._prefix + _ENGINE
        names = [listed.key.removeprefix(prefix) for listed in self._documents.list(prefix)]
        files = {name: self.read(_ENGINE + name) or b"" for name in names if name != ENGINE_FILE}
        return EngineChoice({ENGINE_FILE: record, **files})

    def keep_engine(self, choice: EngineChoice) -> EngineChoice:
        """Write the choice, ``engine.json`` last: without it, what a broken-off try left does not count.

        Returns:
            The choice that stands: this one, or an earlier one.
        """
        kept = self.engine()
        if kept is not None:
            return kept
        for name in sorted(choice.files, key=lambda name: name == ENGINE_FILE):
            self.put(_ENGINE + name, choice.files[name])
        return choice

    def scan(self) -> ScanReport | None:
        """Return what was found in the model's pickles, None when nobody has looked."""
        body = self.read(PICKLE_SCAN)
        return ScanReport.from_dict(json.loads(body)) if body else None

    def keep_scan(self, report: ScanReport) -> None:
        """Write what was found in the model's pickles."""
        self.write_once(PICKLE_SCAN, canonical_json(report.to_dict()))
