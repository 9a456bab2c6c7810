"""Read and patch MLflow's MLmodel file and the environment files beside it.

Everything here is text in, text out. Three layouts are understood: ``env: conda.yaml`` (MLflow 1.x),
``env: {conda: ..., virtualenv: ...}`` (2.x and 3.x) and no ``env`` at all.
"""

from __future__ import annotations

import difflib
import io
import json
from collections.abc import Mapping, MutableMapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.scalarstring import SingleQuotedScalarString
from yaml import YAMLError as YAMLParseError

from slipway.artifacts.yaml_edit import set_value
from slipway.errors import InvalidMLmodelError, ModelNotDeployableError

if TYPE_CHECKING:
    from slipway.artifacts.lock import DependencyLock

MLMODEL = "MLmodel"
CONDA = "conda.yaml"
PYTHON_ENV = "python_env.yaml"
REQUIREMENTS = "requirements.txt"
ENVIRONMENT_FILES = (CONDA, PYTHON_ENV, REQUIREMENTS)

_PYFUNC = "python_function"
_YAML_WIDTH = 80  # PyYAML's default, with which MLflow writes: untouched lines stay as they are


@dataclass(frozen=True)
class MLmodel:
    """What Slipway needs to know from an MLmodel file.

    Attributes:
        flavors: names of the flavors, in the file's order.
        loader_module: module that loads the ``python_function`` flavor; None without that flavor.
        conda: path of the conda environment named by ``env``, None when there is none.
        virtualenv: path of the ``python_env`` file named by ``env``, None when there is none.
        python_version: Python that saved the model, as written.
        mlflow_version: MLflow that saved the model; files of MLflow 1.x do not say.
        signature: ``inputs``, ``outputs`` and ``params``, each decoded from its JSON; None when absent.
        input_example: path of the saved input example, None when absent.
        raw: the whole document, for readers that need more.
    """

    flavors: tuple[str, ...]
    loader_module: str | None
    conda: str | None
    virtualenv: str | None
    python_version: str | None
    mlflow_version: str | None
    signature: Mapping[str, Any] | None
    input_example: str | None
    raw: Mapping[str, Any] = field(repr=False, compare=False)


@dataclass(frozen=True)
class PatchResult:
    """The files that a patch changed or added (path → new text), and the change as a unified diff."""

    files: dict[str, str]
    diff: str


def read_mlmodel(text: str) -> MLmodel:
    """Parse an MLmodel file.

    Args:
        text: content of the file.

    Returns:
        What it says, with defaults for what older MLflow versions do not write.

    Raises:
        InvalidMLmodelError: not YAML, or not shaped like a model; names the line where it is known.
    """
    document = _load(text, MLMODEL)
    flavors = document.get("flavors")
    if not isinstance(flavors, Mapping) or not flavors:
        raise InvalidMLmodelError(f"{MLMODEL} names no flavors: expected a mapping under 'flavors', found {flavors!r}.")
    pyfunc = flavors.get(_PYFUNC)
    if pyfunc is not None and not isinstance(pyfunc, Mapping):
        raise InvalidMLmodelError(f"{MLMODEL}: flavor {_PYFUNC!r} should be a mapping, found {pyfunc!r}.")
    pyfunc = pyfunc or {}
    conda, virtualenv = _environment_paths(pyfunc.get("env"))
    example = document.get("saved_input_example_info")
    return MLmodel(
        flavors=tuple(str(name) for name in flavors),
        loader_module=_text(pyfunc.get("loader_module")),
        conda=conda,
        virtualenv=virtualenv,
        python_version=_text(pyfunc.get("python_version")),
        mlflow_version=_text(document.get("mlflow_version")),
        signature=_signature(document.get("signature")),
        input_example=_text(example.get("artifact_path")) if isinstance(example, Mapping) else None,
        raw=document,
    )


def require_signature(mlmodel: MLmodel, *, allow_missing: bool = False) -> None:
    """Refuse a model whose inputs are not described.

    Args:
        mlmodel: the parsed file.
        allow_missing: the spec's ``serving.allow_missing_signature``.

    Raises:
        ModelNotDeployableError: no signature with inputs, and none is not allowed.
    """
    if allow_missing or (mlmodel.signature and mlmodel.signature.get("inputs")):
        return
    raise ModelNotDeployableError(
        "The model has no signature: its inputs are unknown, so requests could not be checked nor golden rows made. "
        "Log it again with `signature=infer_signature(X, model.predict(X))`, or set "
        "`serving: {allow_missing_signature: true}` in the service's spec."
    )


def patch_mlmodel(files: Mapping[str, str], lock: DependencyLock, python_version: str) -> PatchResult:
    """Pin a model's environment to a lock, leaving everything else as it was.

    Args:
        files: text of ``MLmodel`` and of those environment files that exist, by path inside the model folder.
        lock: the packages to pin.
        python_version: Python that the image offers, such as ``3.11``.

    Returns:
        Changed and added files only, so a second patch returns none.

    Raises:
        InvalidMLmodelError: a file is not readable YAML.
        ModelNotDeployableError: the model has no ``python_function`` flavor.
    """
    if MLMODEL not in files:
        raise ModelNotDeployableError(f"The model's artifacts hold no {MLMODEL} file: found {sorted(files)}.")
    mlmodel = read_mlmodel(files[MLMODEL])
    if _PYFUNC not in mlmodel.flavors:
        raise ModelNotDeployableError(
            f"The model has no {_PYFUNC!r} flavor (found: {', '.join(mlmodel.flavors)}), so MLflow cannot serve it."
        )
    wanted = {
        MLMODEL: _patched_mlmodel(files[MLMODEL]),
        CONDA: _patched_conda(_first(files, mlmodel.conda, CONDA), lock.requirements, python_version),
        PYTHON_ENV: _patched_python_env(_first(files, mlmodel.virtualenv, PYTHON_ENV), python_version),
        REQUIREMENTS: "".join(f"{line}\n" for line in lock.requirements),
    }
    changed = {path: text for path, text in wanted.items() if files.get(path) != text}
    return PatchResult(files=changed, diff="".join(_diff(path, files.get(path), changed[path]) for path in changed))


def _patched_mlmodel(text: str) -> str:
    """Let ``env`` name our files. Characters around it stay, unless aliases make the text mean something else then."""
    document = _load(text, MLMODEL)
    pyfunc = document["flavors"][_PYFUNC]
    env = pyfunc.get("env")
    wanted = {"conda": CONDA, "virtualenv": PYTHON_ENV}
    if isinstance(env, MutableMapping) and wanted.items() <= env.items():
        return text
    pyfunc["env"] = {**(env if isinstance(env, MutableMapping) else {}), **wanted}
    with suppress(KeyError, YAMLParseError, InvalidMLmodelError):
        edited = _edited(text, wanted, replace_env=not isinstance(env, MutableMapping))
        if _load(edited, MLMODEL) == document:
            return edited
    return _dump(document, text)


def _edited(text: str, wanted: Mapping[str, str], *, replace_env: bool) -> str:
    path = ("flavors", _PYFUNC, "env")
    if replace_env:
        return set_value(text, path, f"{{{', '.join(f'{key}: {value}' for key, value in wanted.items())}}}")
    for key, value in wanted.items():
        text = set_value(text, (*path, key), value)
    return text


def _patched_conda(text: str | None, requirements: tuple[str, ...], python_version: str) -> str:
    document = _load(text, CONDA) if text else CommentedMap(channels=CommentedSeq(["conda-forge"]), name="mlflow-env")
    found = document.get("dependencies") or []
    if not isinstance(found, list):
        raise InvalidMLmodelError(f"{CONDA}: 'dependencies' should be a list, found {found!r}.")
    wanted = [f"python={python_version}", "pip", {"pip": list(requirements)}]
    if text and found == wanted:
        return text
    document["dependencies"] = CommentedSeq(
        [wanted[0], wanted[1], CommentedMap(pip=CommentedSeq(requirements))],
    )
    return _dump(document, text)


def _patched_python_env(text: str | None, python_version: str) -> str:
    document = _load(text, PYTHON_ENV) if text else CommentedMap()
    wanted = [f"-r {REQUIREMENTS}"]
    if text and document.get("python") == python_version and document.get("dependencies") == wanted:
        return text
    # Quoted, or Python 3.10 would be read back as the number 3.1.
    document["python"] = SingleQuotedScalarString(python_version)
    document.setdefault("build_dependencies", CommentedSeq(["pip", "setuptools", "wheel"]))
    document["dependencies"] = CommentedSeq(wanted)
    return _dump(document, text)


def _environment_paths(env: object) -> tuple[str | None, str | None]:
    if env is None:
        return None, None
    if isinstance(env, str):
        return env, None
    if isinstance(env, Mapping):
        return _text(env.get("conda")), _text(env.get("virtualenv"))
    raise InvalidMLmodelError(f"{MLMODEL}: 'env' should be a path or a mapping of paths, found {env!r}.")


def _signature(found: object) -> Mapping[str, Any] | None:
    if found is None:
        return None
    if not isinstance(found, Mapping):
        raise InvalidMLmodelError(f"{MLMODEL}: 'signature' should be a mapping, found {found!r}.")
    return {key: _decoded(key, found.get(key)) for key in ("inputs", "outputs", "params")}


def _decoded(key: str, value: object) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError as error:
        raise InvalidMLmodelError(f"{MLMODEL}: signature {key!r} is not JSON: {error}") from error


def _load(text: str, name: str) -> CommentedMap:
    try:
        document = _yaml().load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise InvalidMLmodelError(f"{name}{where}: {error.problem or error.context}") from error
    except (YAMLError, ValueError, RecursionError) as error:
        raise InvalidMLmodelError(f"{name} cannot be read as YAML: {error}") from error
    if not isinstance(document, CommentedMap):
        raise InvalidMLmodelError(f"{name} should hold a mapping, found {type(document).__name__}.")
    return document


def _dump(document: CommentedMap, original: str | None) -> str:
    stream = io.StringIO()
    _yaml().dump(document, stream)
    text = stream.getvalue()
    return text.replace("\n", "\r\n") if original and "\r\n" in original else text


def _yaml() -> YAML:
    yaml = YAML(typ="rt")
    yaml.preserve_quotes = True
    yaml.width = _YAML_WIDTH
    return yaml


def _first(files: Mapping[str, str], *paths: str | None) -> str | None:
    return next((files[path] for path in paths if path is not None and path in files), None)


def _text(value: object) -> str | None:
    if isinstance(value, float):  # `python_version: 3.10` is that text, not the number 3.1
        stream = io.StringIO()
        _yaml().dump(value, stream)
        return stream.getvalue().split("\n", 1)[0]
    return None if value is None else str(value)


def _diff(path: str, before: str | None, after: str) -> str:
    lines = difflib.unified_diff(
        before.splitlines(keepends=True) if before is not None else [],
        after.splitlines(keepends=True),
        fromfile=f"a/{path}" if before is not None else "/dev/null",
        tofile=f"b/{path}",
    )
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)
