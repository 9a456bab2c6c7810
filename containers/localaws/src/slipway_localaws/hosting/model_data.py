"""Model artifacts that SageMaker puts into containers.

https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-inference-code.html#your-algorithms-inference-code-load-artifacts
https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_S3ModelDataSource.html
"""

from __future__ import annotations

import shutil
import tarfile
import tempfile
from pathlib import Path

from moto.core.exceptions import ServiceException
from moto.s3.models import FakeKey, s3_backends

from slipway_localaws.hosting.layers import extract_archive
from slipway_localaws.hosting.plan import ModelSource
from slipway_localaws.hosting.scoped_path import UnsafePathError, lexical
from slipway_localaws.patching import MOTO_LOCK


class ModelDataError(RuntimeError):
    """The artifacts cannot be had; the message is the endpoint's FailureReason."""


def fetch_model_data(source: ModelSource, account: str, folder: Path) -> None:
    """Copy a model's artifacts from S3.

    Args:
        source: one object (a gzipped tar), or a prefix whose objects are taken as they are.
        account: whose bucket.
        folder: where to; made when missing.

    Raises:
        ModelDataError: nothing there, no tar, or members that lead out of the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    bucket, _, name = source.uri.partition("://")[2].partition("/")
    keys = objects_at(account, bucket, name, exact=source.compressed)
    if not keys:
        raise ModelDataError(f"Could not find model data at {source.uri}.")
    try:
        for key in keys:
            if source.compressed:
                with tempfile.NamedTemporaryFile(dir=folder.parent) as archive:
                    archive.write(key.value)
                    archive.flush()
                    extract_archive(Path(archive.name), folder)
                continue
            relative = lexical(key.name[len(name) :] or Path(key.name).name)
            if relative.parts and not key.name.endswith("/"):
                target = folder / relative
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(key.value)
    except (tarfile.TarError, OSError, UnsafePathError, EOFError) as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise ModelDataError(f"Failed to extract model data archive from URL {source.uri}: {error}") from error


def objects_at(account: str, bucket: str, name: str, *, exact: bool) -> list[FakeKey]:
    """The objects of a prefix, or the one of a key; none when there is no such bucket.

    Args:
        account: whose bucket.
        bucket: the bucket.
        name: the prefix or key.
        exact: whether it is a key.
    """
    with MOTO_LOCK:
        backend = s3_backends[account]["aws"]
        try:
            found = backend.get_bucket(bucket).keys
        except ServiceException:
            return []
        if exact:
            return [found[name]] if isinstance(found.get(name), FakeKey) else []
        return [key for each, key in found.items() if each.startswith(name) and isinstance(key, FakeKey)]
