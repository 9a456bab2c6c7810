"""The one folder that holds everything the stand-in keeps."""

from __future__ import annotations

import fcntl
import os
import secrets
from pathlib import Path


class StateFolderBusyError(RuntimeError):
    """Another stand-in already works in this folder."""


class StateFolder:
    """Where each kind of state lives, and the lock that keeps a second server out.

    Args:
        root: the folder; made when missing.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        for folder in (self.root, self.registry, self.layers, self.images, self.container_logs, self.objects):
            folder.mkdir(parents=True, exist_ok=True)
        self._lock_file = (self.root / "lock").open("a+")

    @property
    def registry(self) -> Path:
        """Blobs of the image registry."""
        return self.root / "registry"

    @property
    def layers(self) -> Path:
        """Unpacked image layers, one folder a layer."""
        return self.root / "layers"

    @property
    def images(self) -> Path:
        """Root file systems, one folder an image."""
        return self.root / "images"

    @property
    def interpreters(self) -> Path:
        """Bare virtual environments that lend the host's Python to images without one."""
        return self.root / "interpreters"

    @property
    def containers(self) -> Path:
        """Scratch folders of running containers."""
        return self.root / "containers"

    @property
    def container_logs(self) -> Path:
        """What the hosted containers print."""
        return self.root / "logs"

    @property
    def job_runs(self) -> Path:
        """Folders of EMR Serverless's job runs, while they run."""
        return self.root / "job-runs"

    @property
    def objects(self) -> Path:
        """Bodies of S3 objects."""
        return self.root / "s3"

    @property
    def backends(self) -> Path:
        """The services' state, one file a service."""
        return self.root / "backends"

    @property
    def metrics(self) -> Path:
        """Every published metric value, one JSON line a publication."""
        return self.root / "metrics.jsonl"

    @property
    def journal(self) -> Path:
        """Every request, one JSON line each."""
        return self.root / "journal.jsonl"

    def acquire(self) -> None:
        """Take the folder for this process.

        Raises:
            StateFolderBusyError: another process holds it.
        """
        try:
            fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock_file.seek(0)
            holder = self._lock_file.read().strip() or "unknown"
            raise StateFolderBusyError(f"state folder {self.root} is in use by process {holder}") from None
        self._lock_file.seek(0)
        self._lock_file.truncate()
        self._lock_file.write(str(os.getpid()))
        self._lock_file.flush()

    def secret(self) -> bytes:
        """The key that signs registry tokens; made once, kept over restarts."""
        path = self.root / "secret"
        if not path.exists():
            path.touch(mode=0o600)
            path.write_bytes(secrets.token_bytes(32))
        return path.read_bytes()


def write_atomically(path: Path, data: bytes) -> None:
    """Replace ``path`` by ``data`` so that a kill leaves either the old or the new content.

    Nothing is flushed to the disk: what a stand-in keeps need not outlive a power cut, and a flush waits for everything
    else that the machine writes.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    draft.write_bytes(data)
    draft.replace(path)
