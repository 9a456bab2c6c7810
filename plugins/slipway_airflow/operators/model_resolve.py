"""Which model version is meant, and can it be deployed?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.amazon.aws.operators.base_aws import AwsBaseOperator
from airflow.providers.amazon.aws.utils.mixins import aws_template_fields

from slipway.registry import resolve_model_version, s3_text_reader
from slipway_airflow.hooks.mlflow_registry import MlflowRegistryHook
from slipway_airflow.hooks.slipway_aws import SlipwayAwsHook

if TYPE_CHECKING:
    from airflow.sdk import Context


class ModelResolveOperator(AwsBaseOperator[SlipwayAwsHook]):
    """Resolve an alias, a version or a run id to one version of a registered model.

    Refuses, before anything is built, what cannot be deployed: a version that is not READY, whose
    artifacts are gone, or whose MLmodel has no signature.

    .. code-block:: python

        resolve = ModelResolveOperator(task_id="resolve", model="flights-delay", version="candidate")
        show = BashOperator(task_id="show", bash_command=f"echo {resolve.output['artifact_uri']}")

    :param model: Name of the MLflow registered model. (templated)
    :param version: ``candidate`` (any alias), ``7`` (a version) or ``run:<run id>``. (templated, default: candidate)
    :param allow_missing_signature: Whether a model without signature is accepted. (default: False)
    :param mlflow_conn_id: The Airflow connection of MLflow. (templated, default: mlflow_default)
    :param aws_conn_id: The Airflow connection that may read the artifacts. (templated, default: aws_default)
    :param region_name: AWS region; the connection's when None. (templated)
    :param verify: Whether to verify TLS certificates, or the path of a CA bundle. (templated)
    :param botocore_config: Configuration of the botocore clients.
    :return: ``model``, ``version`` (a number), ``run_id``, ``artifact_uri``, ``aliases``, ``metrics``.
    """

    aws_hook_class = SlipwayAwsHook
    template_fields = aws_template_fields("model", "version", "mlflow_conn_id")

    def __init__(
        self,
        *,
        model: str,
        version: str = "candidate",
        allow_missing_signature: bool = False,
        mlflow_conn_id: str = MlflowRegistryHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**{"multiple_outputs": True, **kwargs})
        self.model = model
        self.version = version
        self.allow_missing_signature = allow_missing_signature
        self.mlflow_conn_id = mlflow_conn_id

    def execute(self, context: Context) -> dict[str, Any]:
        """Resolve the version and check that it can be deployed."""
        resolved = resolve_model_version(
            MlflowRegistryHook(self.mlflow_conn_id).client,
            self.model,
            self.version,
            read_text=s3_text_reader(self.hook.client("s3")),
            allow_missing_signature=self.allow_missing_signature,
        )
        self.log.info("%s %r is version %s at %s", self.model, self.version, resolved.version, resolved.artifact_uri)
        return {
            "model": resolved.model,
            "version": resolved.version,
            "run_id": resolved.run_id,
            "artifact_uri": resolved.artifact_uri,
            "aliases": list(resolved.aliases),
            "metrics": resolved.metrics,
        }
