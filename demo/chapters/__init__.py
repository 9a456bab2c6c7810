"""The chapters of the demo, in the order in which they are played.

A chapter is a module of this package with ``TITLE``, ``TEXT`` and ``play(stage) -> dict``: the dict goes into
``summary.json`` under the module's name. Add a module, name it in ``ORDER``, and ``make demo`` plays it. A module may
offer ``set_off(stage)`` as well: it begins what takes long and needs nobody, while earlier chapters play.
"""

from __future__ import annotations

import importlib
from typing import Any, Protocol, cast

from demo.errors import DemoError
from demo.stage import Stage

ORDER = ("launch", "drift", "canary", "retrain")


class Chapter(Protocol):
    """What a chapter's module offers."""

    TITLE: str
    TEXT: str

    @staticmethod
    def play(stage: Stage) -> dict[str, Any]:
        """Plays on a running stack; raises :class:`ChapterFailedError` when a promise does not hold."""


def load_chapter(name: str) -> Chapter:
    """The chapter's module, imported now (chapters bring heavy libraries)."""
    return cast("Chapter", importlib.import_module(f"demo.chapters.{name}"))


def choose(names: str) -> list[str]:
    """Chapter names from a comma-separated list; all when it is empty.

    Raises:
        DemoError: A name that is no chapter.
    """
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    unknown = [name for name in wanted if name not in ORDER]
    if unknown:
        raise DemoError(f"there is no chapter {', '.join(unknown)}; there are: {', '.join(ORDER)} (CHAPTERS=launch).")
    return [name for name in ORDER if name in wanted or not wanted]
