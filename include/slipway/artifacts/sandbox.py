"""Run a model's own code apart: in a process of the locked environment, without network, credentials or other files.

The wall is put up by ``confined.start`` before any package of the environment is imported. On Linux it is a seccomp
filter (no sockets, no way out of the process group), without which nothing is run, and, where the machine permits, a
network namespace and Landlock (only the listed folders). macOS has none of them: there only the limits and the clean
environment hold.
"""

from __future__ import annotations

import json
import os
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from slipway.artifacts import confined
from slipway.artifacts.environment import SandboxEnvironment, environment
from slipway.artifacts.script import Script
from slipway.errors import SandboxError

__all__ = ["Limits", "Sandbox", "SandboxEnvironment", "environment"]

_CONFINED = Path(confined.__file__).parent
_READABLE = (
    *("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/proc", "/sys", "/dev/urandom", "/dev/random", "/dev/zero"),
    *("/etc/ld.so.cache", "/etc/localtime", "/etc/nsswitch.conf", "/etc/passwd", "/etc/group", "/etc/alternatives"),
)
_WRITABLE = ("/dev/null", "/dev/full", "/dev/shm")
_OUTPUT_BYTES = 64 * 1024
_LOOK_SECONDS = 0.2
_OWN_THREADS, _OWN_BYTES = 2, 32 << 20  # of the supervising process, which belongs to the group


@dataclass(frozen=True)
class Limits:
    """What a script may use.

    Attributes:
        seconds: wall-clock time; CPU time of each process is that times the number of cores.
        memory_bytes: private writable memory of each process, and resident memory of all together.
        file_bytes: size of each file it writes, the result among them.
        processes: processes and threads at a time.
        open_files: open descriptors of each process.
    """

    seconds: float = 120
    memory_bytes: int = 4 << 30
    file_bytes: int = 1 << 30
    processes: int = 256
    open_files: int = 1024


class Sandbox:
    """Runs scripts in an environment, within limits.

    Args:
        env: the Python to run them with.
        limits: what they may use.
    """

    def __init__(self, env: SandboxEnvironment, limits: Limits | None = None) -> None:
        self.env = env
        self.limits = limits or Limits()

    def run(
        self,
        script: str,
        inputs: dict[str, Any],
        workdir: Path,
        *,
        readable: Sequence[Path] = (),
        modules: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """Run a script and return what its ``main`` returns.

        Args:
            script: as ``Script.source``.
            inputs: as ``Script.inputs``.
            workdir: the only folder (beside ``/dev/shm``) that the script may write to; it is its current folder.
            readable: further files and folders that it may read.
            modules: as ``Script.modules``.

        Returns:
            The script's result, read back from JSON.

        Raises:
            SandboxError: the script raised (its traceback's end is in the message), crashed, broke a limit, or the
                machine cannot isolate it.
        """
        return self.run_each([Script(script, inputs, modules or {})], workdir, readable=readable)[0]

    def run_each(
        self, scripts: Sequence[Script], workdir: Path, *, readable: Sequence[Path] = ()
    ) -> list[dict[str, Any]]:
        """Run scripts one after the other in one process, until one fails: what one imports, the next finds imported.

        Args:
            scripts: what to run, at least one. The limits hold for all of them together.
            workdir: as for ``run``; they share it.
            readable: as for ``run``.

        Returns:
            The results of all scripts, or of those before the first that failed, in whatever way it did.

        Raises:
            SandboxError: as for ``run``, when the first script fails.
        """
        workdir = workdir.resolve()
        private = Path(tempfile.mkdtemp(prefix=".sandbox-", dir=workdir))
        try:
            for name in ("home", "tmp"):
                (private / name).mkdir()
            results = [private / f"result-{place}.json" for place in range(len(scripts))]
            request = [script.request(result) for script, result in zip(scripts, results, strict=True)]
            process = _Process(self, workdir, private, [path.resolve() for path in readable])
            ending = process.communicate(json.dumps(request).encode())
            return _outcomes(results, ending, self.limits)
        finally:
            shutil.rmtree(private, ignore_errors=True)


@dataclass(frozen=True)
class _Ending:
    """How the process ended: exit code (negative: signal), which limit was broken, the end of what it printed."""

    code: int
    broken: str
    output: str


class _Process:
    """One confined process group, from the worker's side."""

    def __init__(self, sandbox: Sandbox, workdir: Path, private: Path, readable: Iterable[Path]) -> None:
        self._limits = sandbox.limits
        self._told = b""
        self._status, status = os.pipe()
        lifeline, self._lifeline = os.pipe()
        settings = _settings(sandbox, workdir, private, readable) | {"status": status, "lifeline": lifeline}
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(_CONFINED / "start.py"), json.dumps(settings)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                cwd=workdir,
                env={},
                pass_fds=[status, lifeline],
                start_new_session=True,
            )
        except OSError:
            os.close(self._status)
            os.close(self._lifeline)
            raise
        finally:
            os.close(status)
            os.close(lifeline)

    def communicate(self, request: bytes) -> _Ending:
        """Hand over the request, watch the process to its end, leave none of its group alive."""
        try:
            return self._watch(request)
        finally:
            self._kill()
            os.close(self._status)
            os.close(self._lifeline)

    def _watch(self, request: bytes) -> _Ending:
        deadline = time.monotonic() + self._limits.seconds
        output: deque[bytes] = deque()
        waiting = memoryview(request)
        broken = ""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin
        assert stdout
        with selectors.DefaultSelector() as selector, stdin, stdout:
            selector.register(stdin, selectors.EVENT_WRITE)
            for readable in (stdout, self._status):
                selector.register(readable, selectors.EVENT_READ)
            for pipe in (stdin.fileno(), stdout.fileno(), self._status):
                os.set_blocking(pipe, False)
            running, next_look = True, 0.0
            while running and not broken:
                for key, _ in selector.select(_LOOK_SECONDS):
                    if key.fileobj is stdin:
                        waiting = _write(stdin, waiting, selector)
                    elif key.fileobj is stdout:
                        if not _read(stdout.fileno(), output):
                            selector.unregister(stdout)
                    else:
                        running = self._listen()
                if running and time.monotonic() >= next_look:
                    broken = self._broken_limit(deadline)
                    next_look = time.monotonic() + _LOOK_SECONDS
            self._kill()
            _read(stdout.fileno(), output)
        code = self._all_told().get("code", -signal.SIGKILL) if not broken else -signal.SIGKILL
        return _Ending(int(code), broken, b"".join(output).decode("utf-8", "replace"))

    def _listen(self) -> bool:
        """Take what the other side tells; False when it has ended."""
        chunk = os.read(self._status, 65536)
        self._told += chunk
        if chunk:
            return True
        told = self._all_told()
        if "refused" in told or "layers" not in told:
            refused = told.get("refused", "the process died before it could say why")
            raise SandboxError(
                f"The model's code cannot be isolated on this worker, so it is not run: {refused}. "
                "The worker needs a Linux on x86_64 or aarch64 whose container runtime permits seccomp filters."
            )
        return False

    def _all_told(self) -> dict[str, Any]:
        told: dict[str, Any] = {}
        for line in self._told.splitlines():
            told |= json.loads(line)
        return told

    def _broken_limit(self, deadline: float) -> str:
        if time.monotonic() > deadline:
            return f"ran longer than {self._limits.seconds:g} s"
        count, resident = _group_usage(self._process.pid)
        if count > self._limits.processes + _OWN_THREADS:
            return f"started more than {self._limits.processes} processes and threads"
        if resident > self._limits.memory_bytes + _OWN_BYTES:
            return f"used more than {_mebibytes(self._limits.memory_bytes)} of memory"
        return ""

    def _kill(self) -> None:
        if self._process.returncode is None:  # not reaped yet, so the number cannot be somebody else's
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


def _settings(sandbox: Sandbox, workdir: Path, private: Path, readable: Iterable[Path]) -> dict[str, Any]:
    limits = sandbox.limits
    return {
        "command": [str(sandbox.env.python), "-P", "-s", str(_CONFINED / "run.py")],
        "environment": _clean_environment(private),
        "readable": [*_READABLE, *map(str, (_CONFINED, *sandbox.env.folders, *readable))],
        "writable": [*_WRITABLE, str(workdir)],
        "memory_bytes": limits.memory_bytes,
        "file_bytes": limits.file_bytes,
        "cpu_seconds": max(1, round(limits.seconds * (os.cpu_count() or 1))),
        "processes": limits.processes,
        "open_files": limits.open_files,
    }


def _clean_environment(private: Path) -> dict[str, str]:
    """Nothing of the worker's environment: no credentials, no Airflow settings, no proxies."""
    return {
        "PATH": "/usr/bin:/bin",
        "HOME": str(private / "home"),
        "TMPDIR": str(private / "tmp"),
        "USER": "sandbox",
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        "PYTHONHASHSEED": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONFAULTHANDLER": "1",
        "PYTHONUNBUFFERED": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_ENABLE_ASYNC_TRACE_LOGGING": "false",
        "DO_NOT_TRACK": "1",
        # One thread: answers do not depend on the number of cores, and thread stacks do not eat the memory limit.
        **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"), "1"),
    }


def _write(stdin: IO[bytes], waiting: memoryview, selector: selectors.BaseSelector) -> memoryview:
    try:
        waiting = waiting[os.write(stdin.fileno(), waiting[:65536]) :]
    except BlockingIOError:
        return waiting
    except BrokenPipeError:
        waiting = waiting[:0]
    if not waiting:
        selector.unregister(stdin)
        stdin.close()
    return waiting


def _read(stdout: int, output: deque[bytes]) -> bool:
    """Take what has been printed, keeping its end; False at the end of the stream."""
    try:
        chunk = os.read(stdout, 65536)
    except BlockingIOError:
        return True
    output.append(chunk)
    while len(output) > 1 and sum(map(len, output)) - len(output[0]) >= _OUTPUT_BYTES:
        output.popleft()
    return bool(chunk)


def _group_usage(group: int) -> tuple[int, int]:
    """Threads and resident bytes of a process group (the filter forbids leaving it); zeros where /proc is missing."""
    threads = pages = 0
    for entry in os.listdir("/proc") if sys.platform.startswith("linux") else ():  # noqa: PTH208
        if not entry.isdigit():
            continue
        with suppress(OSError, ValueError, IndexError):
            with open(f"/proc/{entry}/stat", "rb") as file:  # noqa: PTH123
                fields = file.read().rpartition(b")")[2].split()
            if int(fields[2]) == group:
                threads += int(fields[17])
                pages += int(fields[21])
    return threads, pages * os.sysconf("SC_PAGE_SIZE")


def _outcomes(results: Sequence[Path], ending: _Ending, limits: Limits) -> list[dict[str, Any]]:
    outcomes: list[dict[str, Any]] = []
    for result in results:
        # A limit is broken by whichever script runs: not by one that has left its result to the next.
        told = {} if ending.broken and result == results[-1] else _read_result(result, limits)
        try:
            outcomes.append(_outcome(told, ending, limits))
        except SandboxError:
            if not outcomes:
                raise
            break
    return outcomes


def _outcome(told: dict[str, Any], ending: _Ending, limits: Limits) -> dict[str, Any]:
    if isinstance(told.get("result"), dict):
        return dict(told["result"])
    error = told.get("error")
    if told.get("memory"):
        reason = f"needed more than {_mebibytes(limits.memory_bytes)} of memory"
    elif isinstance(error, dict):
        reason = f"raised {error.get('type')}: {str(error.get('message'))[:2000]}"
    elif "result" in told:
        reason = f"returned {type(told['result']).__name__} instead of a JSON object"
    else:
        reason = ending.broken or _death(ending.code)
    shown = error.get("traceback", "") if isinstance(error, dict) else ending.output
    tail = f"\n{shown.strip()[-4000:]}" if shown.strip() else ""
    raise SandboxError(f"The model's code {reason}.{tail}")


def _read_result(result: Path, limits: Limits) -> dict[str, Any]:
    try:
        if result.is_symlink() or result.stat().st_size > limits.file_bytes:
            return {}
        told = json.loads(result.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}


def _death(code: int) -> str:
    if code >= 0:
        return f"ended by itself with exit code {code} and left no result"
    if -code == signal.SIGXCPU:
        return "used up its CPU time"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"


def _mebibytes(size: int) -> str:
    return f"{size / (1 << 20):,.0f} MiB"
