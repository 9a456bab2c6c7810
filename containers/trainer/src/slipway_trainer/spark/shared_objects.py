"""Models between Spark and this process through S3, for a cluster whose machines share nothing else.

For a Spark that knows ``s3://`` by itself, as EMR's does: ``spark.slipway.folder`` names a folder there.
"""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

from slipway_trainer.problem import TrainingError
from slipway_trainer.s3_folder import S3Folder


class SharedObjects:
    """A folder in S3 of this training alone; the same as :class:`slipway_trainer.spark.shared.SharedFolder`.

    Args:
        around: The folder around it.
    """

    def __init__(self, around: S3Folder) -> None:
        self._folder = around.below(f"slipway-{uuid.uuid4().hex}")
        self._count = 0

    def given(self, folder: Path) -> str:
        """The address under which Spark reads a folder of this machine."""
        place = self._next("given")
        place.send(folder)
        return place.uri

    def save(self, stage: Any, folder: Path) -> None:
        """Have Spark write a pipeline, and bring it into a folder of this machine.

        Args:
            stage: A pipeline, or a fitted one.
            folder: Is not there yet.

        Raises:
            TrainingError: What Spark wrote is not there.
        """
        place = self._next("saved")
        stage.write().overwrite().save(place.uri)
        place.fetch(folder)
        if not any((folder / "metadata").glob("part-*")):
            raise TrainingError(f"Spark has written a model to {place.uri}, and it is not there")

    def close(self) -> None:
        """Remove it."""
        self._folder.remove()

    def _next(self, kind: str) -> S3Folder:
        self._count += 1
        return self._folder.below(f"{kind}-{self._count}")
