"""``retrain.prepare`` by a container in a real Docker engine, between the sensor and the training."""

from __future__ import annotations

import re
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from slipway.errors import ContainerFailedError, EngineUnavailableError, PermanentError, RegistryUnavailableError
from slipway.spec import ServiceSpec

from .retraining import LAKE, Retraining, make_rows, retrain_section

pytestmark = [pytest.mark.integration, pytest.mark.docker, pytest.mark.timeout(300)]

# The objects are CSV without a header, which nothing but this program knows how to read.
ADD_HEADER = """
cd /opt/ml/processing/input
for file in dt=*/*.raw; do
  mkdir -p "/opt/ml/processing/output/${file%/*}"
  case $file in
    *bad*) echo "columns missing" > "/opt/ml/processing/output/$file.refused" ;;
    *) { echo "$HEADER"; cat "$file"; } > "/opt/ml/processing/output/$file.csv" ;;
  esac
  echo "prepared $file $1"
done
"""


@pytest.fixture(scope="module")
def image(shell_image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("context")
    (folder / "add_header.sh").write_text(ADD_HEADER)
    (folder / "Dockerfile").write_text(f'FROM {shell_image}\nCOPY *.sh /\nENTRYPOINT ["sh", "/add_header.sh"]\n')
    name = "slipway-test/add-header:1"
    subprocess.run(["docker", "build", "--quiet", "--tag", name, str(folder)], check=True, timeout=120)
    yield name
    subprocess.run(["docker", "image", "rm", "--force", name], check=False, timeout=60)


@pytest.fixture
def container(image: str) -> dict[str, Any]:
    return {"image": image, "arguments": ["v1"], "environment": {"HEADER": "colour,size,at,late"}}


@pytest.fixture
def retraining(service, platform, mlflow_server, monkeypatch, tmp_path) -> Callable[[dict[str, Any]], Retraining]:
    """Make the service's retraining with a section ``prepare``."""
    monkeypatch.setenv("SLIPWAY_CACHE_DIR", str(tmp_path / "cache"))
    s3 = service.aws.client("s3")
    if LAKE not in {each["Name"] for each in s3.list_buckets()["Buckets"]}:
        s3.create_bucket(Bucket=LAKE, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})

    def make(prepare: dict[str, Any]) -> Retraining:
        section = retrain_section(service.spec.name, prepare=prepare)
        spec = ServiceSpec.model_validate({**service.spec.model_dump(exclude_defaults=True), "retrain": section})
        return Retraining(spec, platform, s3, mlflow_server.client)

    return make


def raw(count: int, **how: Any) -> bytes:
    return make_rows(count, **how).to_csv(index=False, header=False).encode()


def test_rows_that_a_container_prepared_are_trained_on(retraining, container, capsys, tmp_path):
    service = retraining(container)
    service.register_champion()
    service.put("dt=1/january.raw", raw(500))
    service.put("dt=2/bad.raw", b"red,1\n")
    assert service.run("await_data", "prepare") == {"prepared": 1, "reused": 0, "refused": 1}
    assert "prepared dt=1/january.raw v1" in capsys.readouterr().out
    validated = service.run("validate_data")
    assert (validated["passed"], validated["quarantined"], validated["rows"]) == (1, 1, 500)
    assert service.reasons() == '[["prepare refuses it: columns missing"]]'
    refit = service.run("refit")
    assert refit["rows"] == {"train": 400, "holdout": 100}
    assert service.run("register") == {"version": 2}
    assert list(service.watermark.taken) == [f"{service.spec.name}/dt=1/january.raw"]

    # Prepared once, and again by another command.
    service.put("dt=2/february.raw", raw(100, start="2026-02-01"))
    assert service.run("await_data", "prepare", run_id="manual__2") == {"prepared": 1, "reused": 1, "refused": 0}
    assert service.run("prepare", run_id="manual__2") == {"prepared": 0, "reused": 2, "refused": 0}
    changed = retraining({**container, "arguments": ["v2"]})
    assert changed.run("prepare", run_id="manual__2") == {"prepared": 2, "reused": 0, "refused": 0}
    assert list((tmp_path / "cache" / "prepare").iterdir()) == []


def test_what_goes_wrong_is_told_and_nothing_is_set_aside(retraining, container, monkeypatch, tmp_path):
    service = retraining(container)
    service.put("dt=1/january.raw", raw(50))
    service.run("await_data")
    faults = {
        "echo 'no licence' > /opt/ml/output/message; exit 3": r"ended with code 3: no licence",
        "exit 0": r"left nothing for 'dt=1/january.raw'; expected /opt/ml/processing/output/dt=1/january.raw.*no file",
        "cd /opt/ml/processing/output; mkdir dt=1; echo PAR1 > dt=1/january.raw.parquet": (
            r"left what cannot be read: /opt/ml/processing/output/dt=1/january.raw.* as parquet"
        ),
    }
    for script, told in faults.items():
        with pytest.raises(ContainerFailedError, match=told):
            retraining({**container, "command": ["sh", "-c", script]}).run("prepare")
    with pytest.raises(ContainerFailedError, match=r"does not start.*no-such-program"):
        retraining({**container, "command": ["no-such-program"]}).run("prepare")
    missing = f"127.0.0.1:9/{re.sub('[^a-z]', '', service.spec.name)}:1"
    with pytest.raises(RegistryUnavailableError, match=f"the image {missing} cannot be pulled"):
        retraining({**container, "image": missing}).run("prepare")
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/docker.sock")
    with pytest.raises(EngineUnavailableError, match="no Docker engine answers"):
        service.run("prepare")
    assert not service.watermark.quarantined
    assert service.ledger() == []


def test_an_object_that_changes_meanwhile_is_left_to_a_new_run(retraining, container):
    service = retraining(container)
    for name in ("dt=1/a.raw", "dt=1/b.raw"):
        service.put(name, raw(50))
    service.run("await_data")
    service.put("dt=1/a.raw", raw(60))
    with pytest.raises(PermanentError, match=r"dt=1/a.raw was overwritten or deleted .* start a new run"):
        service.run("prepare")
    assert service.run("await_data", "prepare", run_id="manual__2")["prepared"] == 2


def test_the_task_and_its_container_end_together(retraining, container, monkeypatch):
    service = retraining({**container, "command": ["sh", "-c", "echo asleep; sleep 600"]})
    service.put("dt=1/a.raw", raw(5))
    service.run("await_data")
    task = service.task("prepare")
    killed = threading.Event()

    def kill(message: str, *arguments: Any) -> None:
        if arguments == ("asleep",):
            threading.Thread(target=task.on_kill).start()
            killed.set()

    monkeypatch.setattr(task.log, "info", kill)
    with pytest.raises(ContainerFailedError, match="was killed"):
        task.execute(service.context("prepare"))
    assert killed.is_set()
    # Cleared, it begins again under the same name.
    assert replace(service, spec=retraining(container).spec).run("prepare")["prepared"] == 1
