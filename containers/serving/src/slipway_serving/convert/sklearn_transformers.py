"""Compiled forms of scikit-learn's transformers.

Each maker reads the fitted attributes and adds the same arithmetic, in the same order. Encoders are not
re-derived: their own ``transform`` is asked once for every category, and the program looks the answers up.
"""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from slipway_serving.convert.builder import Builder, CannotCompileError, Column, Frame, Matrix, Value
from slipway_serving.forms.batch import FLOATS
from slipway_serving.program.operations.arithmetic import FUNCTION_NAMES

if TYPE_CHECKING:
    from collections.abc import Callable

    Maker = Callable[[Builder, Any, Value], Value]

TRANSFORMERS: dict[str, Maker] = {}
MAX_TABLE_CELLS = 4_000_000


def _compiles(*names: str) -> Callable[[Maker], Maker]:
    def register(maker: Maker) -> Maker:
        TRANSFORMERS.update(dict.fromkeys(names, maker))
        return maker

    return register


def compile_transformer(builder: Builder, transformer: Any, value: Value) -> Value:
    """Add the steps of a fitted transformer.

    Raises
    ------
    CannotCompileError
        There is no compiled form.
    """
    if transformer is None or transformer == "passthrough":
        return value
    kind = type(transformer)
    maker = TRANSFORMERS.get(kind.__name__)
    if maker is None or not kind.__module__.startswith("sklearn."):
        raise CannotCompileError(f"transformer {kind.__name__}")
    return maker(builder, transformer, value)


@_compiles("Pipeline")
def _pipeline(builder: Builder, pipeline: Any, value: Value) -> Value:
    for _, step in pipeline.steps:
        value = compile_transformer(builder, step, value)
    return value


@_compiles("ColumnTransformer")
def _column_transformer(builder: Builder, transformer: Any, value: Value) -> Value:
    parts = []
    for _, step, columns in transformer.transformers_:
        chosen = _select(builder, value, columns)
        width = len(chosen) if isinstance(chosen, list) else chosen.width
        if (isinstance(step, str) and step == "drop") or width == 0:
            continue
        part = builder.matrix(compile_transformer(builder, step, chosen))
        weight = (transformer.transformer_weights or {}).get(_)
        parts.append(part if weight is None else builder.apply("multiply", part, by=float(weight)))
    return builder.concat(parts)


def _select(builder: Builder, value: Value, columns: Any) -> Value:
    """Choose columns as a fitted ``ColumnTransformer`` names them: by name, position, slice or mask."""
    if isinstance(columns, (str, int)):
        raise CannotCompileError("a ColumnTransformer that passes one column as a vector")
    width = len(value) if isinstance(value, list) else value.width
    if isinstance(columns, slice):
        if isinstance(columns.start, str) or isinstance(columns.stop, str):
            raise CannotCompileError("a slice of column names")
        at = list(range(width))[columns]
    else:
        listed = list(columns)
        if listed and isinstance(listed[0], (bool, np.bool_)):
            at = np.flatnonzero(listed).tolist()
        elif listed and isinstance(listed[0], str):
            at = _positions(value, listed)
        else:
            at = [int(column) % width for column in listed]
    if isinstance(value, list):
        return [value[index] for index in at]
    return Matrix(builder.step("take", value.register, columns=at), len(at))


def _positions(value: Value, names: list[str]) -> list[int]:
    if not isinstance(value, list):
        raise CannotCompileError("columns chosen by name from a transformer's output")
    known = {column.name: index for index, column in enumerate(value)}
    missing = [name for name in names if name not in known]
    if missing:
        raise CannotCompileError(f"columns {missing} that the signature does not have")
    return [known[name] for name in names]


@_compiles("FeatureUnion")
def _feature_union(builder: Builder, union: Any, value: Value) -> Value:
    parts = []
    for name, step in union.transformer_list:
        if isinstance(step, str) and step == "drop":
            continue
        part = builder.matrix(compile_transformer(builder, step, value))
        weight = (union.transformer_weights or {}).get(name)
        parts.append(part if weight is None else builder.apply("multiply", part, by=float(weight)))
    return builder.concat(parts)


def _numbers(builder: Builder, value: Value, *, allow_null: bool) -> Matrix:
    return builder.apply("finite", builder.matrix(value), allow_null=allow_null)


@_compiles("StandardScaler")
def _standard_scaler(builder: Builder, scaler: Any, value: Value) -> Value:
    matrix = _numbers(builder, value, allow_null=True)
    if scaler.with_mean:
        matrix = builder.apply("shift", matrix, by=np.asarray(scaler.mean_, float))
    if scaler.with_std:
        matrix = builder.apply("divide", matrix, by=np.asarray(scaler.scale_, float))
    return matrix


@_compiles("RobustScaler")
def _robust_scaler(builder: Builder, scaler: Any, value: Value) -> Value:
    matrix = _numbers(builder, value, allow_null=True)
    if scaler.with_centering:
        matrix = builder.apply("shift", matrix, by=np.asarray(scaler.center_, float))
    if scaler.with_scaling:
        matrix = builder.apply("divide", matrix, by=np.asarray(scaler.scale_, float))
    return matrix


@_compiles("MinMaxScaler")
def _min_max_scaler(builder: Builder, scaler: Any, value: Value) -> Value:
    matrix = builder.apply("multiply", _numbers(builder, value, allow_null=True), by=np.asarray(scaler.scale_, float))
    matrix = builder.apply("add", matrix, by=np.asarray(scaler.min_, float))
    if scaler.clip:
        low, high = scaler.feature_range
        matrix = builder.apply("clip", matrix, low=float(low), high=float(high))
    return matrix


@_compiles("MaxAbsScaler")
def _max_abs_scaler(builder: Builder, scaler: Any, value: Value) -> Value:
    matrix = builder.apply("divide", _numbers(builder, value, allow_null=True), by=np.asarray(scaler.scale_, float))
    return builder.apply("clip", matrix, low=-1.0, high=1.0) if getattr(scaler, "clip", False) else matrix


@_compiles("Normalizer")
def _normalizer(builder: Builder, normalizer: Any, value: Value) -> Value:
    return builder.apply("normalize", _numbers(builder, value, allow_null=False), norm=normalizer.norm)


@_compiles("Binarizer")
def _binarizer(builder: Builder, binarizer: Any, value: Value) -> Value:
    edge = _binarizer_edge(builder, binarizer, value)
    matrix = _numbers(builder, value, allow_null=False)
    return builder.apply("bucket", matrix, edges=[np.array([edge])] * matrix.width)


def _binarizer_edge(builder: Builder, binarizer: Any, value: Value) -> float:
    """Return the least number that becomes 1.

    Where all columns are of 32-bit floats the threshold may be rounded to 32 bits too; whether it is depends on the
    threshold's own type and on the versions of numpy and scikit-learn, so the transformer is asked.
    """
    threshold = float(binarizer.threshold)
    columns = value if isinstance(value, list) else []
    kinds = {column.kind for column in columns}
    if kinds != {"float"}:
        if builder.singles and (not kinds or {"float", "boolean"} <= kinds):
            raise CannotCompileError("Binarizer over what may be 32-bit floats")
        return float(np.nextafter(threshold, math.inf))
    single = np.float32(threshold)
    if not np.isfinite(single):
        raise CannotCompileError("Binarizer with a threshold that 32 bits cannot hold")
    neighbours = [np.nextafter(single, np.float32(to)) for to in (-math.inf, math.inf)]
    around = np.array([neighbours[0], single, neighbours[1]], np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ones = binarizer.transform(np.repeat(around[:, None], len(columns), axis=1))[:, 0]
    return float(around[np.argmax(ones > 0)])


@_compiles("PolynomialFeatures")
def _polynomial_features(builder: Builder, features: Any, value: Value) -> Value:
    matrix = _numbers(builder, value, allow_null=False)
    powers = np.asarray(features.powers_)
    return Matrix(builder.step("polynomial", matrix.register, powers=powers), len(powers))


@_compiles("PCA", "TruncatedSVD")
def _projection(builder: Builder, projection: Any, value: Value) -> Value:
    matrix = _numbers(builder, value, allow_null=False)
    if getattr(projection, "mean_", None) is not None:
        matrix = builder.apply("shift", matrix, by=np.asarray(projection.mean_, float))
    components = np.asarray(projection.components_, float)
    matrix = Matrix(builder.step("linear", matrix.register, weights=components.T, bias=0.0), len(components))
    if getattr(projection, "whiten", False):
        matrix = builder.apply("divide", matrix, by=np.sqrt(np.asarray(projection.explained_variance_, float)))
    return matrix


@_compiles(
    "VarianceThreshold",
    "SelectKBest",
    "SelectPercentile",
    "SelectFromModel",
    "SelectFpr",
    "SelectFdr",
    "SelectFwe",
    "RFE",
    "RFECV",
)
def _selector(builder: Builder, selector: Any, value: Value) -> Value:
    matrix = _numbers(builder, value, allow_null=type(selector).__name__ == "VarianceThreshold")
    kept = np.flatnonzero(selector.get_support())
    return Matrix(builder.step("take", matrix.register, columns=kept.tolist()), len(kept))


@_compiles("KBinsDiscretizer")
def _k_bins(builder: Builder, discretizer: Any, value: Value) -> Value:
    matrix = _numbers(builder, value, allow_null=False)
    edges = [np.asarray(column[1:-1], float) for column in discretizer.bin_edges_]
    binned = builder.apply("bucket", matrix, edges=edges)
    if discretizer.encode == "ordinal":
        return binned
    widths = [int(count) for count in discretizer.n_bins_]
    return Matrix(builder.step("one_hot", binned.register, widths=widths), sum(widths))


@_compiles("FunctionTransformer")
def _function_transformer(builder: Builder, transformer: Any, value: Value) -> Value:
    if transformer.func is None:
        return value
    name = getattr(transformer.func, "__name__", "")
    if transformer.kw_args or name not in FUNCTION_NAMES or getattr(np, name, None) is not transformer.func:
        raise CannotCompileError(f"FunctionTransformer of {name or 'a function'}")
    matrix = builder.matrix(value)
    if transformer.validate:
        matrix = builder.apply("finite", matrix, allow_null=False)
    return builder.apply("function", matrix, name=name)


@_compiles("SimpleImputer")
def _simple_imputer(builder: Builder, imputer: Any, value: Value) -> Value:
    missing = imputer.missing_values
    is_null = missing is None or (isinstance(missing, float) and math.isnan(missing))
    if isinstance(value, list) and any(column.is_text for column in value):
        # Null texts are never covered, so there is nothing to fill in.
        if not is_null or imputer.add_indicator or not all(column.is_text for column in value):
            raise CannotCompileError("SimpleImputer on texts with its own mark for missing values")
        return value
    if missing is None or (not is_null and not isinstance(missing, (int, float))):
        raise CannotCompileError("SimpleImputer on numbers with a mark that is no number")
    if builder.singles and not is_null and float(np.float32(missing)) != float(missing):
        raise CannotCompileError("SimpleImputer with a mark that 32-bit floats round")
    matrix = _numbers(builder, value, allow_null=is_null)
    fill = np.array([np.nan if entry is None else entry for entry in imputer.statistics_], dtype=float)
    flags = _imputer_flags(builder, imputer, matrix, is_null=is_null)
    kept = np.arange(len(fill)) if imputer.keep_empty_features else np.flatnonzero(~np.isnan(fill))
    if len(kept) < len(fill):
        matrix = Matrix(builder.step("take", matrix.register, columns=kept.tolist()), len(kept))
    filled = builder.apply("impute", matrix, fill=fill[kept], missing=None if is_null else float(missing))
    return builder.concat([filled, flags]) if flags is not None else filled


def _imputer_flags(builder: Builder, imputer: Any, matrix: Matrix, *, is_null: bool) -> Matrix | None:
    if not imputer.add_indicator:
        return None
    if not is_null:
        raise CannotCompileError("SimpleImputer with indicators for a mark that is not null")
    columns = [int(column) for column in imputer.indicator_.features_]
    return Matrix(builder.step("null_flags", matrix.register, columns=columns), len(columns))


@_compiles("OneHotEncoder", "OrdinalEncoder", "TargetEncoder")
def _encoder(builder: Builder, encoder: Any, value: Value) -> Value:
    frame = value if isinstance(value, list) else _split(builder, value)
    if len(frame) != len(encoder.categories_):
        raise CannotCompileError("an encoder over other columns")
    parts = [_encode_column(builder, encoder, frame, index) for index in range(len(frame))]
    return builder.concat(parts)


def _split(builder: Builder, matrix: Matrix) -> list[Any]:
    return [Matrix(builder.step("take", matrix.register, columns=[index]), 1) for index in range(matrix.width)]


def _encode_column(builder: Builder, encoder: Any, frame: list[Any], index: int) -> Matrix:
    """Ask the encoder for its answer to every category, to null and to an unknown one."""
    column = frame[index]
    is_text = isinstance(column, Column) and column.is_text
    categories = list(encoder.categories_[index])
    nulls = [category for category in categories if category is None or category != category]
    known = [category for category in categories if category not in nulls and category == category]
    if not known or not all(isinstance(category, str) == is_text for category in known):
        raise CannotCompileError("an encoder whose categories are of another kind than its column")
    table = _answers(encoder, index, known)
    if table is None or table.size > MAX_TABLE_CELLS:
        raise CannotCompileError("an encoder with too many categories")
    unknown = _answers(encoder, index, [_unseen(known, is_text=is_text)])
    null = None if is_text else _answers(encoder, index, [np.nan])
    rows = [table, *([] if null is None else [null]), *([] if unknown is None else [unknown])]
    checked = column
    if isinstance(column, Matrix) or column.kind in FLOATS:  # infinity is refused, not unknown
        checked = _numbers(builder, column if isinstance(column, Matrix) else [column], allow_null=True)
    return builder.lookup(
        checked, known, np.concatenate(rows), default=unknown is not None, null=None if null is None else len(table)
    )


def _unseen(known: list[Any], *, is_text: bool) -> Any:
    if is_text:
        return max(known, key=len) + "␀unseen"
    return float(max(known)) + 12_345.0


def _answers(encoder: Any, index: int, values: list[Any]) -> np.ndarray | None:
    """Transform values of one column and return the part of the answer that belongs to it; ``None`` if refused."""
    import pandas as pd

    names = list(getattr(encoder, "feature_names_in_", range(len(encoder.categories_))))
    data = {}
    for position, categories in enumerate(encoder.categories_):
        entries = values if position == index else [categories[0]] * len(values)
        data[names[position]] = pd.Series(entries)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            answer = encoder.transform(pd.DataFrame(data))
        except (ValueError, TypeError):
            return None
    dense = np.asarray(answer.todense() if hasattr(answer, "todense") else answer, dtype=np.float64)
    widths = _widths(encoder)
    start = sum(widths[:index])
    return dense[:, start : start + widths[index]]


def _widths(encoder: Any) -> list[int]:
    if type(encoder).__name__ == "OneHotEncoder":
        return [int(width) for width in encoder._n_features_outs]
    if type(encoder).__name__ == "TargetEncoder" and getattr(encoder, "target_type_", "") == "multiclass":
        raise CannotCompileError("TargetEncoder for several classes")
    return [1] * len(encoder.categories_)


def frame_of(columns: list[tuple[str, str]]) -> Frame:
    """Return the request's columns as a frame.

    Parameters
    ----------
    columns
        ``(name, MLflow type)`` in the signature's order.
    """
    frame, position = [], 0
    for name, kind in columns:
        frame.append(Column(name, kind, position))
        position += kind != "string"
    return frame
