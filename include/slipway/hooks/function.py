"""Hooks that are functions in the project's folder ``hooks/``."""

from __future__ import annotations

import ast
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from slipway.errors import HookFailedError
from slipway.hooks.exchange import HookAnswer, HookQuestion, read_answer

FOLDER = "hooks"


def problem_of(project: Path, reference: str) -> str | None:
    """Say what is wrong with a reference, without running any of its code.

    Args:
        project: The project folder.
        reference: ``file.py:function``.

    Returns:
        What was found and what is expected; None when there is such a function.
    """
    path, name = _split(project, reference)
    try:
        tree = ast.parse(path.read_bytes(), str(path))
    except OSError:
        return f"expected a function in {FOLDER}/; there is no file {path}"
    except (SyntaxError, ValueError) as error:
        return f"expected a function in {FOLDER}/; {path} is no Python: {error}"
    functions = [each.name for each in tree.body if isinstance(each, ast.FunctionDef)]
    if name in functions:
        return None
    return f"expected a function of {path}, which has {', '.join(functions) or 'none'}"


def ask_function(project: Path, reference: str, question: HookQuestion) -> HookAnswer:
    """Call a hook's function with the question as a dict.

    Args:
        project: The project folder.
        reference: ``file.py:function``.
        question: What it is told.

    Raises:
        HookFailedError: It cannot be imported, raises, or answers what nobody understands.
    """
    function = _load(project, reference, question.hook)
    try:
        found = function(question.to_dict())
    except Exception as error:
        raise HookFailedError(f"Hook {question.hook} ({reference}) raised {type(error).__name__}: {error}") from error
    return read_answer(question.hook, found)


def _load(project: Path, reference: str, hook: str) -> Callable[[dict[str, Any]], Any]:
    path, name = _split(project, reference)
    module_name = f"slipway_hook_{path.stem}"
    spec = importlib.util.spec_from_file_location(module_name, path)
    if spec is None or spec.loader is None:
        raise HookFailedError(f"Hook {hook}: {path} is no Python file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    try:
        spec.loader.exec_module(module)
        function = getattr(module, name)
    except Exception as error:
        raise HookFailedError(f"Hook {hook}: {reference} cannot be loaded: {type(error).__name__}: {error}") from error
    if not callable(function):
        raise HookFailedError(f"Hook {hook}: {reference} is a {type(function).__name__}; expected a function.")
    return function  # type: ignore[no-any-return]


def _split(project: Path, reference: str) -> tuple[Path, str]:
    file, _, name = reference.rpartition(":")
    return project / FOLDER / file, name
