"""README and docs/: links lead somewhere, Python is Python, and commands are commands of ours."""

import ast
import re
from pathlib import Path

import pytest
from typer.core import TyperGroup
from typer.main import get_command

from slipway.cli.app import app

ROOT = Path(__file__).resolve().parents[3]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
_FENCED = re.compile(r"^ *```(\w*)\n(.*?)^ *```", re.DOTALL | re.MULTILINE)


def fenced(text: str, *languages: str) -> list[str]:
    return [body for language, body in _FENCED.findall(text) if language in languages]


def anchors(text: str) -> set[str]:
    """The anchors that GitHub gives to headings."""
    headings = re.findall(r"^#+ (.+)$", _FENCED.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def each_page(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=each_page)
def test_links_lead_to_files_and_headings(page: Path) -> None:
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", _FENCED.sub("", page.read_text())):
        if "://" in link:
            continue
        place, _, anchor = link.partition("#")
        target = (page.parent / place).resolve() if place else page
        if not target.exists() or (anchor and anchor not in anchors(target.read_text())):
            broken.append(link)
    assert not broken


@pytest.mark.parametrize("page", PAGES, ids=each_page)
def test_python_can_be_read(page: Path) -> None:
    for code in fenced(page.read_text(), "python"):
        ast.parse(code)


@pytest.mark.parametrize("page", PAGES, ids=each_page)
def test_commands_are_commands_of_ours(page: Path) -> None:
    text = page.read_text()
    shown = re.findall(r"^ *slipway ([a-z][a-z-]*)", "\n".join(fenced(text, "sh", "")), re.MULTILINE)
    shown += re.findall(r"`slipway ([a-z][a-z-]*)", text)
    ours = get_command(app)
    assert isinstance(ours, TyperGroup)
    assert set(shown) <= set(ours.commands)


def test_pages_with_commands_and_links_are_among_them() -> None:
    text = "".join(page.read_text() for page in PAGES)
    assert len(re.findall(r"`slipway [a-z]", text)) > 50
    assert len(anchors((ROOT / "docs" / "aws.md").read_text())) > 8
