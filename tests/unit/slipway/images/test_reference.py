from __future__ import annotations

import pytest

from slipway.errors import BaseImageError
from slipway.images.reference import DOCKER_HUB, Reference, parse_reference

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("python", Reference(DOCKER_HUB, "library/python")),
        ("python:3.11-slim", Reference(DOCKER_HUB, "library/python", "3.11-slim")),
        ("docker.io/python", Reference(DOCKER_HUB, "library/python")),
        ("bitnami/python:3.11", Reference(DOCKER_HUB, "bitnami/python", "3.11")),
        ("public.ecr.aws/docker/library/python", Reference("public.ecr.aws", "docker/library/python")),
        ("localhost/python", Reference("localhost", "python")),
        ("127.0.0.1:5000/a/b:c", Reference("127.0.0.1:5000", "a/b", "c")),
        (f"registry.example.com/a@{DIGEST}", Reference("registry.example.com", "a", digest=DIGEST)),
        (f"registry.example.com/a:1@{DIGEST}", Reference("registry.example.com", "a", "1", DIGEST)),
    ],
)
def test_names_are_read_as_docker_reads_them(text: str, expected: Reference) -> None:
    assert parse_reference(text) == expected


def test_the_digest_wins_over_the_tag() -> None:
    assert parse_reference(f"python:3.11@{DIGEST}").target == DIGEST
    assert parse_reference("python:3.11").target == "3.11"


@pytest.mark.parametrize(
    ("text", "url"), [("127.0.0.1:5000/a", "http://127.0.0.1:5000"), ("python", f"https://{DOCKER_HUB}")]
)
def test_only_loopback_is_asked_without_tls(text: str, url: str) -> None:
    assert parse_reference(text).url == url


@pytest.mark.parametrize(
    "text", ["", ":tag", "Python", "a b", "host.example.com/", "a/../b", "a@sha256:12", "a:b c", "a//b"]
)
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(BaseImageError, match="not an image name"):
        parse_reference(text)
