from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import models
from serving_process import RunningServer, serving


@pytest.fixture(scope="session")
def linear_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return models.save_linear(tmp_path_factory.mktemp("models") / "linear")


@pytest.fixture(scope="session")
def linear_server(linear_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with serving(linear_model, tmp_path_factory.mktemp("linear-server")) as server:
        yield server
