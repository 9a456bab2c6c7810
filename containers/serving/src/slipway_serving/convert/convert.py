"""``convert``: choose the engine for a model, with proof, and write down the choice.

Runs where the model may be loaded: in a sandbox with the release's own environment.
"""

from __future__ import annotations

import json
import logging
import time
import warnings
from dataclasses import asdict
from importlib import metadata
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from slipway_serving.convert import sklearn_model, spark_model
from slipway_serving.convert.builder import CannotCompileError
from slipway_serving.convert.parity import Parity, compare
from slipway_serving.convert.signature import example_rows, read_input
from slipway_serving.convert.stored import compare_stored
from slipway_serving.engines.build import build_engine
from slipway_serving.engines.pyfunc import PyfuncEngine
from slipway_serving.engines.record import ENGINE_FILE
from slipway_serving.forms.layout import columns_of
from slipway_serving.program.explain import CannotExplainError, check_explainable

if TYPE_CHECKING:
    from pathlib import Path

    from slipway_serving.convert.candidate import Candidate
    from slipway_serving.convert.probes import Probes
    from slipway_serving.engines.fast import FastEngine

_logger = logging.getLogger(__name__)

SCHEMA_VERSION = 1


def convert(model_dir: Path, out_dir: Path, *, engine: str = "auto", golden_file: Path | None = None) -> dict[str, Any]:
    """Compile the model if that is possible and proven right.

    Parameters
    ----------
    model_dir
        The saved MLflow model.
    out_dir
        Receives ``engine.json`` and, for a compiled model, its program.
    engine
        ``auto``, or ``pyfunc`` to compile nothing.
    golden_file
        Stored answers of the original, which then is not loaded; for models that need a JVM.

    Returns
    -------
    dict
        The content of ``engine.json``: ``engine`` is ``native``, ``numpy`` or ``pyfunc``; ``tried`` says what was
        refused and why; ``parity`` is the proof.
    """
    from mlflow.models import Model

    started = time.perf_counter()
    model = Model.load(str(model_dir))
    record: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "engine": "pyfunc",
        "tried": [],
        "versions": _versions(),
    }
    if engine == "pyfunc":
        record["tried"].append({"engine": "native", "reason": "the service asks for pyfunc"})
    else:
        _try_candidates(model, model_dir, out_dir, record, golden_file)
    _logger.info("engine %s, chosen in %.1f s", record["engine"], time.perf_counter() - started)
    (out_dir / ENGINE_FILE).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return record


def _try_candidates(
    model: Any, model_dir: Path, out_dir: Path, record: dict[str, Any], golden_file: Path | None
) -> None:
    try:
        layout = read_input(model)
    except CannotCompileError as error:
        record["tried"].append({"engine": "native", "reason": str(error)})
        return
    candidates = [
        *sklearn_model.candidates(model, model_dir, layout),
        *spark_model.candidates(model, model_dir, layout),
    ]
    if not candidates:
        record["tried"].append(
            {"engine": "native", "reason": f"flavors {', '.join(model.flavors)} have no compiled form"}
        )
    original = None
    for make in candidates:
        try:
            candidate = make()
        except CannotCompileError as error:
            record["tried"].append({"engine": make.engine, "reason": f"no compiled form: {error}"})
            continue
        if golden_file is None and original is None:
            original = PyfuncEngine(model_dir)
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")  # the odd rows overflow on both sides
            compiled = _as_served(candidate, model_dir, out_dir)
            if original is None:
                parity = compare_stored(compiled, cast("Path", golden_file))
            else:
                probes = candidate.probes(layout, example_rows(model, model_dir, layout))
                parity = _prove(candidate, compiled, original, probes)
        if parity.passed:
            record.update(candidate.document, engine=candidate.engine, parity=asdict(parity))
            record["proof"] = "the original model" if golden_file is None else "stored answers of the original model"
            record["explains"] = _explains(candidate)
            return
        record["tried"].append(
            {"engine": candidate.engine, "reason": f"answers differ: {parity.mismatch}", **_counts(parity)}
        )


def _as_served(candidate: Candidate, model_dir: Path, out_dir: Path) -> FastEngine:
    """Write the candidate and load it as the server would."""
    candidate.save(out_dir)
    return build_engine({**candidate.document, "engine": candidate.engine}, out_dir, model_dir)


def _prove(candidate: Candidate, compiled: FastEngine, original: PyfuncEngine, probes: Probes) -> Parity:
    """Compare the candidate with the original."""
    parity = compare(original, compiled, probes, alone=candidate.document.get("fallback") == "program")
    if parity.passed and candidate.inner is not None:
        candidate.inner(probes, parity)
    return parity


def _explains(candidate: Candidate) -> str:
    """Return ``contributions`` when predictions can be explained, else why not."""
    if candidate.program is None:
        return "only compiled models can"
    try:
        check_explainable(candidate.program, columns_of(candidate.document["input"]))
    except CannotExplainError as error:
        return str(error)
    return "contributions"


def _counts(parity: Parity) -> dict[str, Any]:
    return {"rows": parity.rows, "refused": parity.refused, "handed_over": parity.handed_over}


def _versions() -> dict[str, str]:
    found = {}
    for name in ("slipway-serving", "mlflow-skinny", "mlflow", "numpy", "onnxruntime", "scikit-learn", "pyspark"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
