"""``slipway image`` and ``slipway serve`` against the AWS stand-in and a release that the operator built."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from slipway.artifacts.lock import DependencyLock
from slipway.cli.app import app
from slipway.images import trainer_image
from slipway.state import EndpointState, Serving
from tests.integration.slipway_airflow.conftest import REGION, Service
from tests.integration.slipway_airflow.test_ecr_image_build import Build, build  # noqa: F401  # a fixture

pytestmark = pytest.mark.integration


@pytest.fixture
def project(tmp_path: Path, service: Service, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AWS_ENDPOINT_URL", service.aws.url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing-secret")
    monkeypatch.setenv("AWS_REGION", REGION)
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    monkeypatch.setenv("SLIPWAY_CACHE_DIR", str(tmp_path / "cache"))
    (tmp_path / "services").mkdir()
    (tmp_path / "platform.yaml").write_text('execution_role: slipway-endpoint\nbase_images: {"3.11": scratch}\n')
    fields = {"name": service.spec.name, "model": service.spec.model, "owner": service.spec.owner}
    (tmp_path / "services" / f"{service.spec.name}.yaml").write_text(json.dumps(fields))
    return tmp_path


def run(project: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, [*arguments, "--project", str(project)])


def crown(service: Service, release_id: str) -> None:
    """Make a release the champion."""
    endpoint = f"{service.spec.name}-prod"
    now = datetime.now(UTC)
    champion = Serving(release_id=release_id, model_version=1, config_name="config", since=now, run_id="run")
    changed = EndpointState(endpoint=endpoint, champion=champion)
    service.states.update(endpoint, lambda _state: changed)


def test_a_release_is_shown_with_its_layers_and_packages(
    build: Build,  # noqa: F811
    project: Path,
    context: Any,
) -> None:
    build.know_the_answers()
    identifier = build.operator().execute(context("build"))["release_id"]
    shown = run(project, "image", "inspect", identifier)
    assert shown.exit_code == 0, shown.output
    assert f"release {identifier} of {build.service.spec.name}" in shown.stdout
    assert "1 packages\n  iniconfig 2.1.0" in shown.stdout
    assert "dependencies: iniconfig==2.1.0" in shown.stdout
    assert "engine: pyfunc" in shown.stdout
    assert "no champion yet" in shown.stdout

    crown(build.service, identifier)
    assert "It is the champion." in run(project, "image", "inspect", identifier).stdout


def test_it_is_compared_with_the_champion(
    build: Build,  # noqa: F811
    project: Path,
    context: Any,
) -> None:
    build.know_the_answers()
    champion = build.service.release(9)
    crown(build.service, champion.id)
    identifier = build.operator().execute(context("build"))["release_id"]
    document = json.loads(run(project, "image", "inspect", identifier, "--json").stdout)
    assert document["champion"] == champion.id
    assert document["difference"]["packages_added"] == {"iniconfig": "2.1.0"}
    assert document["difference"]["bytes_to_pull"] == document["image"]["size"]
    text = run(project, "image", "inspect", identifier, "--service", build.service.spec.name).stdout
    assert f"against the champion, release {champion.id} (version 9)" in text
    assert "+ iniconfig 2.1.0" in text


def test_a_release_that_is_not_there_is_said(service: Service, project: Path) -> None:
    found = run(project, "image", "inspect", "0123456789ab")
    assert found.exit_code == 2
    assert "No release 0123456789ab" in found.stderr
    assert "There is no service 'unknown'" in run(project, "serve", "unknown").stderr
    nothing = run(project, "serve", service.spec.name)
    assert (nothing.exit_code, "serves no release yet" in nothing.stderr) == (2, True)


def test_the_champion_is_run_from_its_own_packages(
    build: Build,  # noqa: F811
    project: Path,
    context: Any,
    capfd: pytest.CaptureFixture[str],
) -> None:
    build.know_the_answers()
    identifier = build.operator().execute(context("build"))["release_id"]
    crown(build.service, identifier)
    ended = run(project, "serve", build.service.spec.name, "--port", "8099")
    # This release has iniconfig and nothing that its server needs: what the tests have installed is out of its sight.
    assert ended.exit_code == 1
    assert "ModuleNotFoundError" in capfd.readouterr().err
    assert f"release {identifier}" in ended.stdout
    root = next(path for path in (project / "cache" / "serve").iterdir() if len(path.name) == 64)
    assert (root / "opt" / "slipway" / "model" / "engine.json").exists()


def test_the_trainers_image_is_built_once(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "iniconfig==2.1.0 --hash=sha256:9deba5723312380e77435581c6bf4935c94cbfab9b1ed33ef8d238ea168eb760\n"
    small = DependencyLock.from_text(text, key="trainer", python="3.11", platform="linux/amd64")
    monkeypatch.setattr(trainer_image, "trainer_lock", lambda *_: small)  # the real one is a gigabyte
    first = run(project, "image", "trainer", "--python", "3.11")
    assert first.exit_code == 0, first.output
    uri = next(line for line in first.stdout.splitlines() if "@sha256:" in line)
    assert "/slipway/slipway_trainer@sha256:" in uri
    assert "MiB to pull; built, " in first.stdout

    again = json.loads(run(project, "image", "trainer", "--python", "3.11", "--json").stdout)
    assert (again["uri"], again["reused"], again["bytes_pushed"]) == (uri, True, 0)
    assert 0 < again["size_bytes"] < 50_000_000


def test_a_trainer_for_a_python_without_a_base_is_refused(project: Path) -> None:
    refused = run(project, "image", "trainer", "--python", "3.13")
    assert refused.exit_code == 1
    assert 'add base_images: {"3.13": <image with Python 3.13>} there' in refused.output
