"""MLflow's model registry behind an Airflow connection."""

from __future__ import annotations

import os
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

from airflow.sdk import BaseHook

if TYPE_CHECKING:
    from airflow.sdk import Connection
    from mlflow import MlflowClient

# Airflow retries the task: the client itself is to give up within half a minute, not after the four minutes
# of MLflow's default, and is to send no usage reports from a production system. Both yield to the environment.
CLIENT_DEFAULTS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}


class MlflowRegistryHook(BaseHook):
    """Connects to an MLflow tracking server and its model registry.

    The connection is of type HTTP: host (a name, or a whole URL), port, schema (``http`` or
    ``https``), login and password for basic authentication. Its extra may hold ``token`` (bearer
    authentication), ``path`` (when the server lives below a prefix) and ``verify`` (false, or the
    path of a CA bundle). Credentials are given to this client only, never to the process's
    environment.

    :param mlflow_conn_id: The Airflow connection. (default: mlflow_default)
    """

    conn_name_attr = "mlflow_conn_id"
    default_conn_name = "mlflow_default"
    conn_type = "http"
    hook_name = "MLflow"

    def __init__(self, mlflow_conn_id: str = default_conn_name, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.mlflow_conn_id = mlflow_conn_id

    @cached_property
    def connection(self) -> Connection:
        """The Airflow connection."""
        return self.get_connection(self.mlflow_conn_id)

    @cached_property
    def tracking_uri(self) -> str:
        """URL of the server, without credentials."""
        connection = self.connection
        host = connection.host or "localhost"
        if "://" not in host:
            host = f"{connection.schema or 'http'}://{host}"
        port = f":{connection.port}" if connection.port else ""
        path = str(connection.extra_dejson.get("path", "")).strip("/")
        return f"{host.rstrip('/')}{port}" + (f"/{path}" if path else "")

    @cached_property
    def client(self) -> MlflowClient:
        """The MLflow client; importing MLflow takes seconds, so it is made when first asked for."""
        for name, value in CLIENT_DEFAULTS.items():
            os.environ.setdefault(name, value)
        from mlflow import MlflowClient

        client = MlflowClient(tracking_uri=self.tracking_uri, registry_uri=self.tracking_uri)
        self._authenticate(client)
        return client

    def get_conn(self) -> MlflowClient:
        """Return the MLflow client."""
        return self.client

    def _authenticate(self, client: MlflowClient) -> None:
        from mlflow.utils.rest_utils import MlflowHostCreds

        extra = self.connection.extra_dejson
        verify = extra.get("verify", True)
        credentials = cast("Any", MlflowHostCreds)(
            self.tracking_uri,
            username=self.connection.login or None,
            password=self.connection.password or None,
            token=extra.get("token"),
            ignore_tls_verification=verify is False,
            server_cert_path=verify if isinstance(verify, str) else None,
        )
        # MLflow takes credentials from the process environment, which child processes inherit, or from its stores.
        for store in (client._tracking_client.store, cast("Any", client)._get_registry_client().store):
            store.get_host_creds = lambda: credentials
