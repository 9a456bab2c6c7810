"""The Dockerfile's image in a real engine, as SageMaker runs it: ``docker run IMAGE train``.

The build has neither a base image nor a package index: it starts from nothing and leaves out the step that installs.
This machine lends its interpreter and the packages of its environment, read-only, where the image would have them.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from trainer_rows import FEATURES, make_rows
from training_job import TrainingJob

pytestmark = [pytest.mark.integration, pytest.mark.docker, pytest.mark.long]
ROOT = Path(__file__).resolve().parents[3]
HOST_FOLDERS = [folder for folder in ("/usr", "/lib", "/lib64", "/bin") if Path(folder).exists()]
PACKAGES = Path(pytest.__file__).parents[1]
USER = 1000


def docker(*arguments: str, text: str | None = None) -> str:
    done = subprocess.run(["docker", *arguments], input=text, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, f"docker {' '.join(arguments)}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
    return done.stdout.strip()


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The image's name; all of the Dockerfile but what needs a network."""
    lines = (ROOT / "containers" / "trainer" / "Dockerfile").read_text().replace("\\\n", "").splitlines()
    kept = [line for line in lines if not re.match(r"RUN |COPY .*requirements\.lock", line)]
    assert len(lines) - len(kept) == 2
    name = f"slipway-trainer-test:{tmp_path_factory.getbasetemp().name}"
    docker(
        "build",
        "--build-arg",
        "BASE=scratch",
        "--tag",
        name,
        "--file",
        "-",
        str(_context(tmp_path_factory)),
        text="\n".join(kept),
    )
    yield name
    docker("image", "rm", "--force", name)


def _context(folders: pytest.TempPathFactory) -> Path:
    """Just what the Dockerfile copies: an engine without BuildKit is sent all of the context."""
    context = folders.mktemp("context")
    for source in ("containers/trainer/src/slipway_trainer", "include/slipway"):
        shutil.copytree(ROOT / source, context / source, ignore=shutil.ignore_patterns("__pycache__"))
    return context


@pytest.fixture
def start(image: str, tmp_path: Path) -> Iterator[Callable[..., str]]:
    """Start a training as SageMaker does; returns the container."""
    python = tmp_path / "python"
    python.mkdir()
    interpreter = Path(sys.executable).resolve()
    (python / "python3").symlink_to(interpreter)
    lent = {folder: folder for folder in [*HOST_FOLDERS, sys.base_prefix]}
    lent |= {str(python): "/opt/python", str(PACKAGES): "/opt/slipway/deps"}
    mounts = [word for here, there in lent.items() for word in ("--volume", f"{here}:{there}:ro")]
    containers = []

    def run(training: TrainingJob, *options: str) -> str:
        place = ["--volume", f"{training.root}:/opt/ml", "--env", "PATH=/opt/python:/usr/bin:/bin", "--tmpfs", "/tmp"]
        containers.append(docker("run", "--detach", "--network", "none", *place, *mounts, *options, image, "train"))
        return containers[-1]

    yield run
    for container in containers:
        docker("rm", "--force", container)


def ended(container: str) -> int:
    return int(docker("wait", container))


def logs(container: str) -> str:
    done = subprocess.run(["docker", "logs", container], capture_output=True, text=True, check=True, timeout=60)
    return done.stdout + done.stderr


@pytest.fixture
def training(tmp_path: Path, champion) -> TrainingJob:
    """A training job whose folders for output are root's alone, as SageMaker's are."""
    training = TrainingJob(tmp_path / "ml")
    training.hyperparameters({"model__C": "10.0"})
    training.channel("training", january=make_rows(800))
    shutil.copytree(champion.artifact_uri, training.channel("champion") / "model")
    for folder in (training.model, training.root / "output"):
        folder.mkdir(mode=0o755)
    return training


def test_a_training_in_a_container_leaves_model_papers_and_baseline_as_an_ordinary_user(start, training):
    import mlflow

    baseline = {"function": "slipway.drift.training:baseline_file", "options": {"window_hours": 24.0}}
    training.job(baseline=baseline)
    container = start(training)
    assert ended(container) == 0, logs(container)
    result = training.result
    assert result["rows"] == {"train": 640, "holdout": 160}
    assert result["metrics"]["candidate"]["areaUnderROC"] > 0.7
    assert result["baseline"] == "slipway/baseline.json"
    assert (training.model / "slipway" / "baseline.json").exists()
    fitted = mlflow.sklearn.load_model(str(training.model))
    assert fitted.get_params()["model__C"] == 10.0
    assert len(fitted.predict_proba(make_rows(5)[FEATURES])) == 5
    assert {path.stat().st_uid for path in training.model.rglob("*")} == {USER}


def test_a_failure_in_a_container_leaves_its_reason(start, training):
    training.channel("training", odd=make_rows(50).drop(columns="size"))
    training.job()
    container = start(training)
    assert ended(container) == 1
    assert "odd.parquet lacks 'size'" in training.failure
    assert "Traceback" not in logs(container)


def test_another_user_is_told_at_once_when_nothing_could_be_left(start, training):
    training.job()
    container = start(training, "--user", str(USER))
    assert ended(container) == 1
    assert f"user {USER} cannot write to /opt/ml/model: Permission denied" in logs(container)
    for folder in (training.model, training.root / "output"):
        folder.chmod(0o777)
    training.job(dry_run=True)
    container = start(training, "--user", str(USER))
    assert ended(container) == 0, logs(container)


def test_the_first_process_of_a_container_ends_on_sigterm(start, training):
    code = training.channel("code") / "slow.py"
    code.write_text("import time\ndef make():\n    print('asleep', flush=True)\n    time.sleep(600)\n")
    training.job(champion=None, template="channel://code/slow.py:make", dry_run=True)
    container = start(training)
    for _ in range(600):
        if "asleep" in logs(container):
            break
        time.sleep(0.1)
    docker("stop", "--time", "110", container)  # SageMaker kills after 120 s, with 137
    assert ended(container) == 128 + 15
