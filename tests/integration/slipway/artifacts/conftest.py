"""One real environment for all tests here: what serves a scikit-learn model, installed from the package index."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from slipway.artifacts.lock import DependencyLock
from slipway.artifacts.resolve import resolve_requirements
from slipway.artifacts.sandbox import Limits, Sandbox, environment


@pytest.fixture(scope="session")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Kept between runs where SLIPWAY_TEST_CACHE names a folder."""
    kept = os.environ.get("SLIPWAY_TEST_CACHE")
    return Path(kept) if kept else tmp_path_factory.mktemp("environments")


@pytest.fixture(scope="session")
def model_lock() -> DependencyLock:
    """The lock of a scikit-learn model, of the versions that the tests' own models are saved with."""
    import mlflow
    import sklearn

    wanted = [f"mlflow-skinny=={mlflow.__version__}", "pandas", f"scikit-learn=={sklearn.__version__}", "skops"]
    text = resolve_requirements(wanted, python="3.11", platform="linux/amd64")
    return DependencyLock.from_text(text, key="test", python="3.11", platform="linux/amd64")


@pytest.fixture(scope="session")
def sandbox(model_lock: DependencyLock, cache_dir: Path) -> Sandbox:
    return Sandbox(environment(model_lock, cache_dir), Limits(seconds=120, memory_bytes=2 << 30))
