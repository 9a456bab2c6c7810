"""Resolve requirements to exact, hashed packages with ``uv pip compile``.

Only wheels are taken, so no code of any package runs while resolving. The exception is a package that the caller names
because it is published as source only: uv may run its build to learn what it depends on. The worker's own uv settings
(``UV_*``), proxies and certificates are honoured; nothing else of its environment reaches uv.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from slipway.errors import DependencyLockError, TransientError

# Image platform → uv's name of it. glibc 2.28 (Debian 10, RHEL 8) is the oldest that current wheels are built for.
UV_PLATFORMS = {"linux/amd64": "x86_64-manylinux_2_28", "linux/arm64": "aarch64-manylinux_2_28"}

_PASSED = re.compile(
    r"^(UV_.*|(https?|all|no)_proxy|SSL_CERT_(FILE|DIR)|REQUESTS_CA_BUNDLE|CURL_CA_BUNDLE|NETRC"
    r"|PATH|HOME|TMPDIR|LANG|LC_ALL|XDG_(CACHE|CONFIG|DATA)_HOME)$",
    re.IGNORECASE,
)
_OFFLINE = re.compile(r"error sending request|dns error|connection|timed out|tls|certificate|50[0234] ", re.IGNORECASE)


def uv_command() -> str:
    """Path of the uv executable: the one installed beside this Python, else the one on PATH.

    Raises:
        DependencyLockError: there is no uv.
    """
    beside = Path(sys.executable).parent / "uv"
    found = str(beside) if beside.exists() else shutil.which("uv")
    if not found:
        raise DependencyLockError("uv is not installed: expected it beside this Python or on PATH (`pip install uv`).")
    return found


def uv_environment(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The part of the environment that uv may see: its own settings, proxies and certificates, no cloud credentials."""
    passed = {name: value for name, value in environ.items() if _PASSED.match(name)}
    passed.setdefault("PATH", os.defpath)
    for name in ("UV_PYTHON", "UV_PROJECT_ENVIRONMENT", "UV_SYSTEM_PYTHON", "UV_TARGET", "UV_PREFIX"):
        passed.pop(name, None)  # these would redirect what Slipway asks for
    return passed


def resolve_requirements(
    requirements: Sequence[str],
    *,
    python: str,
    platform: str,
    constraints: Sequence[str] = (),
    from_source: Sequence[str] = (),
    seconds: float = 900,
) -> str:
    """Resolve requirements for one platform and Python.

    Args:
        requirements: PEP 508 lines.
        python: minor version, such as ``3.11``.
        platform: image platform, a key of ``UV_PLATFORMS``.
        constraints: PEP 508 lines that bind only packages which are needed anyway.
        from_source: names of packages that are taken as source distributions.
        seconds: time limit.

    Returns:
        A requirements file with hashes: sorted, one package per entry, no comments, no index.

    Raises:
        DependencyLockError: no set of wheels fits, or the platform is unknown.
        TransientError: the package index does not answer.
    """
    if platform not in UV_PLATFORMS:
        raise DependencyLockError(f"Unknown image platform {platform!r}: expected one of {', '.join(UV_PLATFORMS)}.")
    target = Target(python, UV_PLATFORMS[platform], seconds, tuple(from_source))
    bounds = _bounds_of_full_mlflow(requirements, constraints, target)
    try:
        return _compile(requirements, [*constraints, *bounds], target, hashes=True)
    except DependencyLockError:
        if not bounds:
            raise
    return _compile(requirements, constraints, target, hashes=True)


@dataclass(frozen=True)
class Target:
    """What to resolve for: minor Python, uv's name of the platform, seconds it may take, what comes as source."""

    python: str
    platform: str
    seconds: float
    from_source: tuple[str, ...] = ()


def _bounds_of_full_mlflow(requirements: Sequence[str], constraints: Sequence[str], target: Target) -> list[str]:
    """The versions that full MLflow would come with.

    ``mlflow-skinny`` states no bounds on pandas, numpy or scikit-learn, although it works with the same ones only; the
    versions that the full package's bounds lead to serve as constraints.
    """
    full = [re.sub(r"^mlflow-skinny\b", "mlflow", line) for line in requirements]
    if full == list(requirements):
        return []
    try:
        return pins(_compile(full, constraints, target, hashes=False))
    except DependencyLockError:
        return []  # such as a part of full MLflow without a wheel: then the model's own requirements must do


def _compile(requirements: Sequence[str], constraints: Sequence[str], target: Target, *, hashes: bool) -> str:
    with tempfile.TemporaryDirectory(prefix="slipway-lock-") as folder:
        command = _command(Path(folder), requirements, constraints, target, hashes=hashes)
        try:
            done = subprocess.run(
                command,
                cwd=folder,
                env=uv_environment(),
                capture_output=True,
                text=True,
                timeout=target.seconds,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise TransientError(f"uv did not resolve the requirements within {target.seconds:.0f} s.") from error
        if done.returncode:
            raise _failure(done.stderr, target)
        return clean_lock((Path(folder) / "out.txt").read_text())


def pins(text: str) -> list[str]:
    """The ``name==version`` of each package of a lock's text, without markers and hashes."""
    return re.findall(r"^[^\s#-][^\s;\\]*==[^\s;\\]+", text, re.MULTILINE)


def clean_lock(text: str) -> str:
    """A lock's text without comments and options, so that it names packages and hashes only."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    return "".join(f"{line.rstrip()}\n" for line in lines if line.startswith((" ", "\t")) or not line.startswith("-"))


def _command(
    folder: Path, requirements: Sequence[str], constraints: Sequence[str], target: Target, *, hashes: bool
) -> list[str]:
    (folder / "in.txt").write_text("\n".join(requirements) + "\n")
    (folder / "constraints.txt").write_text("\n".join(constraints) + "\n")
    return [
        uv_command(),
        *("pip", "compile", "in.txt", "--constraints", "constraints.txt", "--output-file", "out.txt", "--quiet"),
        *("--python-version", target.python, "--python-platform", target.platform, "--only-binary", ":all:"),
        *(option for name in target.from_source for option in ("--no-binary", name)),
        *("--no-header", "--no-annotate", "--no-emit-index-url", "--no-emit-find-links", "--no-strip-extras"),
        *("--no-python-downloads", "--color", "never", *(["--generate-hashes"] if hashes else [])),
    ]


def _failure(output: str, target: Target) -> DependencyLockError | TransientError:
    tail = re.sub(r"://[^/@\s]*@", "://***@", output).strip()[-3000:]
    if _OFFLINE.search(tail) and "No solution found" not in tail:
        return TransientError(f"The package index does not answer, so the requirements cannot be resolved:\n{tail}")
    return DependencyLockError(
        f"No set of wheels satisfies the model and the serving app together on {target.platform}, "
        f"Python {target.python}:\n{tail}\n"
        "Loosen or correct the model's pip_requirements and log it again, or set `serving: {python: ...}` in the spec."
    )
