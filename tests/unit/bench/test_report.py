from __future__ import annotations

import json
from pathlib import Path

from bench.report import Row, place, publish, table

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
