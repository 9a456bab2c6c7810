from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.report import Row, earlier_rows, earlier_versions, place, publish, table

ROWS = [
    Row("cold", "docker", "time", 40.0, "s"),
    Row("cold", "slipway", "time", 12.25, "s"),
    Row("cold", "slipway", "time", 11.0, "s"),
    Row("cold", "slipway", "time", 14.0, "s"),
    Row("warm", "slipway", "sent", 123456.0, "bytes"),
]


def test_the_table_shows_medians_and_ranges_ours_first() -> None:
    assert table(ROWS).splitlines() == [
        "| case | metric | slipway | docker |",
        "| --- | --- | ---: | ---: |",
        "| cold | time, s | 12.2 (11–14) | 40 |",
        "| warm | sent, bytes | 123,456 | – |",
    ]


def test_publishing_again_replaces_and_leaves_the_rest(tmp_path: Path) -> None:
    page = tmp_path / "docs" / "benchmarks.md"
    for rows in (ROWS[:1], ROWS):
        publish("image", rows, versions={"docker": "28.1"}, notes=["Peers absent: none."], page=page, folder=tmp_path)
        publish("sync", ROWS[:1], page=page, folder=tmp_path)
    text = page.read_text()
    assert text.count("<!-- bench:image -->") == text.count("<!-- /bench:sync -->") == 1
    assert text.index("<!-- bench:image -->") < text.index("<!-- bench:sync -->")
    assert "12.2 (11–14)" in text
    assert "Versions: docker 28.1." in text
    document = json.loads((tmp_path / "image.json").read_text())
    assert document["rows"][0] == {"case": "cold", "system": "docker", "metric": "time", "value": 40.0, "unit": "s"}


def test_words_around_the_table_stay() -> None:
    text = "# Benchmarks\n\nBefore.\n<!-- bench:a -->\nold\n<!-- /bench:a -->\nAfter.\n"
    assert place(text, "a", "new") == text.replace("old", "new")


def test_a_run_goes_on_with_the_rows_of_the_last_one(tmp_path: Path) -> None:
    publish("image", ROWS, versions={"docker": "28.1"}, page=tmp_path / "page.md", folder=tmp_path)
    assert earlier_rows("image", {"docker": "28.1", "buildah": "1.39"}, folder=tmp_path) == ROWS


def test_rows_of_another_version_are_not_mixed_in(tmp_path: Path) -> None:
    publish("image", ROWS, versions={"docker": "28.1"}, page=tmp_path / "page.md", folder=tmp_path)
    with pytest.raises(ValueError, match=r"docker was '28.1' and is '29.0' now"):
        earlier_rows("image", {"docker": "29.0"}, folder=tmp_path)


def test_versions_of_systems_that_pause_are_kept(tmp_path: Path) -> None:
    publish("image", ROWS, versions={"docker": "28.1"}, page=tmp_path / "page.md", folder=tmp_path)
    assert earlier_rows("image", {"buildah": "1.39"}, folder=tmp_path) == ROWS
    assert earlier_versions("image", folder=tmp_path) == {"docker": "28.1"}


def test_there_must_be_a_first_piece(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="first piece without --append"):
        earlier_rows("image", {}, folder=tmp_path)
