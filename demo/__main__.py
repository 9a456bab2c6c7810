"""``python -m demo up|down|status|play``: what the Makefile calls."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from types import FrameType

from demo.display import Display, Step, make_display
from demo.errors import DemoError
from demo.play import choose, play
from demo.stack import Stack, StackSettings, load_settings, start_stack, stop_stack
from demo.stack.components import no_proxy
from demo.stack.keeper import kept
from demo.stack.settings import USERS
from demo.stack.supervisor import running_parts

INTERRUPTED = 130


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("up", help="start the stack and leave it running")
    commands.add_parser("down", help="stop every process of the stack")
    commands.add_parser("status", help="what runs, and where")
    player = commands.add_parser("play", help="start the stack if need be and play chapters")
    player.add_argument("--chapters", default=os.environ.get("CHAPTERS", ""), help="names with commas; default all")
    player.add_argument("--keep", action="store_true", default=bool(os.environ.get("KEEP")), help="leave the stack up")
    options = parser.parse_args(arguments)
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = no_proxy()
    display = make_display()
    try:
        return _run(options, display)
    except DemoError as error:
        sys.stderr.write(f"slipway: {error}\n")
        return 1
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader has gone, as `head` does
        return 0
    except KeyboardInterrupt:
        sys.stderr.write("slipway: stopped.\n")
        return INTERRUPTED


def _run(options: argparse.Namespace, display: Display) -> int:
    settings = load_settings()
    if options.command == "down":
        return _down(settings)
    if options.command == "status":
        return _status(settings)
    if options.command == "up":
        stack = _start(settings, display)
        display.page("The stack is up" if stack.started_here else "The stack was up already", _where(settings))
        return 0
    chapters = choose(options.chapters)
    with _stack(settings, display, keep=options.keep) as stack:
        play(chapters, stack, display)
        if options.keep or not stack.started_here:
            display.page("The stack goes on running", _where(settings))
    return 0


@contextlib.contextmanager
def _stack(settings: StackSettings, display: Display, *, keep: bool) -> Iterator[Stack]:
    """The stack for one play: stopped afterwards when it was started for it and nobody wants to keep it."""
    signal.signal(signal.SIGTERM, _as_interrupt)
    if keep or all(running_parts(settings).values()):
        yield _start(settings, display)
        return
    with kept(settings):
        stack = _start(settings, display)
        try:
            yield stack
        finally:
            with display.step("Stopping the stack (KEEP=1 leaves it running)"):
                stack.stop()


def _start(settings: StackSettings, display: Display) -> Stack:
    states: dict[str, str] = {}
    with display.step("Starting the embedded stack on loopback") as step:

        def report(part: str, state: str) -> None:
            states[part] = state
            if state != "starting":
                _show(step, states)

        return start_stack(settings, report=report)


def _show(step: Step, states: dict[str, str]) -> None:
    ready = [part for part, state in states.items() if state != "starting"]
    waiting = [part for part, state in states.items() if state == "starting"]
    step.note(f"ready: {', '.join(ready) or 'nothing yet'}" + (f" · starting: {', '.join(waiting)}" if waiting else ""))


def _down(settings: StackSettings) -> int:
    count = stop_stack(settings)
    sys.stdout.write(f"Stopped {count} processes.\n" if count else "Nothing was running.\n")
    return 0


def _status(settings: StackSettings) -> int:
    parts = running_parts(settings)
    for title, alive in parts.items():
        sys.stdout.write(f"{title:<24}{'running' if alive else 'stopped'}\n")
    if all(parts.values()):
        sys.stdout.write("\n" + _where(settings) + "\n")
        return 0
    return 1


def _where(settings: StackSettings) -> str:
    users = " or ".join(f"`{user}` / `{password}`" for user, password in USERS.items())
    return "\n".join(
        [
            f"- Airflow: {settings.airflow_url} (user and password: {users})",
            f"- MLflow: {settings.mlflow_url}",
            f"- AWS stand-in: {settings.aws_url}",
            f"- Your shell: `. {settings.state_dir / 'env.sh'}` points boto3, mlflow, aws and slipway at it",
            f"- Logs: {settings.logs_dir}",
            "- `make down` stops it",
        ]
    )


def _as_interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
