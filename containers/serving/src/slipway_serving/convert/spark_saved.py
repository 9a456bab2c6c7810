"""Reading saved ``pyspark.ml`` models: JSON metadata and small Parquet tables. No Spark is needed."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from slipway_serving.convert.builder import CannotCompileError

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class SavedStage:
    """One saved transformer or model.

    Parameters
    ----------
    folder
        Where Spark wrote it.
    """

    folder: Path

    @cached_property
    def metadata(self) -> dict[str, Any]:
        """The metadata document."""
        parts = sorted((self.folder / "metadata").glob("part-*"))
        if not parts:
            raise CannotCompileError(f"no metadata in {self.folder.name}")
        found: dict[str, Any] = json.loads(parts[0].read_text(encoding="utf-8").splitlines()[0])
        return found

    @property
    def kind(self) -> str:
        """Short class name, e.g. ``StringIndexerModel``."""
        name: str = self.metadata["class"].rsplit(".", 1)[1]
        return name

    @property
    def version(self) -> tuple[int, ...]:
        """Major and minor version of the Spark that saved it, ``(0,)`` when it does not say."""
        return tuple(map(int, re.findall(r"\d+", self.metadata.get("sparkVersion", "0"))[:2]))

    @cached_property
    def params(self) -> dict[str, Any]:
        """Parameters, defaults included."""
        return {**self.metadata.get("defaultParamMap", {}), **self.metadata["paramMap"]}

    def is_set(self, name: str) -> bool:
        """Whether a parameter was set rather than left to its default."""
        return name in self.metadata["paramMap"]

    def rows(self, table: str = "data") -> list[dict[str, Any]]:
        """Return a saved table; vectors and matrices come as plain dictionaries."""
        files = sorted((self.folder / table).glob("part-*.parquet"))
        if not files:
            raise CannotCompileError(f"no table {table} in {self.folder.name}")
        return [row for file in files for row in _read_parquet(file)]

    @cached_property
    def row(self) -> dict[str, Any]:
        """The only row of the table ``data``."""
        rows = self.rows()
        if len(rows) != 1:
            raise CannotCompileError(f"{len(rows)} rows where one was expected in {self.folder.name}")
        return rows[0]

    def stages(self) -> list[SavedStage]:
        """Return the stages of a pipeline, in order."""
        uids = self.params["stageUids"]
        digits = len(str(len(uids)))
        return [SavedStage(self.folder / "stages" / f"{index:0{digits}d}_{uid}") for index, uid in enumerate(uids)]

    def columns(self) -> list[tuple[str, str]]:
        """Return pairs of input and output column of a transformer that takes one or several columns."""
        if self.is_set("inputCols"):
            return list(zip(self.params["inputCols"], self.params["outputCols"], strict=True))
        return [(self.params["inputCol"], self.params["outputCol"])]


def _read_parquet(path: Path) -> list[dict[str, Any]]:
    try:
        import pyarrow.parquet
    except ImportError:
        return _read_with_spark(path)
    rows: list[dict[str, Any]] = pyarrow.parquet.read_table(path).to_pylist()
    return rows


def _read_with_spark(path: Path) -> list[dict[str, Any]]:
    from pyspark.sql import SparkSession

    session = SparkSession.builder.master("local[1]").getOrCreate()
    return [json.loads(str(line)) for line in session.read.parquet(str(path)).toJSON().collect()]


def vector(value: dict[str, Any]) -> np.ndarray:
    """Return a saved vector, sparse or dense, as an array."""
    if value["type"] == 1:
        return np.array(value["values"], dtype=np.float64)
    dense = np.zeros(value["size"])
    dense[value["indices"]] = value["values"]
    return dense


def matrix(value: dict[str, Any]) -> np.ndarray:
    """Return a saved matrix, sparse or dense, as an array of rows × columns."""
    rows, columns = value["numRows"], value["numCols"]
    if value["isTransposed"]:
        rows, columns = columns, rows
    if value["type"] == 1:
        result = np.array(value["values"], dtype=np.float64).reshape(columns, rows).T
    else:
        result = np.zeros((rows, columns))
        counts = np.diff(value["colPtrs"])
        result[value["rowIndices"], np.repeat(np.arange(columns), counts)] = value["values"]
    return result.T if value["isTransposed"] else result


def number(value: Any) -> float:
    """Return a parameter that Spark writes as a number or as a word such as ``NaN`` or ``-Infinity``."""
    return float(str(value).replace("Infinity", "inf").replace("-Inf", "-inf"))
