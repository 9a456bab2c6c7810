"""The tokens of ECR's GetAuthorizationToken: signed, for one account and region, good for twelve hours."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from dataclasses import dataclass

#: https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_GetAuthorizationToken.html
TOKEN_SECONDS = 12 * 3600


class InvalidTokenError(ValueError):
    """Not a token of this registry, or no longer one."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What a token lets its bearer use."""

    account: str
    region: str
    expires_at: float


class TokenSigner:
    """Makes and checks tokens.

    Args:
        key: the signing key.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key

    def issue(self, account: str, region: str, *, seconds: float = TOKEN_SECONDS) -> tuple[str, float]:
        """A token, and when it expires (seconds since the epoch)."""
        expires_at = float(int(time.time() + seconds))
        payload = json.dumps({"account": account, "region": region, "expires_at": expires_at}).encode()
        return f"{_encode(payload)}.{_encode(self._sign(payload))}", expires_at

    def check(self, token: str) -> Grant:
        """What a token grants.

        Raises:
            InvalidTokenError: it is not ours, or has expired.
        """
        try:
            payload, signature = (_decode(part) for part in token.split("."))
        except ValueError:
            raise InvalidTokenError("not a token of this registry") from None
        if not hmac.compare_digest(signature, self._sign(payload)):
            raise InvalidTokenError("not a token of this registry")
        grant = Grant(**json.loads(payload))
        if grant.expires_at <= time.time():
            raise InvalidTokenError("Your authorization token has expired. Reauthenticate and try again.")
        return grant

    def check_basic(self, header: str) -> Grant:
        """What an ``Authorization: Basic`` header grants (user ``AWS``, the token as password).

        Raises:
            InvalidTokenError: the header is missing or malformed, or its token is not good.
        """
        scheme, _, credentials = header.partition(" ")
        if scheme.lower() != "basic":
            raise InvalidTokenError("no basic auth credentials")
        try:
            user, _, password = base64.b64decode(credentials, validate=True).decode().partition(":")
        except ValueError:
            raise InvalidTokenError("malformed basic auth credentials") from None
        if user != "AWS":
            raise InvalidTokenError("the user name must be AWS")
        return self.check(password)

    def _sign(self, payload: bytes) -> bytes:
        return hmac.new(self._key, payload, hashlib.sha256).digest()


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
