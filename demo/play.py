"""Plays chapters one after the other and writes what came of them to ``var/demo/summary.json``."""

from __future__ import annotations

import json
import time
from typing import Any

from demo.chapters import choose, load_chapter
from demo.display import Display
from demo.errors import DemoError
from demo.stack import Stack
from demo.stack.settings import ROOT
from demo.stack.supervisor import only_one
from demo.stage import Stage

__all__ = ["SUMMARY", "choose", "play"]

SUMMARY = ROOT / "var" / "demo" / "summary.json"


def play(chapters: list[str], stack: Stack, display: Display) -> dict[str, Any]:
    """Plays the chapters on the stack.

    Args:
        chapters: Their names, in order.
        stack: A running stack.
        display: Where to show what happens.

    Returns:
        What was written to ``summary.json``: ``{"chapters": {name: …}, "seconds": …}``. A chapter that failed
        leaves no entry, so the file never claims more than was seen.

    Raises:
        DemoError: A chapter failed; chapters after it were not played.
    """
    began = time.monotonic()
    summary: dict[str, Any] = {"chapters": {}, "seconds": 0.0}
    SUMMARY.unlink(missing_ok=True)
    with only_one(stack.settings, "demo"):
        for number, name in enumerate(chapters):
            chapter = load_chapter(name)
            display.heading(chapter.TITLE, chapter.TEXT)
            stage = Stage(stack.settings, display)
            try:
                if number == 1:  # not before: the first chapter has the machine to itself
                    _set_off(chapters[2:], stage)
                summary["chapters"][name] = chapter.play(stage)
            except DemoError:
                raise
            except Exception as error:
                _keep_traceback(name)
                raise DemoError(
                    f"chapter {name} broke: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''} "
                    f"(traceback: {SUMMARY.with_name(name + '.log')}; logs: {stack.settings.logs_dir})."
                ) from error
            finally:
                summary["seconds"] = round(time.monotonic() - began, 1)
                _write(summary)
    return summary


def _set_off(chapters: list[str], stage: Stage) -> None:
    """What later chapters wait for, and nobody else, goes on in Airflow from now."""
    for name in chapters:
        if begin := getattr(load_chapter(name), "set_off", None):
            begin(stage)


def _write(summary: dict[str, Any]) -> None:
    SUMMARY.parent.mkdir(parents=True, exist_ok=True)
    SUMMARY.write_text(json.dumps(summary, indent=2) + "\n")


def _keep_traceback(name: str) -> None:
    import traceback

    SUMMARY.parent.mkdir(parents=True, exist_ok=True)
    SUMMARY.with_name(name + ".log").write_text(traceback.format_exc())
