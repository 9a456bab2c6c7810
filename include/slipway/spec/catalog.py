"""All services of a project: the good ones, and beside them what is wrong with the others."""

from __future__ import annotations

import difflib
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from slipway.errors import InvalidSpecError, UnknownServiceError
from slipway.hooks.function import problem_of
from slipway.spec.loader import load_model
from slipway.spec.located import Located
from slipway.spec.problems import Problem, dotted, report
from slipway.spec.service import ServiceSpec


@dataclass(frozen=True)
class InvalidService:
    """A file that declares no usable service.

    Args:
        name: the file's stem, reduced to what a DAG id may hold.
        path: the file.
        message: one line per problem: file, line, field, what was found, what is accepted.
    """

    name: str
    path: Path
    message: str


@dataclass(frozen=True)
class ServiceCatalog:
    """The services of a project.

    Args:
        specs: the valid ones by name, sorted.
        invalid: the others, sorted by file.
    """

    specs: dict[str, ServiceSpec] = field(default_factory=dict)
    invalid: tuple[InvalidService, ...] = ()

    def get(self, name: str) -> ServiceSpec:
        """Return the service ``name``.

        Raises:
            UnknownServiceError: there is none, or its file is invalid; the message says which and lists the others.
        """
        if name in self.specs:
            return self.specs[name]
        for broken in self.invalid:
            if broken.name == name:
                raise UnknownServiceError(f"the service {name!r} is not valid: {broken.message}")
        near = difflib.get_close_matches(name, self.specs, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise UnknownServiceError(f"there is no service {name!r}{hint} Services: {', '.join(self.specs) or 'none'}")


@dataclass(frozen=True)
class _Candidate:
    path: Path
    spec: ServiceSpec
    document: Located


def load_services(project: Path) -> ServiceCatalog:
    """Read all ``services/*.yaml`` of ``project``; a bad file never hides a good one.

    Two files that claim the same name or the same registered model are both invalid, since nothing says which is meant.
    """
    folder = project / "services"
    candidates: list[_Candidate] = []
    wrong: dict[Path, str] = {}
    for path in sorted([*folder.glob("*.yaml"), *folder.glob("*.yml")]):
        try:
            if path.suffix == ".yml":
                raise InvalidSpecError(report(path, [Problem(1, "", f"rename it to {path.stem}.yaml")]))
            candidates.append(_Candidate(path, *load_model(path, ServiceSpec, InvalidSpecError)))
        except InvalidSpecError as error:
            wrong[path] = str(error)
        except Exception as error:  # noqa: BLE001  # a fault of ours at one file must not take all services away
            wrong[path] = report(path, [Problem(1, "", _fault(error))])
    for candidate, problems in _check_together(candidates, project):
        wrong[candidate.path] = report(candidate.path, problems)
    specs = {each.spec.name: each.spec for each in candidates if each.path not in wrong}
    return ServiceCatalog(dict(sorted(specs.items())), tuple(_invalid_services(wrong)))


def _fault(error: Exception) -> str:
    return (
        f"cannot be checked, by a fault of Slipway's: {type(error).__name__}: {error}; undo the last change to the file"
    )


def _invalid_services(wrong: dict[Path, str]) -> Iterator[InvalidService]:
    taken: set[str] = set()
    for path, message in sorted(wrong.items()):
        name = _dag_safe(path.stem)
        if name in taken:  # flights.yaml and flights.yml
            name = _dag_safe(path.name)
        taken.add(name)
        yield InvalidService(name, path, message)


def _check_together(candidates: list[_Candidate], project: Path) -> list[tuple[_Candidate, list[Problem]]]:
    problems: dict[Path, list[Problem]] = defaultdict(list)
    for candidate in candidates:
        name = candidate.spec.name
        if name != candidate.path.stem:
            message = f"found {name!r}; expected {candidate.path.stem!r}, the name of the file"
            problems[candidate.path].append(Problem(candidate.document.line_of(["name"]), "name", message))
        problems[candidate.path] += _check_hooks(candidate, project)
    for what, value_of in (("name", _name), ("model", _model)):
        for same in _groups(candidates, value_of):
            for candidate in same:
                others = ", ".join(str(other.path) for other in same if other is not candidate)
                message = f"found {value_of(candidate)!r}, which {others} has as well; expected one service for each"
                problems[candidate.path].append(Problem(candidate.document.line_of([what]), what, message))
    return [(candidate, problems[candidate.path]) for candidate in candidates if problems[candidate.path]]


def _check_hooks(candidate: _Candidate, project: Path) -> Iterator[Problem]:
    for number, hook in enumerate(candidate.spec.promote.hooks):
        if hook.function and (problem := problem_of(project, hook.function)):
            place: list[str | int] = ["promote", "hooks", number, "function"]
            yield Problem(candidate.document.line_of(place), dotted(place), f"found {hook.function!r}; {problem}")


def _name(candidate: _Candidate) -> str:
    return candidate.spec.name


def _model(candidate: _Candidate) -> str:
    return candidate.spec.model


def _groups(candidates: list[_Candidate], value_of: Callable[[_Candidate], str]) -> list[list[_Candidate]]:
    by_value: dict[str, list[_Candidate]] = defaultdict(list)
    for candidate in candidates:
        by_value[value_of(candidate)].append(candidate)
    return [same for same in by_value.values() if len(same) > 1]


def _dag_safe(stem: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]", "_", stem)[:200] or "_"
