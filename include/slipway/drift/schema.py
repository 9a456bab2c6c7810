"""What a model takes and gives, column by column, as drift sees it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from slipway.errors import InvalidInputError

if TYPE_CHECKING:
    import pyarrow as pa

Kind = Literal["double", "float", "long", "integer", "boolean", "datetime", "string"]
PREDICTION = "prediction"

#: Columns of a tensor that are watched one by one; wider ones are images or embeddings, for which this says nothing.
MAX_TENSOR_COLUMNS = 1000
_TENSOR_KINDS: Mapping[str, Kind] = {"f": "double", "i": "long", "u": "long", "b": "boolean", "s": "string"}
_KINDS: Mapping[str, Kind] = {
    "double": "double",
    "float": "float",
    "long": "long",
    "integer": "integer",
    "boolean": "boolean",
    "datetime": "datetime",
    "string": "string",
}


@dataclass(frozen=True)
class Column:
    """One column: its name and MLflow's type."""

    name: str
    kind: Kind

    @property
    def numeric(self) -> bool:
        """Whether it is compared as numbers (times as seconds) or as categories."""
        return self.kind not in {"string", "boolean"}


@dataclass(frozen=True)
class ModelSchema:
    """Columns that requests bring (in the model's order) and that answers bring.

    Args:
        inputs: The features that are watched.
        outputs: The predictions that are watched; empty when the signature does not say how many there are.
        named: Whether the model takes named columns; False for tensors, whose columns are called "0", "1", …
        passed_over: Inputs that are not watched: lists, objects, maps, binary.
    """

    inputs: tuple[Column, ...]
    outputs: tuple[Column, ...] = ()
    named: bool = True
    passed_over: tuple[str, ...] = ()

    @property
    def columns(self) -> tuple[Column, ...]:
        """All columns, features first."""
        return self.inputs + self.outputs


def schema_of_signature(signature: Mapping[str, Any] | None) -> ModelSchema:
    """Read the schema from an MLmodel's signature.

    Args:
        signature: ``inputs`` and ``outputs``, as :func:`slipway.artifacts.mlmodel.read_mlmodel` gives them.

    Returns:
        The columns that can be watched.

    Raises:
        InvalidInputError: There is no signature, or none of its inputs can be watched.
    """
    inputs = list((signature or {}).get("inputs") or [])
    columns, passed_over, named = _inputs(inputs)
    if not columns:
        raise InvalidInputError(
            "The model's signature names no input that can be watched: expected columns or a tensor with a fixed "
            f"number of columns (at most {MAX_TENSOR_COLUMNS}), found {inputs!r}."
        )
    outputs = _outputs(list((signature or {}).get("outputs") or []))
    taken = {column.name for column in columns} | set(passed_over)
    return ModelSchema(columns, tuple(_renamed(column, taken) for column in outputs), named, passed_over)


def prediction_names(count: int, taken: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the names of the columns of an answer that is one value, or a list of ``count`` values."""
    names = (PREDICTION,) if count == 1 else tuple(f"{PREDICTION}[{index}]" for index in range(count))
    return tuple(_renamed(Column(name, "double"), set(taken)).name for name in names)


def arrow_type(column: Column) -> pa.DataType:
    """Return the Arrow type of a column."""
    import pyarrow as pa

    return {
        "double": pa.float64(),
        "float": pa.float32(),
        "long": pa.int64(),
        "integer": pa.int32(),
        "boolean": pa.bool_(),
        "datetime": pa.timestamp("us"),
        "string": pa.string(),
    }[column.kind]


def kind_of_arrow(kind: pa.DataType) -> Kind | None:
    """Return the kind of an Arrow type; None for what cannot be watched."""
    import pyarrow as pa

    types = pa.types
    if types.is_dictionary(kind):
        return kind_of_arrow(kind.value_type)
    checks: list[tuple[Any, Kind]] = [
        (types.is_boolean, "boolean"),
        (types.is_integer, "long"),
        (lambda each: types.is_float16(each) or types.is_float32(each), "float"),
        (types.is_floating, "double"),
        (types.is_decimal, "double"),
        (types.is_timestamp, "datetime"),
        (types.is_date, "datetime"),
        (types.is_string, "string"),
        (types.is_large_string, "string"),
    ]
    return next((found for check, found in checks if check(kind)), None)


def _inputs(specs: Sequence[Mapping[str, Any]]) -> tuple[tuple[Column, ...], tuple[str, ...], bool]:
    if len(specs) == 1 and specs[0].get("type") == "tensor" and not specs[0].get("name"):
        kind, width = _tensor(specs[0])
        columns = tuple(Column(str(index), kind) for index in range(width)) if kind else ()
        return columns, (), False
    named = [(str(spec.get("name") or index), _kind(spec)) for index, spec in enumerate(specs)]
    columns = tuple(Column(name, kind) for name, kind in named if kind)
    return columns, tuple(name for name, kind in named if not kind), True


def _outputs(specs: Sequence[Mapping[str, Any]]) -> tuple[Column, ...]:
    if len(specs) != 1:
        kinds = [(str(spec.get("name") or index), _kind(spec)) for index, spec in enumerate(specs)]
        return tuple(Column(f"{PREDICTION}[{name}]", kind) for name, kind in kinds if kind)
    if specs[0].get("type") != "tensor":
        kind = _kind(specs[0])
        return (Column(PREDICTION, kind),) if kind else ()
    kind, width = _tensor(specs[0])
    return tuple(Column(name, kind) for name in prediction_names(width)) if kind and width else ()


def _kind(spec: Mapping[str, Any]) -> Kind | None:
    if spec.get("type") == "tensor":
        kind, width = _tensor(spec)
        return kind if width == 1 else None
    return _KINDS.get(str(spec.get("type")))


def _tensor(spec: Mapping[str, Any]) -> tuple[Kind | None, int]:
    """Kind and number of columns of a tensor; no columns when it is not a table of known width."""
    tensor = spec.get("tensor-spec") or {}
    shape = list(tensor.get("shape") or [])
    text = str(tensor.get("dtype") or "")
    kind = _TENSOR_KINDS.get(text[:1]) if text != "object" else "string"
    width = 1 if len(shape) == 1 else shape[1] if len(shape) == 2 else -1
    return (kind, int(width)) if 0 < width <= MAX_TENSOR_COLUMNS else (None, 0)


def _renamed(column: Column, taken: set[str]) -> Column:
    name = column.name
    while name in taken:
        name = f"_{name}"
    return Column(name, column.kind)
