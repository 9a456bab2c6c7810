"""Engines: what turns a request into an answer. Which one serves a model is decided when its image is built."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pathlib import Path

    from slipway_serving.message import Request, Response


class Engine(Protocol):
    """What the server asks of an engine."""

    name: str

    def answer(self, request: Request) -> Response:
        """Score one request; raise ``RequestError`` for what cannot be scored."""
        ...

    def runs_inline(self, body_bytes: int) -> bool:
        """Whether a body of that many bytes is scored so fast that the event loop may wait for it."""
        ...


def load_engine(model_dir: Path) -> Engine:
    """Load the model.

    Parameters
    ----------
    model_dir
        Folder with ``MLmodel``.

    Returns
    -------
    Engine
        The engine, ready to answer.
    """
    from slipway_serving.engines.pyfunc import PyfuncEngine

    return PyfuncEngine(model_dir)
