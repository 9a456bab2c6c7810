"""The commands of ``slipway`` and their options; what they do is imported when they are called.

Exit codes: 0 done, 1 failed, 2 wrong usage or input.
"""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from slipway.errors import InvalidInputError, SlipwayError


class _Commands(TyperGroup):
    """Commands whose known failures end in one line on standard error and an exit code, not in a traceback."""

    def invoke(self, ctx: typer.Context) -> Any:  # type: ignore[override]  # typer's own subclass of click.Context
        try:
            return super().invoke(ctx)
        except SlipwayError as error:
            typer.echo(f"error: {error}", err=True)
            raise typer.Exit(2 if isinstance(error, InvalidInputError) else 1) from error


app = typer.Typer(
    name="slipway",
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Launch MLflow models into production on SageMaker and keep them healthy there, through Airflow.",
    epilog="Where Airflow is: SLIPWAY_AIRFLOW_URL, and SLIPWAY_AIRFLOW_TOKEN or SLIPWAY_AIRFLOW_USERNAME and "
    "SLIPWAY_AIRFLOW_PASSWORD. Without them: the embedded stack on this machine.",
)
services = typer.Typer(no_args_is_help=True, help="The services that the project folder declares.")
app.add_typer(services, name="services")
expectations = typer.Typer(no_args_is_help=True, help="What new training data has to look like.")
app.add_typer(expectations, name="expectations")
images = typer.Typer(no_args_is_help=True, help="The images that releases are, and the one that trains.")
app.add_typer(images, name="image")


class Target(StrEnum):
    """How `slipway serve` runs a release."""

    PROCESS = "process"
    DOCKER = "docker"


class UndeployedStage(StrEnum):
    """Which endpoint `slipway undeploy` is about."""

    BOTH = "both"
    DEV = "dev"
    PROD = "prod"


Service = Annotated[str, typer.Argument(help="Name of the service.")]
Project = Annotated[
    Path | None,
    typer.Option(envvar="SLIPWAY_PROJECT", help="Project folder, which holds platform.yaml.", show_default=False),
]
Run = Annotated[str | None, typer.Option(help="Run whose question is answered, when several wait.", show_default=False)]
FlagReason = Annotated[str, typer.Option(help="Why; others see it.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]


@services.command("list")
def list_services(project: Project = None, as_json: AsJson = False) -> None:
    """List the services, and the files that are not valid."""
    from slipway.cli.services import list_services

    list_services(project, as_json)


@services.command()
def validate(
    files: Annotated[list[Path] | None, typer.Argument(help="Files to check; without any, the whole project.")] = None,
    project: Project = None,
) -> None:
    """Check service files; print file, line, field, what was found and what is accepted. Exit code 1 on problems."""
    from slipway.cli.services import validate

    raise typer.Exit(validate(files or [], project))


@services.command()
def schema(
    platform: Annotated[bool, typer.Option("--platform", help="The schema of platform.yaml instead.")] = False,
) -> None:
    """Print the JSON Schema of service files, for editors."""
    from slipway.cli.services import print_schema

    print_schema(platform)


@services.command()
def schedule(
    service: Annotated[
        str | None, typer.Argument(help="Name of the service; left out: all.", show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List every DAG of the services with what starts it, its last and its next run."""
    from slipway.cli.schedule import show_schedule

    show_schedule(service, as_json)


@services.command()
def new(
    name: Annotated[str, typer.Argument(help="Name of the service: lower-case letters, digits and '-'.")],
    model: Annotated[str, typer.Option(help="MLflow registered model.")],
    owner: Annotated[str, typer.Option(help="Who answers for it: a person, a team or an e-mail address.")],
    instance_type: Annotated[str, typer.Option(help="SageMaker instance type in production.")] = "ml.m5.large",
    project: Project = None,
) -> None:
    """Write services/NAME.yaml, valid and with the fields that are most often set."""
    from slipway.cli.scaffold import new_service

    new_service(name, model=model, owner=owner, instance_type=instance_type, project=project)


@expectations.command("init")
def init_expectations(
    service: Service,
    files: Annotated[
        list[Path] | None,
        typer.Argument(help="Good files to propose from; without any, the service's data in S3.", exists=True),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a suite that is there.")] = False,
    project: Project = None,
) -> None:
    """Write expectations/SERVICE.json, a Great Expectations suite proposed from good rows."""
    from slipway.cli.expectations import init_expectations

    init_expectations(service, files or [], project, force=force)


@app.command()
def init(folder: Annotated[Path, typer.Argument(help="Folder to make.")]) -> None:
    """Make a project folder of your own: platform.yaml for AWS, services/, expectations/, retrainers/, hooks/."""
    from slipway.cli.scaffold import init_project

    init_project(folder)


@app.command()
def deploy(
    service: Service,
    model_version: Annotated[str, typer.Option(help="Alias, version number, or run:<run id>.")] = "candidate",
    reason: Annotated[str, typer.Option(help="Why; goes into the run and the ledger.")] = "",
    override: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Something else for this run only, e.g. instance_count=2."),
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Follow the run to its end; exit code 1 when it fails.")] = False,
    supersede: Annotated[
        bool, typer.Option("--supersede", help="Reject a release of this service that waits for approval.")
    ] = False,
    unpause: Annotated[bool, typer.Option("--unpause", help="Unpause the DAG if it is paused.")] = False,
) -> None:
    """Deploy a model version: build the release, launch and verify it on dev, ask for approval."""
    from slipway.cli.deploy import deploy

    chosen = override or []
    code = deploy(service, model_version, reason, chosen, wait=wait, supersede=supersede, unpause=unpause)
    raise typer.Exit(code)


@app.command()
def retrain(
    service: Service,
    reason: Annotated[str, typer.Option(help="Why; goes into the run and the ledger.")] = "",
    override: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Something else for this run only, e.g. window_days=90."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Train and judge; log and register nothing.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Follow the run to its end; exit code 1 when it fails.")] = False,
) -> None:
    """Retrain a model: fit the champion's pipeline on new data, judge it, make it the candidate if it is better."""
    from slipway.cli.retrain import retrain

    raise typer.Exit(retrain(service, reason, override or [], dry_run=dry_run, wait=wait))


@app.command()
def approve(
    service: Service, reason: Annotated[str, typer.Option(help="Why; goes into the ledger.")] = "", run: Run = None
) -> None:
    """Approve the release of a service that waits for it."""
    from slipway.cli.deploy import answer

    answer(service, "Approve", reason, run)


@app.command()
def reject(
    service: Service, reason: Annotated[str, typer.Option(help="Why; goes into the ledger.")], run: Run = None
) -> None:
    """Reject the release of a service that waits for approval."""
    from slipway.cli.deploy import answer

    answer(service, "Reject", reason, run)


@app.command()
def status(
    service: Service,
    watch: Annotated[bool, typer.Option("--watch", help="Go on until interrupted.")] = False,
    as_json: AsJson = False,
    project: Project = None,
) -> None:
    """Show a service: its latest runs and their tasks, its endpoints and champion, what waits for a person."""
    from slipway.cli.status import show_status

    show_status(service, watch=watch, as_json=as_json, project=project)


@app.command()
def promote(
    service: Service,
    reason: Annotated[str, typer.Option(help="Why; goes into the ledger.")] = "",
    weight: Annotated[
        list[float] | None, typer.Option(help="Keep only these weights of the plan, in percent; may be repeated.")
    ] = None,
) -> None:
    """Promote the approved release of a service, if its promotion has not begun by itself."""
    from slipway.cli.promotion import promote

    promote(service, reason, weight or [])


@app.command()
def hold(service: Service, reason: FlagReason = "", project: Project = None) -> None:
    """Keep a promotion at its present weights until `slipway resume`; a failure still rolls it back."""
    from slipway.cli.promotion import set_flag

    set_flag(service, "hold", reason, project)


@app.command()
def resume(service: Service, project: Project = None) -> None:
    """Let a held promotion go on."""
    from slipway.cli.promotion import resume

    resume(service, project)


@app.command()
def abort(service: Service, reason: FlagReason = "", project: Project = None) -> None:
    """Take a release that is being promoted back, now."""
    from slipway.cli.promotion import set_flag

    set_flag(service, "abort", reason, project)


@app.command("approve-now")
def approve_now(service: Service, reason: FlagReason = "", project: Project = None) -> None:
    """Let a promotion go on to its next step without waiting for more evidence; not over a failure."""
    from slipway.cli.promotion import set_flag

    set_flag(service, "approve_now", reason, project)


@app.command()
def freeze(service: Service, reason: FlagReason = "", project: Project = None) -> None:
    """Let no promotion of a service begin until `slipway unfreeze`; rollbacks, and what is under way, go on."""
    from slipway.cli.promotion import freeze

    freeze(service, reason, project)


@app.command()
def unfreeze(service: Service, project: Project = None) -> None:
    """Let promotions of a service begin again."""
    from slipway.cli.promotion import unfreeze

    unfreeze(service, project)


@app.command()
def rollback(
    service: Service,
    reason: Annotated[str, typer.Option(help="Why; goes into the ledger.")] = "",
    wait: Annotated[bool, typer.Option("--wait", help="Follow the run to its end.")] = False,
) -> None:
    """Go back to the champion before the present one; says whether that takes seconds or minutes."""
    from slipway.cli.promotion import roll_back

    raise typer.Exit(roll_back(service, reason, wait=wait))


@app.command()
def doctor(as_json: AsJson = False, project: Project = None) -> None:
    """Look whether everything is there: project, Airflow, AWS account, models. Exit code 1 when something is wrong."""
    from slipway.cli.doctor import doctor

    raise typer.Exit(doctor(project, as_json=as_json))


@app.command()
def undeploy(
    service: Service,
    stage: Annotated[UndeployedStage, typer.Option(help="Which endpoint.")] = UndeployedStage.BOTH,
    delete: Annotated[bool, typer.Option("--delete", help="Do it; without, only say what would be deleted.")] = False,
    images: Annotated[bool, typer.Option("--images", help="The images, too; both stages only.")] = False,
    reason: Annotated[str, typer.Option(help="Why; goes into the ledger.")] = "",
) -> None:
    """Take a service out of SageMaker. Says what would be deleted, and deletes it with `--delete`."""
    from slipway.cli.undeploy import undeploy

    raise typer.Exit(undeploy(service, stage.value, reason, delete=delete, images=images))


@app.command()
def looks(
    service: Service,
    limit: Annotated[int, typer.Option(min=1, help="How many.")] = 10,
    as_json: AsJson = False,
    project: Project = None,
) -> None:
    """Print the judge's latest looks: counts, rates, intervals, evidence, requests still needed."""
    from slipway.cli.promotion import show_looks

    show_looks(service, project, limit, as_json=as_json)


@app.command()
def drift(service: Service, as_json: AsJson = False, project: Project = None) -> None:
    """Print the monitor's latest verdicts on a service. Exit code 1 when it has drifted."""
    from slipway.cli.drift_service import show_drift

    raise typer.Exit(show_drift(service, project, as_json))


@app.command("simulate-drift")
def simulate_drift(
    service: Service,
    feature: Annotated[str, typer.Option(help="The feature that shall drift.")],
    shift: Annotated[
        float, typer.Option(help="Standard deviations; of a text feature the share of rows that gets a new value.")
    ] = 1.0,
    rows: Annotated[int, typer.Option(min=1, max=1_000_000, help="Rows to send.")] = 2000,
    project: Project = None,
) -> None:
    """Send real requests with a shifted feature to the production endpoint."""
    from slipway.cli.drift_service import simulate_drift

    simulate_drift(service, feature, shift, rows, project)


@images.command("inspect")
def inspect_image(
    release: Annotated[str, typer.Argument(help="Id of the release, 12 hex digits.")],
    service: Annotated[str | None, typer.Option(help="Its service; without, all are searched.")] = None,
    project: Project = None,
    as_json: AsJson = False,
) -> None:
    """Show a release's layers, sizes and packages, and what it changes against the champion."""
    from slipway.cli.images import inspect_release

    inspect_release(release, service, project, as_json)


@images.command("trainer")
def make_trainer(
    python: Annotated[
        str | None,
        typer.Option(
            help="Python of the image, such as 3.11; it should be the one that the champion was trained with "
            "(default: this interpreter's).",
            show_default=False,
        ),
    ] = None,
    project: Project = None,
    as_json: AsJson = False,
) -> None:
    """Build the image that trains and push it to the account's registry, unless it is there; print it by digest."""
    from slipway.cli.images import make_trainer

    make_trainer(python or f"{sys.version_info.major}.{sys.version_info.minor}", project, as_json)


@app.command()
def serve(
    service: Service,
    release: Annotated[
        str | None, typer.Option(help="Id of the release; else the champion's, else dev's.", show_default=False)
    ] = None,
    target: Annotated[Target, typer.Option(help="A process of the release's own files, or a container.")] = (
        Target.PROCESS
    ),
    port: Annotated[int, typer.Option(min=1, max=65535, help="Where to listen, on loopback.")] = 8080,
    project: Project = None,
) -> None:
    """Run exactly a release on this machine, until interrupted."""
    from slipway.cli.images import serve_release

    raise typer.Exit(serve_release(service, release, target.value, port, project))


@app.command()
def profile(
    files: Annotated[list[Path], typer.Argument(help="Parquet or CSV files of one table.", exists=True)],
    baseline: Annotated[
        Path | None, typer.Option(help="A baseline.json whose bins are used.", exists=True, show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Print the profile of files: rows, and each column's moments and missing values."""
    from slipway.cli.drift import profile_files

    profile_files(files, baseline, as_json)


@app.command()
def compare(
    before: Annotated[Path, typer.Argument(help="Parquet, CSV, or a baseline.json.", exists=True)],
    after: Annotated[Path, typer.Argument(help="Parquet or CSV.", exists=True)],
    tolerance: Annotated[float, typer.Option(help="Distance that does not matter, more than 0 and less than 1.")] = 0.1,
    as_json: AsJson = False,
) -> None:
    """Compare two tables column by column. Exit code 1 when something drifted."""
    from slipway.cli.drift import compare_files

    raise typer.Exit(compare_files(before, after, tolerance, as_json))


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version.", is_eager=True)] = False,
) -> None:
    if version:
        from importlib.metadata import version as installed

        typer.echo(f"slipway {installed('slipway')}")
        raise typer.Exit


def main() -> None:
    """Run the command line."""
    app(args=sys.argv[1:], prog_name="slipway")
