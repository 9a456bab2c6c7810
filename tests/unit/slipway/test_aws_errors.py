"""AWS's errors become Slipway's, each in the class that says whether a retry helps."""

from __future__ import annotations

import boto3
import pytest
from botocore import exceptions as aws
from botocore.config import Config
from botocore.retries.standard import ThrottledRetryableChecker, TransientRetryableChecker
from hypothesis import given
from hypothesis import strategies as st

from slipway import errors
from slipway.aws_errors import aws_call, error_code, error_message, is_capacity_reason, translate


def client_error(code: str, message: str = "words", status: int = 400) -> aws.ClientError:
    response = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return aws.ClientError(response, "SomeOperation")


@pytest.mark.parametrize("code", ThrottledRetryableChecker._THROTTLED_ERROR_CODES)
def test_every_code_that_botocore_calls_throttling_is_throttling_here(code: str) -> None:
    assert isinstance(translate(client_error(code), what="x"), errors.ThrottledError)


@pytest.mark.parametrize("status", TransientRetryableChecker._TRANSIENT_STATUS_CODES)
def test_every_status_that_botocore_calls_transient_is_transient_here(status: int) -> None:
    error = translate(client_error("Whatever", status=status), what="x", unavailable=errors.StorageUnavailableError)
    assert isinstance(error, errors.StorageUnavailableError)


@pytest.mark.parametrize(
    ("code", "message", "status", "expected"),
    [
        ("SlowDown", "", 503, errors.ThrottledError),
        ("ExpiredToken", "The provided token has expired.", 400, errors.AccessDeniedError),
        ("ExpiredTokenException", "", 403, errors.AccessDeniedError),
        ("AccessDenied", "", 403, errors.AccessDeniedError),
        ("403", "Forbidden", 403, errors.AccessDeniedError),
        ("InvalidClientTokenId", "", 403, errors.AccessDeniedError),
        ("ResourceLimitExceeded", "The account-level service limit is 0", 400, errors.CapacityError),
        ("InsufficientCapacityException", "", 400, errors.CapacityError),
        ("PreconditionFailed", "", 412, errors.StateConflictError),
        ("ConditionalRequestConflict", "", 409, errors.StateConflictError),
        ("NoSuchUpload", "", 404, errors.StateConflictError),
        ("ServiceUnavailable", "", 503, errors.AwsUnavailableError),
        ("RequestTimeout", "", 400, errors.AwsUnavailableError),
        ("ValidationException", 'Could not find endpoint "arn:x".', 400, errors.EndpointMissingError),
        ("ValidationException", 'Could not find endpoint configuration "arn:x".', 400, errors.PermanentError),
        ("ValidationException", 'Cannot update in-progress endpoint "arn:x".', 400, errors.EndpointBusyError),
        ("ValidationException", "1 validation error detected", 400, errors.PermanentError),
        ("NoSuchBucket", "The specified bucket does not exist", 404, errors.PermanentError),
    ],
)
def test_answers_of_aws(code: str, message: str, status: int, expected: type[errors.SlipwayError]) -> None:
    error = translate(client_error(code, message, status), what="do this")
    assert type(error) is expected
    assert str(error).startswith(f"Cannot do this: {code}")
    assert message in str(error)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (aws.NoCredentialsError(), errors.AccessDeniedError),
        (aws.PartialCredentialsError(provider="env", cred_var="x"), errors.AccessDeniedError),
        (aws.EndpointConnectionError(endpoint_url="http://h"), errors.AwsUnavailableError),
        (aws.ReadTimeoutError(endpoint_url="http://h"), errors.AwsUnavailableError),
        (aws.ConnectTimeoutError(endpoint_url="http://h"), errors.AwsUnavailableError),
        (aws.ConnectionClosedError(endpoint_url="http://h"), errors.AwsUnavailableError),
        (aws.IncompleteReadError(actual_bytes=1, expected_bytes=2), errors.AwsUnavailableError),
        (aws.NoRegionError(), errors.PermanentError),
        (aws.ParamValidationError(report="bad"), errors.PermanentError),
    ],
)
def test_errors_before_an_answer(error: Exception, expected: type[errors.SlipwayError]) -> None:
    assert type(translate(error, what="x")) is expected


def test_a_slipway_error_passes_untouched() -> None:
    own = errors.LeaseHeldError("held")
    assert translate(own, what="x") is own
    with pytest.raises(errors.LeaseHeldError), aws_call("x"):
        raise own


def test_the_original_stays_as_the_cause() -> None:
    original = client_error("SlowDown")
    with pytest.raises(errors.ThrottledError) as caught, aws_call("list models"):
        raise original
    assert caught.value.__cause__ is original


def test_other_exceptions_are_not_swallowed() -> None:
    with pytest.raises(KeyError), aws_call("x"):
        raise KeyError("bug")


def test_a_failed_upload_is_translated_by_what_stopped_it(tmp_path) -> None:  # type: ignore[no-untyped-def]
    s3 = boto3.client(
        "s3",
        endpoint_url="http://127.0.0.1:9",
        region_name="us-east-1",
        aws_access_key_id="a",
        aws_secret_access_key="b",
        config=Config(retries={"total_max_attempts": 1}, connect_timeout=1),
    )
    file = tmp_path / "f"
    file.write_bytes(b"x")
    with (
        pytest.raises(errors.StorageUnavailableError, match="Cannot upload f"),
        aws_call("upload f", unavailable=errors.StorageUnavailableError),
    ):
        s3.upload_file(str(file), "bucket", "key")


@given(code=st.text(max_size=30), message=st.text(max_size=60), status=st.integers(100, 599))
def test_any_answer_becomes_exactly_one_slipway_error(code: str, message: str, status: int) -> None:
    error = translate(client_error(code, message, status), what="x")
    assert isinstance(error, errors.PermanentError | errors.TransientError)
    if status >= 500:
        assert isinstance(error, errors.TransientError | errors.AccessDeniedError | errors.CapacityError)


def test_code_and_message_of_other_errors() -> None:
    assert error_code(ValueError("x")) == ""
    assert error_message(ValueError("x")) == "x"
    assert error_code(client_error("NoSuchKey")) == "NoSuchKey"
    assert error_message(client_error("NoSuchKey", "gone")) == "gone"


def test_capacity_reasons() -> None:
    text = "Unable to provision requested ML compute capacity due to InsufficientInstanceCapacity error."
    assert is_capacity_reason(text)
    assert not is_capacity_reason("The primary container did not pass the ping health check.")
