"""From botocore's errors to Slipway's own: the only place that knows AWS's error codes.

    SlowDown, ThrottlingException, 429 …              → ThrottledError
    ExpiredToken, AccessDenied, no credentials, 403 … → AccessDeniedError
    InsufficientCapacity…, ResourceLimitExceeded      → CapacityError
    412, 409 of a conditional write                   → StateConflictError
    SageMaker: no such endpoint / in-progress endpoint → EndpointMissingError / EndpointBusyError
    5xx, time-outs, refused or broken connections     → the caller's *UnavailableError
    anything else                                     → PermanentError

Codes are those that botocore itself retries on, plus the refusals that the AWS references of S3, STS, ECR, KMS and
SageMaker list.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from boto3.exceptions import Boto3Error
from botocore import exceptions as aws

from slipway import errors

_THROTTLED = frozenset({
    "BandwidthLimitExceeded", "EC2ThrottledException", "LimitExceededException", "PriorRequestNotComplete",
    "ProvisionedThroughputExceededException", "RequestLimitExceeded", "RequestThrottled", "RequestThrottledException",
    "SlowDown", "ThrottledException", "Throttling", "ThrottlingException", "TooManyRequestsException",
    "TransactionInProgressException", "429",
})  # fmt: skip
_DENIED = frozenset({
    "AccessDenied", "AccessDeniedException", "AuthFailure", "ExpiredToken",
    "ExpiredTokenException", "Forbidden", "IncompleteSignature", "InvalidAccessKeyId", "InvalidClientTokenId",
    "InvalidSignatureException", "InvalidToken", "KMS.AccessDeniedException", "MissingAuthenticationToken",
    "MissingAuthenticationTokenException", "NotAuthorized", "OptInRequired", "RequestExpired", "RequestTimeTooSkewed",
    "SignatureDoesNotMatch", "TokenRefreshRequired", "UnauthorizedOperation", "UnrecognizedClientException",
    "401", "403",
})  # fmt: skip
_UNAVAILABLE = frozenset({
    "InternalDependencyException", "InternalError", "InternalFailure", "InternalServerError", "InternalServerException",
    "RequestTimeout", "RequestTimeoutException", "ServerException", "ServiceUnavailable", "ServiceUnavailableException",
    "BadDigest", "XAmzContentSHA256Mismatch",  # what arrived is not what was sent
})  # fmt: skip
# An upload in parts that is gone was completed or given up by whoever else works on that object.
_CONFLICT = frozenset({"PreconditionFailed", "ConditionalRequestConflict", "412", "NoSuchUpload"})
_CAPACITY_WORDS = ("insufficientcapacity", "insufficientinstancecapacity", "insufficient capacity", "capacity error")
_NO_CREDENTIALS = (
    aws.NoCredentialsError, aws.PartialCredentialsError, aws.CredentialRetrievalError, aws.TokenRetrievalError,
    aws.NoAuthTokenError, aws.SSOError, aws.LoginError, aws.ProfileNotFound,
)  # fmt: skip
_NO_ANSWER = (aws.HTTPClientError, aws.ConnectionError, aws.IncompleteReadError)


def error_code(error: BaseException) -> str:
    """Return AWS's error code (``"NoSuchKey"``, ``"404"``), or "" when the error is not an answer of AWS."""
    if not isinstance(error, aws.ClientError):
        return ""
    return str(error.response.get("Error", {}).get("Code", ""))


def error_message(error: BaseException) -> str:
    """Return AWS's own words, or the error's text when it is not an answer of AWS."""
    if not isinstance(error, aws.ClientError):
        return str(error)
    return str(error.response.get("Error", {}).get("Message", ""))


def is_capacity_reason(text: str) -> bool:
    """Tell whether a failure's text says that AWS has no such instances just now."""
    lowered = text.lower()
    return any(word in lowered for word in _CAPACITY_WORDS)


def translate(
    error: BaseException, *, what: str, unavailable: type[errors.TransientError] = errors.AwsUnavailableError
) -> errors.SlipwayError:
    """Turn an error of boto3 or botocore into one of Slipway's.

    Args:
        error: what the client raised; one of Slipway's own comes back as it is.
        what: the attempt in words, as in "read the state of flights-prod": the message begins with
            "Cannot <what>:".
        unavailable: the class for a service that does not answer (``StorageUnavailableError`` for S3, …).

    Returns:
        The error to raise; its message carries AWS's code and words and what to do.
    """
    if isinstance(error, errors.SlipwayError):
        return error
    if isinstance(error, aws.ClientError):
        return _translate_answer(error, what, unavailable)
    if isinstance(error, _NO_CREDENTIALS):
        return errors.AccessDeniedError(
            f"Cannot {what}: no usable AWS credentials ({error}). Check the Airflow connection or the instance role."
        )
    if isinstance(error, _NO_ANSWER):
        return unavailable(f"Cannot {what}: AWS does not answer ({error}). The call may be tried again.")
    if isinstance(error, Boto3Error) and isinstance(error.__context__, aws.ClientError | aws.BotoCoreError):
        return translate(error.__context__, what=what, unavailable=unavailable)
    return errors.PermanentError(f"Cannot {what}: {type(error).__name__}: {error}")


@contextmanager
def aws_call(what: str, *, unavailable: type[errors.TransientError] = errors.AwsUnavailableError) -> Iterator[None]:
    """Run AWS calls so that only Slipway's errors leave the block; the original stays as ``__cause__``.

    Args:
        what: see `translate`.
        unavailable: see `translate`.

    Raises:
        SlipwayError: whatever `translate` makes of a boto3 or botocore error.
    """
    try:
        yield
    except (aws.BotoCoreError, aws.ClientError, Boto3Error) as error:
        raise translate(error, what=what, unavailable=unavailable) from error


def _translate_answer(
    error: aws.ClientError, what: str, unavailable: type[errors.TransientError]
) -> errors.SlipwayError:
    code, message = error_code(error), error_message(error)
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    said = f"Cannot {what}: {code or status}: {message}".rstrip(": ")
    if code in _THROTTLED or status == 429:
        return errors.ThrottledError(f"{said}. AWS asks to slow down; the call may be tried again.")
    if code in _DENIED or status in {401, 403}:
        return errors.AccessDeniedError(
            f"{said}. Check that the credentials of the Airflow connection are valid and carry this right."
        )
    if code == "ResourceLimitExceeded":
        return errors.CapacityError(f"{said}. Ask AWS for a higher quota or choose another instance type.")
    if is_capacity_reason(f"{code} {message}"):
        return errors.CapacityError(f"{said}. Try later or choose another instance type.")
    if code in _CONFLICT:
        return errors.StateConflictError(f"{said}. Somebody else wrote in between; the change may be tried again.")
    if code in _UNAVAILABLE or status >= 500:
        return unavailable(f"{said}. The call may be tried again.")
    if code == "ValidationException":
        return _translate_refusal(message, said)
    return errors.PermanentError(said)


def _translate_refusal(message: str, said: str) -> errors.SlipwayError:
    """SageMaker has one code for most refusals; only the text tells them apart."""
    lowered = message.lower()
    if "could not find endpoint" in lowered and "configuration" not in lowered:
        return errors.EndpointMissingError(said)
    if "in-progress endpoint" in lowered:
        return errors.EndpointBusyError(f"{said} Wait until the endpoint is InService.")
    return errors.PermanentError(said)
