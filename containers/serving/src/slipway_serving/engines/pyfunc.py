"""The engine that is always right: MLflow's own parsing, schema enforcement and ``pyfunc`` model.

It calls the functions of the MLflow version that is installed beside the model, so that answers and error classes
are MLflow's by construction. Faster engines hand over to this one whatever they do not cover.
"""

from __future__ import annotations

import logging
import os
from functools import partial
from typing import TYPE_CHECKING, Any

from slipway_serving import jsonlines
from slipway_serving.message import JSON, JSON_LINES, Request, RequestError, Response

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_logger = logging.getLogger(__name__)

# The server needs no tracking server and makes no calls to the network.
_QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_TRACKING_URI": "file:///nonexistent",
    "MLFLOW_REQUIREMENTS_INFERENCE_RAISE_ERRORS": "false",
}


class PyfuncEngine:
    """Scores through ``mlflow.pyfunc``.

    Parameters
    ----------
    model_dir
        Folder with ``MLmodel``.
    load
        Loads the model from that folder; by default ``mlflow.pyfunc.load_model`` does.
    """

    name = "pyfunc"
    fallbacks = 0

    def __init__(self, model_dir: Path, load: Callable[[str], Any] | None = None) -> None:
        for variable, value in _QUIET.items():
            os.environ.setdefault(variable, value)
        import mlflow.pyfunc
        from mlflow.exceptions import MlflowException
        from mlflow.pyfunc import scoring_server

        _mark_as_serving()
        self._invocations: Any = scoring_server.invocations
        self._mlflow_error = MlflowException
        load = load or partial(mlflow.pyfunc.load_model, suppress_warnings=True)
        self._model = load(str(model_dir))
        self._schema = self._model.metadata.get_input_schema()

    def answer_at_once(self, request: Request) -> Response | None:
        """Never: one row takes milliseconds here."""
        return None

    def answer(self, request: Request) -> Response:
        """Score one request in any of MLflow's forms, or in JSON lines.

        Raises
        ------
        RequestError
            With MLflow's error code and message. What MLflow would report as a server error for a body that it
            cannot handle is reported as 400: the request is at fault, the server is well.
        """
        body, content_type = request.body, request.content_type or JSON
        if content_type.partition(";")[0].strip().lower() == JSON_LINES:
            body, content_type = jsonlines.to_dataframe_json(body, self._column_names()), JSON
        try:
            result = self._invocations(body, content_type, self._model, self._schema)
        except self._mlflow_error as error:
            raise _refusal(error) from error
        except Exception as error:
            _logger.info("request refused", exc_info=True)
            raise RequestError(f"The request could not be understood: {type(error).__name__}: {error}") from error
        if result.status != 200:
            raise RequestError(result.response, result.status, "UNSUPPORTED_MEDIA_TYPE")
        return jsonlines.answer_as_asked(result.response.encode(), request.accept)

    def _column_names(self) -> list[str] | None:
        if self._schema is None or not self._schema.has_input_names():
            return None
        return list(self._schema.input_names())


def _mark_as_serving() -> None:
    """Tell MLflow that it runs in a server; models with type hints convert their input by it."""
    try:
        from mlflow.environment_variables import _MLFLOW_IS_IN_SERVING_ENVIRONMENT
    except ImportError:  # before MLflow 2.12
        return
    _MLFLOW_IS_IN_SERVING_ENVIRONMENT.set("true")  # type: ignore[no-untyped-call]


def _refusal(error: Any) -> RequestError:
    status = error.get_http_status_code()
    code = str(getattr(error, "error_code", "BAD_REQUEST"))
    if status >= 500:
        status, code = 400, "BAD_REQUEST"
    return RequestError(error.message, status, code)
