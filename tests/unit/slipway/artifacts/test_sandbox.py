"""The wall, by trying to get through it from the inside."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import pytest

from slipway.artifacts import sandbox as sandbox_module
from slipway.artifacts.confined import landlock
from slipway.artifacts.sandbox import Limits, Sandbox, SandboxEnvironment
from slipway.artifacts.script import Script
from slipway.errors import SandboxError

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the wall is Linux's")
MEBIBYTE = 1 << 20
LIMITS = Limits(seconds=20, memory_bytes=512 * MEBIBYTE, file_bytes=4 * MEBIBYTE, processes=40)


def main_of(body: str) -> str:
    return "def main(inputs):\n" + textwrap.indent(textwrap.dedent(body).strip(), "    ")


@pytest.fixture
def run(tmp_path: Path):
    def call(body: str, limits: Limits = LIMITS, **inputs: object) -> dict:
        return Sandbox(SandboxEnvironment.at(Path(sys.executable)), limits).run(main_of(body), inputs, tmp_path)

    return call


def broken(run, body: str, **kwargs: object) -> str:
    with pytest.raises(SandboxError) as caught:
        run(body, **kwargs)
    return str(caught.value)


def processes_with(word: str) -> list[int]:
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                command = (folder / "cmdline").read_bytes()
            except OSError:
                continue
            if word.encode() in command:
                found.append(int(folder.name))
    return found


def descendants(pid: int) -> list[int]:
    """The process's children, theirs, and so on; other jobs of this machine may have sandboxes of their own."""
    try:
        children = [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
    return children + [each for child in children for each in descendants(child)]


def alive(pids: list[int]) -> list[int]:
    found = []
    for pid in pids:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except OSError:
            continue
        if state != "Z":
            found.append(pid)
    return found


def test_a_script_gets_its_inputs_and_gives_its_result(run, tmp_path: Path) -> None:
    assert run("return {'twice': inputs['n'] * 2, 'text': inputs['text']}", n=21, text="é\n") == {
        "twice": 42,
        "text": "é\n",
    }
    assert list(tmp_path.iterdir()) == []


def test_big_inputs_and_results_pass(run) -> None:
    assert len(run("return {'back': inputs['text']}", text="x" * 3_000_000)["back"]) == 3_000_000


def test_what_is_printed_does_not_matter(run) -> None:
    assert run(
        """
        import os, sys
        print('{"result": {"forged": 1}}', flush=True)
        os.write(2, b'\\xff\\xfe garbage')
        for _ in range(20000): print('x' * 200)
        return {'true': 1}
        """
    ) == {"true": 1}


def test_modules_can_be_brought(tmp_path: Path) -> None:
    box = Sandbox(SandboxEnvironment.at(Path(sys.executable)), LIMITS)
    script = "from our.own import answer\ndef main(inputs):\n    return {'answer': answer()}"
    assert box.run(script, {}, tmp_path, modules={"our.own": "def answer(): return 42"}) == {"answer": 42}


def run_each(tmp_path: Path, *bodies: str, limits: Limits = LIMITS) -> list[dict]:
    scripts = [Script(main_of(body), {"place": place}) for place, body in enumerate(bodies)]
    return Sandbox(SandboxEnvironment.at(Path(sys.executable)), limits).run_each(scripts, tmp_path)


def test_scripts_share_a_process_and_what_is_imported_but_no_names(tmp_path: Path) -> None:
    body = """
        import os, sys
        known = 'mine' in globals(), 'colorsys' in sys.modules
        import colorsys
        globals()['mine'] = 1
        return {'process': os.getpid(), 'place': inputs['place'], 'known': known}
        """
    first, second = run_each(tmp_path, body, body)
    assert first == {"process": second["process"], "place": 0, "known": [False, False]}
    assert second["place"] == 1
    assert second["known"] == [False, True]
    assert list(tmp_path.iterdir()) == []


def test_each_script_brings_its_modules(tmp_path: Path) -> None:
    source = "from our.own import answer\ndef main(inputs):\n    return {'answer': answer()}"
    scripts = [Script(source, {}, {"our.own": f"def answer(): return {number}"}) for number in (1, 2)]
    box = Sandbox(SandboxEnvironment.at(Path(sys.executable)), LIMITS)
    assert box.run_each(scripts, tmp_path) == [{"answer": 1}, {"answer": 2}]


@pytest.mark.parametrize(
    "body",
    [
        "raise ValueError('no good')",
        "return [1]",
        "import os; os._exit(0)",
        "import ctypes; ctypes.string_at(0)",
        "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
        "x = bytearray(2 << 30)",
        "import mmap\nx = []\nwhile True:\n    x.append(mmap.mmap(-1, 32 << 20)); x[-1].write(b'x' * (32 << 20))",
        "import time; time.sleep(600)",
    ],
    ids=["raises", "no object", "ends", "crashes", "killed", "memory at once", "memory bit by bit", "time"],
)
def test_what_was_answered_before_a_failure_counts(tmp_path: Path, body: str) -> None:
    limits = replace(LIMITS, seconds=6)
    assert run_each(tmp_path, "return {'kept': 1}", body, limits=limits) == [{"kept": 1}]


def test_nothing_is_run_after_a_failure(tmp_path: Path) -> None:
    failing, marking = "raise ValueError('no good')", "open(f'ran-{inputs[\"place\"]}', 'w'); return {}"
    with pytest.raises(SandboxError, match=r"(?s)raised ValueError: no good\..*<sandboxed>.*no good'\)"):
        run_each(tmp_path, failing, marking)
    assert run_each(tmp_path, marking, failing, marking) == [{}]
    assert [path.name for path in tmp_path.iterdir()] == ["ran-0"]


def test_the_limits_hold_for_all_scripts_together(tmp_path: Path) -> None:
    body = "import sys; sys.left = [*getattr(sys, 'left', []), bytearray(200 << 20)]; return {}"
    assert run_each(tmp_path, body, body, body) == [{}, {}]


@pytest.mark.parametrize("family", ["AF_INET", "AF_INET6", "AF_UNIX", "AF_NETLINK", "AF_PACKET"])
def test_no_sockets(run, family: str) -> None:
    said = broken(run, f"import socket; socket.socket(socket.{family}, socket.SOCK_RAW if 'PACK' in '{family}' else 1)")
    assert "PermissionError" in said


def test_no_sockets_by_raw_system_calls_or_from_children(run) -> None:
    assert run(
        """
        import ctypes, os, platform, subprocess, sys
        libc = ctypes.CDLL(None, use_errno=True)
        number = {'x86_64': 41, 'aarch64': 198}[platform.machine()]
        raw = libc.syscall(number, 2, 1, 0)
        uring = libc.syscall(425, 8, None)
        child = subprocess.run([sys.executable, '-c', 'import socket; socket.socket()'], capture_output=True)
        return {'raw': raw, 'uring': uring, 'child': child.returncode, 'said': child.stderr.decode()[-100:]}
        """
    ) | {"said": ""} == {"raw": -1, "uring": -1, "child": 1, "said": ""}


def test_pipes_between_own_processes_work(run) -> None:
    assert run(
        """
        import multiprocessing, socket
        a, b = socket.socketpair()
        a.send(b'x')
        with multiprocessing.get_context('fork').Pool(2) as pool:
            return {'pair': b.recv(1).decode(), 'pool': pool.map(abs, [-1, -2])}
        """
    ) == {"pair": "x", "pool": [1, 2]}


def test_nothing_of_the_workers_environment(run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush-hush")
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", "hush-hush")
    monkeypatch.setenv("PYTHONPATH", "/evil")
    seen = run("import os; return dict(os.environ)")
    assert not [name for name in seen if name.startswith(("AWS", "AIRFLOW", "PYTHONPATH"))]
    assert "hush-hush" not in json.dumps(seen)


@pytest.mark.skipif(not landlock.version(), reason="this kernel has no Landlock")
def test_no_look_into_other_processes(run, monkeypatch: pytest.MonkeyPatch) -> None:
    # A process's environment as it was at its start: that of a child of ours.
    child = subprocess.Popen(["sleep", "30"], env={"AWS_SECRET_ACCESS_KEY": "hush"})
    try:
        said = broken(run, f"return {{'environ': open('/proc/{child.pid}/environ').read()}}")
        assert "PermissionError" in said
        assert "PermissionError" in broken(run, f"import os; os.kill({child.pid}, 9)")
        assert child.poll() is None
    finally:
        child.kill()
        child.wait()


@pytest.mark.skipif(not landlock.version(), reason="this kernel has no Landlock")
def test_other_folders_are_neither_read_nor_written(
    run, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    outside = tmp_path_factory.mktemp("outside")
    (outside / "secret").write_text("hush")
    for body in (
        f"open('{outside}/secret').read()",
        f"open('{outside}/new', 'w')",
        f"__import__('os').unlink('{outside}/secret')",
    ):
        assert "PermissionError" in broken(run, body)
    assert [path.name for path in outside.iterdir()] == ["secret"]
    assert "PermissionError" in broken(run, f"open('{sys.prefix}/evil', 'w')")
    run("open('made', 'w').write('x'); return {}")
    assert (tmp_path / "made").read_text() == "x"


def test_further_folders_can_be_made_readable(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    model = tmp_path_factory.mktemp("model")
    (model / "MLmodel").write_text("flavors")
    script = f"def main(inputs): return {{'text': open('{model}/MLmodel').read()}}"
    box = Sandbox(SandboxEnvironment.at(Path(sys.executable)), LIMITS)
    assert box.run(script, {}, tmp_path, readable=[model]) == {"text": "flavors"}


def test_no_rights_even_when_the_worker_is_root(run) -> None:
    status = run(
        "return dict(line.split(':\\t') for line in open('/proc/self/status').read().splitlines() if ':\\t' in line)"
    )
    assert status["Seccomp"] == "2"
    assert status["NoNewPrivs"] == "1"
    assert int(status["CapEff"], 16) == 0 or "CapEff" not in status


def test_an_endless_loop_is_ended(run) -> None:
    began = time.monotonic()
    said = broken(run, "while True: pass", limits=Limits(seconds=1.5))
    assert "1.5 s" in said
    assert time.monotonic() - began < 8


def test_sleeping_for_ever_and_ignoring_signals_is_ended(run) -> None:
    body = """
        import signal, time
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP): signal.signal(number, signal.SIG_IGN)
        time.sleep(1000)
        """
    assert "ran longer than 1 s" in broken(run, body, limits=Limits(seconds=1))


@pytest.mark.parametrize(
    "body",
    [
        "x = bytearray(2 << 30)",
        "x = []\nwhile True: x.append(bytearray(8 << 20))",
        "import mmap\nx = []\nwhile True:\n    x.append(mmap.mmap(-1, 32 << 20)); x[-1].write(b'x' * (32 << 20))",
    ],
    ids=["at once", "bit by bit", "shared"],
)
def test_memory_is_bounded(run, body: str) -> None:
    said = broken(run, body)
    assert "512 MiB of memory" in said


def test_numerical_libraries_fit_into_the_memory_limit(run) -> None:
    body = """
        import numpy, pandas, sklearn.linear_model
        model = sklearn.linear_model.LinearRegression().fit(numpy.eye(50), numpy.arange(50))
        return {'sum': float(model.predict(numpy.eye(50)).sum())}
        """
    assert run(body)["sum"] == pytest.approx(1225)


def test_files_are_bounded(run, tmp_path: Path) -> None:
    said = broken(run, "f = open('big', 'wb')\nwhile True: f.write(b'x' * 65536)")
    assert "File too large" in said
    assert (tmp_path / "big").stat().st_size <= 4 * MEBIBYTE


def test_a_result_that_is_too_big_is_refused(run) -> None:
    assert "File too large" in broken(run, "return {'x': 'y' * (5 << 20)}")


@pytest.mark.parametrize(
    "body",
    [
        "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass",
        "import os, time\nwhile True:\n    try:\n        if os.fork() == 0: time.sleep(60)\n    except OSError: pass",
    ],
    ids=["bomb", "brood"],
)
def test_a_fork_bomb_is_bounded_and_leaves_nobody(run, tmp_path: Path, body: str) -> None:
    assert "more than 40 processes" in broken(run, body)
    time.sleep(0.1)
    assert processes_with(str(tmp_path)) == []


def test_children_that_outlive_the_script_are_killed(run, tmp_path: Path) -> None:
    body = f"import subprocess; subprocess.Popen(['sleep', '987654']); open('{tmp_path}/done', 'w'); return {{}}"
    assert run(body) == {}
    time.sleep(0.1)
    assert processes_with("987654") == []


def test_no_way_out_of_the_process_group(run) -> None:
    assert "PermissionError" in broken(run, "import os; os.setsid()")
    assert "PermissionError" in broken(
        run, "import os\nif os.fork() == 0: os.setpgid(0, 0)\nelse: os.wait(); os.setpgid(0, 0)"
    )


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (
            "raise ValueError('no good')",
            ["raised ValueError: no good", 'File "<sandboxed>", line 2', "raise ValueError"],
        ),
        ("import os; os._exit(7)", ["exit code 7", "no result"]),
        ("import os; os._exit(0)", ["exit code 0", "no result"]),
        ("import sys; sys.exit(3)", ["SystemExit: 3"]),
        ("import ctypes; ctypes.string_at(0)", ["SIGSEGV", "Fatal Python error"]),
        ("import os; os.abort()", ["SIGABRT"]),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", ["SIGKILL"]),
        ("return [1]", ["list instead of a JSON object"]),
        ("return {'x': object()}", ["TypeError", "not JSON serializable"]),
        ("return {'x': float('nan')}", ["ValueError", "JSON"]),
        ("return {", ["SyntaxError"]),
        ("import not_installed", ["ModuleNotFoundError"]),
        ("import os; os.close(0); os.close(1); os.close(2); raise ValueError('quiet')", ["quiet"]),
    ],
)
def test_failures_say_what_happened(run, body: str, words: list[str]) -> None:
    said = broken(run, body)
    assert [word for word in words if word not in said] == []


def test_threads_that_hang_do_not_hold_up_a_result(run) -> None:
    began = time.monotonic()
    assert run("import threading, time; threading.Thread(target=time.sleep, args=(600,)).start(); return {}") == {}
    assert time.monotonic() - began < 10


def test_everything_dies_with_the_worker(tmp_path: Path) -> None:
    worker = subprocess.Popen(
        [
            sys.executable,
            "-c",
            textwrap.dedent(
                f"""
                import sys
                from pathlib import Path
                from slipway.artifacts.sandbox import Sandbox, SandboxEnvironment
                script = '''
                def main(inputs):
                    import subprocess, time
                    child = subprocess.Popen(['sleep', '876543'])
                    open('started', 'w').write('x')
                    time.sleep(600)
                '''.replace("\\n                ", "\\n")
                Sandbox(SandboxEnvironment.at(Path(sys.executable))).run(script, {{}}, Path({str(tmp_path)!r}))
                """
            ),
        ]
    )
    try:
        deadline = time.monotonic() + 20
        while not (tmp_path / "started").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        started = descendants(worker.pid)
        assert set(processes_with("sleep\x00876543")) & set(started), "the child of the script is there"
    finally:
        os.kill(worker.pid, signal.SIGKILL)
        worker.wait()
    deadline = time.monotonic() + 5
    while alive(started) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert alive(started) == []


@pytest.mark.parametrize("refused", ["seccomp", "python"])
def test_without_a_wall_nothing_is_run(run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: str) -> None:
    copy = tmp_path / "fake" / "slipway" / "artifacts" / "confined"
    copy.mkdir(parents=True)
    for path in sandbox_module._CONFINED.glob("*.py"):
        text = path.read_text()
        if refused == "python":
            text = text.replace("os.execve(", "raise OSError(2, 'No such file')\n        os.execve(")
        elif path.name == "seccomp.py":
            text = text.replace("machine = ARCHITECTURES.get(platform.machine())", "raise OSError(38, 'not here')")
        (copy / path.name).write_text(text)
    monkeypatch.setattr(sandbox_module, "_CONFINED", copy)
    said = broken(run, "open('ran', 'w'); return {}")
    assert "cannot be isolated" in said
    assert not (tmp_path / "ran").exists()
