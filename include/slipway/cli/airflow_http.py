"""How Airflow's REST API is spoken: identity, pages, and refusals put into one line with their cure."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import requests

from slipway.cli.settings import AirflowSettings
from slipway.errors import AccessDeniedError, AirflowRequestError, AirflowUnavailableError, InvalidParamsError

PAGE = 100
"""Entries asked for at once; also the most that Airflow gives by default."""
RETRY_PAUSES_SECONDS = (0.5, 1.0, 2.0, 4.0)
"""Pauses before what had a server error is asked again: Airflow gives one while its database is locked or restarts."""


class AirflowHttp:
    """The connection to one Airflow.

    Args:
        settings: address and identity.
        timeout_seconds: longest wait for one answer.
        sleep: waits; replaced in tests.
    """

    def __init__(
        self, settings: AirflowSettings, *, timeout_seconds: float = 30, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self.settings = settings
        self._timeout_seconds = timeout_seconds
        self._sleep = sleep
        self._token = settings.token
        self._session = requests.Session()
        # Proxies and .netrc of the environment are not for this machine's own Airflow.
        self._session.trust_env = not settings.loopback

    def pages(self, path: str, key: str, query: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Yield the entries under ``key`` of all pages of a list."""
        offset = 0
        while True:
            page = self.send("GET", path, params={**query, "limit": PAGE, "offset": offset}).get(key)
            if not isinstance(page, list):
                raise self._not_airflow()
            yield from page
            if len(page) < PAGE:
                return
            offset += PAGE

    def send(
        self, method: str, path: str, *, accept: tuple[int, ...] = (), repeatable: bool = False, **arguments: Any
    ) -> Any:
        """Send one request and return the JSON of its answer; None for a status in ``accept``.

        Args:
            method: GET, POST or PATCH.
            path: below ``/api/v2``.
            accept: statuses that are no failure.
            repeatable: whether it may be sent again after a server error, though it is no GET.
            arguments: ``params`` and ``json``, as requests takes them.

        Raises:
            AirflowUnavailableError: no answer, or a server error.
            AccessDeniedError: the user is not known, or may not do this.
            InvalidParamsError: Airflow does not take the values.
            AirflowRequestError: any other refusal, or an answer that is not Airflow's.
        """
        request = self._request if repeatable or method == "GET" else self._request_once
        response = request(method, f"/api/v2{path}", headers=self._identity(), **arguments)
        if response.status_code in (401, 403) and _is_about_token(response) and self.settings.token is None:
            self._token = None
            response = request(method, f"/api/v2{path}", headers=self._identity(), **arguments)
        if response.status_code in accept:
            return None
        self._check(response, f"{method} {path}")
        body = _body(response)
        if body is None:
            raise self._not_airflow()
        return body

    def _identity(self) -> dict[str, str]:
        if self._token is None:
            user = {"username": self.settings.username, "password": self.settings.password}
            response = self._request("POST", "/auth/token", json=user)
            if response.status_code == 401:
                raise self._denied(f"refuses the user {self.settings.username!r} and the password")
            self._check(response, "POST /auth/token")
            self._token = (_body(response) or {}).get("access_token")
            if self._token is None:
                raise self._not_airflow()
        return {"Authorization": f"Bearer {self._token}", "Accept": "application/json"}

    def _request(self, method: str, path: str, **arguments: Any) -> requests.Response:
        for pause_seconds in RETRY_PAUSES_SECONDS:
            response = self._request_once(method, path, **arguments)
            if response.status_code < 500:
                return response
            self._sleep(pause_seconds)
        return self._request_once(method, path, **arguments)

    def _request_once(self, method: str, path: str, **arguments: Any) -> requests.Response:
        url = self.settings.url
        try:
            return self._session.request(method, f"{url}{path}", timeout=self._timeout_seconds, **arguments)
        except requests.exceptions.SSLError as error:
            raise AirflowUnavailableError(f"The certificate of {url} is not trusted: {error}") from error
        except requests.exceptions.Timeout as error:
            message = f"Airflow at {url} gives no answer within {self._timeout_seconds:g} seconds; is it overloaded?"
            raise AirflowUnavailableError(message) from error
        except requests.exceptions.RequestException as error:
            cure = (
                "start the embedded stack with `make up`, or set SLIPWAY_AIRFLOW_URL" if self.settings.loopback else ""
            )
            cure = cure or "check SLIPWAY_AIRFLOW_URL and the network"
            raise AirflowUnavailableError(f"Airflow does not answer at {url}: {cure}") from error

    def _check(self, response: requests.Response, what: str) -> None:
        status, detail = response.status_code, _detail(response)
        if status < 400:
            return
        if status == 401 or _is_about_token(response):
            raise self._denied(f"does not accept the token ({detail})")
        if status == 403:
            raise AccessDeniedError(f"{self.settings.username or 'This user'} may not do this in Airflow: {detail}")
        if status in (400, 422):
            raise InvalidParamsError(detail)
        if status >= 500:
            raise AirflowUnavailableError(f"Airflow at {self.settings.url} answers {status} to {what}: {detail}")
        raise AirflowRequestError(f"Airflow answers {status} to {what}: {detail}")

    def _not_airflow(self) -> AirflowRequestError:
        return AirflowRequestError(
            f"{self.settings.url} does not answer like Airflow 3's API; check SLIPWAY_AIRFLOW_URL"
        )

    def _denied(self, what: str) -> AccessDeniedError:
        cure = "set SLIPWAY_AIRFLOW_USERNAME and SLIPWAY_AIRFLOW_PASSWORD, or a fresh SLIPWAY_AIRFLOW_TOKEN"
        stack = "; for the embedded stack: `. var/stack/env.sh`" if self.settings.loopback else ""
        return AccessDeniedError(f"Airflow at {self.settings.url} {what}; {cure}{stack}")


def _body(response: requests.Response) -> dict[str, Any] | None:
    try:
        body = response.json()
    except ValueError:
        return None
    return body if isinstance(body, dict) else None


def _detail(response: requests.Response) -> str:
    """Return Airflow's own words, on one line: a text, a mapping with a reason, or a list of findings."""
    detail = (_body(response) or {}).get("detail", response.reason)
    if isinstance(detail, list):
        detail = "; ".join(f"{'.'.join(map(str, each.get('loc', [])))}: {each.get('msg', each)}" for each in detail)
    elif isinstance(detail, dict):
        detail = detail.get("reason") or detail.get("message")
    text = str(detail).partition("\n\nFailed validating")[0]
    return " ".join(text.split())


def _is_about_token(response: requests.Response) -> bool:
    # Airflow answers 403, not 401, to a token that is expired or not its own.
    return response.status_code == 401 or (response.status_code == 403 and "JWT" in _detail(response))
