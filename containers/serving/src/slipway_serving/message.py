"""Requests and answers as the engines see them, free of any HTTP library."""

from __future__ import annotations

from dataclasses import dataclass, field

JSON = "application/json"
JSON_LINES = "application/jsonlines"
CSV = "text/csv"


@dataclass(slots=True)
class Request:
    """One call of ``/invocations``: the body as received, its content type, the wanted answer type.

    ``explain`` is off for the self-test, which compares predictions and need not wait for contributions.
    """

    body: bytes
    content_type: str = JSON
    accept: str = ""
    explain: bool = True


@dataclass(slots=True)
class Response:
    """One answer. ``headers`` come on top of the content type."""

    status: int
    body: bytes
    content_type: str = JSON
    headers: list[tuple[str, str]] = field(default_factory=list)


class RequestError(Exception):
    """The request cannot be answered as it stands.

    Parameters
    ----------
    message
        What was found and what was expected.
    status
        HTTP status, 4xx.
    code
        MLflow's name of the error class, for clients that look at ``error_code``.
    """

    def __init__(self, message: str, status: int = 400, code: str = "BAD_REQUEST") -> None:
        super().__init__(message)
        self.status = status
        self.code = code
