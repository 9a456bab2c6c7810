"""The registry protocol, by plain HTTP: https://docs.docker.com/registry/spec/api/ as ECR speaks it."""

from __future__ import annotations

import base64
import http.client
import json
import os
import shutil
import subprocess
import tarfile
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import tiny_image
from botocore.exceptions import ClientError
from standin import StandIn

pytestmark = pytest.mark.integration


class Registry:
    """Sends requests with a token of ECR's."""

    def __init__(self, stand_in: StandIn, repository: str) -> None:
        self.ecr = stand_in.client("ecr")
        self.repository = repository
        self.port = stand_in.port
        grant = self.ecr.get_authorization_token()["authorizationData"][0]
        assert grant["proxyEndpoint"] == stand_in.url
        self.headers = {"Authorization": f"Basic {grant['authorizationToken']}"}

    def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port)
        place = path if path.startswith("/v2") else f"/v2/{self.repository}/{path}"
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, place, body, {**self.headers, **named})
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()

    def start(self, query: str = "") -> str:
        status, headers, _ = self.ask("POST", f"blobs/uploads/{query}")
        assert status == 202
        return headers["location"].partition(f":{self.port}")[2]

    def put_blob(self, blob: bytes) -> str:
        digest = tiny_image.sha256(blob)
        assert self.ask("PUT", f"{self.start()}?digest={digest}", blob)[0] == 201
        return digest


@pytest.fixture
def registry(stand_in: StandIn, name: str) -> Registry:
    made = Registry(stand_in, f"test/{name}".lower())
    made.ecr.create_repository(repositoryName=made.repository)
    return made


def error_code(body: bytes) -> str:
    return str(json.loads(body)["errors"][0]["code"])


def test_version_check_needs_credentials(registry: Registry) -> None:
    assert registry.ask("GET", "/v2/")[:1] == (200,)
    for header in ("", "Basic !!!", "Bearer x", "Basic " + base64.b64encode(b"AWS:forged.token").decode()):
        registry.headers = {"Authorization": header}
        status, headers, body = registry.ask("GET", "/v2/")
        assert (status, error_code(body)) == (401, "UNAUTHORIZED")
        assert headers["www-authenticate"].startswith("Basic realm=")


def test_an_upload_in_one_put(registry: Registry) -> None:
    blob = os.urandom(3_000_000)
    digest = tiny_image.sha256(blob)
    assert registry.ask("HEAD", f"blobs/{digest}")[0] == 404
    location = registry.start()
    status, headers, _ = registry.ask("PUT", f"{location}?digest={digest}", blob)
    assert (status, headers["docker-content-digest"]) == (201, digest)
    status, headers, body = registry.ask("HEAD", f"blobs/{digest}")
    assert (status, headers["content-length"], body) == (200, "3000000", b"")
    assert registry.ask("GET", f"blobs/{digest}")[2] == blob
    assert registry.ask("PUT", f"{location}?digest={digest}", blob)[0] == 404, "an upload ends once"


def test_an_upload_in_chunks(registry: Registry) -> None:
    first, second = os.urandom(1000), os.urandom(500)
    digest = tiny_image.sha256(first + second)
    location = registry.start()
    status, headers, _ = registry.ask("PATCH", location, first, Content_Range="0-999")
    assert (status, headers["range"]) == (202, "0-999")
    status, headers, _ = registry.ask("PATCH", location, second, Content_Range="2000-2499")
    assert (status, headers["range"]) == (416, "0-999")
    assert registry.ask("GET", location)[:1] == (204,)
    assert registry.ask("PATCH", location, second)[0] == 202
    assert registry.ask("PUT", f"{location}?digest={digest}")[0] == 201
    assert registry.ask("GET", f"blobs/{digest}")[2] == first + second


def test_an_upload_in_one_post(registry: Registry) -> None:
    blob = b"small"
    assert registry.ask("POST", f"blobs/uploads/?digest={tiny_image.sha256(blob)}", blob)[0] == 201
    assert registry.ask("GET", f"blobs/{tiny_image.sha256(blob)}")[2] == blob


def test_a_blob_with_another_digest_is_refused(registry: Registry) -> None:
    status, _, body = registry.ask("PUT", f"{registry.start()}?digest={tiny_image.sha256(b'other')}", b"blob")
    assert (status, error_code(body)) == (400, "DIGEST_INVALID")
    assert registry.ask("HEAD", f"blobs/{tiny_image.sha256(b'blob')}")[0] == 404
    assert error_code(registry.ask("PUT", f"{registry.start()}?digest=md5:x", b"blob")[2]) == "DIGEST_INVALID"


@pytest.mark.parametrize(
    ("wanted", "expected", "extent"),
    [("bytes=2-4", b"234", "bytes 2-4/10"), ("bytes=7-", b"789", "bytes 7-9/10"), ("bytes=-2", b"89", "bytes 8-9/10"),
     ("bytes=8-99", b"89", "bytes 8-9/10")],
)  # fmt: skip
def test_ranges_of_blobs(registry: Registry, wanted: str, expected: bytes, extent: str) -> None:
    digest = registry.put_blob(b"0123456789")
    status, headers, body = registry.ask("GET", f"blobs/{digest}", Range=wanted)
    assert (status, body, headers["content-range"]) == (206, expected, extent)


def test_a_range_past_the_end(registry: Registry) -> None:
    assert registry.ask("GET", f"blobs/{registry.put_blob(b'0123')}", Range="bytes=4-")[0] == 416


def test_a_repository_that_does_not_exist(registry: Registry) -> None:
    for method, path in (("POST", "blobs/uploads/"), ("GET", "tags/list"), ("GET", "manifests/latest")):
        status, _, body = registry.ask(method, f"/v2/no/such/{path}")
        assert (status, error_code(body)) == (404, "NAME_UNKNOWN")


def test_blobs_belong_to_their_repository_and_mounting_is_opt_in(registry: Registry, name: str) -> None:
    """https://docs.aws.amazon.com/AmazonECR/latest/userguide/blob-mounting.html"""
    digest = registry.put_blob(b"shared")
    other = f"other/{name}".lower()
    registry.ecr.create_repository(repositoryName=other)
    assert registry.ask("HEAD", f"/v2/{other}/blobs/{digest}")[0] == 404
    mount = f"/v2/{other}/blobs/uploads/?mount={digest}&from={registry.repository}"
    assert registry.ask("POST", mount)[0] == 202, "without the setting it is an ordinary upload"
    registry.ecr.put_account_setting(name="BLOB_MOUNTING", value="ENABLED")
    try:
        assert registry.ask("POST", mount)[0] == 201
    finally:
        registry.ecr.put_account_setting(name="BLOB_MOUNTING", value="DISABLED")
    assert registry.ask("GET", f"/v2/{other}/blobs/{digest}")[2] == b"shared"


def push(registry: Registry, image: tiny_image.TinyImage, reference: str) -> tuple[int, dict[str, str], bytes]:
    for blob in image.blobs.values():
        registry.put_blob(blob)
    return registry.ask("PUT", f"manifests/{reference}", image.manifest, Content_Type=image.media_type)


def test_manifests_by_tag_and_digest(registry: Registry) -> None:
    image = tiny_image.build()
    status, headers, _ = push(registry, image, "v1")
    assert (status, headers["docker-content-digest"]) == (201, image.digest)
    for reference in ("v1", image.digest):
        status, headers, body = registry.ask("GET", f"manifests/{reference}")
        assert (status, body, headers["content-type"]) == (200, image.manifest, tiny_image.DOCKER_MANIFEST)
        status, headers, body = registry.ask("HEAD", f"manifests/{reference}")
        assert (status, body, headers["docker-content-digest"]) == (200, b"", image.digest)
        assert headers["content-length"] == str(len(image.manifest))
    assert error_code(registry.ask("GET", "manifests/v2")[2]) == "MANIFEST_UNKNOWN"


def test_manifests_that_are_refused(registry: Registry) -> None:
    image = tiny_image.build()
    status, _, body = registry.ask("PUT", "manifests/v1", image.manifest, Content_Type=image.media_type)
    assert (status, error_code(body)) == (400, "MANIFEST_BLOB_UNKNOWN")
    status, _, body = push(registry, image, tiny_image.sha256(b"else"))
    assert (status, error_code(body)) == (400, "DIGEST_INVALID")
    for text in (b"{", b"[]", b"{}", b'{"layers": [{}]}'):
        status, _, body = registry.ask("PUT", "manifests/v1", text, Content_Type=image.media_type)
        assert (status, error_code(body)) == (400, "MANIFEST_INVALID")


def test_tags_are_listed_in_pages(registry: Registry) -> None:
    image = tiny_image.build()
    for tag in ("b", "a", "c"):
        assert push(registry, image, tag)[0] == 201
    assert json.loads(registry.ask("GET", "tags/list")[2]) == {"name": registry.repository, "tags": ["a", "b", "c"]}
    _, headers, body = registry.ask("GET", "tags/list?n=2")
    assert json.loads(body)["tags"] == ["a", "b"]
    following = headers["link"].partition("<")[2].partition(">")[0]
    assert json.loads(registry.ask("GET", following)[2])["tags"] == ["c"]


def test_the_control_plane_sees_what_was_pushed(registry: Registry) -> None:
    """https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_ImageDetail.html"""
    image, ecr, repository = tiny_image.build(), registry.ecr, registry.repository
    push(registry, image, "v1")
    push(registry, image, "stable")
    (details,) = ecr.describe_images(repositoryName=repository)["imageDetails"]
    assert (details["imageDigest"], sorted(details["imageTags"])) == (image.digest, ["stable", "v1"])
    assert details["imageSizeInBytes"] == sum(map(len, image.blobs.values()))
    assert details["imageManifestMediaType"] == tiny_image.DOCKER_MANIFEST
    (got,) = ecr.batch_get_image(repositoryName=repository, imageIds=[{"imageTag": "v1"}])["images"]
    assert got["imageManifest"].encode() == image.manifest
    ids = ecr.list_images(repositoryName=repository)["imageIds"]
    assert sorted(each["imageTag"] for each in ids) == ["stable", "v1"]
    digests = [*image.blobs, tiny_image.sha256(b"no")]
    checked = ecr.batch_check_layer_availability(repositoryName=repository, layerDigests=digests)
    assert {each["layerDigest"] for each in checked["layers"]} == set(image.blobs)
    assert [each["failureCode"] for each in checked["failures"]] == ["MissingLayerDigest"]


def test_a_tag_moves_to_the_image_pushed_last(registry: Registry) -> None:
    first, second = tiny_image.build(), tiny_image.build(User="1000")
    push(registry, first, "latest")
    push(registry, second, "latest")
    details = registry.ecr.describe_images(repositoryName=registry.repository)["imageDetails"]
    assert {each["imageDigest"]: each.get("imageTags") for each in details} == {
        first.digest: None, second.digest: ["latest"],
    }  # fmt: skip
    assert registry.ask("GET", "manifests/latest")[2] == second.manifest


def test_immutable_tags(registry: Registry) -> None:
    """https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-tag-mutability.html

    An identical push is refused as well: https://github.com/aws/containers-roadmap/issues/2380
    """
    first, second = tiny_image.build(), tiny_image.build(User="1000")
    registry.ecr.put_image_tag_mutability(repositoryName=registry.repository, imageTagMutability="IMMUTABLE")
    assert push(registry, first, "v1")[0] == 201
    for image in (first, second):
        status, _, body = push(registry, image, "v1")
        assert (status, error_code(body)) == (400, "TAG_INVALID")
    assert push(registry, second, "v2")[0] == 201
    assert push(registry, second, second.digest)[0] == 201
    with pytest.raises(registry.ecr.exceptions.ImageTagAlreadyExistsException):
        put_image(registry, second, "v1")


def put_image(registry: Registry, image: tiny_image.TinyImage, tag: str | None, **more: str) -> Any:
    named = {"imageTag": tag} if tag else {}
    manifest = image.manifest.decode()
    return registry.ecr.put_image(repositoryName=registry.repository, imageManifest=manifest, **named, **more)


def test_put_image(registry: Registry) -> None:
    """https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_PutImage.html"""
    image, errors = tiny_image.build(), registry.ecr.exceptions
    with pytest.raises(errors.LayersNotFoundException):
        put_image(registry, image, "v1")
    push(registry, image, image.digest)
    assert put_image(registry, image, "v1")["image"]["imageId"] == {"imageDigest": image.digest, "imageTag": "v1"}
    with pytest.raises(errors.ImageAlreadyExistsException):
        put_image(registry, image, "v1")
    with pytest.raises(errors.ImageDigestDoesNotMatchException):
        put_image(registry, image, "v2", imageDigest=tiny_image.sha256(b"no"))
    with pytest.raises(errors.RepositoryNotFoundException):
        registry.ecr.put_image(repositoryName="no/such", imageManifest=image.manifest.decode())


def test_batch_delete_image(registry: Registry) -> None:
    """https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_BatchDeleteImage.html"""
    image, ecr, repository = tiny_image.build(), registry.ecr, registry.repository
    push(registry, image, "a")
    push(registry, image, "b")
    answer = ecr.batch_delete_image(repositoryName=repository, imageIds=[{"imageTag": "a"}, {"imageTag": "no"}])
    assert answer["imageIds"] == [{"imageDigest": image.digest, "imageTag": "a"}]
    assert answer["failures"][0]["failureCode"] == "ImageNotFound"
    assert registry.ask("HEAD", "manifests/b")[0] == 200
    ecr.batch_delete_image(repositoryName=repository, imageIds=[{"imageDigest": image.digest}])
    assert ecr.list_images(repositoryName=repository)["imageIds"] == []
    assert registry.ask("HEAD", "manifests/b")[0] == 404
    with pytest.raises(ecr.exceptions.ImageNotFoundException):
        ecr.describe_images(repositoryName=repository, imageIds=[{"imageTag": "b"}])


def test_layers_by_the_control_plane(registry: Registry) -> None:
    """https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_UploadLayerPart.html and two others"""
    ecr, repository, blob = registry.ecr, registry.repository, os.urandom(1000)
    digest = tiny_image.sha256(blob)
    upload = ecr.initiate_layer_upload(repositoryName=repository)["uploadId"]
    for first, last in ((0, 599), (600, 999)):
        ecr.upload_layer_part(
            repositoryName=repository, uploadId=upload, partFirstByte=first, partLastByte=last,
            layerPartBlob=blob[first : last + 1],
        )  # fmt: skip
    ecr.complete_layer_upload(repositoryName=repository, uploadId=upload, layerDigests=[digest])
    assert registry.ask("GET", f"blobs/{digest}")[2] == blob
    url = ecr.get_download_url_for_layer(repositoryName=repository, layerDigest=digest)["downloadUrl"]
    registry.headers = {}
    assert registry.ask("GET", url.partition(f":{registry.port}")[2])[2] == blob


def test_tokens(registry: Registry) -> None:
    """https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_GetAuthorizationToken.html: good for 12 hours"""
    from datetime import UTC, datetime

    grant = registry.ecr.get_authorization_token()["authorizationData"][0]
    left = (grant["expiresAt"] - datetime.now(UTC)).total_seconds()
    assert 11.9 * 3600 < left <= 12 * 3600
    assert base64.b64decode(grant["authorizationToken"]).startswith(b"AWS:")


def test_an_expired_token_is_refused() -> None:
    from slipway_localaws.registry.tokens import InvalidTokenError, TokenSigner

    signer = TokenSigner(b"key")
    assert signer.check(signer.issue("123456789012", "us-east-1")[0]).region == "us-east-1"
    with pytest.raises(InvalidTokenError, match="expired"):
        signer.check(signer.issue("123456789012", "us-east-1", seconds=-2)[0])
    with pytest.raises(InvalidTokenError, match="not a token"):
        TokenSigner(b"another key").check(signer.issue("123456789012", "us-east-1")[0])


def test_lifecycle_and_repository_policies_are_kept(registry: Registry) -> None:
    rule = {"rulePriority": 1, "selection": {"tagStatus": "untagged", "countType": "imageCountMoreThan",
            "countNumber": 5}, "action": {"type": "expire"}}  # fmt: skip
    text = json.dumps({"rules": [rule]})
    registry.ecr.put_lifecycle_policy(repositoryName=registry.repository, lifecyclePolicyText=text)
    assert registry.ecr.get_lifecycle_policy(repositoryName=registry.repository)["lifecyclePolicyText"] == text


def test_a_repository_with_images_is_not_deleted_unforced(registry: Registry) -> None:
    push(registry, tiny_image.build(), "v1")
    with pytest.raises(ClientError) as caught:
        registry.ecr.delete_repository(repositoryName=registry.repository)
    assert caught.value.response["Error"]["Code"] == "RepositoryNotEmptyException"
    registry.ecr.delete_repository(repositoryName=registry.repository, force=True)
    assert registry.ask("GET", "manifests/v1")[0] == 404


@pytest.mark.skipif(shutil.which("skopeo") is None, reason="skopeo is not installed")
def test_skopeo_pushes_and_pulls(registry: Registry, tmp_path: Path) -> None:
    image = tiny_image.build()
    layout = tmp_path / "image"
    layout.mkdir()
    (layout / "version").write_text("Directory Transport Version: 1.1\n")
    (layout / "manifest.json").write_bytes(image.manifest)
    for digest, blob in image.blobs.items():
        (layout / digest.removeprefix("sha256:")).write_bytes(blob)
    password = base64.b64decode(registry.headers["Authorization"].removeprefix("Basic ")).decode()
    place = f"docker://127.0.0.1:{registry.port}/{registry.repository}:v1"
    options = ["--insecure-policy", "--override-os", "linux", "copy"]
    skopeo = ["skopeo", *options]
    subprocess.run([*skopeo, "--dest-tls-verify=false", f"--dest-creds={password}", f"dir:{layout}", place], check=True)
    (details,) = registry.ecr.describe_images(repositoryName=registry.repository)["imageDetails"]
    assert details["imageDigest"] == image.digest
    pulled = tmp_path / "pulled"
    subprocess.run([*skopeo, "--src-tls-verify=false", f"--src-creds={password}", place, f"dir:{pulled}"], check=True)
    assert (pulled / "manifest.json").read_bytes() == image.manifest
    for digest, blob in image.blobs.items():
        assert (pulled / digest.removeprefix("sha256:")).read_bytes() == blob
    with tarfile.open(fileobj=BytesIO(next(iter(image.blobs.values())))) as layer:
        assert layer.getnames() == ["opt/app/tiny_server.py"]
