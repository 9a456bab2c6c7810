from __future__ import annotations

from pathlib import Path

import pytest

from slipway.errors import InvalidInputError
from slipway.spec import project, project_dir


def test_the_variable_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIPWAY_PROJECT", str(tmp_path))
    assert project_dir() == tmp_path
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SLIPWAY_PROJECT", ".")
    assert project_dir() == tmp_path


def test_without_it_the_checkout_is_the_project(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLIPWAY_PROJECT", raising=False)
    assert (project_dir() / "services" / "flights.yaml").is_file()
    assert project_dir().name == "include"


def test_a_folder_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIPWAY_PROJECT", str(tmp_path / "nowhere"))
    with pytest.raises(InvalidInputError, match="slipway init"):
        project_dir()


def test_an_installed_package_has_no_project_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLIPWAY_PROJECT", raising=False)
    monkeypatch.setattr(project, "__file__", str(tmp_path / "site-packages/slipway/spec/project.py"))
    with pytest.raises(InvalidInputError, match="set SLIPWAY_PROJECT"):
        project_dir()
