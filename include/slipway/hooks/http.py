"""Hooks that are asked by HTTP: one POST with JSON, answered with JSON or with nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

import requests

from slipway.errors import HookFailedError, HookUnavailableError
from slipway.hooks.exchange import HookAnswer, HookQuestion, read_answer

if TYPE_CHECKING:
    from requests.auth import AuthBase

#: An answer is a few words; more is not read.
MAX_ANSWER_BYTES = 64 * 1024
_TRY_AGAIN = frozenset({408, 425, 429})
_SHOWN_CHARACTERS = 200


def ask_http(
    url: str,
    question: HookQuestion,
    *,
    timeout_seconds: float,
    key: str,
    headers: Mapping[str, str] | None = None,
    auth: tuple[str, str] | AuthBase | None = None,
) -> HookAnswer:
    """Ask by POST. Redirects are not followed: the question, and its credentials, go where the spec says.

    Args:
        url: The address.
        question: What it is told.
        timeout_seconds: Longest silence; the caller bounds the whole.
        key: The same for each try of one question, so that a receiver may recognise it (``Idempotency-Key``).
        headers: Further headers.
        auth: Credentials.

    Returns:
        The answer. Status 2xx with an empty body is a yes.

    Raises:
        HookUnavailableError: No connection, no answer in time, 408, 425, 429 or 5xx.
        HookFailedError: Any other status, or an answer that nobody understands.
    """
    sent = {**(headers or {}), "Idempotency-Key": key, "Accept": "application/json"}
    what = f"Hook {question.hook} at {_without_query(url)}"
    try:
        with requests.post(
            url,
            json=question.to_dict(),
            headers=sent,
            auth=auth,
            timeout=timeout_seconds,
            allow_redirects=False,
            stream=True,
        ) as response:
            body = response.raw.read(MAX_ANSWER_BYTES + 1, decode_content=True)
            status = response.status_code
    except (requests.RequestException, OSError) as error:
        raise HookUnavailableError(f"{what} did not answer: {type(error).__name__}.") from error
    if status >= 500 or status in _TRY_AGAIN:
        raise HookUnavailableError(f"{what} answered {status}: {_shown(body)}")
    if not 200 <= status < 300:
        raise HookFailedError(f"{what} answered {status}: {_shown(body)}. Expected 2xx; a no is said in the JSON.")
    return read_answer(question.hook, _parse(what, body))


def _parse(what: str, body: bytes) -> object:
    if not body.strip():
        return None
    if len(body) > MAX_ANSWER_BYTES:
        raise HookFailedError(f"{what} answered more than {MAX_ANSWER_BYTES // 1024} KiB; expected a few words.")
    try:
        found: object = json.loads(body)
    except (ValueError, RecursionError):
        raise HookFailedError(f"{what} answered no JSON: {_shown(body)}") from None
    # Nothing and true say yes when a function returns them; JSON that is no object is somebody else's answer.
    return found if isinstance(found, dict) else str(found)


def _shown(body: bytes) -> str:
    text = body[:_SHOWN_CHARACTERS].decode(errors="replace")
    return "".join(c if c.isprintable() else " " for c in text) or "(nothing)"


def _without_query(url: str) -> str:
    return url.partition("?")[0]
