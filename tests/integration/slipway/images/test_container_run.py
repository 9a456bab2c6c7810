"""Containers in a real Docker engine: what goes in and comes out, how they end, and that none is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from slipway.errors import BaseImageError, ContainerFailedError, EngineUnavailableError, RegistryUnavailableError
from slipway.images.container_run import ContainerEnd, ContainerRun, find_image
from slipway.images.docker_engine import write_login

if TYPE_CHECKING:
    from conftest import DockerRegistry

pytestmark = [pytest.mark.integration, pytest.mark.docker]
NAME = f"slipway-test-{os.getpid()}"


def docker(*arguments: str) -> str:
    return subprocess.run(
        ["docker", *arguments], capture_output=True, text=True, check=True, timeout=120
    ).stdout.strip()


def there() -> list[str]:
    return docker("ps", "--all", "--filter", f"name={NAME}", "--format", "{{.Names}}").split()


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    yield
    assert there() == []


@pytest.fixture
def given(tmp_path: Path) -> Path:
    folder = tmp_path / "given"
    (folder / "data" / "in").mkdir(parents=True)
    (folder / "data" / "out").mkdir()
    (folder / "data" / "out").chmod(0o777)
    (folder / "data" / "in" / "ä file").write_text("rows\n")
    return folder


def shell(image: str, script: str, *arguments: str, **environment: str) -> ContainerRun:
    return ContainerRun(
        image, NAME, command=["sh", "-c", script], arguments=["sh", *arguments], environment=environment
    )


def test_files_go_in_and_come_out_and_its_lines_are_passed_on(shell_image: str, given: Path, tmp_path: Path) -> None:
    out, none = tmp_path / "out", tmp_path / "none"
    out.mkdir()
    none.mkdir()
    lines: list[str] = []
    script = 'id -u; echo "$1 $TOLD" >&2; cd /data/out; cat "/data/in/ä file" > copy; mkdir a; touch a/b; exit 3'
    container = shell(shell_image, script, "first $HOME", TOLD="by a variable = 1")
    assert container.run(given, {"/data/out": out, "/data/nowhere": none}, lines.append) == ContainerEnd(3, False)
    assert sorted(lines) == ["1234", "first $HOME by a variable = 1"]
    assert (out / "copy").read_text() == "rows\n"
    assert (out / "a" / "b").exists()
    assert {path.stat().st_uid for path in out.rglob("*")} == {os.getuid()}
    assert list(none.iterdir()) == []


def test_the_images_own_command_is_run_when_none_is_given(shell_image: str, given: Path) -> None:
    folder = given.parent / "context"
    folder.mkdir()
    (folder / "Dockerfile").write_text(f'FROM {shell_image}\nENTRYPOINT ["sh", "-c", "echo own $0"]\nCMD ["word"]\n')
    image = docker("build", "--quiet", str(folder))
    lines: list[str] = []
    assert ContainerRun(image, NAME).run(given, {}, lines.append).code == 0
    assert ContainerRun(image, NAME, arguments=["other"]).run(given, {}, lines.append).code == 0
    docker("image", "rm", "--force", image)
    assert lines == ["own word", "own other"]


def test_a_program_that_the_image_lacks_is_named(shell_image: str, given: Path) -> None:
    with pytest.raises(ContainerFailedError, match=r'does not start.*"/no/such"'):
        ContainerRun(shell_image, NAME, command=["/no/such"]).run(given, {}, print)


def test_what_a_killed_try_left_is_removed(shell_image: str, given: Path) -> None:
    docker("run", "--detach", "--name", NAME, "--entrypoint", "sleep", shell_image, "600")
    lines: list[str] = []
    assert shell(shell_image, "echo again").run(given, {}, lines.append).code == 0
    assert lines == ["again"]


def test_killing_it_ends_it_at_once(shell_image: str, given: Path) -> None:
    container = shell(shell_image, "echo up; sleep 600")
    killer = threading.Thread(target=container.kill)
    with pytest.raises(ContainerFailedError, match="was killed and removed"):
        container.run(given, {}, lambda line: killer.start())
    killer.join()
    assert there() == []


def test_it_is_removed_also_when_its_guard_was_killed(shell_image: str, given: Path) -> None:
    container = shell(shell_image, "echo up; sleep 600")
    killer = threading.Thread(target=container.kill)

    def kill(line: str) -> None:
        (guard,) = (each for each in psutil.Process().children() if each.name() == "sh")
        guard.kill()
        killer.start()

    with pytest.raises(ContainerFailedError, match="was killed"):
        container.run(given, {}, kill)
    killer.join()


_PARENT = """
from pathlib import Path
from slipway.images.container_run import ContainerRun
ContainerRun({image!r}, {name!r}, command=["sh", "-c", "echo up; sleep 600"]).run(
    Path({given!r}), {{}}, lambda line: print(line, flush=True)
)
"""


@pytest.mark.parametrize(
    ("number", "to_all"), [(signal.SIGTERM, False), (signal.SIGKILL, False), (signal.SIGTERM, True)]
)
def test_it_ends_with_the_process_that_runs_it(
    shell_image: str, given: Path, number: signal.Signals, to_all: bool
) -> None:
    code = _PARENT.format(image=shell_image, name=NAME, given=str(given))
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "up\n"
        assert there() == [NAME]
        family = psutil.Process(parent.pid).children(recursive=True) if to_all else []
        assert len(family) == 2 * to_all
        for process in (*family, parent):
            process.send_signal(number)
    for _ in range(300):
        if not there():
            break
        time.sleep(0.1)


def test_images_are_pulled_with_our_account_once(
    shell_image: str, docker_registry: DockerRegistry, tmp_path: Path
) -> None:
    name = f"{docker_registry.host}/clean:1"
    docker("tag", shell_image, name)
    write_login(docker_registry.client(), tmp_path / "config")
    docker("--config", str(tmp_path / "config"), "push", "--quiet", name)
    docker("image", "rm", name)
    with pytest.raises(BaseImageError, match=r"clean:1 is not on this machine and cannot be pulled: .*basic auth"):
        find_image(name)
    found = find_image(name, login=docker_registry.client)
    assert found == docker("image", "inspect", "--format", "{{.Id}}", shell_image)
    docker_registry.stop()
    assert find_image(name) == found
    docker("image", "rm", name)
    with pytest.raises(RegistryUnavailableError, match="connection refused"):
        find_image(name)


def test_without_an_engine_that_is_said(monkeypatch: pytest.MonkeyPatch, given: Path, tmp_path: Path) -> None:
    with monkeypatch.context() as there_is_none:
        there_is_none.setenv("DOCKER_HOST", f"unix://{tmp_path}/docker.sock")
        with pytest.raises(EngineUnavailableError, match="no Docker engine answers"):
            find_image("clean:1")
        with pytest.raises(EngineUnavailableError, match="no Docker engine answers"):
            ContainerRun("clean:1", NAME).run(given, {}, print)
