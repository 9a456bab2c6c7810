"""What becomes of MLflow's failures; registering for real is tested with a server."""

from __future__ import annotations

from typing import Any

import pytest

from slipway import errors
from slipway.training.registration import find_or_register


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (401, b"You are not authenticated.", errors.AccessDeniedError),
        (403, b'{"error_code": "PERMISSION_DENIED", "message": "no"}', errors.AccessDeniedError),
        (400, b'{"error_code": "INVALID_PARAMETER_VALUE", "message": "odd"}', errors.PermanentError),
        (502, b"<html>Bad gateway</html>", errors.ModelRegistryUnavailableError),
    ],
)
def test_only_an_outage_is_tried_again(answering: Any, status: int, body: bytes, expected: type[Exception]) -> None:
    with pytest.raises(expected, match="flights-delay") as caught:
        find_or_register(answering(status, body), "flights-delay", run_id="r", model_uri="models:/m-1", tags={})
    assert type(caught.value) is expected
