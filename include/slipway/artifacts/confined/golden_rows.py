"""Golden rows, made inside the wall: the model's own example and rows derived from it, with the model's answers.

Sent as text to the model's environment, so it relies on the standard library, ``derivation`` (sent along) and what
serves the model. The answers are those of MLflow's scoring server: its parsing, then ``predict`` of the pyfunc model,
then its JSON.
"""

from __future__ import annotations

import csv
import io
import json
import random
from pathlib import Path
from typing import Any

from slipway.artifacts.confined.derivation import (
    derivable,
    derive,
    extended_tensor,
    finite,
    is_table,
    random_tensor,
    table_of,
)


def main(inputs: dict[str, Any]) -> dict[str, Any]:
    """Make golden rows.

    Args:
        inputs: ``model_dir``; ``max_rows``; ``seed``.

    Returns:
        The golden document (see ``slipway.artifacts.golden``).
    """
    import mlflow.pyfunc

    folder = Path(inputs["model_dir"])
    model = mlflow.pyfunc.load_model(str(folder))
    schema = model.metadata.get_input_schema()
    columns = table_columns(schema)
    example = read_example(folder, model.metadata.saved_input_example_info or {})
    if columns is None and (schema is not None or not is_table(example)):
        return tensor_document(model, schema, example, inputs)
    if columns is None:
        columns = [{"name": name, "type": None, "required": True} for name in table_of(example, [])[0]]
    return table_document(model, schema, columns, example, inputs)


def table_columns(schema: Any) -> list[dict[str, Any]] | None:
    """Name, type and need of each column of a signature; None when it describes tensors or unnamed inputs."""
    if schema is None or schema.is_tensor_spec() or not schema.has_input_names():
        return None
    return [
        {"name": column["name"], "type": column["type"], "required": column.get("required", not column.get("optional"))}
        for column in schema.to_dict()
    ]


def read_example(folder: Path, info: dict[str, Any]) -> Any:
    """The saved input example as JSON, preferring the form in which it is sent to a server; None without one."""
    for name in (info.get("serving_input_path"), "serving_input_example.json", info.get("artifact_path")):
        if name and (folder / name).is_file():
            try:
                return json.loads((folder / name).read_text(encoding="utf-8"))
            except ValueError:
                continue  # such as a sparse matrix
    return None


def table_document(
    model: Any, schema: Any, columns: list[dict[str, Any]], example: Any, inputs: dict[str, Any]
) -> dict[str, Any]:
    """Golden rows of a model that takes a table."""
    names = [column["name"] for column in columns]
    found, rows = table_of(example, names)
    given = [[finite(dict(zip(found, row, strict=False)).get(name)) for name in names] for row in rows]
    candidates = (given + derive(columns, given, inputs["max_rows"], inputs["seed"]))[: inputs["max_rows"]]
    kept, answers = answered(model, candidates, lambda some: parse_split(names, some, schema))
    csv_kept, csv_answers, csv_problem = csv_answered(model, columns, kept, schema)
    return {
        "format": 1,
        "columns": names,
        "rows": kept,
        "answers": answers,
        "json": {"dataframe_split": {"columns": names, "data": kept}},
        "csv": to_csv(names, csv_kept) if csv_kept else None,
        "csv_answers": csv_answers,
        "from_example": sum(row in given for row in kept),
        "csv_problem": csv_problem,
    }


def tensor_document(model: Any, schema: Any, example: Any, inputs: dict[str, Any]) -> dict[str, Any]:
    """Golden input of a model that takes tensors, unnamed columns or JSON: one request in that form, no CSV."""
    payload = example if isinstance(example, dict) and ({"inputs", "instances"} & set(example)) else {"inputs": example}
    if example is None:
        payload = {"inputs": derived_tensor(schema, inputs)}
    elif isinstance(payload.get("inputs"), list) and schema is not None and schema.is_tensor_spec():
        payload = {"inputs": extended_tensor(payload["inputs"], inputs)}
    payload = {key: payload[key] for key in ("inputs", "instances", "params") if key in payload}
    answers = predict(model, parse_tensor(payload, schema))
    if answers != predict(model, parse_tensor(payload, schema)):
        raise ValueError(
            "the model's answers to its input example differ from call to call, so nothing can be verified"
        )
    rows = payload.get("inputs", payload.get("instances"))
    return {
        "format": 1,
        "columns": [],
        "rows": rows if isinstance(rows, list) else [rows],
        "answers": answers,
        "json": payload,
        "csv": None,
        "csv_answers": [],
        "from_example": 0 if example is None else 1,
        "csv_problem": "the model takes tensors or JSON, not a table",
    }


def derived_tensor(schema: Any, inputs: dict[str, Any]) -> Any:
    """A tensor made from the signature alone; only where it is one tensor of numbers with a free first dimension."""
    described = schema.to_dict() if schema is not None and schema.is_tensor_spec() else []
    if len(described) != 1 or described[0].get("name"):
        raise ValueError("the model has no input example, and none can be derived from its signature")
    shape = described[0]["tensor-spec"]["shape"]
    generator = random.Random(inputs["seed"])
    sizes = [min(8, inputs["max_rows"]) if place == 0 else 1 for place in range(len(shape))]
    return random_tensor([fixed if fixed > 0 else size for fixed, size in zip(shape, sizes, strict=True)], generator)


def answered(model: Any, rows: list[list[Any]], parse: Any) -> tuple[list[list[Any]], list[Any]]:
    """The rows that the model answers, twice in the same way, and its answers to all of them in one request."""
    if not rows:
        raise ValueError("the model has no input example, and no rows can be derived from its signature")
    kept = rows
    try:
        answers = predict(model, parse(kept))
    except Exception as first:
        kept = [row for row in rows if accepts(model, row, parse)]
        if not kept:
            raise ValueError("the model raises on every row, its own input example included") from first
        answers = predict(model, parse(kept))
    again = predict(model, parse(kept))
    if not isinstance(answers, list) or len(answers) != len(kept):
        if answers != again:
            raise ValueError("the model's answers differ from call to call, so nothing can be verified")
        return kept, answers
    stable = [place for place in range(len(kept)) if answers[place] == again[place]]
    if not stable:
        raise ValueError("the model's answers differ from call to call, so nothing can be verified")
    if len(stable) < len(kept):
        return [kept[place] for place in stable], [answers[place] for place in stable]
    return kept, answers


def accepts(model: Any, row: list[Any], parse: Any) -> bool:
    """Whether the model answers this row alone."""
    try:
        predict(model, parse([row]))
    except Exception:  # noqa: BLE001
        return False
    return True


def csv_answered(
    model: Any, columns: list[dict[str, Any]], rows: list[list[Any]], schema: Any
) -> tuple[list[list[Any]], list[Any], str]:
    """The rows that may also come as CSV, the model's answers to them, and why some or all may not."""
    names = [column["name"] for column in columns]
    if any(column["type"] is not None and not derivable(column["type"]) for column in columns):
        return [], [], "a column is binary or nested, which CSV cannot carry"
    try:
        kept, answers = answered(model, rows, lambda some: parse_csv(to_csv(names, some), schema))
    except Exception as error:  # noqa: BLE001
        return [], [], f"{type(error).__name__}: {error.__cause__ or error}"[:500]
    return kept, answers, "" if len(kept) == len(rows) else f"{len(rows) - len(kept)} rows cannot be read as CSV"


def to_csv(names: list[str], rows: list[list[Any]]) -> str:
    """Rows as CSV with a header; nothing between the commas for null."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    writer.writerows(rows)
    return text.getvalue()


def parse_split(names: list[str], rows: list[list[Any]], schema: Any) -> Any:
    """Rows as the scoring server reads ``dataframe_split``."""
    split = json.loads(json.dumps({"columns": names, "data": rows}))
    try:
        from mlflow.utils.proto_json_utils import dataframe_from_parsed_json

        parse: Any = dataframe_from_parsed_json
    except ImportError:
        import pandas  # type: ignore[import-untyped]

        return pandas.DataFrame(split["data"], columns=split["columns"])
    return parse(split, pandas_orient="split", schema=schema)


def parse_csv(text: str, schema: Any) -> Any:
    """CSV as the scoring server reads it: pandas' own reading, with the signature's types."""
    import pandas

    if schema is None:
        return pandas.read_csv(io.StringIO(text))
    return pandas.read_csv(io.StringIO(text), dtype=dict(zip(schema.input_names(), schema.pandas_types(), strict=True)))


def parse_tensor(payload: dict[str, Any], schema: Any) -> Any:
    """``inputs`` or ``instances`` as the scoring server reads them."""
    from mlflow.utils.proto_json_utils import parse_tf_serving_input

    parse: Any = parse_tf_serving_input
    form = {key: value for key, value in payload.items() if key != "params"}
    return parse(json.loads(json.dumps(form)), schema=schema)


def predict(model: Any, data: Any) -> Any:
    """The model's answer as the scoring server writes it in JSON; numbers that JSON lacks become null."""
    from mlflow.utils import proto_json_utils

    jsonable: Any = proto_json_utils._get_jsonable_obj
    answer = jsonable(model.predict(data), pandas_orient="records")
    return finite(json.loads(json.dumps(answer, cls=proto_json_utils.NumpyEncoder)))
