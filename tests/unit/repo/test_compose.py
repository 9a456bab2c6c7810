"""What can be said about docker-compose.yaml without an engine; `docker compose config` where there is one."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from slipway.cli.scaffold import init_project

ROOT = Path(__file__).resolve().parents[3]
TEXT = (ROOT / "docker-compose.yaml").read_text()
SERVICES = yaml.safe_load(TEXT)["services"]


def test_every_image_is_built_from_containers_with_its_base_as_argument() -> None:
    for service in SERVICES.values():
        if "build" not in service:
            assert service["image"].startswith("${")
            continue
        dockerfile = (ROOT / service["build"]["dockerfile"]).read_text()
        for argument in service["build"]["args"]:
            assert f"ARG {argument}=" in dockerfile
            assert f"FROM ${{{argument}}}" in dockerfile


def test_what_dockerfiles_copy_is_there() -> None:
    # The serving image's context is made for each release: its lock, the serving app, the model.
    for dockerfile in set(ROOT.glob("containers/*/Dockerfile")) - {ROOT / "containers" / "serving" / "Dockerfile"}:
        for line in dockerfile.read_text().splitlines():
            if line.startswith("COPY"):
                sources = [word for word in line.split()[1:-1] if not word.startswith("--")]
                missing = [source for source in sources if not list(ROOT.glob(source))]
                assert not missing, f"{dockerfile} copies {missing}"


def test_the_airflow_image_holds_what_its_tasks_start_and_the_whole_project(tmp_path: Path) -> None:
    text = (ROOT / "containers" / "airflow" / "Dockerfile").read_text()
    copied = {line.split()[-2] for line in text.splitlines() if line.startswith("COPY")}
    started = {"containers/serving", "containers/trainer"}
    init_project(tmp_path)
    project = {f"include/{found.name}" for found in tmp_path.iterdir() if found.is_dir()} | {"include/platform.yaml"}
    assert "include/hooks" in project
    assert started | project <= copied
    installs = [line for line in text.replace("\\\n", "").splitlines() if line.startswith("RUN pip install")]
    assert {f"/opt/slipway/src/{folder}" for folder in started} <= set(" ".join(installs).split())


def test_ports_are_published_on_loopback_alone() -> None:
    published = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_long_running_services_have_health_checks_and_the_rest_ends() -> None:
    for name, service in SERVICES.items():
        assert ("healthcheck" in service) != (service.get("restart") == "no"), name


def test_no_secret_is_written_down() -> None:
    for setting in re.findall(r"^\s+(\w*(?:PASSWORD|SECRET|FERNET|JWT)\w*): (.+)$", TEXT, re.MULTILINE):
        name, value = setting
        assert name.endswith(("_FILE", "_CMD")) or value == "embedded", setting


@pytest.mark.parametrize("place", ["docs/stack.md", "containers/airflow/make_secrets.py"])
def test_passwords_are_where_people_are_told_to_look(place: str) -> None:
    [(service, file)] = re.findall(r"docker compose exec (\S+) cat ([\w./]+)", (ROOT / place).read_text())
    assert SERVICES[service]["environment"]["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE"] == file
    assert f"secrets:{Path(file).parent}" in SERVICES[service]["volumes"]
    assert SERVICES["secrets"]["entrypoint"][-1] == str(Path(file).parent)


def test_the_stand_in_keeps_its_state_in_the_named_volume() -> None:
    text = (ROOT / SERVICES["localaws"]["build"]["dockerfile"]).read_text()
    [command] = re.findall(r"^ENTRYPOINT (\[.+\])$", text, re.MULTILINE)
    started = json.loads(command)
    assert SERVICES["localaws"]["volumes"] == [f"localaws:{started[started.index('--state') + 1]}"]


@pytest.mark.parametrize("part", ["AIRFLOW", "MLFLOW", "AWS"])
def test_the_page_names_the_ports(part: str) -> None:
    [port] = {found for found in re.findall(rf"127\.0\.0\.1:\${{SLIPWAY_{part}_PORT:-(\d+)}}:\d+\"]", TEXT)}
    section = (ROOT / "docs/stack.md").read_text().partition("## With containers")[2]
    assert f"http://localhost:{port}" in section


def test_compose_accepts_it() -> None:
    commands = [["docker", "compose"], ["docker-compose"]]
    for command in commands:
        if shutil.which(command[0]) and subprocess.run([*command, "version"], capture_output=True).returncode == 0:
            done = subprocess.run(
                [*command, "config", "--quiet"], cwd=ROOT, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stderr
            return
    pytest.skip("no docker compose on this machine")
