"""Rows of a model's saved example, and further rows like them: pure functions over JSON values.

Runs inside the wall (see ``golden_rows``), so it imports the standard library only.
"""

from __future__ import annotations

import json
import math
import random
from datetime import datetime, timedelta
from typing import Any

# Kind of column → smallest and largest value; the names are those of MLflow's DataType.
_WHOLE = {"integer": (-(2**31), 2**31 - 1), "long": (-(2**53), 2**53)}
_REAL = ("double", "float")
_NULL_SHARE = 0.1
_FLOAT_DIGITS = 6
_DRAWS = 5  # per wanted row: few values allow few different rows


def is_table(example: Any) -> bool:
    """Whether an example is a data frame in one of MLflow's JSON forms."""
    return isinstance(example, dict) and bool({"dataframe_split", "dataframe_records", "data"} & set(example))


def table_of(example: Any, names: list[str]) -> tuple[list[str], list[list[Any]]]:
    """Columns and rows of an example, whatever its JSON form; columns of a bare list are named in order."""
    if isinstance(example, dict):
        for key in ("dataframe_split", "dataframe_records", "instances", "inputs"):
            if key in example:
                example = example[key]
                break
    if isinstance(example, dict) and isinstance(example.get("data"), list):
        return [str(name) for name in example.get("columns") or names], [list(row) for row in example["data"]]
    if isinstance(example, dict) and example:
        by_column = all(isinstance(value, list) for value in example.values())
        rows = list(zip(*example.values(), strict=False)) if by_column else [tuple(example.values())]
        return [str(name) for name in example], [list(row) for row in rows]
    if isinstance(example, list) and example and all(isinstance(row, dict) for row in example):
        found = [str(name) for name in example[0]]
        return found, [[row.get(name) for name in found] for row in example]
    if isinstance(example, list) and all(isinstance(row, list) and len(row) == len(names) for row in example):
        return names, [list(row) for row in example]
    return names, []


def derive(columns: list[dict[str, Any]], given: list[list[Any]], wanted: int, seed: int) -> list[list[Any]]:
    """Further rows within the signature's types, all different, the same for the same seed, near the given ones."""
    generator = random.Random(seed)
    pools = [[row[place] for row in given if row[place] is not None] for place in range(len(columns))]
    pairs = list(zip(columns, pools, strict=True))
    if any(column["required"] and not pool and not derivable(column["type"]) for column, pool in pairs):
        return []
    seen = {json.dumps(row) for row in given}
    rows: list[list[Any]] = []
    for _ in range(_DRAWS * wanted):
        if len(given) + len(rows) >= wanted:
            break
        row = [derive_value(column, pool, generator) for column, pool in pairs]
        if (key := json.dumps(row)) not in seen:
            seen.add(key)
            rows.append(row)
    return rows


def derivable(kind: str | None) -> bool:
    """Whether a value of this kind can be made without an example."""
    return kind in _WHOLE or kind in _REAL or kind in {"boolean", "string", "datetime"}


def derive_value(column: dict[str, Any], pool: list[Any], generator: random.Random) -> Any:
    """One value for a column: null only where the signature allows it."""
    kind = column["type"]
    if not column["required"] and (generator.random() < _NULL_SHARE or not (pool or derivable(kind))):
        return None
    base = generator.choice(pool) if pool else None
    if kind in _REAL:
        return derive_real(base, generator)
    if kind in _WHOLE:
        return derive_whole(base, _WHOLE[kind], generator, signed=any(value < 0 for value in pool))
    if kind == "boolean":
        return generator.random() < 0.5
    if kind == "datetime":
        return derive_moment(base, generator)
    if kind == "string" and base is None:
        return generator.choice("abc")
    return base


def derive_real(base: Any, generator: random.Random) -> float:
    """A number near the given one, short enough to be read alike by every parser."""
    centre = float(base) if isinstance(base, (int, float)) else 0.0
    moved = centre + generator.gauss(0, 0.25) * (abs(centre) or 1.0)
    return float(f"{moved:.{_FLOAT_DIGITS}g}")


def derive_whole(base: Any, limits: tuple[int, int], generator: random.Random, *, signed: bool) -> int:
    """A whole number near the given one, inside the type, negative only when examples are."""
    centre = int(base) if isinstance(base, (int, float)) else 5
    reach = max(1, abs(centre) // 4)
    lowest = limits[0] if signed else 0
    return min(limits[1], max(lowest, centre + generator.randint(-reach, reach)))


def derive_moment(base: Any, generator: random.Random) -> str:
    """A moment within thirty days of the given one, in the same notation."""
    try:
        moment = datetime.fromisoformat(str(base).replace("Z", "+00:00"))
    except ValueError:
        moment = datetime(2024, 1, 15)  # noqa: DTZ001
    return (moment + timedelta(seconds=generator.randint(-30 * 86400, 30 * 86400))).isoformat()


def random_tensor(sizes: list[int], generator: random.Random) -> Any:
    """Nested lists of whole numbers from 0 to 9, which every numeric type can hold."""
    if not sizes:
        return generator.randint(0, 9)
    return [random_tensor(sizes[1:], generator) for _ in range(sizes[0])]


def extended_tensor(items: list[Any], inputs: dict[str, Any]) -> list[Any]:
    """The example's items and further ones, each near one of them, up to the wanted number."""
    generator = random.Random(inputs["seed"])
    if not items or not numeric(items):
        return items[: inputs["max_rows"]]
    further = (moved(generator.choice(items), generator) for _ in range(max(0, inputs["max_rows"] - len(items))))
    return [*items, *further][: inputs["max_rows"]]


def numeric(item: Any) -> bool:
    """Whether nested lists hold real numbers only; whole numbers may be codes and are left alone."""
    if isinstance(item, list):
        return all(numeric(inner) for inner in item)
    return isinstance(item, float)


def moved(item: Any, generator: random.Random) -> Any:
    """Nested lists with every number moved a little."""
    return [moved(inner, generator) for inner in item] if isinstance(item, list) else derive_real(item, generator)


def finite(value: Any) -> Any:
    """Nested JSON with null for NaN and the infinities."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list):
        return [finite(item) for item in value]
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    return value
