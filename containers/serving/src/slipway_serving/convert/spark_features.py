"""Compiled forms of ``pyspark.ml.feature``."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from slipway_serving.convert.builder import Builder, CannotCompileError, Column, Matrix
from slipway_serving.convert.spark_saved import SavedStage, matrix, number, vector
from slipway_serving.program.program import text_register

if TYPE_CHECKING:
    from collections.abc import Callable

    Maker = Callable[["Table", SavedStage], None]

FEATURES: dict[str, Maker] = {}
# Since Spark 4.2 the request's nulls, of which pandas makes not-a-number, are nulls again in Spark.
# https://spark.apache.org/docs/latest/api/python/migration_guide
NULLS_STAY = (4, 2)


class Table:
    """The columns of the DataFrame at one point of a pipeline.

    Parameters
    ----------
    builder
        Receives the steps.
    columns
        The request's columns.
    """

    def __init__(self, builder: Builder, columns: list[Column]) -> None:
        self.builder = builder
        self._columns: dict[str, Column | Matrix] = {column.name: column for column in columns}
        self.vectors: set[str] = set()
        self._nullable: set[str] = set()

    def __getitem__(self, name: str) -> Column | Matrix:
        if name not in self._columns:
            raise CannotCompileError(f"column {name!r}, which neither the signature nor an earlier stage has")
        return self._columns[name]

    def __setitem__(self, name: str, value: Matrix) -> None:
        self._columns[name] = value

    def set_vector(self, name: str, value: Matrix, *, nullable: bool = False) -> None:
        """Add a column of vectors, whose nulls Spark does not look for; ``nullable`` ones can be null as a whole."""
        self._columns[name] = value
        self.vectors.add(name)
        if nullable:
            self._nullable.add(name)

    def has_nulls(self, name: str) -> bool:
        """Whether Spark looks for nulls in a column: all numbers, and vectors that can be null as a whole."""
        return name not in self.vectors or name in self._nullable

    def parts(self, name: str) -> Matrix:
        """Return a column of numbers or vectors for the assembler; a vector that is null is all not-a-number."""
        value = self[name]
        return self.builder.matrix([value]) if isinstance(value, Column) else value

    def numbers(self, name: str) -> Matrix:
        """Return a column of numbers or vectors for any other stage, all of which fail at a vector that is null."""
        value = self.parts(name)
        return self.builder.apply("no_null", value) if name in self._nullable else value


def _compiles(*names: str) -> Callable[[Maker], Maker]:
    def register(maker: Maker) -> Maker:
        FEATURES.update(dict.fromkeys(names, maker))
        return maker

    return register


def _one_to_one(table: Table, stage: SavedStage, make: Callable[[Matrix], Matrix]) -> None:
    for source, target in stage.columns():
        table.set_vector(target, make(table.numbers(source)))


@_compiles("StringIndexerModel")
def _string_indexer(table: Table, stage: SavedStage) -> None:
    labels = stage.row["labelsArray"] if "labelsArray" in stage.row else [stage.row["labels"]]
    for (source, target), known in zip(stage.columns(), labels, strict=True):
        table[target] = _index(table, table[source], known, stage.params["handleInvalid"])


def _index(table: Table, column: Column | Matrix, known: list[str], invalid: str) -> Matrix:
    """Look labels up; invalid ones get the next index (``keep``), lose their row (``skip``) or are refused."""
    if not isinstance(column, Column) or column.kind in {"double", "float"}:
        raise CannotCompileError("StringIndexer over numbers with fractions")
    keep = invalid == "keep"
    codes = np.arange(len(known) + 1, dtype=np.float64).reshape(-1, 1)
    null = len(known) if keep else None
    if column.is_text:
        if invalid == "skip":
            table.builder.step("keep_known_texts", text_register(column.name), keys=known)
        parameters = {"keys": known, "table": codes if keep else codes[:-1], "default": keep, "null": null}
        return Matrix(table.builder.step("lookup_text", text_register(column.name), **parameters), 1)
    words = {"true": 1.0, "false": 0.0} if column.kind == "boolean" else None
    keys = np.array([words[label] if words else float(int(label)) for label in known])
    source = table.builder.matrix([column])
    if invalid == "skip":
        table.builder.step("keep_known_numbers", source.register, keys=keys)
        source = table.builder.matrix([column])
    return table.builder.lookup(source, list(keys), codes if keep else codes[:-1], default=keep, null=None)


@_compiles("OneHotEncoderModel")
def _one_hot(table: Table, stage: SavedStage) -> None:
    keep = stage.params["handleInvalid"] == "keep"
    # A null is not invalid to the encoder either (see ``_bucketizer``): its vector is null, whatever becomes of others.
    nulls = {"nulls": "pass"} if stage.version >= NULLS_STAY else {}
    for (source, target), size in zip(stage.columns(), stage.row["categorySizes"], strict=True):
        category = table.builder.apply("category", table.numbers(source), size=size, keep=keep, **nulls)
        width = size + keep - bool(stage.params["dropLast"])
        register = table.builder.step("one_hot", category.register, widths=[width], **nulls)
        table.set_vector(target, Matrix(register, width), nullable=bool(nulls))


@_compiles("VectorAssembler")
def _vector_assembler(table: Table, stage: SavedStage) -> None:
    names = stage.params["inputCols"]
    invalid = stage.params.get("handleInvalid", "error")
    singles = [table.parts(name) for name in names if table.has_nulls(name)]
    if singles and invalid == "error":
        _add_check(table, singles, "no_null")
    elif singles and invalid == "skip":
        _add_check(table, singles, "keep_complete")
    table.set_vector(stage.params["outputCol"], table.builder.concat([table.parts(name) for name in names]))


def _add_check(table: Table, parts: list[Matrix], operation: str) -> None:
    table.builder.step(operation, table.builder.concat(parts).register)


@_compiles("ImputerModel")
def _imputer(table: Table, stage: SavedStage) -> None:
    missing = number(stage.params["missingValue"])
    for source, target in stage.columns():
        value = table.numbers(source)
        fill = np.array([stage.row[source]], dtype=np.float64)
        filled = table.builder.apply("impute", value, fill=fill)
        if not math.isnan(missing):
            filled = table.builder.apply("impute", filled, fill=fill, missing=missing)
        table[target] = filled


@_compiles("StandardScalerModel")
def _standard_scaler(table: Table, stage: SavedStage) -> None:
    deviation, mean = vector(stage.row["std"]), vector(stage.row["mean"])
    factor = np.divide(1.0, deviation, out=np.zeros_like(deviation), where=deviation != 0.0)

    def scale(value: Matrix) -> Matrix:
        if stage.params["withMean"]:
            value = table.builder.apply("shift", value, by=mean)
        return table.builder.apply("multiply", value, by=factor) if stage.params["withStd"] else value

    _one_to_one(table, stage, scale)


@_compiles("MinMaxScalerModel")
def _min_max_scaler(table: Table, stage: SavedStage) -> None:
    low, high = vector(stage.row["originalMin"]), vector(stage.row["originalMax"])
    bottom, top = number(stage.params["min"]), number(stage.params["max"])
    spread = high - low
    varies = spread != 0.0
    factor = np.divide(top - bottom, spread, out=np.zeros_like(spread), where=varies)

    def scale(value: Matrix) -> Matrix:
        # A column without spread becomes the middle of the target range, whatever comes.
        value = table.builder.apply("shift", value, by=low)
        value = table.builder.apply("multiply", value, by=factor)
        return table.builder.apply("add", value, by=np.where(varies, bottom, (bottom + top) / 2))

    _one_to_one(table, stage, scale)


@_compiles("MaxAbsScalerModel")
def _max_abs_scaler(table: Table, stage: SavedStage) -> None:
    largest = vector(stage.row["maxAbs"])
    _one_to_one(
        table, stage, lambda value: table.builder.apply("divide", value, by=np.where(largest == 0.0, 1.0, largest))
    )


@_compiles("RobustScalerModel")
def _robust_scaler(table: Table, stage: SavedStage) -> None:
    middle, spread = vector(stage.row["median"]), vector(stage.row["range"])
    factor = np.divide(1.0, spread, out=np.zeros_like(spread), where=spread != 0.0)

    def scale(value: Matrix) -> Matrix:
        if stage.params["withCentering"]:
            value = table.builder.apply("shift", value, by=middle)
        return table.builder.apply("multiply", value, by=factor) if stage.params["withScaling"] else value

    _one_to_one(table, stage, scale)


@_compiles("Normalizer")
def _normalizer(table: Table, stage: SavedStage) -> None:
    power = number(stage.params["p"])
    norms = {1.0: "l1", 2.0: "l2", math.inf: "max"}
    if power not in norms:
        raise CannotCompileError(f"Normalizer with p = {power:g}")
    _one_to_one(table, stage, lambda value: table.builder.apply("normalize", value, norm=norms[power]))


@_compiles("Bucketizer")
def _bucketizer(table: Table, stage: SavedStage) -> None:
    several = stage.is_set("inputCols")
    splits = stage.params["splitsArray"] if several else [stage.params["splits"]]
    invalid = stage.params.get("handleInvalid", "error")
    # null is not invalid to a Bucketizer, but stays null
    nulls = "pass" if stage.version >= NULLS_STAY else "keep" if invalid == "keep" else "refuse"
    if invalid == "skip":  # for a null in any of the columns, before one of them is looked at
        _add_check(table, [table.numbers(source) for source, _ in stage.columns()], "keep_complete")
    for (source, target), edges in zip(stage.columns(), splits, strict=True):
        limits = np.array([number(edge) for edge in edges])
        table[target] = table.builder.apply("spark_bucket", table.numbers(source), splits=limits, nulls=nulls)


@_compiles("Binarizer")
def _binarizer(table: Table, stage: SavedStage) -> None:
    several = stage.is_set("inputCols")
    limits = stage.params["thresholds"] if several and stage.is_set("thresholds") else None
    for index, (source, target) in enumerate(stage.columns()):
        limit = number(limits[index] if limits else stage.params["threshold"])
        value = table.builder.apply("no_null", table.numbers(source))
        edges = [np.array([np.nextafter(limit, math.inf)])] * value.width
        binary = table.builder.apply("bucket", value, edges=edges)
        if source in table.vectors:
            table.set_vector(target, binary)
        else:
            table[target] = binary


@_compiles("PCAModel")
def _pca(table: Table, stage: SavedStage) -> None:
    components = matrix(stage.row["pc"])

    def project(value: Matrix) -> Matrix:
        register = table.builder.step("linear", value.register, weights=components, bias=0.0)
        return Matrix(register, components.shape[1])

    _one_to_one(table, stage, project)


@_compiles("ElementwiseProduct")
def _elementwise_product(table: Table, stage: SavedStage) -> None:
    factors = vector(_plain_vector(stage.params["scalingVec"]))
    _one_to_one(table, stage, lambda value: table.builder.apply("multiply", value, by=factors))


def _plain_vector(value: dict[str, Any]) -> dict[str, Any]:
    """Bring a vector parameter into the form of vectors in tables."""
    return {"type": 1, "values": value["values"]} if "size" not in value else {"type": 0, **value}


@_compiles("VectorSlicer")
def _vector_slicer(table: Table, stage: SavedStage) -> None:
    if stage.params.get("names"):
        raise CannotCompileError("VectorSlicer by name")
    _one_to_one(table, stage, lambda value: _take(table, value, stage.params["indices"]))


@_compiles("ChiSqSelectorModel", "UnivariateFeatureSelectorModel", "VarianceThresholdSelectorModel")
def _selector(table: Table, stage: SavedStage) -> None:
    chosen = stage.row["selectedFeatures"]
    source = table.numbers(stage.params["featuresCol"])
    table.set_vector(stage.params["outputCol"], _take(table, source, chosen))


def _take(table: Table, value: Matrix, columns: list[int]) -> Matrix:
    return Matrix(table.builder.step("take", value.register, columns=list(columns)), len(columns))


@_compiles("PolynomialExpansion")
def _polynomial_expansion(table: Table, stage: SavedStage) -> None:
    def expand(value: Matrix) -> Matrix:
        powers = np.array(_expansion(value.width, stage.params["degree"])[1:])
        return Matrix(table.builder.step("polynomial", value.register, powers=powers), len(powers))

    _one_to_one(table, stage, expand)


def _expansion(width: int, degree: int) -> list[list[int]]:
    """Return the exponents of all monomials in Spark's order: by the last column's power, recursively."""
    if degree == 0 or width == 0:
        return [[0] * width]
    found = []
    for power in range(degree + 1):
        found += [[*rest, power] for rest in _expansion(width - 1, degree - power)]
    return found
