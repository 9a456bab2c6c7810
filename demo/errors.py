"""What can go wrong around the demo; every message is one line and ends with the cure."""

from __future__ import annotations


class DemoError(Exception):
    """The command cannot go on; the message says why and what to do."""


class ChapterFailedError(DemoError):
    """Something that a chapter promises does not hold on the running system."""
