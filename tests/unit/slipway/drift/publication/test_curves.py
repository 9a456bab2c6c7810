"""What a chart shows of a column of few values."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from slipway.drift.measures import measures_of
from slipway.drift.profiling import profile_batch
from slipway.drift.publication.curves import draw_column
from slipway.drift.training import make_reference

BEFORE = pd.DataFrame({"flag": np.repeat([0.0, 1.0], [900, 100]), "level": 5.0})
AFTER = pa.record_batch({"flag": np.repeat([0.0, 1.0], [100, 900]), "level": np.full(1000, 5.0)})


def test_the_mass_of_a_flag_stands_at_its_values_and_a_constant_has_no_chart() -> None:
    reference = make_reference(BEFORE)
    window = profile_batch(AFTER, reference.bins)
    charts = {
        name: draw_column(before, window.columns[name], reference.bins.columns[name])
        for name, before in reference.baseline.profile.columns.items()
    }
    assert charts["level"] == {}
    flag = charts["flag"]
    for side, shares in (("baseline", (90, 10)), ("window", (10, 90))):
        assert (flag[side][0], flag[side][-1]) == pytest.approx(shares)
        assert sum(flag[side][1:-1]) == pytest.approx(0, abs=1e-9)


def test_the_distances_of_a_flag_are_those_of_its_values() -> None:
    reference = make_reference(BEFORE)
    found = measures_of(reference.baseline, profile_batch(AFTER, reference.bins))["flag"]
    assert found["kolmogorov_smirnov"] == pytest.approx(0.8)
    assert found["wasserstein"] == pytest.approx(0.8 / BEFORE.flag.std(ddof=0), rel=0.01)
