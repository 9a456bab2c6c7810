"""How a registry learns who is asking: nobody, a name and password, a token it hands out, or an ECR token.

The protocol is https://distribution.github.io/distribution/spec/auth/token/: a registry answers 401 with a challenge,
``Basic`` or ``Bearer``; for the latter the client fetches a token for a scope from the realm that is named.
"""

from __future__ import annotations

import base64
import re
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

import requests

from slipway.errors import AccessDeniedError, RegistryUnavailableError
from slipway.images.reference import is_loopback

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_CHALLENGE_FIELD = re.compile(r'(\w+)="([^"]*)"')
_TOKEN_SECONDS = 60  # what a registry promises when it names no time
_TOKEN_MARGIN_SECONDS = 10
_REFRESH_SECONDS = 30  # a token younger than this is not asked for again: the refusal has another cause


@dataclass(frozen=True)
class Credentials:
    """A registry account."""

    username: str
    password: str

    def __repr__(self) -> str:
        return f"Credentials({self.username!r}, '***')"

    @property
    def token(self) -> str:
        """Base64 of ``user:password``."""
        return base64.b64encode(f"{self.username}:{self.password}".encode()).decode()

    @property
    def basic(self) -> str:
        """Value of an ``Authorization`` header."""
        return f"Basic {self.token}"


class Authenticator(Protocol):
    """What the transport asks before a request and after a 401."""

    def header(self, scope: str) -> str | None:
        """Return the ``Authorization`` value for ``scope`` as far as it is known."""

    def learn(self, challenge: str, scope: str, refused: str | None) -> bool:
        """Take the challenge of a 401 to a request with header ``refused``; return whether to ask again."""

    def basic_token(self) -> str | None:
        """Return base64 of ``user:password``, None for an anonymous caller."""


class ChallengeAuth:
    """Answers the registry's challenges, anonymously or with an account.

    Credentials are sent only once a registry has asked for them, and never in clear text to another machine's realm.
    """

    def __init__(self, credentials: Credentials | None = None, *, session: requests.Session | None = None) -> None:
        self._credentials = credentials
        self._session = session or requests.Session()
        self._basic = False
        self._tokens: dict[str, tuple[str, float]] = {}
        self._lock = threading.Lock()

    def header(self, scope: str) -> str | None:
        """Return the ``Authorization`` value for ``scope`` as far as it is known."""
        token, until = self._tokens.get(scope, ("", 0.0))
        if token and time.monotonic() < until:
            return f"Bearer {token}"
        return self._credentials.basic if self._basic and self._credentials else None

    def learn(self, challenge: str, scope: str, refused: str | None) -> bool:
        """Take the challenge of a 401 to a request with header ``refused``; return whether to ask again."""
        kind, _, rest = challenge.partition(" ")
        with self._lock:
            if self.header(scope) != refused:  # another thread has learned it meanwhile
                return True
            if kind.lower() == "bearer":
                self._tokens[scope] = self._fetch(dict(_CHALLENGE_FIELD.findall(rest)), scope)
            elif kind.lower() == "basic" and self._credentials:
                self._basic = True
            return self.header(scope) != refused

    def basic_token(self) -> str | None:
        """Return base64 of ``user:password``, None for an anonymous caller."""
        return self._credentials.token if self._credentials else None

    def _fetch(self, challenge: Mapping[str, str], scope: str) -> tuple[str, float]:
        realm = challenge.get("realm", "")
        where = urlsplit(realm)
        if where.scheme != "https" and not is_loopback(where.netloc):
            raise AccessDeniedError(f"the registry asks to fetch a token from {realm!r}, which is not HTTPS: refused")
        headers = {"Authorization": self._credentials.basic} if self._credentials else {}
        query = {"scope": scope.split(" "), **({"service": challenge["service"]} if "service" in challenge else {})}
        try:
            answer = self._session.get(realm, params=query, headers=headers, timeout=(10, 30), allow_redirects=False)
        except requests.RequestException as error:
            raise RegistryUnavailableError(f"the registry's token service {realm} does not answer: {error}") from error
        if answer.status_code >= 500 or answer.status_code == 429:
            raise RegistryUnavailableError(f"the registry's token service {realm} answers {answer.status_code}")
        if answer.status_code != 200:
            raise AccessDeniedError(
                f"the registry's token service {realm} gives no token for {scope}: {answer.status_code}"
            )
        body = answer.json()
        lifetime = float(body.get("expires_in", _TOKEN_SECONDS)) - _TOKEN_MARGIN_SECONDS
        return str(body.get("token") or body.get("access_token") or ""), time.monotonic() + max(lifetime, 1.0)


class TokenAuth:
    """A token that somebody else hands out and renews, sent as ``Basic``: the way of Amazon ECR.

    Args:
        fetch: returns the base64 of ``user:password``. It is called at the first request and after a refusal, but at
            most every 30 seconds; expiry dates are not consulted.
    """

    def __init__(self, fetch: Callable[[], str]) -> None:
        self._fetch = fetch
        self._token: str | None = None
        self._fetched_at = 0.0
        self._lock = threading.Lock()

    def header(self, scope: str) -> str:
        """Return the ``Authorization`` value; the token is good for every scope."""
        with self._lock:
            if self._token is None:
                self._renew()
            return f"Basic {self._token}"

    def learn(self, challenge: str, scope: str, refused: str | None) -> bool:
        """Fetch a new token unless the present one is fresh."""
        with self._lock:
            if refused != f"Basic {self._token}":  # another thread has fetched one meanwhile
                return True
            if time.monotonic() - self._fetched_at < _REFRESH_SECONDS:
                return False
            self._renew()
            return True

    def basic_token(self) -> str | None:
        """Return the token."""
        return self.header("").removeprefix("Basic ")

    def _renew(self) -> None:
        self._token = self._fetch()
        self._fetched_at = time.monotonic()
