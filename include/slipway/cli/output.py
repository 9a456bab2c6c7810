"""Where the command line prints tables and colours."""

from __future__ import annotations

from rich.console import Console

PIPE_WIDTH = 200
"""Columns when the output is no terminal, so that nothing is cut short there."""


def console() -> Console:
    """Return the console of standard output as it is at this moment."""
    screen = Console()
    return screen if screen.is_terminal else Console(width=PIPE_WIDTH)
