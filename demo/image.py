"""What files a release's image is made of, read back from the registry layer by layer."""

from __future__ import annotations

import re
import tarfile
import tempfile
from pathlib import Path

from demo.stage import Stage
from slipway.images.ecr import ecr_registry
from slipway.images.inspection import inspect_image
from slipway.release import Release

_JVM = re.compile(r"(^|/)(bin/java|libjvm\.so|[^/]+\.jar|py4j/__init__\.py|(?<!mlflow/)pyspark/__init__\.py)$")


def is_jvm(name: str) -> bool:
    """Whether a file's name is one of a Java runtime's or of Spark's; MLflow's own modules about Spark are not."""
    return _JVM.search(name) is not None


def jvm_files(stage: Stage, release: Release) -> list[str]:
    """Files of a Java runtime or of Spark in an image; every layer is fetched and listed.

    Args:
        stage: The running stack.
        release: The release whose image is meant.
    """
    place, _, digest = release.image_uri.partition("@")
    repository = place.partition("/")[2]
    registry, _ = ecr_registry(stage.aws("ecr"), repository)
    found: list[str] = []
    with tempfile.TemporaryDirectory(prefix="slipway-layers-") as folder:
        for layer in inspect_image(registry, repository, digest).layers:
            path = Path(folder) / "layer"
            registry.download_blob(repository, layer.digest, path, size=layer.size)
            with tarfile.open(path, "r:*") as archive:
                found += [name for name in archive.getnames() if is_jvm(name)]
    return found
