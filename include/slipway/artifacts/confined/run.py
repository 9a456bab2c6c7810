"""Run one script inside the wall: stdin brings script and inputs, a file takes the result.

What the script prints goes to stdout and stderr and means nothing to the other side.
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
    """Read the request, call the script's ``main(inputs)``, write its result or its traceback.

    Returns:
        The exit code: 0 with a result, 1 with a traceback.
    """
    request = json.load(sys.stdin)
    code = 0
    try:
        for name, source in request["modules"].items():
            define(name, source)
        text = json.dumps({"result": call(request["script"], request["inputs"])}, allow_nan=False)
    except BaseException as error:  # noqa: BLE001
        text = json.dumps({"error": describe(error), "memory": isinstance(error, MemoryError)})
        code = 1
    partial = request["result"] + ".partial"
    with open(partial, "w", encoding="utf-8") as file:  # noqa: PTH123
        file.write(text)
    os.replace(partial, request["result"])  # noqa: PTH105
    return code


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
