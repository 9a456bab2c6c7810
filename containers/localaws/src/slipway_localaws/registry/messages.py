"""What goes to and from the registry."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import BinaryIO

from slipway_localaws.aws_protocol import Environ
from slipway_localaws.registry.tokens import Grant


class RegistryError(Exception):
    """An error as the registry protocol words it."""

    def __init__(self, status: int, code: str, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.headers = headers or {}


@dataclass(slots=True)
class Request:
    """One request to the registry."""

    method: str
    environ: Environ
    query: dict[str, str]
    base_url: str
    grant: Grant
    name: str = ""

    @property
    def body(self) -> BinaryIO:
        """The request's body."""
        stream: BinaryIO = self.environ["wsgi.input"]
        return stream

    @property
    def length(self) -> int:
        """Size of the body in bytes."""
        return int(self.environ.get("CONTENT_LENGTH") or 0)


@dataclass(slots=True)
class Answer:
    """What is sent back, and what the journal calls it."""

    action: str
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: Iterable[bytes] = ()
    resource: str = ""
