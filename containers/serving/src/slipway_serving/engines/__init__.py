"""Engines: what turns a request into an answer. Which one serves a model is decided when its image is built."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from slipway_serving.message import Request, Response


class Engine(Protocol):
    """What the server asks of an engine."""

    name: str
    fallbacks: int

    def answer(self, request: Request) -> Response:
        """Score one request; raise ``RequestError`` for what cannot be scored. Called from one thread at a time."""
        ...

    def answer_at_once(self, request: Request) -> Response | None:
        """Score in the event loop if that takes well under a millisecond, else return ``None``."""
        ...
