"""The trainer as a process of its own: its lines are passed on, its end is this one's, its failure has a class."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from slipway.errors import PermanentError, TransientError

_KEPT: tuple[str, ...] = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ", "JAVA_HOME")
_KEPT += ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
_KEPT += ("http_proxy", "https_proxy", "no_proxy", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "AWS_CA_BUNDLE")
# How Spark's driver finds a cluster: YARN's, a Kubernetes from outside and from inside, with Kerberos.
_KEPT += ("HADOOP_CONF_DIR", "YARN_CONF_DIR", "SPARK_CONF_DIR", "SPARK_LOCAL_IP", "HADOOP_USER_NAME", "KRB5CCNAME")
_KEPT += ("KRB5_CONFIG", "KUBECONFIG", "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT")
_TERMINATE_SECONDS = 5.0


class TrainerProcess:
    """Runs one job.

    Args:
        command: ``train`` or ``validate``.
        job: The job document.
        workdir: Folder of this try alone.
        environment: Credentials and addresses; of this process's own environment only harmless names are passed on.
    """

    def __init__(self, command: str, job: Mapping[str, Any], workdir: Path, environment: Mapping[str, str]) -> None:
        self._command = command
        self._job = job
        self._workdir = workdir
        self._environment = {**{name: os.environ[name] for name in _KEPT if name in os.environ}, **environment}
        self._child: subprocess.Popen[str] | None = None

    @property
    def pid(self) -> int | None:
        """Process id of the trainer; None before it runs."""
        return self._child.pid if self._child else None

    def run(self, on_line: Callable[[str], None]) -> dict[str, Any]:
        """Run to the end.

        Args:
            on_line: Is given each line of the trainer's output.

        Returns:
            The result document.

        Raises:
            PermanentError: Data, model or job are not what they should be.
            TransientError: A service did not answer, or the process was killed.
        """
        job_file = self._workdir / "job.json"
        job_file.write_text(json.dumps(self._job), encoding="utf-8")
        line = [sys.executable, "-u", "-m", "slipway_trainer", self._command, "--job", str(job_file)]
        self._child = subprocess.Popen(
            [*line, "--out", str(self._workdir), "--parent", str(os.getpid())],
            cwd=self._workdir,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        try:
            for text in self._child.stdout or ():
                on_line(text.rstrip("\n"))
            code = self._child.wait()
        finally:
            self.kill()
        return self._result(code)

    def kill(self) -> None:
        """End the trainer and everything that it started; it leads a process group."""
        child = self._child
        if child is None or child.poll() is not None:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(_TERMINATE_SECONDS)
        if child.poll() is None:
            child.kill()
            child.wait()

    def _result(self, code: int) -> dict[str, Any]:
        result = self._workdir / "result.json"
        # The result is the last that a trainer does. Libraries' threads can still abort the process while it ends.
        if result.exists():
            document: dict[str, Any] = json.loads(result.read_text(encoding="utf-8"))
            return document
        failure = self._workdir / "failure.json"
        if not failure.exists():
            why = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
            raise TransientError(f"The trainer {why} without a word; out of memory? Its output is above.")
        told = json.loads(failure.read_text(encoding="utf-8"))
        if told["kind"] in {"unavailable", "unknown"}:
            raise TransientError(told["message"])
        raise PermanentError(told["message"])
