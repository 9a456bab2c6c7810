"""Rows that are known to be answered, to measure a model on: golden rows, else the saved input example."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from slipway_serving.forms.batch import NotCoveredError
from slipway_serving.message import RequestError
from slipway_serving.selftest import GOLDEN_FILE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from slipway_serving.engines.fast import Reader
    from slipway_serving.forms.batch import Batch

EXAMPLE_FILE = "serving_input_example.json"


def sample_batches(model_dir: Path, reader: Reader) -> Iterator[Batch]:
    """Read what is saved with the model; nothing where there is none, or where only MLflow's own parser reads it.

    Parameters
    ----------
    model_dir
        The saved model.
    reader
        Reads JSON for the model's signature.
    """
    for name in (GOLDEN_FILE, EXAMPLE_FILE):
        try:
            document = json.loads((model_dir / name).read_text(encoding="utf-8"))
            yield reader.read(json.dumps(_request(document) if name == GOLDEN_FILE else document).encode())
        except (OSError, ValueError, KeyError, RequestError, NotCoveredError):
            continue


def _request(golden: dict[str, Any]) -> Any:
    return golden.get("json") or {"dataframe_split": {"columns": golden["columns"], "data": golden["rows"]}}
