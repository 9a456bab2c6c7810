"""Making the engine that ``engine.json`` names."""

from __future__ import annotations

from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from slipway_serving.engines.arrays import ArrayScorer
from slipway_serving.engines.enforced import program_behind_mlflow
from slipway_serving.engines.fast import FastEngine, Reader, Scorer
from slipway_serving.engines.pyfunc import PyfuncEngine
from slipway_serving.engines.record import needs_jvm, read_record
from slipway_serving.engines.samples import sample_batches
from slipway_serving.forms.batch import Batch, Layout
from slipway_serving.forms.csv_form import CsvForm
from slipway_serving.forms.json_forms import JsonForms, TensorForms
from slipway_serving.forms.layout import columns_of
from slipway_serving.message import CSV, JSON
from slipway_serving.program.program import Program
from slipway_serving.program.store import load_program

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from slipway_serving.engines import Engine


def load_engine(model_dir: Path, explain: str = "") -> Engine:
    """Load the model with the engine that was chosen when its image was built; without a choice, ``pyfunc``.

    Parameters
    ----------
    model_dir
        Folder with ``MLmodel`` and perhaps ``engine.json``.
    explain
        ``contributions`` to explain predictions; see ``program.explain``.

    Raises
    ------
    ValueError
        Explanations are asked for and this model has none.
    """
    record = read_record(model_dir)
    if explain and record["engine"] != "native":
        raise ValueError(f"the engine {record['engine']} cannot explain predictions; only compiled models can")
    if needs_jvm(record):
        from slipway_serving.engines.spark import start_session

        start_session()
    if record["engine"] == "pyfunc":
        return PyfuncEngine(model_dir)
    return build_engine(record, model_dir, model_dir, explain)


def build_engine(record: dict[str, Any], program_dir: Path, model_dir: Path, explain: str = "") -> FastEngine:
    """Build a compiled engine.

    Parameters
    ----------
    record
        The content of ``engine.json``.
    program_dir
        Folder with the program.
    model_dir
        The saved model, for what the program does not cover.
    explain
        ``contributions`` to explain predictions.
    """
    layout = record["input"]
    make_fallback: Callable[[], Engine] = partial(PyfuncEngine, model_dir)
    readers: dict[str, Reader]
    if layout["kind"] == "tensor":
        names, numeric, texts = None, layout["width"], []
        readers = {JSON: TensorForms(layout["width"], layout["dtype"])}
    else:
        columns = Layout([(name, kind) for name, kind in layout["columns"]], frozenset(layout["optional"]))
        names, numeric, texts = columns.names, len(columns.number_at), [name for _, name in columns.text_at]
        readers = {JSON: JsonForms(columns), CSV: CsvForm(columns)}
    scorer: Scorer
    explainer = None
    if record["engine"] == "native":
        document = load_program(program_dir)
        scorer = program = Program(document)
        if explain:
            explainer = _explainer(document, layout)
        if record.get("fallback") == "program":
            make_fallback = partial(program_behind_mlflow, program, layout["columns"], model_dir)
    else:
        scorer = ArrayScorer(record["model"], model_dir)
    engine = FastEngine(record["engine"], scorer, readers, names, make_fallback, explainer)
    zeros = Batch(1, np.zeros((1, numeric)), {name: [""] for name in texts})
    engine.calibrate(chain(sample_batches(model_dir, readers[JSON]), [zeros]))
    return engine


def _explainer(document: dict[str, Any], layout: dict[str, Any]) -> Callable[[Batch], tuple[Any, dict[str, Any]]]:
    from slipway_serving.program.explain import Explainer

    return Explainer(document, columns_of(layout)).explain
