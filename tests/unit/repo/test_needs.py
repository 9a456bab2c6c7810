"""The rule about tests that skip: with SLIPWAY_REQUIRE a skip for a listed need is a failure."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]

_TESTS = """
import pytest

@pytest.mark.docker
def test_docker(): ...

@pytest.mark.browser
def test_browser(): pytest.skip("the page is not there yet")

def test_plain(): pytest.skip("for a reason of its own")

@pytest.mark.long
@pytest.mark.browser
def test_long(): ...
"""


@pytest.fixture
def run(tmp_path: Path):
    shutil.copy(ROOT / "conftest.py", tmp_path)
    (tmp_path / "test_it.py").write_text(_TESTS)
    (tmp_path / "pytest.ini").write_text(
        "[pytest]\nmarkers =\n  docker: x\n  browser: x\n  spark: x\n  long: x\naddopts = -ra\n"
    )
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "chromium").symlink_to("/bin/true")

    def run(required: str, **further: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "SLIPWAY_REQUIRE": required, "PATH": str(tools)}
        environment = {**environment, "SLIPWAY_LONG_TESTS_UNTIL": "inf", **further}
        environment = {name: value for name, value in environment.items() if not name.startswith("PYTEST_")}
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "--rootdir",
            str(tmp_path),
            str(tmp_path),
        ]
        return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, check=False)

    return run


def test_what_the_machine_lacks_is_skipped_and_named(run) -> None:
    done = run("")

    assert done.returncode == 0
    assert "docker: there is no docker command" in done.stdout
    assert "3 skipped" in done.stdout


def test_a_required_need_that_is_missing_fails(run) -> None:
    done = run("docker")

    assert done.returncode == 1
    assert "SLIPWAY_REQUIRE names docker, but there is no docker command" in done.stdout
    assert "2 skipped" in done.stdout


def test_a_test_of_a_required_need_that_skips_itself_fails(run) -> None:
    done = run("browser")

    assert done.returncode == 1
    assert "the page is not there yet" in done.stdout
    assert "1 failed, 1 passed, 2 skipped" in done.stdout


def test_long_tests_that_there_is_no_time_for_are_named_and_fail_nothing(run) -> None:
    done = run("", SLIPWAY_LONG_TESTS_UNTIL="1")
    assert done.returncode == 0
    assert "long, and the time for long tests is over" in done.stdout
    assert "4 skipped" in done.stdout
    assert "1 failed, 3 skipped" in run("browser", SLIPWAY_LONG_TESTS_UNTIL="1").stdout, "the long one has not failed"


def test_an_unknown_need_is_a_usage_error(run) -> None:
    done = run("dokcer")

    assert done.returncode == 4
    assert "SLIPWAY_REQUIRE names dokcer; known: browser, docker, spark" in done.stderr + done.stdout
