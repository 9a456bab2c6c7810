"""Files that Spark and this process both have to see: models, which Spark itself reads and writes.

On one machine any folder will do. On a cluster ``spark.slipway.folder`` names one that every machine has under the same
path, such as a mounted network file system: the executors write parts of a model there, and this process reads them.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from slipway_trainer.job import Job
from slipway_trainer.problem import TrainingError
from slipway_trainer.s3_folder import S3Folder
from slipway_trainer.spark.shared_objects import SharedObjects

PROPERTY = "spark.slipway.folder"


def shared_place(job: Job, workdir: Path) -> SharedFolder | SharedObjects:
    """What a training shares with Spark's machines: a folder of theirs, or one in S3 when Spark was submitted to.

    Args:
        job: The job.
        workdir: What is taken when the job names nothing.

    Raises:
        TrainingError: There is no such folder, or it cannot be written to.
    """
    named = job.spark.get(PROPERTY, "")
    if job.submitted and named.startswith("s3://"):
        return SharedObjects(S3Folder(named, job.region, job.s3_endpoint_url))
    return SharedFolder(job.spark, workdir)


class SharedFolder:
    """A folder of this training alone.

    Args:
        configuration: Spark properties; ``spark.slipway.folder`` names the folder around it.
        workdir: What is taken without that.

    Raises:
        TrainingError: There is no such folder, or it cannot be written to.
    """

    def __init__(self, configuration: Mapping[str, str], workdir: Path) -> None:
        named = configuration.get(PROPERTY)
        self._made: Path | None = None
        if named is None:
            self.path = workdir
            return
        around = Path(named.removeprefix("file://"))
        if not around.is_absolute() or not around.is_dir():
            raise TrainingError(f"{PROPERTY} is {named!r}; expected a folder that is there, such as /mnt/shared/spark")
        try:
            self.path = self._made = Path(tempfile.mkdtemp(prefix="slipway-", dir=around))
            self.path.chmod(0o777)  # executors may run as other users
        except OSError as error:
            raise TrainingError(f"{PROPERTY}: {around} cannot be written to: {error.strerror}") from error

    def given(self, folder: Path) -> str:
        """The address under which Spark reads a folder of this machine."""
        if self._made is None:
            return folder.as_uri()
        place = self.path / f"given-{len(list(self.path.iterdir()))}"
        shutil.copytree(folder, place)
        return place.as_uri()

    def save(self, stage: Any, folder: Path) -> None:
        """Have Spark write a pipeline, and bring it into a folder of this machine.

        Args:
            stage: A pipeline, or a fitted one.
            folder: Is not there yet.

        Raises:
            TrainingError: What Spark wrote is not here.
        """
        place = folder if self._made is None else self.path / f"saved-{len(list(self.path.iterdir()))}"
        stage.write().overwrite().save(place.as_uri())
        if not any((place / "metadata").glob("part-*")):
            raise TrainingError(
                f"Spark has written a model to {place}, and it is not there on this machine; name a folder that all "
                f"machines of the cluster share as {PROPERTY}"
            )
        if place != folder:
            shutil.copytree(place, folder)

    def close(self) -> None:
        """Remove it."""
        if self._made is not None:
            shutil.rmtree(self._made, ignore_errors=True)
