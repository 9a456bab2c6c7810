"""HTTP as registries need it: authentication by challenge, patience with a bound, bodies that can be sent again."""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import urljoin

import requests
from requests.adapters import HTTPAdapter

from slipway.errors import AccessDeniedError, RegistryRefusedError, RegistryUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from slipway.images.auth import Authenticator

_SEND_BLOCK_BYTES = 1 << 20
_SPEAKS_OF = 300  # characters of an error body worth showing


@dataclass(frozen=True)
class Patience:
    """How often and how long to try: ``attempts`` in all, pauses in seconds that double up to ``longest``.

    ``connect_timeout`` bounds getting a connection, ``read_timeout`` the wait for an answer and for the other side to
    take a block of what is sent; in seconds.
    """

    attempts: int = 6
    first: float = 0.25
    longest: float = 20.0
    connect_timeout: float = 10.0
    read_timeout: float = 300.0

    def pause(self, attempt: int, retry_after: str | None) -> float:
        """Return the seconds to wait after try number ``attempt`` (from 0), some of it random."""
        if retry_after and retry_after.isdigit():
            return min(float(retry_after), self.longest)
        return min(self.first * 2.0**attempt, self.longest) * random.uniform(0.5, 1.0)


@dataclass(frozen=True)
class Body:
    """Something to send that can be opened afresh for every try. ``on_bytes`` is told the bytes sent in this try."""

    open: Callable[[], BinaryIO]
    size: int
    on_bytes: Callable[[int], None] | None = None


class _Reader:
    """A body with a length, so that it goes out in one piece, and a count of what has gone."""

    def __init__(self, file: BinaryIO, body: Body) -> None:
        self._file, self._body, self._sent = file, body, 0

    def __len__(self) -> int:
        return self._body.size

    def read(self, size: int = -1) -> bytes:
        chunk = self._file.read(size)
        self._sent += len(chunk)
        if self._body.on_bytes:
            self._body.on_bytes(self._sent)
        return chunk


class _HeaderAuth(requests.auth.AuthBase):
    """Sets the given header, and by being there keeps requests from looking into ``~/.netrc``."""

    def __init__(self, value: str | None) -> None:
        self._value = value

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._value:
            request.headers["Authorization"] = self._value
        return request


class _Adapter(HTTPAdapter):
    """Sends bodies in large blocks; urllib3's own 16 KiB cost twice the time."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs, blocksize=_SEND_BLOCK_BYTES)


class Transport:
    """Requests to one registry. May be used from many threads.

    Args:
        base_url: such as ``https://123456789012.dkr.ecr.eu-west-1.amazonaws.com``.
        auth: who we are; None sends nothing.
        patience: bounds of the retries.
        sleep: waits the given seconds; tests pass their own.
    """

    def __init__(
        self,
        base_url: str,
        auth: Authenticator | None,
        *,
        patience: Patience | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self._auth = auth
        self._patience = patience or Patience()
        self._sleep = sleep
        self._local = threading.local()

    @property
    def attempts(self) -> int:
        """How often a caller that retries something larger should do so."""
        return self._patience.attempts

    def pause(self, attempt: int) -> None:
        """Wait before the next try of something larger than one request."""
        self._sleep(self._patience.pause(attempt, None))

    def request(
        self,
        method: str,
        path: str,
        expect: Collection[int],
        *,
        scope: str,
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
        stream: bool = False,
        once: bool = False,
    ) -> requests.Response:
        """Send a request until it is answered with one of the statuses ``expect``.

        ``once`` tries a single time (an authentication round apart), for requests whose repetition needs preparation.

        Raises:
            RegistryUnavailableError: no connection, 429 or a server error, still after all tries.
            AccessDeniedError: 401 or 403.
            RegistryRefusedError: any other status.
        """
        url = urljoin(f"{self.base_url}/", path)
        attempts = 1 if once else self._patience.attempts
        for attempt in range(attempts):
            last = attempt == attempts - 1
            try:
                response = self._authenticated(method, url, scope, dict(headers or {}), body, stream)
            except RegistryUnavailableError:  # of the token service, which the authentication asks
                if last:
                    raise
                self._sleep(self._patience.pause(attempt, None))
                continue
            except requests.RequestException as error:
                if last:
                    raise RegistryUnavailableError(f"{method} {url}: {_reason(error)}") from error
                self._sleep(self._patience.pause(attempt, None))
                continue
            if response.status_code in expect:
                return response
            if not _worth_waiting(response.status_code) or last:
                raise _refusal(method, url, response)
            response.close()
            self._sleep(self._patience.pause(attempt, response.headers.get("Retry-After")))
        raise AssertionError("unreachable: the last try returns or raises")

    def _authenticated(
        self, method: str, url: str, scope: str, headers: dict[str, str], body: Body | None, stream: bool
    ) -> requests.Response:
        auth = self._auth if url.startswith(f"{self.base_url}/") else None
        sent = auth.header(scope) if auth else None
        response = self._send(method, url, sent, headers, body, stream)
        if response.status_code == 401 and auth is not None:
            response.close()
            if auth.learn(response.headers.get("WWW-Authenticate", ""), scope, sent):
                return self._send(method, url, auth.header(scope), headers, body, stream)
        return response

    def _send(
        self, method: str, url: str, authorization: str | None, headers: dict[str, str], body: Body | None, stream: bool
    ) -> requests.Response:
        patience = self._patience
        options: dict[str, Any] = {"headers": headers, "auth": _HeaderAuth(authorization), "stream": stream}
        if body is None:
            timeout = (patience.connect_timeout, patience.read_timeout)
            return self._session().request(method, url, timeout=timeout, allow_redirects=True, **options)
        # urllib3 sends under the timeout for connecting, each block under all of it: a slow line would never send one.
        timeout = (patience.read_timeout, patience.read_timeout)
        with body.open() as file:
            data = _Reader(file, body)
            return self._session().request(method, url, data=data, timeout=timeout, allow_redirects=False, **options)

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            session = requests.Session()
            for scheme in ("http://", "https://"):
                session.mount(scheme, _Adapter(pool_maxsize=1))
            self._local.session = session
        return session


def _worth_waiting(status: int) -> bool:
    return status in {408, 429} or status >= 500


def _reason(error: requests.RequestException) -> str:
    return f"{type(error).__name__}: {error}"[:_SPEAKS_OF]


def _refusal(method: str, url: str, response: requests.Response) -> Exception:
    said = f"{method} {url} answered {response.status_code}: {response.text[:_SPEAKS_OF].strip()}"
    if _worth_waiting(response.status_code):
        return RegistryUnavailableError(said)
    if response.status_code in {401, 403}:
        return AccessDeniedError(f"{said} (are the registry's credentials right and not expired?)")
    return RegistryRefusedError(said)
