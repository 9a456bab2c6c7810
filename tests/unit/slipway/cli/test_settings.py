from __future__ import annotations

import pytest

from slipway.cli.settings import AirflowSettings, airflow_settings
from slipway.errors import InvalidInputError


def test_without_settings_it_is_the_embedded_stack() -> None:
    assert airflow_settings({}) == AirflowSettings("http://127.0.0.1:28080", "admin", "admin")
    assert airflow_settings({"SLIPWAY_AIRFLOW_PORT": "28081"}).url == "http://127.0.0.1:28081"


def test_an_airflow_elsewhere() -> None:
    given = {"SLIPWAY_AIRFLOW_URL": "https://airflow.example.com/team/", "SLIPWAY_AIRFLOW_TOKEN": "t"}
    assert airflow_settings(given) == AirflowSettings("https://airflow.example.com/team", token="t")
    user = {"SLIPWAY_AIRFLOW_USERNAME": "u", "SLIPWAY_AIRFLOW_PASSWORD": "p"}
    found = airflow_settings({"SLIPWAY_AIRFLOW_URL": "https://airflow.example.com", **user})
    assert (found.username, found.password, found.loopback) == ("u", "p", False)


def test_the_local_user_is_never_tried_elsewhere() -> None:
    with pytest.raises(InvalidInputError, match="Nothing says as whom"):
        airflow_settings({"SLIPWAY_AIRFLOW_URL": "https://airflow.example.com"})


@pytest.mark.parametrize("half", [{"SLIPWAY_AIRFLOW_USERNAME": "u"}, {"SLIPWAY_AIRFLOW_PASSWORD": "p"}])
def test_half_an_identity_is_refused(half: dict[str, str]) -> None:
    with pytest.raises(InvalidInputError, match="Nothing says as whom"):
        airflow_settings(half)


@pytest.mark.parametrize("url", ["airflow.example.com", "ftp://x", "http://", "localhost:8080"])
def test_what_is_no_address(url: str) -> None:
    with pytest.raises(InvalidInputError, match="expected an address such as"):
        airflow_settings({"SLIPWAY_AIRFLOW_URL": url})
