from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import Result

Slipway = Callable[..., Result]
RETRAIN = "retrain: {data: {s3: s3://lake/churn/}, engine: python, target: gone, time_column: at}\n"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "services").mkdir()
    (tmp_path / "platform.yaml").write_text("execution_role: r\n")
    for name, more in {"churn": RETRAIN, "still": ""}.items():
        (tmp_path / "services" / f"{name}.yaml").write_text(f"name: {name}\nmodel: {name}-m\nowner: o\n{more}")
    monkeypatch.setenv("SLIPWAY_PROJECT", str(tmp_path))
    return tmp_path


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    frame = pd.DataFrame({"plan": ["a", "b"] * 50, "price": range(100), "gone": [0, 1] * 50})
    path = tmp_path / "rows.parquet"
    frame.assign(at=pd.date_range("2026-01-01", periods=100)).to_parquet(path)
    return path


def test_a_suite_is_proposed_and_not_overwritten(project: Path, rows: Path, slipway: Slipway) -> None:
    done = slipway("expectations", "init", "churn", str(rows))
    assert done.exit_code == 0, done.output
    path = project / "expectations" / "churn.json"
    suite = json.loads(path.read_text())
    kinds = {each["kwargs"].get("column"): each["type"] for each in suite["expectations"]}
    assert kinds["plan"] == "expect_column_values_to_be_in_set"
    assert kinds["price"] == "expect_column_values_to_be_between"
    assert suite["name"] == "churn"
    assert "proposed from 100 rows" in done.output

    again = slipway("expectations", "init", "churn", str(rows))
    assert again.exit_code == 2
    assert "--force replaces it" in again.output
    assert slipway("expectations", "init", "churn", str(rows), "--force").exit_code == 0


def test_a_file_that_cannot_be_read_is_named(project: Path, rows: Path, slipway: Slipway) -> None:
    rows.write_bytes(b"PAR1 no more")
    done = slipway("expectations", "init", "churn", str(rows))
    assert done.exit_code == 1
    assert "cannot be read as parquet" in done.output
    assert not (project / "expectations").exists()


@pytest.mark.parametrize(
    ("service", "message"), [("still", "no section retrain"), ("nothing", "there is no service 'nothing'")]
)
def test_a_service_that_is_not_retrained_has_none(
    project: Path, rows: Path, slipway: Slipway, service: str, message: str
) -> None:
    done = slipway("expectations", "init", service, str(rows))
    assert done.exit_code == 2
    assert message in done.output
