"""A baseline as Slipway stored it while the two highest borders of a numeric column shared a bin."""

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest

from slipway.drift.bins import NUMERIC_BINS, NumericBins
from slipway.drift.training import make_reference


def _cut(values: np.ndarray, **_: float) -> NumericBins:
    quantiles = np.quantile(values, np.linspace(0.0, 1.0, NUMERIC_BINS + 1), method="inverted_cdf")
    edges = np.unique(quantiles)
    edges[-1] = np.nextafter(edges[-1], np.inf)
    return NumericBins(tuple(map(float, edges)))


def older_baseline(features: pd.DataFrame, predictions: Any = None, **origin: str) -> bytes:
    """The stored form of a baseline of these rows."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(NumericBins, "of", _cut)
        document = json.loads(make_reference(features, predictions).to_bytes())
    del document["bins_version"]
    document["origin"] |= origin
    return json.dumps(document).encode()
