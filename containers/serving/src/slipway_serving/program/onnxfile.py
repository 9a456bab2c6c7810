"""A writer for the one kind of ONNX file that is needed here: a single ``TreeEnsemble`` node.

Writing the few protobuf messages by hand spares every release the ``onnx`` and ``protobuf`` packages. Message and field
numbers are those of ``onnx.proto3`` (IR version 10); the operator is ``TreeEnsemble`` of ``ai.onnx.ml`` version 5.
"""

from __future__ import annotations

import numpy as np

_IR_VERSION = 10
_OPSET = 21
_ML_OPSET = 5
_DOUBLE, _UINT8, _INT64 = 11, 2, 7
_ATTRIBUTE_INT, _ATTRIBUTE_TENSOR, _ATTRIBUTE_INTS = 2, 4, 7


def tree_ensemble(
    width: int, targets: int, integers: dict[str, np.ndarray], tensors: dict[str, np.ndarray], scalars: dict[str, int]
) -> bytes:
    """Return an ONNX model ``X (rows × width, double) → Y (rows × targets, double)`` with one ``TreeEnsemble`` node.

    Parameters
    ----------
    width, targets
        Columns of input and output.
    integers, tensors, scalars
        The node's attributes by their names in the operator's specification.
    """
    attributes = [_integers_attribute(name, values) for name, values in integers.items()]
    attributes += [_tensor_attribute(name, values) for name, values in tensors.items()]
    attributes += [_scalar_attribute(name, value) for name, value in scalars.items()]
    node = _text(1, "X") + _text(2, "Y") + _text(4, "TreeEnsemble") + _text(7, "ai.onnx.ml")
    node += b"".join(_message(5, attribute) for attribute in attributes)
    graph = _message(1, node) + _text(2, "forest")
    graph += _message(11, _tensor_value("X", width)) + _message(12, _tensor_value("Y", targets))
    return b"".join(
        [
            _number(1, _IR_VERSION),
            _text(2, "slipway"),
            _message(7, graph),
            _message(8, _text(1, "") + _number(2, _OPSET)),
            _message(8, _text(1, "ai.onnx.ml") + _number(2, _ML_OPSET)),
        ]
    )


def _integers_attribute(name: str, values: np.ndarray) -> bytes:
    packed = _varints(values.astype(np.int64))
    return _text(1, name) + _bytes(8, packed) + _number(20, _ATTRIBUTE_INTS)


def _scalar_attribute(name: str, value: int) -> bytes:
    return _text(1, name) + _number(3, value) + _number(20, _ATTRIBUTE_INT)


def _tensor_attribute(name: str, values: np.ndarray) -> bytes:
    kind = {"float64": _DOUBLE, "uint8": _UINT8}[values.dtype.name]
    tensor = _number(1, len(values)) + _number(2, kind) + _text(8, name) + _bytes(9, values.tobytes())
    return _text(1, name) + _message(5, tensor) + _number(20, _ATTRIBUTE_TENSOR)


def _tensor_value(name: str, columns: int) -> bytes:
    rows = _message(1, _text(2, "rows"))
    shape = rows + _message(1, _number(1, columns))
    tensor = _number(1, _DOUBLE) + _message(2, shape)
    return _text(1, name) + _message(2, _message(1, tensor))


def _varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _varints(values: np.ndarray) -> bytes:
    """Encode many non-negative numbers at once."""
    if not len(values):
        return b""
    digits = max(1, -(-int(values.max()).bit_length() // 7))
    table = (values[:, None] >> (7 * np.arange(digits))) & 0x7F
    used = np.maximum(1, digits - np.argmax(table[:, ::-1] != 0, axis=1))
    used[~table.any(axis=1)] = 1
    position = np.arange(digits)
    table |= np.where(position < (used - 1)[:, None], 0x80, 0)
    encoded: bytes = table[position < used[:, None]].astype(np.uint8).tobytes()
    return encoded


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _bytes(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value


_message = _bytes


def _text(field: int, value: str) -> bytes:
    return _bytes(field, value.encode())
