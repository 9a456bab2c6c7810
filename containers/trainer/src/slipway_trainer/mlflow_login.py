"""MLflow's credentials from a secret of AWS Secrets Manager, for a trainer that no task gives an environment to."""

from __future__ import annotations

import json
import os
from typing import Any

from slipway_trainer.problem import TrainingError, UnavailableError

USERNAME, PASSWORD, TOKEN = "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN"
_EXPECTED = 'expected a JSON object, {"username": "…", "password": "…"} or {"token": "…"}'
_LATER = {"ThrottlingException", "InternalServiceError"}


def log_in(secret: str, region: str) -> None:
    """Put a secret's credentials where MLflow looks for them: this process's environment. They are printed nowhere.

    Args:
        secret: Name or ARN of the secret.
        region: AWS region.

    Raises:
        TrainingError: There is no such secret, this role may not read it, or it holds something else.
        UnavailableError: Secrets Manager does not answer.
    """
    found = _credentials(_text(secret, region), secret)
    for name in (USERNAME, PASSWORD, TOKEN):  # MLflow prefers a user over a token: what is left over must not win
        os.environ.pop(name, None)
    os.environ.update(found)


def _credentials(text: str | None, secret: str) -> dict[str, str]:
    try:
        found = json.loads(text or "")
    except ValueError:
        found = None
    if isinstance(found, dict):
        for wanted in ({"username": USERNAME, "password": PASSWORD}, {"token": TOKEN}):
            given = {field: value for field, value in found.items() if isinstance(value, str) and value}
            if set(found) == set(given) == set(wanted):
                return {name: given[field] for field, name in wanted.items()}
    # Raised outside of the parser's error, which quotes the text.
    raise TrainingError(f"the secret {secret} holds no credentials of MLflow: {_EXPECTED}")


def _text(secret: str, region: str) -> str | None:
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

    try:
        client = boto3.session.Session(region_name=region).client("secretsmanager")
        answer: dict[str, Any] = client.get_secret_value(SecretId=secret)
    except ClientError as error:
        code, status = error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"]
        if status >= 500 or code in _LATER:
            raise UnavailableError(f"Secrets Manager does not give {secret}: {error}") from error
        if code == "ResourceNotFoundException":
            raise TrainingError(f"there is no secret {secret} in {region}, which mlflow_secret names") from error
        hint = "; the role of the training needs secretsmanager:GetSecretValue" if "AccessDenied" in code else ""
        raise TrainingError(f"Secrets Manager refuses {secret}: {error}{hint}") from error
    except NoCredentialsError as error:
        raise TrainingError(f"the secret {secret} cannot be read: there are no AWS credentials here") from error
    except BotoCoreError as error:
        raise UnavailableError(f"Secrets Manager does not give {secret}: {error}") from error
    return answer.get("SecretString")
