"""``slipway expectations init`` for a service whose rows a container prepares."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from slipway.cli.app import app

pytestmark = [pytest.mark.integration, pytest.mark.docker]
ADD_HEADER = "cd /opt/ml/processing; { echo size,late; cat input/rows.raw; } > output/rows.raw.csv"
REFUSE = "echo too old > /opt/ml/processing/output/rows.raw.refused"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shell_image: str) -> Path:
    (tmp_path / "services").mkdir()
    (tmp_path / "platform.yaml").write_text("execution_role: r\n")
    (tmp_path / "rows.raw").write_text("".join(f"{number},{number % 2}\n" for number in range(100)))
    for name, script in {"parcels": ADD_HEADER, "letters": REFUSE}.items():
        prepare = json.dumps({"image": shell_image, "command": ["sh", "-c", script]})
        section = f"{{data: {{s3: s3://lake/x/}}, engine: python, target: late, prepare: {prepare}}}"
        text = f"name: {name}\nmodel: {name}\nowner: o\nretrain: {section}\n"
        (tmp_path / "services" / f"{name}.yaml").write_text(text)
    monkeypatch.setenv("SLIPWAY_PROJECT", str(tmp_path))
    monkeypatch.setenv("SLIPWAY_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path


def test_expectations_are_about_what_the_container_makes_of_the_rows(project: Path) -> None:
    done = CliRunner().invoke(app, ["expectations", "init", "parcels", str(project / "rows.raw")])
    assert done.exit_code == 0, done.output
    suite = json.loads((project / "expectations" / "parcels.json").read_text())
    assert {each["kwargs"].get("column") for each in suite["expectations"]} >= {"size", "late"}
    assert suite["meta"]["proposed_from_rows"] == 100


def test_rows_that_the_container_refuses_are_nothing_to_propose_from(project: Path) -> None:
    done = CliRunner().invoke(app, ["expectations", "init", "letters", str(project / "rows.raw")])
    assert "prepare refuses rows.raw: too old" in done.output
    assert done.exit_code != 0
    assert not (project / "expectations").exists()
