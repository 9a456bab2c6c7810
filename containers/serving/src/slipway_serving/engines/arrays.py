"""A scikit-learn model that is called with arrays instead of DataFrames, without MLflow or pandas."""

from __future__ import annotations

import pickle
import warnings
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from slipway_serving.forms.batch import Batch


def load_estimator(saved: dict[str, Any], model_dir: Path) -> Any:
    """Load the estimator of MLflow's ``sklearn`` flavor.

    Parameters
    ----------
    saved
        ``path`` within the model, ``format`` (``pickle``, ``cloudpickle``, ``skops``) and skops' ``trusted`` types.
    model_dir
        The saved model. It is loaded as MLflow loads it: only models that one trusts may come here.

    Raises
    ------
    ValueError
        The format is unknown.
    """
    path = model_dir / saved["path"]
    if saved["format"] == "skops":
        import skops.io

        return skops.io.load(path, trusted=saved["trusted"])
    if saved["format"] not in {"pickle", "cloudpickle"}:
        raise ValueError(f"serialization format {saved['format']!r} is not known")
    with path.open("rb") as file:
        return pickle.load(file)


class ArrayScorer:
    """Calls the estimator with a matrix.

    Parameters
    ----------
    model
        As ``load_estimator``'s ``saved``, with ``function`` and the matrix's ``dtype``.
    model_dir
        The saved model.
    """

    def __init__(self, model: dict[str, Any], model_dir: Path) -> None:
        self._call = getattr(load_estimator(model, model_dir), model["function"])
        self._dtype = model["dtype"]
        warnings.filterwarnings("ignore", message="X does not have valid feature names")

    def score(self, batch: Batch) -> Any:
        """Return the estimator's answer; its refusals are left to MLflow, for MLflow's words."""
        from slipway_serving.forms.batch import NotCoveredError

        try:
            return self._call(batch.numbers.astype(self._dtype, copy=False))
        except Exception as error:
            raise NotCoveredError(str(error)) from error
