"""The one place where AWS clients are made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook

from slipway.aws_errors import aws_call
from slipway.errors import InvalidInputError

WAITERS = Path(__file__).parents[1] / "waiters" / "endpoint.json"


class SlipwayAwsHook(AwsBaseHook):
    """Clients of every AWS service that Slipway calls, from one Airflow connection.

    Credentials, assumed roles, the region, TLS verification and endpoint URLs all come from the
    connection, for each client alike. The hook itself is a SageMaker hook, with Slipway's own
    waiters in place of the provider's.

    :param aws_conn_id: The Airflow connection used for AWS credentials. (default: aws_default)
    :param region_name: AWS region; the connection's when None.
    :param verify: Whether to verify TLS certificates, or the path of a CA bundle.
    :param config: Configuration of the botocore clients, as a dict or a ``botocore.config.Config``.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs["client_type"] = "sagemaker"
        super().__init__(*args, **kwargs)
        self._clients: dict[tuple[str, str | None], Any] = {}

    @property
    def waiter_path(self) -> Path:
        """Slipway's waiter file; the provider's own SageMaker waiters are not used."""
        return WAITERS

    def client(self, service: str, region_name: str | None = None) -> Any:
        """Return the client of an AWS service.

        :param service: botocore's name of the service, e.g. ``s3`` or ``sagemaker-runtime``.
        :param region_name: Another region than the hook's.
        :return: A boto3 client; the same one at each call.
        :raises SlipwayError: the role of the connection cannot be assumed, now or at all.
        """
        key = (service, region_name)
        if key not in self._clients:
            with aws_call(f"use the connection {self.aws_conn_id}"):
                self._clients[key] = self._hook_of(service, region_name).get_client_type()
        return self._clients[key]

    @property
    def account_id(self) -> str:
        """The account that the connection leads to; STS is asked at each call.

        :raises SlipwayError: STS does not answer or refuses.
        """
        with aws_call(f"ask to which account the connection {self.aws_conn_id} leads"):
            return str(super().account_id)

    def endpoint_url(self, service: str) -> str | None:
        """Return the URL that the connection sets for a service, or None for AWS's own."""
        return self.conn_config.get_service_endpoint_url(service)

    def fill(self, text: str) -> str:
        """Fill in ``{account_id}`` and ``{region}``.

        :param text: For example ``slipway-{account_id}-{region}``.
        :return: The text with the connection's account and region; STS is asked only when the
            account is wanted.
        """
        if "{account_id}" in text:
            text = text.replace("{account_id}", self.account_id)
        return text.replace("{region}", self.conn_region_name)

    def _hook_of(self, service: str, region_name: str | None) -> AwsBaseHook:
        return AwsBaseHook(
            aws_conn_id=self.aws_conn_id,
            region_name=region_name or self._region_name,
            verify=self._verify,
            config=self._config,
            client_type=service,
        )


def split_s3_uri(uri: str) -> tuple[str, str]:
    """Split ``s3://bucket/key`` into bucket and key.

    :raises InvalidInputError: it is not an S3 URI.
    """
    scheme, separator, rest = uri.partition("://")
    bucket, _, key = rest.partition("/")
    if not separator or scheme != "s3" or not bucket:
        raise InvalidInputError(f"Expected s3://bucket/key, found {uri!r}. Slipway deploys artifacts that lie in S3.")
    return bucket, key
