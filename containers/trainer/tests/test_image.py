"""The trainer's image in a real engine, as SageMaker runs it: ``docker run IMAGE train``.

Slipway builds it, a registry has it, the engine pulls it. The build has no base image, and its packages would be a
gigabyte: this machine lends its interpreter and the packages of its environment, read-only, where the image would have
them.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from trainer_rows import FEATURES, make_rows
from training_job import TrainingJob

from slipway.artifacts.lock import DependencyLock
from slipway.images.docker_engine import write_login
from slipway.images.trainer_image import TrainerRequest, build_trainer_image
from tests.integration.slipway.images.conftest import DockerRegistry, free_port

pytestmark = [pytest.mark.integration, pytest.mark.docker, pytest.mark.long]
HOST_FOLDERS = [folder for folder in ("/usr", "/lib", "/lib64", "/bin") if Path(folder).exists()]
PACKAGES = Path(pytest.__file__).parents[1]
HERE = f"{sys.version_info.major}.{sys.version_info.minor}"
USER = 1000


def docker(*arguments: str) -> str:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, f"docker {' '.join(arguments)}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
    return done.stdout.strip()


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The image's name in the engine; all of it but base and packages."""
    if not shutil.which("docker-registry"):
        pytest.skip("docker-registry is not installed (Debian package docker-registry)")
    folder = tmp_path_factory.mktemp("registry")
    registry = DockerRegistry(folder, free_port())
    registry.start()
    try:
        no_packages = DependencyLock.from_text("", key="none", python=HERE, platform="linux/amd64")
        request = TrainerRequest("slipway/trainer", "scratch", HERE, "linux/amd64", no_packages)
        built = build_trainer_image(request, registry.client(), cache_dir=folder / "cache")
        write_login(registry.client(), folder / "login")
        docker("--config", str(folder / "login"), "pull", "--quiet", built.uri)
    finally:
        registry.stop()
    yield built.uri
    docker("image", "rm", "--force", built.uri)


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
        place = [
            "--volume",
            f"{training.root}:/opt/ml",
            "--env",
            "PATH=/opt/python:/usr/bin:/bin",
            "--tmpfs",
            "/tmp:exec",
        ]
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


def test_spark_trains_in_a_container_as_a_user_that_the_image_did_not_know(start, training):
    shutil.copy(Path(__file__).parent / "spark" / "pipelines.py", training.channel("code"))
    training.hyperparameters({"maxIter": "2"})
    spark = {"spark.master": "local[1]"}
    training.job(champion=None, engine="spark", spark=spark, template="channel://code/pipelines.py:make", dry_run=True)
    container = start(training)
    assert ended(container) == 0, logs(container)
    assert f"going on as user {USER}" in logs(container)
    result = training.result
    assert sum(result["rows"].values()) == 800
    assert result["metrics"]["candidate"]["areaUnderROC"] > 0.7
    assert {path.stat().st_uid for path in (training.root / "output" / "data").iterdir()} == {USER}
