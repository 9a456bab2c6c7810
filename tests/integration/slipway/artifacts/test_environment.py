from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from slipway.artifacts import environment as module
from slipway.artifacts.environment import environment
from slipway.artifacts.lock import DependencyLock
from slipway.artifacts.resolve import pins, resolve_requirements
from slipway.artifacts.sandbox import Limits, Sandbox
from slipway.errors import DependencyLockError, SandboxError

pytestmark = pytest.mark.integration


def lock_of(*requirements: str) -> DependencyLock:
    text = resolve_requirements(requirements, python="3.11", platform="linux/amd64")
    return DependencyLock.from_text(text, key="test", python="3.11", platform="linux/amd64")


@pytest.fixture(scope="module")
def small_lock() -> DependencyLock:
    return lock_of("packaging==24.2")


def test_a_lock_is_resolved_with_hashes_and_without_comments_or_hosts(model_lock: DependencyLock) -> None:
    assert "mlflow-skinny==" in model_lock.text
    assert "#" not in model_lock.text
    assert "://" not in model_lock.text
    names = [line.split("==")[0] for line in model_lock.requirements]
    assert names == sorted(names)
    assert model_lock.text.count("--hash=sha256:") >= len(names)


def test_resolving_is_for_the_images_platform_not_the_workers() -> None:
    arm = resolve_requirements(["numpy==2.1.0"], python="3.12", platform="linux/arm64")
    assert arm.startswith("numpy==2.1.0")


def test_skinny_mlflow_stays_within_the_bounds_of_the_full_one() -> None:
    """mlflow 2.9.2 says pandas<3 and numpy<2; mlflow-skinny of that version says neither."""
    text = resolve_requirements(["mlflow-skinny==2.9.2", "pandas", "numpy"], python="3.11", platform="linux/amd64")
    majors = {line.split("==")[0]: int(line.split("==")[1].split(".")[0]) for line in pins(text)}
    assert majors["pandas"] < 3
    assert majors["numpy"] < 2
    assert "mlflow" not in majors


def test_what_does_not_resolve_is_explained() -> None:
    with pytest.raises(DependencyLockError, match=r"numpy==1\.26\.4"):
        resolve_requirements(["numpy==1.26.4", "numpy>=2"], python="3.11", platform="linux/amd64")
    with pytest.raises(DependencyLockError, match="no-such-package"):
        resolve_requirements(["no-such-package-of-slipway"], python="3.11", platform="linux/amd64")


def test_an_environment_holds_exactly_the_lock_compiled(small_lock: DependencyLock, cache_dir: Path) -> None:
    made = environment(small_lock, cache_dir)
    script = """
def main(inputs):
    import importlib.metadata, sys
    found = {d.name: d.version for d in importlib.metadata.distributions()}
    import packaging.version
    return {"found": found, "cached": packaging.version.__cached__, "version": list(sys.version_info[:2])}
"""
    told = Sandbox(made, Limits(seconds=30)).run(script, {}, cache_dir)
    assert told["found"] == {"packaging": "24.2"}
    assert told["version"] == [3, 11]
    assert Path(told["cached"]).exists()


def test_it_is_made_once(small_lock: DependencyLock, cache_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = environment(small_lock, cache_dir)
    monkeypatch.setattr(module, "_uv", lambda *_: pytest.fail("built again"))
    assert environment(small_lock, cache_dir) == first


def _make(folder: Path, lock: DependencyLock, built: multiprocessing.Queue) -> None:  # type: ignore[type-arg]
    uv = module._uv
    module._uv = lambda arguments, lock: (built.put(arguments[0]), uv(arguments, lock))[1]
    environment(lock, folder)


def test_workers_at_once_build_it_once(small_lock: DependencyLock, tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    built: multiprocessing.Queue = context.Queue()  # type: ignore[type-arg]
    workers = [context.Process(target=_make, args=(tmp_path, small_lock, built)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    assert sorted(built.get(timeout=1) for _ in range(2)) == ["pip", "venv"]
    assert built.empty()


def test_a_killed_build_leaves_nothing_half_made(small_lock: DependencyLock, tmp_path: Path) -> None:
    code = textwrap.dedent(
        f"""
        import sys
        from pathlib import Path
        from slipway.artifacts.environment import environment
        from slipway.artifacts.lock import DependencyLock
        lock = DependencyLock.from_text(sys.stdin.read(), key="k", python="3.11", platform="linux/amd64")
        environment(lock, Path({str(tmp_path)!r}))
        """
    )
    worker = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, text=True, start_new_session=True)
    assert worker.stdin
    worker.stdin.write(small_lock.text)
    worker.stdin.close()
    deadline = time.monotonic() + 30
    while not list(tmp_path.glob("*.partial/bin/python")) and time.monotonic() < deadline:
        time.sleep(0.005)
    os.killpg(worker.pid, signal.SIGKILL)
    worker.wait()
    made = environment(small_lock, tmp_path)
    assert Sandbox(made).run("import packaging\ndef main(i): return {}", {}, tmp_path) == {}
    assert not list(tmp_path.glob("*.partial"))


def test_environments_used_long_ago_and_remains_of_builds_go_with_the_next_build(
    small_lock: DependencyLock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LIMIT_BYTES", 100)
    kept = {"env-" + "a" * 16: 1e9, "env-" + "b" * 16: time.time() - 60, "env-" + "c" * 16 + ".partial": 1e9}
    for name, used_at in kept.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_bytes(bytes(200))
        os.utime(tmp_path / name, (used_at, used_at))
    made = environment(small_lock, tmp_path)
    assert {path for path in tmp_path.iterdir() if path.is_dir()} == {tmp_path / ("env-" + "b" * 16), made.folders[0]}


def test_altered_packages_and_missing_pythons_are_refused(small_lock: DependencyLock, tmp_path: Path) -> None:
    wrong = DependencyLock.from_text(
        "packaging==24.2 \\\n    --hash=sha256:" + "0" * 64, key="k", python="3.11", platform="p"
    )
    with pytest.raises(SandboxError, match=r"(?i)hash"):
        environment(wrong, tmp_path)
    old = DependencyLock.from_text(small_lock.text, key="k", python="3.4", platform="linux/amd64")
    with pytest.raises(SandboxError, match=r"Python 3\.4"):
        environment(old, tmp_path)
    assert not list(tmp_path.glob("env-????????????????"))
