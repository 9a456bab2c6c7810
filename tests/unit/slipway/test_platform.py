from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from slipway.errors import InvalidPlatformError
from slipway.platform import SCRATCH, Platform, load_platform
from slipway.spec import project_dir


def test_the_embedded_stack_builds_on_an_empty_base(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLIPWAY_PROJECT", raising=False)
    platform = load_platform(project_dir())
    assert set(platform.base_images.values()) == {SCRATCH}
    assert {"3.11", "3.12", "3.13"} <= set(platform.base_images)
    assert platform.bucket_name("123456789012", "us-east-1") == "slipway-123456789012-us-east-1"


def test_a_role_is_enough() -> None:
    platform = Platform.model_validate({"execution_role": "arn:aws:iam::123456789012:role/sagemaker"})
    assert platform.base_images["3.12"].endswith("python:3.12-slim")
    assert platform.image_platform == "linux/amd64"
    assert platform.aws_conn_id == "aws_default"


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("artifact_bucket: b-b\n", 1, "execution_role: missing; expected IAM role"),
        ("execution_role: r\nartefact_bucket: x\n", 2, "artefact_bucket: unknown field; did you mean artifact_bucket?"),
        ("execution_role: r\nartifact_bucket: My_Bucket\n", 2, "expected the name of an S3 bucket"),
        ("execution_role: r\nartifact_bucket: a{stage}\n", 2, "expected the name of an S3 bucket"),
        ("execution_role: r\nartifact_bucket: ab\n", 2, "3 to 63 characters; filled in, this becomes ab"),
        (f"execution_role: r\nartifact_bucket: {'a' * 51}-{{account_id}}\n", 2, "filled in, this becomes"),
        ("execution_role: r\nbase_images: {}\n", 2, "expected at least 1 entry"),
        ("execution_role: r\nbase_images:\n  '3': scratch\n", 3, "a Python version in quotes"),
        ("execution_role: r\nbase_images:\n  '3.11': 'not an image'\n", 3, "expected an image such as"),
        ("execution_role: r\nimage_platform: linux/arm\n", 2, "did you mean linux/arm64?"),
        ("execution_role: r\nimage_builder: layer\n", 2, "did you mean layers?"),
        (
            "execution_role: r\nimage_builder: docker\nbase_images:\n  '3.11': scratch\n",
            4,
            "an image with Python and pip beside image_builder: docker",
        ),
        ("execution_role: r\ntags: {'AWS:x': y}\n", 2, "neither aws: nor slipway:"),
        ("[1, 2]\n", 1, "expected fields, among them execution_role"),
    ],
)
def test_what_is_refused(tmp_path: Path, text: str, line: int, words: str) -> None:
    path = tmp_path / "platform.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InvalidPlatformError) as caught:
        load_platform(tmp_path)
    (problem,) = str(caught.value).splitlines()
    assert problem.startswith(f"{path}:{line}: ")
    assert words in problem


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(InvalidPlatformError, match=r"platform\.yaml:1: cannot be read"):
        load_platform(tmp_path)


def test_a_version_as_a_key_needs_no_quotes(tmp_path: Path) -> None:
    (tmp_path / "platform.yaml").write_text("execution_role: r\nbase_images: {3.10: scratch, 3.11: scratch}\n")
    assert list(load_platform(tmp_path).base_images) == ["3.10", "3.11"]


@pytest.mark.parametrize(
    "image",
    [
        "scratch",
        "python:3.11-slim",
        "public.ecr.aws/docker/library/python:3.11-slim",
        "123456789012.dkr.ecr.eu-central-1.amazonaws.com/base@sha256:" + "0" * 64,
        "localhost:5000/base:1",
    ],
)
def test_images(image: str) -> None:
    assert Platform.model_validate({"execution_role": "r", "base_images": {"3.11": image}}).base_images == {
        "3.11": image
    }


@pytest.mark.parametrize("field", [{"ecr_repository_prefix": "Up"}, {"aws_conn_id": "a b"}, {"execution_role": "a b"}])
def test_names_are_checked(field: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Platform.model_validate({"execution_role": "r", **field})
