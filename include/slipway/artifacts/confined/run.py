"""Run scripts inside the wall: stdin brings each with its inputs, a file of its own takes its result.

What a script prints goes to stdout and stderr and means nothing to the other side.
"""

from __future__ import annotations

import json
import linecache
import os
import sys
import traceback
from types import ModuleType
from typing import Any

_NAME = "<sandboxed>"


def main() -> int:
    """Read the requests and answer them in turn; the first that fails is the last.

    Returns:
        The exit code: 0 with all results, 1 with a traceback.
    """
    return 0 if all(answer(request) for request in json.load(sys.stdin)) else 1


def answer(request: dict[str, Any]) -> bool:
    """Call the script's ``main(inputs)``, write its result or its traceback; say whether it is a result."""
    failed = False
    try:
        for name, source in request["modules"].items():
            define(name, source)
        text = json.dumps({"result": call(request["script"], request["inputs"])}, allow_nan=False)
    except BaseException as error:  # noqa: BLE001
        text = json.dumps({"error": describe(error), "memory": isinstance(error, MemoryError)})
        failed = True
    partial = request["result"] + ".partial"
    with open(partial, "w", encoding="utf-8") as file:  # noqa: PTH123
        file.write(text)
    os.replace(partial, request["result"])  # noqa: PTH105
    return not failed


def define(name: str, source: str) -> None:
    """Make a module that scripts can import, and packages around it where there are none."""
    parts = name.split(".")
    for depth in range(1, len(parts)):
        package = ModuleType(".".join(parts[:depth]))
        package.__path__ = []
        sys.modules.setdefault(package.__name__, package)
    module = sys.modules[name] = ModuleType(name)
    exec(compile(source, f"<{name}>", "exec"), module.__dict__)


def call(script: str, inputs: dict[str, Any]) -> Any:
    """Define the script's functions and call its ``main``."""
    linecache.cache[_NAME] = (len(script), None, script.splitlines(keepends=True), _NAME)  # for tracebacks
    namespace: dict[str, Any] = {"__name__": "sandboxed"}
    exec(compile(script, _NAME, "exec"), namespace)
    return namespace["main"](inputs)


def describe(error: BaseException) -> dict[str, str]:
    """An exception as text: type, message and traceback, without the frames of this file."""
    trace = error.__traceback__
    while trace and trace.tb_next and trace.tb_frame.f_code.co_filename != _NAME:
        trace = trace.tb_next
    shown = "".join(traceback.format_exception(type(error), error, trace))
    return {"type": type(error).__name__, "message": str(error), "traceback": shown}


if __name__ == "__main__":
    exit_code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(exit_code)  # the result is written: hanging threads of the model do not matter any more
