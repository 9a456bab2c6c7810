"""What one sees while the demo plays: a live picture on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markdown import Markdown
from rich.padding import Padding
from rich.panel import Panel
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text


@dataclass(frozen=True)
class TaskLine:
    """One task of a DAG run as shown."""

    name: str
    state: str
    seconds: float | None


class Step(Protocol):
    """One line of a chapter, open until its ``with`` block ends."""

    def note(self, text: str) -> None:
        """Replaces the remark beside the title."""

    def tasks(self, lines: Sequence[TaskLine]) -> None:
        """Shows the tasks of the DAG run that this step watches."""


class Display(Protocol):
    """Where chapters say what they do."""

    def step(self, title: str) -> contextlib.AbstractContextManager[Step]:
        """Opens a step; its time is shown when it ends."""

    def heading(self, title: str, text: str) -> None:
        """Begins a chapter."""

    def page(self, title: str, text: str) -> None:
        """Shows a text (Markdown) for the user to keep."""


def make_display() -> Display:
    """A live display on a terminal, plain lines when the output is a file or ``CI`` or ``NO_COLOR`` is set."""
    console = Console(highlight=False)
    live = console.is_terminal and not os.environ.get("CI") and os.environ.get("TERM") != "dumb"
    return LiveDisplay(console) if live else PlainDisplay(console)


_MARKS = {
    "success": ("✔", "green"),
    "running": ("▶", "cyan"),
    "failed": ("✘", "red"),
    "upstream_failed": ("✘", "red"),
    "up_for_retry": ("↻", "yellow"),
    "skipped": ("–", "dim"),
    "deferred": ("⏳", "cyan"),
    "awaiting_input": ("?", "magenta"),
    "queued": ("·", "dim"),
    "scheduled": ("·", "dim"),
}


@dataclass
class _LiveStep:
    title: str
    live: Live
    began: float = field(default_factory=time.monotonic)
    remark: str = ""
    lines: Sequence[TaskLine] = ()

    def note(self, text: str) -> None:
        self.remark = text

    def tasks(self, lines: Sequence[TaskLine]) -> None:
        self.lines = lines

    def __rich__(self) -> RenderableType:
        head = Text.assemble((f"{self.title} ", "bold"), (f"{self.remark} ", "dim"), (_clock(self.began), "cyan"))
        return Group(Spinner("dots", head), *([self.table()] if self.lines else []))

    def table(self) -> Padding:
        return Padding(task_table(self.lines), (0, 0, 0, 4))

    def closing(self, mark: str) -> RenderableType:
        head = Text.from_markup(f"{mark} ") + Text.assemble(
            (f"{self.title} ", "bold"), (f"{self.remark} ", "dim"), (_clock(self.began), "cyan")
        )
        return Group(head, *([self.table()] if self.lines else []))


class LiveDisplay:
    """Steps with a spinner, tasks with their states, redrawn in place."""

    def __init__(self, console: Console) -> None:
        self._console = console

    @contextlib.contextmanager
    def step(self, title: str) -> Iterator[Step]:
        """See :meth:`Display.step`."""
        mark = "[red]✘[/]"
        with Live(console=self._console, refresh_per_second=8, transient=True) as live:
            step = _LiveStep(title, live)
            live.update(step)
            try:
                yield step
                mark = "[green]✔[/]"
            finally:
                live.update(Text(""))
                self._console.print(step.closing(mark))

    def heading(self, title: str, text: str) -> None:
        """See :meth:`Display.heading`."""
        self._console.print()
        self._console.rule(f"[bold]{title}[/]", align="left")
        self._console.print(text, style="dim")

    def page(self, title: str, text: str) -> None:
        """See :meth:`Display.page`."""
        self._console.print(Panel(Markdown(text), title=title, border_style="green"))


@dataclass
class _PlainStep:
    title: str
    console: Console
    began: float = field(default_factory=time.monotonic)
    remark: str = ""
    states: dict[str, str] = field(default_factory=dict)

    def note(self, text: str) -> None:
        if text != self.remark:
            self.remark = text
            self.console.print(f"    {text}", markup=False, soft_wrap=True)

    def tasks(self, lines: Sequence[TaskLine]) -> None:
        for line in lines:
            if self.states.get(line.name) != line.state:
                self.states[line.name] = line.state
                seconds = f" {line.seconds:.1f} s" if line.seconds is not None else ""
                self.console.print(f"    {line.name:<24} {line.state}{seconds}", markup=False)


class PlainDisplay:
    """One line for each change."""

    def __init__(self, console: Console) -> None:
        self._console = console

    @contextlib.contextmanager
    def step(self, title: str) -> Iterator[Step]:
        """See :meth:`Display.step`."""
        self._console.print(f"> {title}", markup=False)
        step = _PlainStep(title, self._console)
        verdict = "FAILED"
        try:
            yield step
            verdict = "ok"
        finally:
            self._console.print(f"  {verdict}: {title} ({_clock(step.began)})", markup=False)

    def heading(self, title: str, text: str) -> None:
        """See :meth:`Display.heading`."""
        self._console.print(f"\n== {title}\n{text}", markup=False, soft_wrap=True)

    def page(self, title: str, text: str) -> None:
        """See :meth:`Display.page`."""
        self._console.print(f"\n-- {title}\n{text}", markup=False, soft_wrap=True)


def task_table(lines: Sequence[TaskLine]) -> Table:
    """The tasks of a run, one a row: mark, name, state, seconds."""
    table = Table.grid(padding=(0, 2))
    for line in lines:
        mark, style = _MARKS.get(line.state, ("·", "dim"))
        seconds = "" if line.seconds is None else f"{line.seconds:.1f} s"
        table.add_row(Text(mark, style), Text(line.name), Text(line.state, style), Text(seconds, "dim"))
    return table


def _clock(began: float) -> str:
    return f"{time.monotonic() - began:.1f} s"
