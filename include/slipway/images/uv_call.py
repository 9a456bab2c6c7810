"""uv on behalf of an image: what it may see, how long it may take, and what of its words may be shown."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from slipway.artifacts.resolve import uv_command, uv_environment
from slipway.errors import DependencyLockError, RegistryUnavailableError, SlipwayError

_OFFLINE = re.compile(r"error sending request|dns error|connection|timed out|certificate|50[0234] ", re.IGNORECASE)
_SECRET = re.compile(r"://[^/@\s]*@")
_SHOWN_CHARACTERS = 3000


def call_uv(
    arguments: Sequence[str], folder: Path, seconds: float, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run uv in ``folder``; its exit code is the caller's to judge.

    Args:
        arguments: the command and its options.
        folder: working directory; also looked into for the files that the arguments name.
        seconds: time limit.
        environment: variables on top of those that uv may see.

    Raises:
        RegistryUnavailableError: it took longer.
    """
    command = [uv_command(), *arguments, "--quiet", "--color", "never", "--no-python-downloads"]
    variables = {**uv_environment(), **(environment or {})}
    try:
        return subprocess.run(
            command, cwd=folder, env=variables, capture_output=True, text=True, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise RegistryUnavailableError(f"the locked packages were not there within {seconds:.0f} s") from error


def said(done: subprocess.CompletedProcess[str]) -> str:
    """Return the end of what uv complained about, without passwords of package indexes."""
    return _SECRET.sub("://***@", done.stderr).strip()[-_SHOWN_CHARACTERS:]


def refusal(done: subprocess.CompletedProcess[str], what: str) -> SlipwayError:
    """Return the error that a failed call is: passing when the package index did not answer, else lasting.

    Args:
        done: the call.
        what: what could not be done, for the message.
    """
    text = said(done)
    if _OFFLINE.search(text):
        return RegistryUnavailableError(f"the package index does not answer:\n{text}")
    return DependencyLockError(f"{what}:\n{text}")
