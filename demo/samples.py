"""Ready-to-paste calls of an endpoint, written to files and tried before they are shown."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from demo.errors import ChapterFailedError
from demo.stack import StackSettings
from demo.stack.settings import REGION, ROOT

FOLDER = ROOT / "var" / "demo" / "samples"

_PYTHON = """\
import json

import boto3  # keys, region and endpoint come from the environment: . {environment}

rows = json.load(open("{rows}"))
answer = boto3.client("sagemaker-runtime").invoke_endpoint(
    EndpointName="{endpoint}", ContentType="application/json", Body=json.dumps(rows)
)
print(answer["Body"].read().decode())
"""

_CURL = """\
. {environment}
curl --silent --show-error --fail-with-body \\
  --aws-sigv4 "aws:amz:{region}:sagemaker" --user "$AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY" \\
  --header "Content-Type: application/json" --data-binary @{rows} \\
  "$AWS_ENDPOINT_URL/endpoints/{endpoint}/invocations"
"""


@dataclass(frozen=True)
class Sample:
    """One way to call the endpoint."""

    name: str
    path: Path
    text: str
    command: tuple[str, ...]

    def run(self) -> Any:
        """What it answers, run as a user's shell would.

        Raises:
            ChapterFailedError: It does not work as shown.
        """
        clean = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        done = subprocess.run(
            self.command, capture_output=True, text=True, timeout=60, env=clean, cwd=ROOT, check=False
        )
        try:
            return json.loads(done.stdout)["predictions"]
        except (ValueError, KeyError, TypeError):
            error = (done.stderr or done.stdout).strip()[-300:]
            raise ChapterFailedError(f"the {self.name} sample {self.path} does not work: {error}") from None


def write_samples(settings: StackSettings, endpoint: str, payload: dict[str, Any]) -> list[Sample]:
    """Writes the samples and a file of rows beside them.

    Args:
        settings: Where the stack is.
        endpoint: SageMaker endpoint.
        payload: The rows to send, in MLflow's form.

    Returns:
        The Python sample, and the curl sample where this machine's curl can sign (7.75 or later).
    """
    FOLDER.mkdir(parents=True, exist_ok=True)
    rows = FOLDER / "rows.json"
    rows.write_text(json.dumps(payload))
    environment = settings.state_dir / "env.sh"
    fields = {"environment": environment, "rows": rows, "endpoint": endpoint, "region": REGION}
    python, curl = FOLDER / "call.py", FOLDER / "call.sh"
    python.write_text(_PYTHON.format(**fields))
    curl.write_text(_CURL.format(**fields))
    samples = [
        Sample("Python", python, python.read_text(), ("sh", "-c", f". {environment} && exec {sys.executable} {python}"))
    ]
    if _curl_signs():
        samples.append(Sample("curl", curl, curl.read_text(), ("sh", str(curl))))
    return samples


def _curl_signs() -> bool:
    if shutil.which("curl") is None:
        return False
    listed = subprocess.run(["curl", "--help", "all"], capture_output=True, text=True, check=False)
    return "--aws-sigv4" in listed.stdout
