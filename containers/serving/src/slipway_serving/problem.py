"""Error answers, in the shape that MLflow's scoring server gives them."""

from __future__ import annotations

import orjson

from slipway_serving.message import Response

MAX_MESSAGE = 2000


def problem(status: int, code: str, message: str) -> Response:
    """Return an error answer.

    Parameters
    ----------
    status
        HTTP status.
    code
        MLflow's error code, e.g. ``BAD_REQUEST``.
    message
        What was found and expected; cut at ``MAX_MESSAGE`` characters, because MLflow quotes the whole input.
    """
    if len(message) > MAX_MESSAGE:
        message = message[:MAX_MESSAGE] + "…"
    document = {"error_code": code, "message": message.encode("utf-8", "replace").decode()}
    return Response(status, orjson.dumps(document))
