"""What a chapter plays on: the running stack, its clients, and the display."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from demo.display import Display
from demo.errors import ChapterFailedError
from demo.stack import StackSettings, account

if TYPE_CHECKING:
    from mlflow import MlflowClient

_QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}


@dataclass(frozen=True)
class Stage:
    """A running stack and the clients of somebody who uses it.

    Args:
        settings: Where the stack is.
        display: Where to show what happens.
    """

    settings: StackSettings
    display: Display

    def aws(self, service: str, **config: Any) -> Any:
        """A plain boto3 client of the stack's AWS; ``config`` as for ``botocore.config.Config``."""
        return account.client(self.settings, service, **config)

    @cached_property
    def mlflow(self) -> MlflowClient:
        """MLflow's client; from now on this process's ``mlflow`` works with the stack's server and S3."""
        environment = self.settings.client_environment().items()
        os.environ.update({name: value for name, value in environment if name.startswith(("AWS_", "MLFLOW_"))})
        os.environ.update(_QUIET)
        import mlflow

        logging.getLogger("mlflow").setLevel(logging.ERROR)

        mlflow.set_tracking_uri(self.settings.mlflow_url)
        mlflow.set_registry_uri(self.settings.mlflow_url)
        return mlflow.MlflowClient()

    @property
    def artifact_bucket(self) -> str:
        """The bucket of releases and state."""
        return account.artifact_bucket(self.settings)


def expect(holds: bool, otherwise: str) -> None:
    """Fails the chapter when a promise does not hold.

    Raises:
        ChapterFailedError: With the sentence ``otherwise``.
    """
    if not holds:
        raise ChapterFailedError(otherwise)
