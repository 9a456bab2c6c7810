"""The six processes of the stack: their commands and environments.

Airflow's four run side by side instead of ``airflow standalone``, whose children outlive a SIGTERM.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from demo.stack.processes import MARK
from demo.stack.settings import HOST, REGION, ROOT, USERS, StackSettings, write_private

BIN = Path(sys.prefix) / "bin"
# What a user's shell may hold and the stack must not see: it would reach real accounts or other installations.
_FOREIGN_PREFIXES = ("AWS_", "AIRFLOW_", "MLFLOW_", "SLIPWAY_", "PYTHON", "VIRTUAL_ENV")


@dataclass(frozen=True)
class Component:
    """One process of the stack."""

    name: str
    title: str
    command: tuple[str, ...]
    environment: dict[str, str]
    port_variable: str | None = None  # set for those that listen; see settings.PORT_VARIABLES


def components(settings: StackSettings) -> list[Component]:
    """All processes in the order in which they are started."""
    ports, airflow = settings.ports, airflow_environment(settings)
    return [
        Component(
            "aws",
            "AWS stand-in",
            (
                *(sys.executable, "-m", "slipway_localaws"),
                *("--host", HOST, "--port", str(ports.aws), "--state", str(settings.state_dir / "aws")),
            ),
            base_environment(settings),
            "SLIPWAY_AWS_PORT",
        ),
        Component("mlflow", "MLflow", _mlflow_command(settings), mlflow_environment(settings), "SLIPWAY_MLFLOW_PORT"),
        Component(
            "api-server",
            "Airflow API",
            (str(BIN / "airflow"), "api-server", "--host", HOST, "--port", str(ports.airflow), "--workers", "1"),
            airflow,
            "SLIPWAY_AIRFLOW_PORT",
        ),
        Component("scheduler", "Airflow scheduler", (str(BIN / "airflow"), "scheduler", "--skip-serve-logs"), airflow),
        Component("dag-processor", "Airflow DAG processor", (str(BIN / "airflow"), "dag-processor"), airflow),
        Component("triggerer", "Airflow triggerer", (str(BIN / "airflow"), "triggerer", "--skip-serve-logs"), airflow),
    ]


def migrate_command() -> tuple[str, ...]:
    """Creates or upgrades Airflow's database."""
    return (str(BIN / "airflow"), "db", "migrate")


def base_environment(settings: StackSettings) -> dict[str, str]:
    """The user's environment less what would lead elsewhere, plus the mark of this stack."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN_PREFIXES)}
    aws_home = settings.state_dir / "no-aws-config"
    return {
        **kept,
        MARK: str(settings.state_dir),
        "SPT_NOENV": "1",  # setproctitle keeps off the environment block, so that the mark stays readable
        "PATH": f"{BIN}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "PYTHONUNBUFFERED": "1",
        "NO_PROXY": no_proxy(),
        "no_proxy": no_proxy(),
        "DO_NOT_TRACK": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "GX_ANALYTICS_ENABLED": "false",
        # The user's profiles lead to real accounts: nothing in the stack may read them.
        "AWS_CONFIG_FILE": str(aws_home / "config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(aws_home / "credentials"),
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def no_proxy() -> str:
    """The hosts that no proxy may come between: the user's own list and loopback."""
    named = os.environ.get("NO_PROXY") or os.environ.get("no_proxy") or ""
    return ",".join(dict.fromkeys([*filter(None, named.split(",")), "localhost", HOST]))


def mlflow_environment(settings: StackSettings) -> dict[str, str]:
    """MLflow reads artifacts from S3 for its pages; one process pool less by switching jobs off."""
    client = settings.client_environment()
    return {
        **base_environment(settings),
        **{name: value for name, value in client.items() if name.startswith("AWS_")},
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }


def airflow_environment(settings: StackSettings) -> dict[str, str]:
    """Airflow's settings; AWS and MLflow are known to it through connections alone."""
    options = {
        ("core", "dags_folder"): str(ROOT / "dags"),
        ("core", "plugins_folder"): str(ROOT / "plugins"),
        ("core", "load_examples"): "False",
        ("core", "executor"): "LocalExecutor",
        ("core", "parallelism"): "8",
        ("core", "dags_are_paused_at_creation"): "False",
        ("core", "execution_api_server_url"): f"{settings.airflow_url}/execution/",
        ("core", "fernet_key"): settings.secrets.fernet_key,
        ("core", "simple_auth_manager_users"): "admin:admin,approver:op",
        ("core", "simple_auth_manager_passwords_file"): str(_passwords_file(settings)),
        ("core", "min_serialized_dag_update_interval"): "2",
        # SQLite lets one write at a time; who waits for longer than its default of 5 seconds gets an error.
        ("database", "sql_alchemy_conn"): f"sqlite:///{settings.state_dir / 'airflow' / 'airflow.db'}?timeout=60",
        ("database", "load_default_connections"): "False",
        ("api", "base_url"): settings.airflow_url,
        ("api", "host"): HOST,
        ("api", "port"): str(settings.ports.airflow),
        ("api", "secret_key"): settings.secrets.api_secret_key,
        ("api_auth", "jwt_secret"): settings.secrets.jwt_secret,
        ("logging", "base_log_folder"): str(settings.logs_dir / "airflow"),
        # The defaults are made for big installations and cost seconds between tasks here.
        ("scheduler", "scheduler_idle_sleep_time"): "0.2",
        ("scheduler", "trigger_timeout_check_interval"): "3",
        ("scheduler", "orphaned_tasks_check_interval"): "15",
        ("scheduler", "scheduler_health_check_threshold"): "15",
        ("scheduler", "scheduler_heartbeat_sec"): "2",
        ("scheduler", "job_heartbeat_sec"): "2",
        ("scheduler", "task_instance_heartbeat_timeout"): "60",
        ("workers", "min_heartbeat_interval"): "1",
        ("dag_processor", "refresh_interval"): "10",
        # Reading all DAGs costs seconds of processor time, so it is not done all the time.
        ("dag_processor", "min_file_process_interval"): "30",
        ("dag_processor", "bundle_refresh_check_interval"): "2",
        ("usage_data_collection", "enabled"): "False",
    }
    return {
        **base_environment(settings),
        "AIRFLOW_HOME": str(settings.state_dir / "airflow"),
        **{f"AIRFLOW__{section}__{option}".upper(): value for (section, option), value in options.items()},
        **connections(settings),
        "SLIPWAY_PROJECT": str(settings.project),
    }


def connections(settings: StackSettings) -> dict[str, str]:
    """Airflow connections as environment variables: only addresses differ from a real account."""
    aws = {
        "conn_type": "aws",
        "login": settings.secrets.aws_access_key_id,
        "password": settings.secrets.aws_secret_access_key,
        "extra": {"region_name": REGION, "endpoint_url": settings.aws_url},
    }
    mlflow = {"conn_type": "http", "schema": "http", "host": HOST, "port": settings.ports.mlflow}
    return {"AIRFLOW_CONN_AWS_DEFAULT": json.dumps(aws), "AIRFLOW_CONN_MLFLOW_DEFAULT": json.dumps(mlflow)}


def write_passwords(settings: StackSettings) -> None:
    """The users' passwords where Airflow's simple auth manager looks for them."""
    _passwords_file(settings).parent.mkdir(parents=True, exist_ok=True)
    write_private(_passwords_file(settings), json.dumps(USERS))


def _passwords_file(settings: StackSettings) -> Path:
    return settings.state_dir / "airflow" / "passwords.json"


def _mlflow_command(settings: StackSettings) -> tuple[str, ...]:
    return (
        *(sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", str(settings.ports.mlflow)),
        *("--backend-store-uri", f"sqlite:///{settings.state_dir / 'mlflow.db'}"),
        *("--default-artifact-root", f"s3://{settings.mlflow_bucket}/artifacts", "--no-serve-artifacts"),
        *("--workers", "1"),
    )
