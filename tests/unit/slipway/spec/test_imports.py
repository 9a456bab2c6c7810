from __future__ import annotations

import subprocess
import sys

HEAVY = ("airflow", "mlflow", "pandas", "numpy", "boto3", "botocore", "pyspark", "sklearn", "requests", "rich", "typer")


def test_reading_services_imports_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from slipway.platform import load_platform\n"
        "from slipway.spec import load_services, project_dir\n"
        "assert load_services(project_dir()).specs and load_platform(project_dir())\n"
        f"print(sorted(set(sys.modules) & set({HEAVY!r})))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr
