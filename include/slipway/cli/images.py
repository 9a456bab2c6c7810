"""``slipway image`` and ``slipway serve``: what is in a release, the release here, and the image that trains."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import typer

from slipway.cli.account import Account
from slipway.errors import InvalidInputError
from slipway.images.inspection import ImageDifference, ImageReport, difference, inspect_image
from slipway.images.local_run import HOST, run_container, run_process
from slipway.images.progress import silent
from slipway.images.unpack import unpacked_release

if TYPE_CHECKING:
    from slipway.images.progress import Progress
    from slipway.release import Release

_MEBIBYTE = 1 << 20
_SHOWN_CHARACTERS = 60
_BUILDERS = {"layers": "Slipway's own builder", "docker": "a Docker engine"}


def inspect_release(identifier: str, service: str | None, project: Path | None, as_json: bool) -> None:
    """Print the layers, sizes and packages of a release, and what it changes against the champion.

    Raises:
        SlipwayError: there is no such release or image, or AWS does not answer or refuses.
    """
    account = Account.open(project)
    release = account.release(identifier, service)
    report = _inspect(account, release)
    champion_id = account.serving(release.service, "prod")
    champion, change = None, None
    if champion_id and champion_id != release.id:
        champion = account.release(champion_id, release.service)
        change = difference(_inspect(account, champion), report)
    if as_json:
        typer.echo(json.dumps(_document(release, report, champion, change), indent=2))
        return
    _print(release, report)
    if champion is not None and change is not None:
        _print_change(champion, change)
    elif champion_id == release.id:
        typer.echo("\nIt is the champion.")
    else:
        typer.echo("\nThere is no champion yet to compare with.")


def serve_release(
    service: str, identifier: str | None, target: Literal["process", "docker"], port: int, project: Path | None
) -> int:
    """Serve a release on this machine until interrupted; returns the server's exit code.

    Args:
        service: name of the service.
        identifier: the release; None means the champion, or else what dev has.
        target: a process of the release's own files, or a container.
        port: where to listen, on loopback.
        project: project folder, or None.

    Raises:
        SlipwayError: there is no such release, image, interpreter or engine, or AWS does not answer or refuses.
    """
    from slipway.images.cache import default_cache_dir

    account = Account.open(project)
    wanted = identifier or account.serving(service, "prod") or account.serving(service, "dev")
    if wanted is None:
        raise InvalidInputError(f"{service} serves no release yet; name one with --release.")
    release = account.release(wanted, service)
    registry, repository, digest = account.images(release)
    report = inspect_image(registry, repository, digest)
    typer.echo(f"release {release.id} of {service}, {release.model} version {release.version}")
    typer.echo(f"  {release.image_uri}")
    typer.echo(f"  http://{HOST}:{port}/invocations, /ping; end it with Ctrl-C")
    if target == "docker":
        return run_container(registry, repository, report, port)
    cache = default_cache_dir() / "serve"
    with unpacked_release(registry, repository, report, cache, _tell) as root:
        return run_process(report, root, port, cache)


def make_trainer(python: str, project: Path | None, as_json: bool) -> None:
    """Print the trainer's image in the account's registry, built and pushed when it is not there.

    Args:
        python: minor version of its interpreter.
        project: project folder, or None.
        as_json: print JSON.

    Raises:
        SlipwayError: there is no base image, the packages cannot be installed, or AWS does not answer or refuses.
    """
    from slipway.images.cache import default_cache_dir
    from slipway.images.trainer_image import provide_trainer_image

    account = Account.open(project)
    cache = default_cache_dir() / "images"
    said = silent if as_json else _tell_done
    built = provide_trainer_image(account.ecr, account.platform, python, cache_dir=cache, on_progress=said)
    size = sum(layer.size for layer in built.layers)
    if as_json:
        shown = {
            "uri": built.uri,
            "python": python,
            "reused": built.reused,
            "size_bytes": size,
            "bytes_pushed": built.bytes_pushed,
            "seconds": round(built.seconds, 1),
        }
        typer.echo(json.dumps(shown, indent=2))
        return
    how = "was there" if built.reused else f"built, {built.bytes_pushed / _MEBIBYTE:.1f} MiB sent"
    typer.echo(built.uri)
    typer.echo(f"{len(built.layers)} layers, {size / _MEBIBYTE:.1f} MiB to pull; {how}, {built.seconds:.1f} s")


def _tell_done(progress: Progress) -> None:
    if progress.total_bytes and progress.done_bytes == progress.total_bytes:
        _tell(progress)


def _tell(progress: Progress) -> None:
    typer.echo(f"  {progress.step} {progress.item} ({progress.total_bytes / _MEBIBYTE:.1f} MiB)")


def _inspect(account: Account, release: Release) -> ImageReport:
    return inspect_image(*account.images(release))


def _document(
    release: Release, report: ImageReport, champion: Release | None, change: ImageDifference | None
) -> dict[str, Any]:
    return {
        "release": release.model_dump(mode="json"),
        "image": {**asdict(report), "size": report.size},
        "champion": champion.id if champion else None,
        "difference": asdict(change) if change else None,
    }


def _print(release: Release, report: ImageReport) -> None:
    typer.echo(f"release {release.id} of {release.service}: {release.model} version {release.version}")
    typer.echo(f"{release.image_uri}\n{report.platform}, {report.size / _MEBIBYTE:.1f} MiB to pull\n")
    typer.echo(f"built by: {_BUILDERS[release.inputs.image_builder]}")
    for name in ("engine", "pickle_scan"):
        if release.created_from.get(name):
            typer.echo(f"{name.replace('_', ' ')}: {release.created_from[name]}")
    typer.echo("\nlayers")
    for layer in report.layers:
        line = layer.created_by or "(says nothing)"
        short = line if len(line) <= _SHOWN_CHARACTERS else f"{line[: _SHOWN_CHARACTERS - 1]}…"
        typer.echo(f"  {layer.size / _MEBIBYTE:9.2f} MiB  {layer.digest[7:19]}  {short}")
    typer.echo(f"\n{len(report.packages)} packages")
    for name, version in report.packages.items():
        typer.echo(f"  {name} {version}")


def _print_change(champion: Release, change: ImageDifference) -> None:
    typer.echo(f"\nagainst the champion, release {champion.id} (version {champion.version})")
    pulled = f"{change.bytes_to_pull / _MEBIBYTE:.2f} MiB to pull where the champion is"
    typer.echo(f"  {len(change.new_layers)} new layers, {pulled}")
    for name, version in sorted(change.packages_added.items()):
        typer.echo(f"  + {name} {version}")
    for name, version in sorted(change.packages_removed.items()):
        typer.echo(f"  - {name} {version}")
    for name, (before, after) in sorted(change.packages_changed.items()):
        typer.echo(f"  ~ {name} {before} → {after}")
    if not (change.packages_added or change.packages_removed or change.packages_changed):
        typer.echo("  the same packages")
