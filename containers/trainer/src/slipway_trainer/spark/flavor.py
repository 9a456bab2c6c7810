"""Models of Spark as MLflow keeps them, saved and loaded through the folder that a cluster shares.

MLflow's own way asks the driver's Java machine, which a client of Spark Connect has not, and has executors read what
only the driver's machine holds. The files are the same.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from slipway_trainer.spark.shared import SharedFolder
from slipway_trainer.spark.shared_objects import SharedObjects


def flavor(shared: SharedFolder | SharedObjects) -> Any:
    """What ``mlflow.models.Model.log`` needs in place of ``mlflow.spark``: the same files, saved without Java here."""

    def save_model(
        spark_model: Any, path: str, mlflow_model: Any, validate_serving_input: bool = False, **given: Any
    ) -> None:
        import mlflow.spark
        from pyspark.ml import PipelineModel

        model = spark_model if isinstance(spark_model, PipelineModel) else PipelineModel([spark_model])
        folder = Path(path)
        folder.mkdir(parents=True, exist_ok=True)
        shared.save(model, folder / "sparkml")
        mlflow.spark._save_model_metadata(
            dst_dir=path, spark_model=model, mlflow_model=mlflow_model, conda_env=None, code_paths=None, **given
        )

    return SimpleNamespace(__name__="mlflow.spark", FLAVOR_NAME="spark", save_model=save_model)


def pyfunc_model(session: Any, saved: Any, fitted: Any) -> Any:
    """The model as ``mlflow.pyfunc`` has it, over this session.

    Args:
        session: The session.
        saved: Its ``SavedModel``.
        fitted: The pipeline that was loaded of it.
    """
    import mlflow.spark
    from mlflow.pyfunc import PyFuncModel

    return PyFuncModel(saved.info, mlflow.spark._PyFuncModelWrapper(session, fitted, saved.info.signature))
