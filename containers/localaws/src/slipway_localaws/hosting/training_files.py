"""What a training container finds below ``/opt/ml``, and what is taken away from there.

https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-training-algo-running-container.html
https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-training-algo-output.html
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from moto.core.exceptions import ServiceException
from moto.s3.models import s3_backends

from slipway_localaws.hosting.model_data import objects_at
from slipway_localaws.hosting.scoped_path import UnsafePathError, lexical
from slipway_localaws.patching import MOTO_LOCK

_FAILURE_CHARACTERS = 1024


class TrainingDataError(RuntimeError):
    """What the job names in S3 is not there, or cannot be written; the message is its FailureReason."""


def lay_out(ml: Path, request: Mapping[str, Any], account: str) -> None:
    """Make the folders of a container, with its configuration and its channels.

    Args:
        ml: stands for ``/opt/ml``.
        request: the CreateTrainingJob request.
        account: whose buckets.

    Raises:
        TrainingDataError: a channel has no object, or one whose name leads elsewhere.
    """
    for folder in ("input/config", "input/data", "model", "output/data", "code"):
        (ml / folder).mkdir(parents=True, exist_ok=True)
    channels = request.get("InputDataConfig") or []
    resources = {
        "current_host": "algo-1",
        "current_instance_type": request["ResourceConfig"].get("InstanceType", ""),
        "hosts": ["algo-1"],
        "network_interface_name": "lo",
    }
    described = {
        each["ChannelName"]: {
            "TrainingInputMode": each.get("InputMode") or request["AlgorithmSpecification"]["TrainingInputMode"],
            "S3DistributionType": "FullyReplicated",
            "RecordWrapperType": each.get("RecordWrapperType", "None"),
        }
        for each in channels
    }
    for name, content in (
        ("hyperparameters", request.get("HyperParameters") or {}),
        ("resourceconfig", resources),
        ("inputdataconfig", described),
    ):
        (ml / "input" / "config" / f"{name}.json").write_text(json.dumps(content))
    for channel in channels:
        uri = channel["DataSource"]["S3DataSource"]["S3Uri"]
        if not fetch(uri, account, ml / "input" / "data" / channel["ChannelName"]):
            raise TrainingDataError(
                f'ClientError: Data download failed:No S3 objects found under S3 URL "{uri}" given in input data '
                "source. Please ensure that the bucket exists in the selected region and that objects exist under "
                "that S3 prefix."
            )


def fetch(uri: str, account: str, folder: Path) -> int:
    """Copy the objects below a prefix into a folder; returns how many.

    Raises:
        TrainingDataError: a name leads out of the folder.
    """
    bucket, _, name = uri.partition("://")[2].partition("/")
    found = objects_at(account, bucket, name, exact=False)
    folder.mkdir(parents=True, exist_ok=True)
    for key in found:
        try:
            relative = lexical(key.name[len(name) :].lstrip("/") or Path(key.name).name)
        except UnsafePathError as error:
            raise TrainingDataError(f"ClientError: Data download failed: {error}") from error
        if key.name.endswith("/"):
            continue
        place = folder / relative
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(key.value)
    return len(found)


def take_away(ml: Path, uri: str, account: str) -> None:
    """Upload ``model.tar.gz`` and ``output.tar.gz`` of what the container left.

    Args:
        ml: stands for ``/opt/ml``.
        uri: folder of the job's output in S3.
        account: whose bucket.

    Raises:
        TrainingDataError: there is no such bucket.
    """
    for name, folder in (("model", ml / "model"), ("output", ml / "output" / "data")):
        if any(folder.iterdir()):
            put(f"{uri}/{name}.tar.gz", _packed(folder), account)


def put_folder(folder: Path, uri: str, account: str) -> None:
    """Upload every file of a folder.

    Raises:
        TrainingDataError: there is no such bucket.
    """
    for file in sorted(folder.rglob("*")):
        if file.is_file() and not file.is_symlink():
            put(f"{uri.rstrip('/')}/{file.relative_to(folder).as_posix()}", file.read_bytes(), account)


def put(uri: str, body: bytes, account: str) -> None:
    """Write an object.

    Raises:
        TrainingDataError: there is no such bucket.
    """
    bucket, _, key = uri.partition("://")[2].partition("/")
    try:
        with MOTO_LOCK:
            s3_backends[account]["aws"].put_object(bucket, key, body)
    except ServiceException as error:
        raise TrainingDataError(f"ClientError: Artifact upload failed: {error}") from error


def failure_text(ml: Path) -> str:
    """What the container wrote about its failure."""
    file = ml / "output" / "failure"
    return file.read_text(errors="replace")[:_FAILURE_CHARACTERS] if file.is_file() else ""


def _packed(folder: Path) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        for each in sorted(folder.iterdir()):
            archive.add(each, each.name)
    return content.getvalue()
