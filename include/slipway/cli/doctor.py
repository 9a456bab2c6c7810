"""``slipway doctor``: is everything there that an installation needs? Reads only; changes nothing anywhere."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import typer
from rich.table import Table

from slipway.cli.output import console
from slipway.cli.services import find_project
from slipway.errors import EngineUnavailableError, InvalidInputError, SlipwayError
from slipway.platform import load_platform
from slipway.spec import load_services

if TYPE_CHECKING:
    from slipway.platform import Platform
    from slipway.spec import ServiceCatalog

Outcome = Literal["ok", "look", "wrong", "unknown"]
"""``look``: may be meant so. ``unknown``: could not be found out from here."""

_ENGINE_SECONDS = 30.0

_COLOURS: dict[Outcome, str] = {"ok": "green", "look": "yellow", "wrong": "red", "unknown": "yellow"}


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Args:
        about: what.
        outcome: how it is.
        found: what was found, in words.
        cure: what to do; empty when nothing has to be done.
    """

    about: str
    outcome: Outcome
    found: str
    cure: str = ""


Check = Callable[[], Iterator[Finding]]


def doctor(project: Path | None, *, as_json: bool) -> int:
    """Look at the project, at Airflow, at the AWS account and at MLflow; print it and return the exit code.

    Args:
        project: the project folder; None: see `find_project`.
        as_json: whether to print JSON.

    Returns:
        1 when anything is wrong, else 0.
    """
    findings = list(_examine(project))
    if as_json:
        typer.echo(json.dumps([asdict(each) for each in findings], indent=2))
    else:
        _print(findings)
    return 1 if any(each.outcome == "wrong" for each in findings) else 0


def guarded(about: str, check: Check) -> Iterator[Finding]:
    """Yield a check's findings; a failure becomes one, so that the other checks are made all the same."""
    try:
        yield from check()
    except InvalidInputError as error:
        yield Finding(about, "unknown", str(error))
    except SlipwayError as error:
        yield Finding(about, "wrong", str(error))


def _examine(project: Path | None) -> Iterator[Finding]:
    from slipway.cli.doctor_account import examine_account
    from slipway.cli.doctor_airflow import examine_airflow
    from slipway.cli.doctor_registry import examine_registry

    folder = find_project(project)
    catalog = load_services(folder)
    yield from _examine_services(folder, catalog)
    platform = _platform(folder)
    yield platform if isinstance(platform, Finding) else Finding("platform.yaml", "ok", "valid")
    if not isinstance(platform, Finding) and platform.image_builder == "docker":
        yield _examine_engine()
    yield from guarded("Airflow", lambda: examine_airflow(catalog))
    if not isinstance(platform, Finding):
        yield from guarded("AWS", lambda: examine_account(platform, catalog))
    yield from guarded("MLflow", lambda: examine_registry(catalog))


def _platform(folder: Path) -> Platform | Finding:
    try:
        return load_platform(folder)
    except SlipwayError as error:
        return Finding("platform.yaml", "wrong", str(error), "no DAG is built until it is valid")


def _examine_engine() -> Finding:
    from slipway.images.docker_client import DockerClient

    about, told = "Docker engine", ["version", "--format", "{{.Server.Version}}"]
    try:
        end = DockerClient(seconds=_ENGINE_SECONDS).run(told, lambda line: None)
    except EngineUnavailableError as error:
        return Finding(
            about, "look", str(error), "fine where no releases are built: ask on the workers that build them"
        )
    version = end.lines[-1] if end.lines else "no version"
    if end.code:
        return Finding(about, "look", version, "make `docker version` work on the workers that build releases")
    return Finding(about, "ok", f"{version}, on this machine")


def _examine_services(folder: Path, catalog: ServiceCatalog) -> Iterator[Finding]:
    if catalog.specs:
        yield Finding("services", "ok", f"{', '.join(catalog.specs)} in {folder}")
    elif not catalog.invalid:
        yield Finding("services", "look", f"none in {folder}", "declare one with `slipway services new`")
    for each in catalog.invalid:
        yield Finding(f"service {each.name}", "wrong", each.message, "its DAGs are not built until it is valid")


def _print(findings: list[Finding]) -> None:
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for each in findings:
        colour, said = _COLOURS[each.outcome], f"{each.found}\n→ {each.cure}" if each.cure else each.found
        table.add_row(f"[{colour}]{each.outcome}[/{colour}]", each.about, said)
    console().print(table, highlight=False)
    wrong = sum(each.outcome == "wrong" for each in findings)
    open_points = sum(each.outcome in ("look", "unknown") for each in findings)
    typer.echo(f"\n{len(findings)} looked at: {wrong} wrong, {open_points} to look at")
