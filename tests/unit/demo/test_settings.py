import json
import stat
from pathlib import Path

import pytest

from demo.errors import DemoError
from demo.stack.components import airflow_environment, base_environment, components
from demo.stack.processes import MARK
from demo.stack.settings import DEFAULT_PORTS, Ports, load_settings, save_settings


def test_secrets_are_random_kept_and_readable_by_the_owner_alone(tmp_path: Path) -> None:
    first, again = load_settings(tmp_path / "a", {}), load_settings(tmp_path / "a", {})
    other = load_settings(tmp_path / "b", {})

    assert again.secrets == first.secrets
    assert other.secrets.jwt_secret != first.secrets.jwt_secret
    for name in ("settings.json", "env.sh"):
        assert stat.S_IMODE((tmp_path / "a" / name).stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o700


def test_ports_come_from_the_environment_then_from_the_last_start_then_from_the_defaults(tmp_path: Path) -> None:
    assert load_settings(tmp_path, {}).ports == Ports(**DEFAULT_PORTS)
    moved = load_settings(tmp_path, {"SLIPWAY_AIRFLOW_PORT": "28333"})
    assert moved.ports.airflow == 28333
    save_settings(moved)
    assert load_settings(tmp_path, {}).ports.airflow == 28333
    assert load_settings(tmp_path, {"SLIPWAY_AIRFLOW_PORT": "28334"}).ports.airflow == 28334


@pytest.mark.parametrize("value", ["eighty", "0", "65536", "-1", "80.5"])
def test_a_port_that_is_none_is_refused_with_the_variable(tmp_path: Path, value: str) -> None:
    with pytest.raises(DemoError, match=r"SLIPWAY_MLFLOW_PORT=.* is no TCP port"):
        load_settings(tmp_path, {"SLIPWAY_MLFLOW_PORT": value})


def test_damaged_settings_name_the_file(tmp_path: Path) -> None:
    (tmp_path / "settings.json").write_text("{")
    with pytest.raises(DemoError, match=r"settings\.json .*remove it"):
        load_settings(tmp_path, {})


def test_nothing_of_the_users_shell_leads_the_stack_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "AWS_PROFILE",
        "AWS_SECRET_ACCESS_KEY",
        "AIRFLOW__CORE__EXECUTOR",
        "MLFLOW_TRACKING_URI",
        "PYTHONPATH",
    ):
        monkeypatch.setenv(name, "the user's")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    settings = load_settings(tmp_path, {})

    for environment in (base_environment(settings), airflow_environment(settings)):
        assert "the user's" not in environment.values()
        assert environment["HTTPS_PROXY"] == "http://proxy:3128"
        assert {"localhost", "127.0.0.1"} <= set(environment["NO_PROXY"].split(","))
        assert not Path(environment["AWS_SHARED_CREDENTIALS_FILE"]).exists()


def test_airflow_reaches_aws_by_its_connection_alone(tmp_path: Path) -> None:
    settings = load_settings(tmp_path, {"SLIPWAY_AWS_PORT": "24999"})
    environment = airflow_environment(settings)

    assert "AWS_ENDPOINT_URL" not in environment
    assert "AWS_SECRET_ACCESS_KEY" not in environment
    connection = json.loads(environment["AIRFLOW_CONN_AWS_DEFAULT"])
    assert connection["extra"]["endpoint_url"] == "http://127.0.0.1:24999"
    assert connection["password"] == settings.secrets.aws_secret_access_key


def test_every_part_listens_on_loopback_and_carries_the_mark(tmp_path: Path) -> None:
    settings = load_settings(tmp_path, {})
    for part in components(settings):
        assert part.environment[MARK] == str(tmp_path)
        if part.port_variable:
            assert part.command[part.command.index("--host") + 1] == "127.0.0.1"
