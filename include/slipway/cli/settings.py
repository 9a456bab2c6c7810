"""Where the command line finds Airflow, and as whom it comes; all of it from the environment.

SLIPWAY_AIRFLOW_URL        address of Airflow; without it the embedded stack on this machine
SLIPWAY_AIRFLOW_TOKEN      a token, or
SLIPWAY_AIRFLOW_USERNAME   and
SLIPWAY_AIRFLOW_PASSWORD   a user of Airflow
SLIPWAY_AIRFLOW_PORT       port of the embedded stack's Airflow, when it is not the usual one
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from slipway.errors import InvalidInputError

EMBEDDED_AIRFLOW_PORT = 28080
LOCAL_USER = "admin"
"""User and password that are tried on this machine's loopback, and nowhere else, when none are given."""

_LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class AirflowSettings:
    """Address and identity.

    Args:
        url: address of Airflow, without a '/' at its end.
        username, password: a user of Airflow; not used when there is a token.
        token: a JSON web token of Airflow.
    """

    url: str
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)

    @property
    def loopback(self) -> bool:
        """Whether Airflow is on this machine."""
        return urlsplit(self.url).hostname in _LOOPBACK


def airflow_settings(environment: Mapping[str, str]) -> AirflowSettings:
    """Read the settings.

    Raises:
        InvalidInputError: the address is none, or nobody says as whom to come to an Airflow elsewhere.
    """
    given = environment.get("SLIPWAY_AIRFLOW_URL", "").rstrip("/")
    url = given or f"http://127.0.0.1:{environment.get('SLIPWAY_AIRFLOW_PORT') or EMBEDDED_AIRFLOW_PORT}"
    if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
        raise InvalidInputError(
            f"SLIPWAY_AIRFLOW_URL is {url!r}; expected an address such as https://airflow.example.com"
        )
    settings = AirflowSettings(
        url=url,
        username=environment.get("SLIPWAY_AIRFLOW_USERNAME") or None,
        password=environment.get("SLIPWAY_AIRFLOW_PASSWORD") or None,
        token=environment.get("SLIPWAY_AIRFLOW_TOKEN") or None,
    )
    if settings.token or (settings.username and settings.password):
        return settings
    if not settings.loopback or settings.username or settings.password:
        raise InvalidInputError(
            f"Nothing says as whom to come to {url}: set SLIPWAY_AIRFLOW_TOKEN, or SLIPWAY_AIRFLOW_USERNAME and "
            "SLIPWAY_AIRFLOW_PASSWORD"
        )
    return AirflowSettings(url=url, username=LOCAL_USER, password=LOCAL_USER)
