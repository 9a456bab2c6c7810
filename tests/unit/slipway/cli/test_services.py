from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

Slipway = Callable[..., Result]

VALID = "name: {name}\nmodel: {name}-model\nowner: o\n"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "services").mkdir()
    (tmp_path / "platform.yaml").write_text("execution_role: r\n")
    monkeypatch.setenv("SLIPWAY_PROJECT", str(tmp_path))
    return tmp_path


def add(project: Path, name: str, more: str = "") -> Path:
    path = project / "services" / f"{name}.yaml"
    path.write_text(VALID.format(name=name) + more)
    return path


def test_list_shows_services_and_files_that_are_not_valid(project: Path, slipway: Slipway) -> None:
    add(project, "churn", "retrain: {data: {table: t}, time_column: day, schedule: '@monthly'}\n")
    bad = add(project, "broken", "x: 1\n")
    done = slipway("services", "list")
    assert done.exit_code == 0
    assert "churn" in done.stdout
    assert "2 × ml.m5.large" in done.stdout
    assert "@monthly" in done.stdout
    assert f"{bad}:4: x: unknown field" in done.stdout


def test_list_for_scripts(project: Path, slipway: Slipway) -> None:
    add(project, "churn")
    bad = add(project, "broken", "x: 1\n")
    told = json.loads(slipway("services", "list", "--json").stdout)
    assert [each["name"] for each in told["services"]] == ["churn"]
    assert [each["file"] for each in told["invalid"]] == [str(bad)]


def test_an_empty_project_says_what_to_do(project: Path, slipway: Slipway) -> None:
    assert "slipway services new" in slipway("services", "list").stdout


def test_validate_a_project(project: Path, slipway: Slipway) -> None:
    add(project, "churn")
    done = slipway("services", "validate")
    assert (done.exit_code, done.stdout) == (0, "2 files valid\n")
    bad = add(project, "broken", "x: 1\npromote: {alpha: 7}\n")
    (project / "platform.yaml").write_text("artifact_bucket: b-b\n")
    done = slipway("services", "validate")
    assert done.exit_code == 1
    assert done.stderr.splitlines()[0].startswith(f"{project}/platform.yaml:1: execution_role: missing")
    assert f"{bad}:5: promote.alpha: found 7; expected at most 0.5" in done.stderr
    assert "2 of 3 files are not valid" in done.stderr


def test_validate_files(project: Path, slipway: Slipway) -> None:
    good, bad = add(project, "churn"), add(project, "broken", "x: 1\n")
    assert slipway("services", "validate", str(good)).exit_code == 0
    done = slipway("services", "validate", str(good), str(bad), str(project / "missing.yaml"))
    assert done.exit_code == 1
    assert "missing.yaml:1: cannot be read" in done.stderr
    assert "2 of 3 files" in done.stderr


def test_schema(slipway: Slipway) -> None:
    assert "weights_pct" in json.dumps(json.loads(slipway("services", "schema").stdout))
    assert "base_images" in json.loads(slipway("services", "schema", "--platform").stdout)["properties"]


def test_init_makes_a_project_in_which_everything_is_valid(
    tmp_path: Path, slipway: Slipway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SLIPWAY_PROJECT", raising=False)
    folder = tmp_path / "models"
    assert slipway("init", str(folder)).exit_code == 0
    told = slipway("init", "--help").stdout
    assert [made.name for made in folder.iterdir() if made.is_dir() and f"{made.name}/" not in told] == []
    names = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    keeps = {f"{name}/.gitkeep" for name in ("services", "expectations", "retrainers", "hooks")}
    assert names == {"platform.yaml", "README.md", "service.schema.json", *keeps}
    monkeypatch.chdir(folder)
    created = slipway("services", "new", "churn", "--model", "churn model", "--owner", "CRM team")
    assert created.exit_code == 0, created.output
    done = slipway("services", "validate")
    assert (done.exit_code, done.stdout) == (0, "2 files valid\n")


def test_init_keeps_what_is_there(tmp_path: Path, slipway: Slipway) -> None:
    (tmp_path / "README.md").write_text("mine")
    assert slipway("init", str(tmp_path)).exit_code == 0
    assert (tmp_path / "README.md").read_text() == "mine"
    again = slipway("init", str(tmp_path))
    assert again.exit_code == 2
    assert "a project folder already" in again.stderr


def test_init_where_no_folder_can_be(tmp_path: Path, slipway: Slipway) -> None:
    (tmp_path / "file").write_text("")
    done = slipway("init", str(tmp_path / "file" / "x"))
    assert done.exit_code == 2
    assert "cannot be written" in done.stderr


@pytest.mark.parametrize("there", [None, "{}\n"])
def test_new_sees_to_the_schema_that_its_file_names(project: Path, slipway: Slipway, there: str | None) -> None:
    schema = project / "service.schema.json"
    if there is not None:
        schema.write_text(there)
    done = slipway("services", "new", "churn", "--model", "m", "--owner", "o")
    assert done.exit_code == 0, done.output
    assert f"wrote {schema}" in done.stdout
    first_line = (project / "services" / "churn.yaml").read_text().splitlines()[0]
    named = project / "services" / first_line.removeprefix("# yaml-language-server: $schema=")
    assert json.loads(named.read_text()) == json.loads(slipway("services", "schema").stdout)
    again = slipway("services", "new", "flows", "--model", "m2", "--owner", "o")
    assert again.exit_code == 0
    assert str(schema) not in again.stdout


def test_a_schema_that_cannot_be_written_is_said_and_the_service_stays(project: Path, slipway: Slipway) -> None:
    (project / "service.schema.json").mkdir()
    done = slipway("services", "new", "churn", "--model", "m", "--owner", "o")
    assert done.exit_code == 2
    assert "service.schema.json cannot be written" in done.stderr
    assert slipway("services", "validate", str(project / "services" / "churn.yaml")).exit_code == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("Churn", "--model", "m"), "did you mean 'churn'"),
        (("../x", "--model", "m"), "name: expected"),
        (("churn", "--model", "a/b"), "model: expected"),
        (("churn", "--model", "m", "--instance-type", "m5.large"), "did you mean 'ml.m5.large'"),
        (("taken", "--model", "m"), "exists already"),
        (("churn", "--model", "taken-model"), "belongs to the service 'taken' already"),
    ],
)
def test_new_refuses_before_it_writes(project: Path, slipway: Slipway, words: tuple[str, ...], said: str) -> None:
    taken = add(project, "taken")
    done = slipway("services", "new", *words, "--owner", "o")
    assert done.exit_code == 2
    assert said in done.stderr
    assert list((project / "services").iterdir()) == [taken]
    assert taken.read_text() == VALID.format(name="taken")


def test_a_project_that_is_not_there(tmp_path: Path, slipway: Slipway) -> None:
    done = slipway("services", "list", "--project", str(tmp_path / "nowhere"))
    assert done.exit_code == 2
    assert "slipway init" in done.stderr


def test_the_working_folder_comes_before_the_installation(
    project: Path, slipway: Slipway, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(project, "churn")
    monkeypatch.delenv("SLIPWAY_PROJECT")
    monkeypatch.chdir(project)
    assert "churn" in slipway("services", "list").stdout
    monkeypatch.chdir(project.parent)
    assert "flights" in slipway("services", "list").stdout
