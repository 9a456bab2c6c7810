"""Where the stack lives, its ports, and the secrets made for it at its first start."""

from __future__ import annotations

import base64
import json
import os
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from demo.errors import DemoError

ROOT = Path(__file__).resolve().parents[2]
REGION = "us-east-1"
ACCOUNT_ID = "123456789012"  # what the stand-in answers for every key
HOST = "127.0.0.1"

# Airflow's users and their passwords: it listens on loopback alone, and so does the AWS stand-in, which asks nobody.
USERS = {"admin": "admin", "approver": "approver"}

PORT_VARIABLES = {"airflow": "SLIPWAY_AIRFLOW_PORT", "mlflow": "SLIPWAY_MLFLOW_PORT", "aws": "SLIPWAY_AWS_PORT"}
DEFAULT_PORTS = {"airflow": 28080, "mlflow": 25000, "aws": 24566}


@dataclass(frozen=True)
class Ports:
    """TCP ports on loopback."""

    airflow: int
    mlflow: int
    aws: int

    def items(self) -> list[tuple[str, int, str]]:
        """Each as (part, port, the environment variable that chooses another)."""
        return [(name, getattr(self, name), variable) for name, variable in PORT_VARIABLES.items()]


@dataclass(frozen=True)
class Secrets:
    """Made once per state folder with ``secrets``; they never leave this machine."""

    jwt_secret: str
    api_secret_key: str
    fernet_key: str
    aws_access_key_id: str
    aws_secret_access_key: str

    @classmethod
    def generate(cls) -> Secrets:
        """Fresh random values."""
        return cls(
            jwt_secret=secrets.token_urlsafe(48),
            api_secret_key=secrets.token_urlsafe(48),
            fernet_key=base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
            aws_access_key_id="AKIA" + base64.b32encode(secrets.token_bytes(10)).decode(),
            aws_secret_access_key=secrets.token_urlsafe(30),
        )


@dataclass(frozen=True)
class StackSettings:
    """Everything that decides where the stack is and how to talk to it."""

    state_dir: Path
    ports: Ports
    secrets: Secrets
    project: Path

    @property
    def logs_dir(self) -> Path:
        """One log file per process."""
        return self.state_dir / "logs"

    @property
    def airflow_url(self) -> str:
        """Airflow's UI and REST API. ``localhost``, because browsers keep its cookie apart from other tools'."""
        return f"http://localhost:{self.ports.airflow}"

    @property
    def mlflow_url(self) -> str:
        """MLflow's UI and tracking API."""
        return f"http://{HOST}:{self.ports.mlflow}"

    @property
    def aws_url(self) -> str:
        """The stand-in's endpoint for every AWS API."""
        return f"http://{HOST}:{self.ports.aws}"

    @property
    def mlflow_bucket(self) -> str:
        """Where MLflow keeps artifacts."""
        return f"mlflow-{ACCOUNT_ID}-{REGION}"

    def client_environment(self) -> dict[str, str]:
        """Environment for tools on the user's side (boto3, aws, mlflow, slipway, curl) to reach this stack."""
        return {
            "AWS_ENDPOINT_URL": self.aws_url,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_REGION": REGION,
            "AWS_ACCESS_KEY_ID": self.secrets.aws_access_key_id,
            "AWS_SECRET_ACCESS_KEY": self.secrets.aws_secret_access_key,
            "MLFLOW_TRACKING_URI": self.mlflow_url,
            "SLIPWAY_AIRFLOW_URL": self.airflow_url,
            "SLIPWAY_AIRFLOW_USERNAME": "admin",
            "SLIPWAY_AIRFLOW_PASSWORD": USERS["admin"],
            "SLIPWAY_PROJECT": str(self.project),
        }


def load_settings(state_dir: Path | None = None, environ: dict[str, str] | None = None) -> StackSettings:
    """Settings of the state folder, made at the first call.

    Args:
        state_dir: Folder of the stack's state; default ``SLIPWAY_STACK_DIR``, else ``var/stack``.
        environ: Environment to read; default this process's.

    Ports come from the environment, else from the stack's last start, else from the defaults.

    Raises:
        DemoError: A port variable holds no port number, or the folder cannot be written.
    """
    environ = dict(os.environ) if environ is None else environ
    state_dir = Path(state_dir or environ.get("SLIPWAY_STACK_DIR") or ROOT / "var" / "stack").resolve()
    kept = _read(state_dir / "settings.json")
    settings = StackSettings(
        state_dir=state_dir,
        ports=Ports(**{name: _port(name, environ, kept.get("ports", {})) for name in PORT_VARIABLES}),
        secrets=Secrets(**kept["secrets"]) if "secrets" in kept else Secrets.generate(),
        project=Path(environ.get("SLIPWAY_PROJECT") or ROOT / "include").resolve(),
    )
    if "secrets" not in kept:
        save_settings(settings)
    return settings


def save_settings(settings: StackSettings) -> None:
    """Keeps ports and secrets for the next start, readable by the owner alone."""
    try:
        settings.state_dir.mkdir(parents=True, exist_ok=True)
        settings.state_dir.chmod(0o700)
        content = json.dumps({"ports": asdict(settings.ports), "secrets": asdict(settings.secrets)}, indent=2)
        write_private(settings.state_dir / "settings.json", content + "\n")
        exports = "".join(f"export {name}='{value}'\n" for name, value in settings.client_environment().items())
        write_private(settings.state_dir / "env.sh", exports)
    except OSError as error:
        raise DemoError(
            f"cannot write {settings.state_dir}: {error.strerror}; free space or set SLIPWAY_STACK_DIR."
        ) from error


def write_private(path: Path, content: str) -> None:
    """Writes a file that only its owner can read, replacing it in one step."""
    temporary = path.with_name(path.name + ".new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(content)
    temporary.replace(path)


def _read(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise DemoError(f"cannot read {path} ({error}); remove it and start again.") from error
    return content


def _port(name: str, environ: dict[str, str], kept: dict[str, int]) -> int:
    value = environ.get(PORT_VARIABLES[name]) or kept.get(name) or DEFAULT_PORTS[name]
    if not str(value).isdecimal() or not 0 < int(value) < 65536:
        raise DemoError(f"{PORT_VARIABLES[name]}={value} is no TCP port; give a number from 1 to 65535.")
    return int(value)
