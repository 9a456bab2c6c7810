"""Reading objects as Arrow tables: the very object that was listed, its format, and columns that fit together."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import csv, json, parquet

from slipway_trainer.job import DataObject
from slipway_trainer.problem import BadDataError, TrainingError, UnavailableError

_ENDINGS = {".parquet": "parquet", ".pq": "parquet", ".csv": "csv", ".json": "json", ".jsonl": "json"}
_BATCH_ROWS = 65_536


@dataclass(frozen=True)
class ObjectReader:
    """Reads objects from S3 or this machine.

    Args:
        data_format: Format of all objects; None: by the ending of each name.
        endpoint_url: S3 endpoint; None for AWS.
        region: AWS region.
    """

    data_format: str | None = None
    endpoint_url: str | None = None
    region: str = "us-east-1"

    def table(self, source: DataObject) -> pa.Table:
        """Read one object.

        Raises:
            BadDataError: It cannot be read as its format, or was overwritten since it was listed.
            UnavailableError: S3 does not answer.
            TrainingError: S3 refuses.
        """
        return _parse(self.content(source), self.format_of(source), source.uri)

    def batches(self, source: DataObject) -> Iterator[pa.RecordBatch]:
        """Read one object in batches, so that a Parquet file need not be unpacked as a whole."""
        if self.format_of(source) != "parquet":
            yield from self.table(source).to_batches(_BATCH_ROWS)
            return
        try:
            yield from parquet.ParquetFile(io.BytesIO(self.content(source))).iter_batches(batch_size=_BATCH_ROWS)
        except (pa.ArrowException, OSError) as error:
            raise _unreadable(source.uri, "parquet", error) from error

    def schema(self, source: DataObject) -> pa.Schema:
        """Columns and types of one object."""
        if self.format_of(source) != "parquet":
            return self.table(source).schema
        try:
            return parquet.ParquetFile(io.BytesIO(self.content(source))).schema_arrow.remove_metadata()
        except (pa.ArrowException, OSError) as error:
            raise _unreadable(source.uri, "parquet", error) from error

    def format_of(self, source: DataObject) -> str:
        """The object's format.

        Raises:
            BadDataError: Its name says none.
        """
        if self.data_format:
            return self.data_format
        ending = Path(source.uri).suffix.lower()
        if ending not in _ENDINGS:
            raise BadDataError(
                f"{source.uri}: the ending {ending!r} says no format; expected one of {', '.join(_ENDINGS)}, or "
                "retrain.data.format in the spec"
            )
        return _ENDINGS[ending]

    def content(self, source: DataObject) -> bytes:
        """The object's bytes."""
        if not source.uri.startswith("s3://"):
            try:
                return Path(source.uri).read_bytes()
            except OSError as error:
                raise BadDataError(f"{source.uri} cannot be read: {error.strerror}") from error
        bucket, _, key = source.uri.removeprefix("s3://").partition("/")
        return _get(_client(self.endpoint_url, self.region), bucket, key, source)


def put(uri: str, body: bytes, *, endpoint_url: str | None, region: str) -> str:
    """Write an object to S3, or a local file; returns its entity tag, empty for a file.

    Raises:
        UnavailableError: S3 does not answer.
        TrainingError: S3 refuses.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    if not uri.startswith("s3://"):
        Path(uri).parent.mkdir(parents=True, exist_ok=True)
        Path(uri).write_bytes(body)
        return ""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    try:
        answer = _client(endpoint_url, region).put_object(Bucket=bucket, Key=key, Body=body)
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] >= 500:
            raise UnavailableError(f"S3 does not take {uri}: {error}") from error
        raise TrainingError(f"S3 refuses {uri}: {error}") from error
    except BotoCoreError as error:
        raise UnavailableError(f"S3 does not take {uri}: {error}") from error
    return str(answer["ETag"]).strip('"')


_clients: dict[tuple[int, str | None, str], Any] = {}


def _client(endpoint_url: str | None, region: str) -> Any:
    """One client a process: boto3's are not carried over a fork."""
    import boto3

    known = (os.getpid(), endpoint_url, region)
    if known not in _clients:
        _clients[known] = boto3.session.Session(region_name=region).client("s3", endpoint_url=endpoint_url)
    return _clients[known]


def _get(client: Any, bucket: str, key: str, source: DataObject) -> bytes:
    from botocore.exceptions import BotoCoreError, ClientError

    condition = {"IfMatch": source.etag} if source.etag else {}
    try:
        body: bytes = client.get_object(Bucket=bucket, Key=key, **condition)["Body"].read()
    except ClientError as error:
        code, status = error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"]
        if code in {"PreconditionFailed", "412"}:
            raise BadDataError(f"{source.uri} was overwritten while this run was under way; run it again") from error
        if code in {"NoSuchKey", "404"}:
            raise BadDataError(f"{source.uri} was deleted while this run was under way; run it again") from error
        if status >= 500 or code in {"SlowDown", "Throttling"}:
            raise UnavailableError(f"S3 does not give {source.uri}: {error}") from error
        raise TrainingError(f"S3 refuses {source.uri}: {error}") from error
    except BotoCoreError as error:
        raise UnavailableError(f"S3 does not give {source.uri}: {error}") from error
    return body


def _parse(content: bytes, data_format: str, uri: str) -> pa.Table:
    try:
        if data_format == "parquet":
            return parquet.read_table(io.BytesIO(content)).replace_schema_metadata(None)
        if data_format == "csv":
            return csv.read_csv(io.BytesIO(content))
        return json.read_json(io.BytesIO(content))
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _unreadable(uri, data_format, error) from error


def _unreadable(uri: str, data_format: str, error: Exception) -> BadDataError:
    said = str(error).splitlines()[0]
    return BadDataError(f"{uri} cannot be read as {data_format}, perhaps it is half-written: {said}")


def require_columns(schema: pa.Schema, wanted: list[str], uri: str) -> None:
    """Refuse an object without the columns that are trained on.

    Raises:
        BadDataError: Columns are missing; names them and what there is, and guesses at a wrong delimiter.
    """
    missing = [name for name in wanted if name not in schema.names]
    if not missing:
        return
    hint = ""
    if len(schema.names) == 1 and any(mark in schema.names[0] for mark in ";\t|"):
        hint = "; the header looks as if another delimiter than the comma were used"
    raise BadDataError(
        f"{uri} lacks {', '.join(map(repr, missing))}; it has {', '.join(map(repr, schema.names[:30]))}{hint}"
    )


def unified(schemas: dict[str, pa.Schema], wanted: list[str]) -> pa.Schema:
    """The one schema of all objects, in the order of ``wanted``; whole numbers become decimals where one needs it.

    Raises:
        BadDataError: A column is text in one object and a number in another; both are named.
    """
    fields: dict[str, tuple[pa.DataType, str]] = {}
    for uri, schema in schemas.items():
        require_columns(schema, wanted, uri)
        for name in wanted:
            kind = _plain(schema.field(name).type)
            known, first = fields.get(name, (kind, uri))
            common = _common(known, kind)
            if common is None:
                raise BadDataError(f"column {name!r} is {known} in {first} and {kind} in {uri}: the schema has changed")
            fields[name] = (common, first)
    return pa.schema([(name, fields[name][0]) for name in wanted])


def mlflow_type(kind: pa.DataType, name: str) -> str:
    """MLflow's name of a column's type in a signature.

    Raises:
        BadDataError: A signature has no such type.
    """
    tests = {
        "string": lambda: pa.types.is_string(_plain(kind)),
        "boolean": lambda: pa.types.is_boolean(kind),
        "integer": lambda: pa.types.is_integer(kind) and kind.bit_width <= 32,
        "long": lambda: pa.types.is_integer(kind),
        "float": lambda: pa.types.is_float32(kind),
        "double": lambda: pa.types.is_float64(kind),
    }
    for found, test in tests.items():
        if test():
            return found
    raise BadDataError(f"column {name!r} is {kind}; a feature is text, a number or a truth value")


def _plain(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_dictionary(kind):
        return _plain(kind.value_type)
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return pa.string()
    if pa.types.is_timestamp(kind):
        return pa.timestamp("us", kind.tz)
    return kind


def _common(left: pa.DataType, right: pa.DataType) -> pa.DataType | None:
    if left.equals(right) or pa.types.is_null(right):
        return left
    if pa.types.is_null(left):
        return right
    numbers = [pa.types.is_integer(each) or pa.types.is_floating(each) for each in (left, right)]
    if all(numbers):
        both_whole = pa.types.is_integer(left) and pa.types.is_integer(right)
        return pa.int64() if both_whole else pa.float64()
    return None
