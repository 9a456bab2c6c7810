"""What the AWS stand-in was asked: the proof of what a run changed, and what it left alone."""

from __future__ import annotations

from typing import Any

import requests

from demo.stack import StackSettings


def position(settings: StackSettings) -> int:
    """The number that the next request will get."""
    return int(_page(settings, since=2**62)["next"])


def changes(settings: StackSettings, since: int) -> list[str]:
    """Every request from that number on that creates, changes or deletes something, as ``service:Action resource``.

    Uploads to the image registry are among them, so a blob that was sent again would show.
    """
    return [
        f"{entry['service']}:{entry['action']} {entry['resource']}".strip()
        for entry in _page(settings, since=since)["entries"]
        if entry["mutating"]
    ]


def _page(settings: StackSettings, since: int) -> dict[str, Any]:
    response = requests.get(f"{settings.aws_url}/_localaws/journal", params={"since": since}, timeout=30)
    response.raise_for_status()
    page: dict[str, Any] = response.json()
    return page
