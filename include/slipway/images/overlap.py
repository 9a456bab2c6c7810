"""Packages that bring the same file: which one's copy stays must not be left to the order of unpacking.

uv unpacks in parallel, so of two packages with, say, a top-level ``tests/__init__.py`` either may win. Here the one
whose name comes last does, always.
"""

from __future__ import annotations

import csv
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def contested_files(target: Path) -> Mapping[str, list[str]]:
    """Return, by the normalised name of the package that wins them, the files that packages disagree about."""
    claims: dict[str, dict[str, str]] = {}
    for record in sorted(target.glob("*.dist-info/RECORD")):
        package = _package_of(record.parent.name)
        for path, digest, *_ in csv.reader(record.read_text().splitlines()):
            if digest:
                claims.setdefault(path, {})[package] = digest
    won: dict[str, list[str]] = {}
    for path, by_package in sorted(claims.items()):
        if len(set(by_package.values())) > 1:
            won.setdefault(max(by_package), []).append(path)
    return won


def _package_of(folder: str) -> str:
    return re.sub(r"[-_.]+", "-", folder.partition("-")[0]).lower()
