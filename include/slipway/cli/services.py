"""``slipway services list | validate | schema``."""

from __future__ import annotations

import json
from pathlib import Path

import typer
from rich.table import Table

from slipway.cli.output import console
from slipway.errors import InvalidInputError, InvalidSpecError
from slipway.spec import ServiceSpec, load_services, load_spec, project_dir


def find_project(given: Path | None) -> Path:
    """Return the project folder: as given, else the working folder or its ``include/``, else the installation's.

    Raises:
        InvalidInputError: there is none.
    """
    if given is not None:
        if not given.is_dir():
            raise InvalidInputError(f"{given} is not a folder; make a project folder with `slipway init {given}`")
        return given
    here = Path.cwd()
    for folder in (here, here / "include"):
        if (folder / "platform.yaml").is_file() and (folder / "services").is_dir():
            return folder
    return project_dir()


def list_services(project: Path | None, as_json: bool) -> None:
    """Print the services and the files that are not valid."""
    folder = find_project(project)
    catalog = load_services(folder)
    if as_json:
        valid = [spec.model_dump(mode="json") for spec in catalog.specs.values()]
        invalid = [{"name": each.name, "file": str(each.path), "message": each.message} for each in catalog.invalid]
        typer.echo(json.dumps({"project": str(folder), "services": valid, "invalid": invalid}, indent=2))
        return
    screen = console()
    if not catalog.specs and not catalog.invalid:
        screen.print(f"No services in {folder / 'services'}; write one with `slipway services new`.", highlight=False)
    if catalog.specs:
        screen.print(_table(list(catalog.specs.values())))
    for each in catalog.invalid:
        screen.print(f"[red]not valid[/red] {each.name}", highlight=False)
        screen.print(each.message, markup=False, highlight=False, soft_wrap=True)


def _table(specs: list[ServiceSpec]) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in ("service", "model", "owner", "production", "promotion", "retrain", "monitor"):
        table.add_column(heading)
    for spec in specs:
        prod = spec.stages.prod
        count = f"{prod.instances.min}–{prod.instances.max}" if prod.instances.scales else str(prod.instances.min)
        retrain = spec.retrain.schedule or "by hand" if spec.retrain else "–"
        production = f"{count} × {prod.instance_type}"
        cells = (spec.name, spec.model, spec.owner, production, spec.promote.strategy, retrain, spec.monitor.schedule)
        table.add_row(*cells)
    return table


def validate(files: list[Path], project: Path | None) -> int:
    """Check files, or the whole project with its platform.yaml; print the problems and return the exit code."""
    messages, checked = _check_files(files) if files else _check_project(find_project(project))
    for message in messages:
        typer.echo(message, err=True)
    if messages:
        typer.echo(f"{len(messages)} of {checked} files are not valid", err=True)
        return 1
    typer.echo(f"{checked} file{'s' if checked != 1 else ''} valid")
    return 0


def _check_files(files: list[Path]) -> tuple[list[str], int]:
    messages = []
    for file in files:
        try:
            load_spec(file)
        except InvalidSpecError as error:
            messages.append(str(error))
    return messages, len(files)


def _check_project(project: Path) -> tuple[list[str], int]:
    from slipway.errors import InvalidPlatformError
    from slipway.platform import load_platform

    catalog = load_services(project)
    messages = [each.message for each in catalog.invalid]
    try:
        load_platform(project)
    except InvalidPlatformError as error:
        messages.insert(0, str(error))
    return messages, 1 + len(catalog.specs) + len(catalog.invalid)


def print_schema(platform: bool) -> None:
    """Print the JSON Schema of service files or of platform.yaml."""
    from slipway.spec.reference import platform_schema, service_schema

    typer.echo(json.dumps(platform_schema() if platform else service_schema(), indent=2))
