from __future__ import annotations

import marshal
import os
import subprocess
import sys
from pathlib import Path

import pytest

from slipway.errors import BaseImageError
from slipway.images.bytecode import compile_tree, compiling, interpreter

HERE = f"{sys.version_info.major}.{sys.version_info.minor}"
MODULE = """def f{m}(x):
    "doc"
    return {{"key{n}": x, "shared": {m}}}
"""
SOURCES = {f"pkg{n}/mod{m}.py": MODULE.format(n=n, m=m) for n in range(9) for m in range(9)}


def plant(root: Path, sources: dict[str, str]) -> Path:
    for name, text in sources.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def compiled(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*.pyc")}


def test_bytecode_is_the_same_wherever_and_however_it_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = plant(tmp_path / "a", SOURCES), plant(tmp_path / "far" / "b", dict(reversed(SOURCES.items())))
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    compile_tree(first, "/opt/slipway/deps", HERE)
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    monkeypatch.setenv("PYTHONHASHSEED", "7")
    compile_tree(second, "/opt/slipway/deps", HERE)
    assert len(compiled(first)) == len(SOURCES)
    assert compiled(first) == compiled(second)


def test_bytecode_is_never_checked_against_times_and_names_the_image(tmp_path: Path) -> None:
    root = plant(tmp_path, {"m.py": "def f(): pass\n"})
    compile_tree(root, "/opt/slipway/deps", HERE)
    (content,) = compiled(root).values()
    assert int.from_bytes(content[4:8], "little") == 0b01  # hash-based, not checked: PEP 552
    assert marshal.loads(content[16:]).co_filename == "/opt/slipway/deps/m.py"


def test_it_is_used_without_its_source_times(tmp_path: Path) -> None:
    root = plant(tmp_path, {"m.py": "print('new')\n"})
    compile_tree(root, "/x", HERE)
    (root / "m.py").write_text("print('changed behind its back')\n")
    ran = subprocess.run([sys.executable, "-c", "import m"], cwd=root, capture_output=True, text=True, check=True)
    assert ran.stdout == "new\n"


def test_tests_and_what_is_no_python_are_left_alone(tmp_path: Path) -> None:
    sources = {
        "a.py": "x = 1\n",
        "template.py": "{{ no python }}\n",
        "tests/t.py": "x = 1\n",
        "p/test/t.py": "",
        "z\u00e9.py": "",
    }
    root = plant(tmp_path, sources)
    compile_tree(root, "/x", HERE)
    assert {Path(name).name.partition(".")[0] for name in compiled(root)} == {"a", "z\u00e9"}


def test_nothing_writes_into_the_folder_after_the_block(tmp_path: Path) -> None:
    root = plant(tmp_path, SOURCES)
    with pytest.raises(KeyError), compiling(root, "/x", HERE):
        raise KeyError
    assert len(compiled(root)) == len(SOURCES)


def test_a_compiler_that_fails_is_no_success(tmp_path: Path) -> None:
    root = plant(tmp_path, {"m.py": "x = 1\n"})
    (root / "__pycache__").symlink_to("/dev/null")
    with pytest.raises(subprocess.CalledProcessError), compiling(root, "/x", HERE) as complete:
        complete()


def test_an_interpreter_that_is_not_here_is_said() -> None:
    assert interpreter(HERE) == sys.executable
    with pytest.raises(BaseImageError, match=r"runs Python 3\.2"):
        interpreter("3.2")
