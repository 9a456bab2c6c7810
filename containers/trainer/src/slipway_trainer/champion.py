"""The champion's files on this machine, and what they say about its input."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slipway_trainer.job import Champion
from slipway_trainer.problem import TrainingError, UnavailableError

SIDECAR = "estimator"


@dataclass(frozen=True)
class SavedModel:
    """A model as MLflow saved it.

    Args:
        folder: Where its files are.
        info: MLflow's ``Model``: flavors and signature.
    """

    folder: Path
    info: Any

    @property
    def features(self) -> dict[str, str]:
        """Columns that the model is asked with, with MLflow's name of each type."""
        schema = self.info.get_input_schema()
        if schema is None or not schema.has_input_names():
            raise TrainingError(
                "the champion has no signature with named columns, so nothing says which columns are features; log it "
                "with a signature, or give the service a retrainer"
            )
        return {column["name"]: column["type"] for column in schema.to_dict()}

    @property
    def requirements(self) -> list[str]:
        """Lines of its requirements.txt."""
        path = self.folder / "requirements.txt"
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def fetch(champion: Champion, folder: Path) -> SavedModel:
    """Copy the champion's files to this machine.

    Args:
        champion: Which model.
        folder: Where to put them; made if need be.

    Raises:
        TrainingError: There is no MLflow model at that place.
        UnavailableError: The artifact store does not answer.
    """
    from mlflow.artifacts import download_artifacts
    from mlflow.models import Model

    folder.mkdir(parents=True, exist_ok=True)
    what = f"the champion, version {champion.version} at {champion.artifact_uri},"
    try:
        path = Path(download_artifacts(artifact_uri=champion.artifact_uri, dst_path=str(folder)))
        return SavedModel(path, Model.load(str(path)))
    except (ConnectionError, TimeoutError) as error:
        raise UnavailableError(f"{what} cannot be fetched: {error}") from error
    except Exception as error:
        if "EndpointConnectionError" in type(error).__name__:
            raise UnavailableError(f"{what} cannot be fetched: {error}") from error
        raise TrainingError(f"{what} cannot be fetched: {type(error).__name__}: {error}") from error
