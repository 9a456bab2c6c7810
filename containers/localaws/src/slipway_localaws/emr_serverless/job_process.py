"""One job run as a process of this machine: spark-submit, its driver, and what they print."""

from __future__ import annotations

import gzip
import importlib
import importlib.util
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from pathlib import Path

from slipway_localaws.emr_serverless.submission import Submission
from slipway_localaws.hosting.launch_spec import SHIM, LaunchSpec

_STOP_SECONDS = 15.0
STREAMS = ("stdout", "stderr")


class CannotRunError(RuntimeError):
    """The job cannot even be started; the message is for ``stateDetails``."""


class JobProcess:
    """Runs a job in a folder of its own.

    Args:
        submission: What to run.
        entry_point: Content of the entry point.
        archives: Contents of the archives, by the folder that each is unpacked into.
        folder: The job's folder.
        environment: What the job's role and region give it.

    Raises:
        CannotRunError: There is no Spark here, or an archive is none.
    """

    def __init__(
        self,
        submission: Submission,
        entry_point: bytes,
        archives: Mapping[str, bytes],
        folder: Path,
        environment: Mapping[str, str],
    ) -> None:
        folder.mkdir(parents=True)
        self._folder = folder
        script = folder / Path(submission.entry_point).name
        script.write_bytes(entry_point)
        for name, content in archives.items():
            _unpack(content, folder, name)
        home, java = _spark(folder)
        spec = LaunchSpec(
            arguments=[str(home / "bin" / "spark-submit"), *submission.options, str(script), *submission.arguments],
            environment={
                "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
                "HOME": str(folder),
                "JAVA_HOME": str(java),
                "SPARK_HOME": str(home),
                "SPARK_LOCAL_IP": "127.0.0.1",
                "PYSPARK_PYTHON": sys.executable,
                "PYTHONUNBUFFERED": "1",
                **environment,
                **submission.environment,
            },
            folder=str(folder),
            root="",
        )
        with (folder / "stdout").open("wb") as out, (folder / "stderr").open("wb") as err:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(SHIM)], stdin=subprocess.PIPE, stdout=out, stderr=err, env={}
            )
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(spec.as_dict()).encode() + b"\n")
        self._process.stdin.flush()

    @property
    def exit_code(self) -> int | None:
        """The driver's exit code; None while it runs."""
        return self._process.poll()

    def printed(self, stream: str) -> bytes:
        """What it printed so far, gzipped; empty when that is nothing."""
        content = (self._folder / stream).read_bytes()
        return gzip.compress(content, mtime=0) if content else b""

    def stop(self) -> None:
        """End it with everything it started; returns when it is gone."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _unpack(content: bytes, folder: Path, name: str) -> None:
    packed = folder / f"{name}.tar.gz"
    packed.write_bytes(content)
    try:
        with tarfile.open(packed) as archive:
            archive.extractall(folder / name, filter="data")
    except (tarfile.TarError, OSError) as error:
        raise CannotRunError(f"The archive of {name} cannot be unpacked: {error}") from error
    packed.unlink()


def _spark(folder: Path) -> tuple[Path, Path]:
    """Homes of this machine's Spark and of a Java for it: those that the trainer's package brings."""
    found = importlib.util.find_spec("pyspark")
    if found is None or found.origin is None:
        raise CannotRunError("The stand-in has no Spark: install slipway-trainer beside it.")
    try:
        java = importlib.import_module("slipway_trainer.spark.java_home").find_java_home(folder)
        return Path(found.origin).parent, java
    except ImportError as error:
        raise CannotRunError(f"The stand-in has no Java for Spark: {error}") from error
