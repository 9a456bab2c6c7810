import json
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from demo import chapters, play
from demo.chapters import choose
from demo.display import Display, LiveDisplay, PlainDisplay, TaskLine
from demo.errors import ChapterFailedError, DemoError
from demo.stack import Stack, load_settings


@pytest.fixture
def stack(tmp_path, monkeypatch) -> Stack:
    monkeypatch.setattr(play, "SUMMARY", tmp_path / "demo" / "summary.json")
    return Stack(load_settings(tmp_path / "stack", {}), started_here=True)


@pytest.fixture
def display(tmp_path) -> PlainDisplay:
    return PlainDisplay(Console(file=(tmp_path / "out.txt").open("w"), width=100))


def chapter(monkeypatch: pytest.MonkeyPatch, **plays: Any) -> list[str]:
    modules = {name: SimpleNamespace(TITLE=name, TEXT="", play=function) for name, function in plays.items()}
    monkeypatch.setattr(chapters, "ORDER", tuple(modules))
    monkeypatch.setattr(play, "load_chapter", modules.__getitem__)
    return list(modules)


def test_chapters_are_played_in_their_order_whatever_was_asked(monkeypatch) -> None:
    monkeypatch.setattr(chapters, "ORDER", ("launch", "canary", "drift"))
    assert choose("") == ["launch", "canary", "drift"]
    assert choose(" drift , launch") == ["launch", "drift"]
    with pytest.raises(DemoError, match=r"no chapter retrian; there are: launch, canary, drift"):
        choose("launch,retrian")


def test_the_summary_holds_what_each_chapter_read_back(monkeypatch, stack, display) -> None:
    names = chapter(monkeypatch, one=lambda stage: {"rows": 3}, two=lambda stage: {"rows": 4})

    play.play(names, stack, display)

    written = json.loads(play.SUMMARY.read_text())
    assert written["chapters"] == {"one": {"rows": 3}, "two": {"rows": 4}}
    assert written["seconds"] >= 0


def test_what_later_chapters_wait_for_is_set_off_after_the_first(monkeypatch, stack, display) -> None:
    order: list[str] = []
    names = chapter(
        monkeypatch, **{name: lambda stage, name=name: order.append(name) or {} for name in ("one", "two", "three")}
    )
    for name in names:
        play.load_chapter(name).set_off = lambda stage, name=name: order.append(f"{name} set off")

    play.play(names, stack, display)
    assert order == ["one", "three set off", "two", "three"]


def test_a_failed_chapter_leaves_no_entry_and_ends_the_play(monkeypatch, stack, display) -> None:
    def fail(stage: object) -> dict[str, Any]:
        raise ChapterFailedError("3 of 1000 answers differ")

    names = chapter(monkeypatch, one=lambda stage: {"rows": 3}, two=fail, three=lambda stage: {"rows": 5})

    with pytest.raises(DemoError, match="3 of 1000 answers differ"):
        play.play(names, stack, display)
    assert list(json.loads(play.SUMMARY.read_text())["chapters"]) == ["one"]


def test_an_unforeseen_error_is_one_line_and_its_traceback_a_file(monkeypatch, stack, display) -> None:
    def break_down(stage: object) -> dict[str, Any]:
        raise KeyError("predictions\nand more")

    with pytest.raises(DemoError) as caught:
        play.play(chapter(monkeypatch, one=break_down), stack, display)
    assert "\n" not in str(caught.value)
    assert "break_down" in play.SUMMARY.with_name("one.log").read_text()


def test_two_plays_on_one_stack_do_not_mix(monkeypatch, stack, display) -> None:
    def second(stage: object) -> dict[str, Any]:
        with pytest.raises(DemoError, match="another command is at work"):
            play.play(["one"], stack, display)
        return {"refused": True}

    assert play.play(chapter(monkeypatch, one=second), stack, display)["chapters"] == {"one": {"refused": True}}


def fail_in_a_step(display: Display) -> None:
    with display.step("flights.deploy") as step:
        step.tasks(LINES)
        raise RuntimeError


LINES: Sequence[TaskLine] = (TaskLine("build_image", "success", 12.34), TaskLine("approve", "awaiting_input", None))


def test_plain_output_says_each_change_once(tmp_path) -> None:
    path = tmp_path / "plain.txt"
    with path.open("w") as file:
        display = PlainDisplay(Console(file=file, width=100))
        with display.step("flights.deploy") as step:
            step.tasks(LINES)
            step.tasks(LINES)
            step.note("a [bracket] stays")
    lines = path.read_text().splitlines()
    assert [line.split() for line in lines[1:3]] == [
        ["build_image", "success", "12.3", "s"],
        ["approve", "awaiting_input"],
    ]
    assert "a [bracket] stays" in lines[3]
    assert lines[4].startswith("  ok: flights.deploy (")
    assert len(lines) == 5


@pytest.mark.parametrize("kind", [PlainDisplay, LiveDisplay])
def test_a_failed_step_is_shown_as_failed(tmp_path, kind) -> None:
    path = tmp_path / "out.txt"
    with path.open("w") as file:
        display = kind(Console(file=file, width=100, force_terminal=kind is LiveDisplay))
        with pytest.raises(RuntimeError):
            fail_in_a_step(display)
    text = path.read_text()
    assert "build_image" in text
    assert ("FAILED: flights.deploy" if kind is PlainDisplay else "✘") in text
