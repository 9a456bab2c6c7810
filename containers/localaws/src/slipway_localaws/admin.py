"""``/_localaws/``: health, journal and faults."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qs

from slipway_localaws.aws_protocol import Environ
from slipway_localaws.faults import Faults, InvalidFaultError
from slipway_localaws.journal import Journal

StartResponse = Callable[..., Any]


class AdminPages:
    """The stand-in's own pages; their requests are not journaled.

    Args:
        journal: what ``/_localaws/journal`` shows.
        faults: what ``/_localaws/faults`` shows and replaces.
        health: makes the content of ``/_localaws/health``.
    """

    def __init__(self, journal: Journal, faults: Faults, health: Callable[[], dict[str, Any]]) -> None:
        self._journal = journal
        self._faults = faults
        self._health = health

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        page = environ["PATH_INFO"].removeprefix("/_localaws/").rstrip("/")
        query = {key: values[-1] for key, values in parse_qs(environ.get("QUERY_STRING", "")).items()}
        try:
            status, content = self._answer(environ["REQUEST_METHOD"], page, query, environ)
        except (InvalidFaultError, ValueError) as error:
            status, content = "400 Bad Request", {"error": str(error)}
        body = json.dumps(content, default=str).encode()
        start_response(status, [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
        return [body]

    def _answer(self, method: str, page: str, query: dict[str, str], environ: Environ) -> tuple[str, dict[str, Any]]:
        if page == "health" and method == "GET":
            return "200 OK", self._health()
        if page == "journal" and method == "GET":
            return "200 OK", self._journal_page(query)
        if page == "faults" and method in {"GET", "PUT", "DELETE"}:
            if method != "GET":
                self._faults.replace(_rules(environ) if method == "PUT" else [])
            return "200 OK", {"rules": self._faults.describe()}
        return "404 Not Found", {"error": f"no page {method} /_localaws/{page}"}

    def _journal_page(self, query: dict[str, str]) -> dict[str, Any]:
        wanted: dict[str, Any] = {key: query[key] for key in ("service", "action", "resource") if key in query}
        if "mutating" in query:
            wanted["mutating"] = query["mutating"] == "true"
        return self._journal.since(int(query.get("since", "0")), **wanted)


def _rules(environ: Environ) -> list[dict[str, Any]]:
    content = json.loads(environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0)) or b"{}")
    rules = content.get("rules") if isinstance(content, dict) else content
    if not isinstance(rules, list) or not all(isinstance(rule, dict) for rule in rules):
        raise InvalidFaultError('expected {"rules": [{"effect": …}, …]}')
    return rules
