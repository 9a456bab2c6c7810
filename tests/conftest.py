"""An Airflow of the tests' own. It has to be in the environment before anything imports airflow."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def _give_airflow_a_home() -> None:
    for name in [name for name in os.environ if name.startswith(("AIRFLOW__", "AIRFLOW_CONN_", "AWS_"))]:
        del os.environ[name]
    home = os.environ.get("SLIPWAY_TEST_AIRFLOW_HOME") or tempfile.mkdtemp(prefix="slipway-airflow-")
    os.environ.update(
        {
            "AIRFLOW_HOME": home,
            "AIRFLOW__CORE__UNIT_TEST_MODE": "True",
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
            "MLFLOW_DISABLE_TELEMETRY": "true",
        }
    )


_give_airflow_a_home()
# Airflow puts the DAG folder on the path when it parses or runs a file of it.
sys.path.append(str(ROOT / "dags"))
