"""Files become models, or one error that lists everything wrong with them."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from slipway.errors import InvalidInputError, InvalidSpecError
from slipway.spec.located import MAX_BYTES, Located, YamlError, read_yaml
from slipway.spec.problems import Problem, find_problems, report
from slipway.spec.service import ServiceSpec

ModelT = TypeVar("ModelT", bound=BaseModel)


def load_spec(path: Path) -> ServiceSpec:
    """Read the service that ``path`` declares.

    Raises:
        InvalidSpecError: one line per problem: file, line, field, what was found, what is accepted.
    """
    spec, document = load_model(path, ServiceSpec, InvalidSpecError)
    if spec.name != path.stem:
        expected = (
            f"found {spec.name!r}; expected {path.stem!r}, the name of the file, or rename it to {spec.name}.yaml"
        )
        raise InvalidSpecError(report(path, [Problem(document.line_of(["name"]), "name", expected)]))
    return spec


def load_model(path: Path, model: type[ModelT], error_class: type[InvalidInputError]) -> tuple[ModelT, Located]:
    """Read the YAML file at ``path`` as ``model``; also return the document with its lines.

    Raises:
        InvalidInputError: of class ``error_class``, one line per problem.
    """
    try:
        document = read_yaml(_read_text(path))
    except YamlError as error:
        raise error_class(report(path, [Problem(error.line, "", error.message)])) from error
    if not isinstance(document.value, dict):
        fields = ", ".join(name for name, info in model.model_fields.items() if info.is_required())
        problem = Problem(document.line, "", f"expected fields, among them {fields}; found something else")
        raise error_class(report(path, [problem]))
    try:
        return model.model_validate(document.plain()), document
    except ValidationError as error:
        raise error_class(report(path, find_problems(model, document, error))) from error


def _read_text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise YamlError(1, f"cannot be read: {error.strerror or error}") from error
    if len(content) > MAX_BYTES:
        raise YamlError(1, f"larger than {MAX_BYTES // 1024} KiB, which no honest file of this kind is")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise YamlError(line, "not UTF-8 text; save the file as UTF-8") from error
