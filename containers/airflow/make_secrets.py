"""Makes what docker-compose.yaml needs to be secret, once: ``make_secrets.py FOLDER``.

Each secret is a file, so that none is in an environment, in an image or in this repository.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import sys
from pathlib import Path

SHOW = "docker compose exec airflow-api cat /run/slipway/passwords.json"
AIRFLOW_USER = 50000  # the uid of Airflow's image


def main(folder: Path) -> None:
    """Writes the files that are missing; existing ones are left, for the databases know them."""
    database = secrets.token_urlsafe(24)
    files = {
        "postgres_password": database,
        "airflow_database": f"postgresql+psycopg2://slipway:{database}@postgres/airflow",
        "fernet_key": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        "api_secret_key": secrets.token_urlsafe(48),
        "jwt_secret": secrets.token_urlsafe(48),
        "passwords.json": json.dumps({"admin": secrets.token_urlsafe(12), "approver": secrets.token_urlsafe(12)}),
    }
    if (folder / "postgres_password").exists():
        return
    for name, content in files.items():
        path = folder / name
        path.write_text(content)
        path.chmod(0o644)  # PostgreSQL and MLflow read theirs as other users; only these services mount the folder
        os.chown(path, AIRFLOW_USER, 0)
    folder.chmod(0o755)
    sys.stdout.write("made the secrets; users and passwords: " + SHOW + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
