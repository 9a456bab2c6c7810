from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import entry_points, version

from typer.testing import Result

HEAVY = ("airflow", "mlflow", "pandas", "numpy", "boto3", "pydantic", "requests", "yaml", "rich.table")


def test_help_imports_nothing_that_takes_time() -> None:
    code = (
        "import sys\n"
        "from slipway.cli.app import app\n"
        "import contextlib\n"
        "with contextlib.suppress(SystemExit): app(['--help'], prog_name='slipway')\n"
        f"print(sorted(set(sys.modules) & set({HEAVY[:-1]!r})), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.strip()) == (0, "[]")
    assert "deploy" in done.stdout


def test_the_module_is_the_command() -> None:
    words = [sys.executable, "-m", "slipway.cli", "--version"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout == f"slipway {version('slipway')}\n"
    (script,) = entry_points(group="console_scripts", name="slipway")
    assert script.load().__name__ == "main"


def test_without_words_the_help_is_shown(slipway: Callable[..., Result]) -> None:
    assert "Commands" in slipway().output
    assert "validate" in slipway("services").output
    assert slipway("no-such-command").exit_code == 2
