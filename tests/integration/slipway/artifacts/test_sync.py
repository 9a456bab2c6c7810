"""Sync against a real S3 protocol: every direction, encryption, faults, and runs that are killed."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from slipway.artifacts import bucket as bucket_module
from slipway.artifacts import content_check, download, server_copy, transfer, work
from slipway.artifacts.bucket import ORIGIN, Bucket
from slipway.artifacts.download import Download
from slipway.artifacts.location import S3Location
from slipway.artifacts.manifest import list_manifest
from slipway.artifacts.transfer import SyncProgress, SyncResult, sync
from slipway.artifacts.upload import Upload
from slipway.errors import (
    AccessDeniedError,
    InvalidInputError,
    PermanentError,
    StorageUnavailableError,
    TransientError,
    UnsafePathError,
)

pytestmark = pytest.mark.integration
MEBIBYTE = 1 << 20
PLAIN, OTHER, ENCRYPTED = "plain-bucket", "other-bucket", "encrypted-bucket"
KEYS = {"aws_access_key_id": "AKIDTEST", "aws_secret_access_key": "secret", "region_name": "us-east-1"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    port = free_port()
    server = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("s3_server.py")), str(port)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        s3 = boto3.Session(**KEYS).client("s3", endpoint_url=url)
        for name in (PLAIN, OTHER, ENCRYPTED):
            s3.create_bucket(Bucket=name)
        rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms"}}
        s3.put_bucket_encryption(Bucket=ENCRYPTED, ServerSideEncryptionConfiguration={"Rules": [rule]})  # type: ignore[list-item]
        yield url
    finally:
        server.kill()
        server.wait()


class Place:
    """Runs syncs for one test, below prefixes of its own."""

    def __init__(self, endpoint: str, name: str) -> None:
        self.endpoint = endpoint
        self.name = name
        self.session = boto3.Session(**KEYS)
        self.s3 = self.session.client("s3", endpoint_url=endpoint)

    def uri(self, bucket: str = PLAIN, folder: str = "a") -> str:
        return f"s3://{bucket}/{self.name}/{folder}"

    def key(self, path: str, folder: str = "a") -> str:
        return f"{self.name}/{folder}/{path}"

    def put(self, path: str, body: bytes, bucket: str = PLAIN, folder: str = "a", **kwargs: Any) -> None:
        self.s3.put_object(Bucket=bucket, Key=self.key(path, folder), Body=body, **kwargs)

    def put_in_parts(self, path: str, parts: list[bytes], **kwargs: Any) -> None:
        """Upload in parts of the caller's choice; without ``ChecksumAlgorithm`` S3 keeps no checksum of them."""
        client = self.session.client(
            "s3", endpoint_url=self.endpoint, config=Config(request_checksum_calculation="when_required")
        )
        where: Any = {"Bucket": PLAIN, "Key": self.key(path)}
        where["UploadId"] = client.create_multipart_upload(**where, **kwargs)["UploadId"]
        sent: list[Any] = []
        for number, part in enumerate(parts, 1):
            answer = client.upload_part(**where, PartNumber=number, Body=part, **kwargs)
            sent.append({"PartNumber": number, "ETag": answer["ETag"]})
            sent[-1] |= {"ChecksumCRC32": answer["ChecksumCRC32"]} if kwargs else {}
        client.complete_multipart_upload(**where, MultipartUpload={"Parts": sent})

    def sync(self, source: object, destination: object, **kwargs: Any) -> SyncResult:
        return sync(str(source), str(destination), session=self.session, endpoint_url=self.endpoint, **kwargs)


@pytest.fixture
def place(endpoint: str, request: pytest.FixtureRequest) -> Place:
    return Place(endpoint, hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:16])


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Small, empty, awkwardly named, and two that go in parts."""
    root, generator = tmp_path / "tree", random.Random(5)
    names = [
        "MLmodel",
        "sub/a b.txt",
        "sub/é#%25?+&'\".bin",
        "sub/deep/~{x}[y]|*.txt",
        "code/__init__.py",
        "..odd../.hidden",
    ]
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(generator.randbytes(generator.randint(1, 5000)))
    (root / "code/__init__.py").write_bytes(b"")
    (root / "part.bin").write_bytes(generator.randbytes(9 * MEBIBYTE))
    (root / "big.bin").write_bytes(generator.randbytes(20 * MEBIBYTE + 17))
    return root


def content(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in root.rglob("*")
        if path.is_file() and ".slipway-" not in path.name
    }


def journal(place: Place) -> list[str]:
    """The names of the calls that boto3 makes from now on."""
    made: list[str] = []
    place.session.events.register("before-call.s3", lambda model, **_: made.append(model.name))
    return made


@pytest.mark.parametrize("fast", [True, False], ids=["obstore", "boto3"])
@pytest.mark.parametrize("where", [PLAIN, ENCRYPTED])
def test_round_trip_and_nothing_to_do_afterwards(
    place: Place, tree: Path, tmp_path: Path, where: str, fast: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not fast:
        monkeypatch.setattr(bucket_module, "_open_store", lambda *_: None)
    up, down = place.uri(where), tmp_path / "down"
    seen: list[SyncProgress] = []
    first = place.sync(tree, up, on_progress=seen.append)
    assert (first.copied, first.skipped) == (8, 0)
    assert first.bytes_copied == sum(path.stat().st_size for path in tree.rglob("*") if path.is_file())
    assert seen[-1] == SyncProgress(8, 8, first.bytes_copied, first.bytes_copied)
    assert [progress.bytes for progress in seen] == sorted(progress.bytes for progress in seen)
    again = place.sync(tree, up)
    assert (again.copied, again.skipped, again.bytes_copied) == (0, 8, 0)
    assert again.manifest == first.manifest
    assert place.sync(up, down).copied == 8
    assert content(down) == content(tree)
    assert (place.sync(up, down).copied, place.sync(up, down).skipped) == (0, 8)
    assert place.sync(down, up).copied == 0  # what came from there is known to be there


@pytest.mark.parametrize("source", [PLAIN, ENCRYPTED])
@pytest.mark.parametrize("destination", [OTHER, ENCRYPTED])
def test_inside_s3(place: Place, tree: Path, tmp_path: Path, source: str, destination: str) -> None:
    place.sync(tree, place.uri(source))
    mirror = place.uri(destination, "mirror")
    first = place.sync(place.uri(source), mirror)
    assert first.copied == 8
    again = place.sync(place.uri(source), mirror)
    assert (again.copied, again.manifest.digest) == (0, first.manifest.digest)
    place.sync(mirror, tmp_path / "down")
    assert content(tmp_path / "down") == content(tree)


def test_nothing_to_do_makes_no_changing_call(place: Place, tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place.sync(tree, place.uri())
    place.sync(place.uri(), place.uri(ENCRYPTED))
    made = journal(place)
    monkeypatch.setattr(bucket_module, "_open_store", lambda *_: None)
    assert place.sync(tree, place.uri(), delete=True).copied == 0
    assert place.sync(place.uri(), place.uri(ENCRYPTED), delete=True).copied == 0
    assert made
    assert set(made) <= {"ListObjectsV2", "HeadObject"}


def test_boto3_makes_no_client_for_what_obstore_does_alone(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    client = place.session.client
    monkeypatch.setattr(place.session, "client", lambda name, **options: made.append(name) or client(name, **options))
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/small").write_bytes(b"1")
    assert (place.sync(tmp_path / "tree", place.uri()).copied, place.sync(tmp_path / "tree", place.uri()).copied) == (
        1,
        0,
    )
    assert place.sync(place.uri(), tmp_path / "down").copied == 1
    assert made == []
    (tmp_path / "tree/big").write_bytes(bytes(9 * MEBIBYTE))
    assert place.sync(tmp_path / "tree", place.uri()).copied == 1
    assert made == ["s3"]


@pytest.mark.parametrize("endpoint_url", ["no-url", "http://", "ftp://host", "http://host name/"])
def test_an_endpoint_that_is_none_is_named(tmp_path: Path, endpoint_url: str) -> None:
    with pytest.raises(InvalidInputError, match=f"'{endpoint_url}' is no endpoint"):
        sync("s3://some-bucket/x", str(tmp_path), session=boto3.Session(**KEYS), endpoint_url=endpoint_url)


def test_a_copy_inside_s3_passes_no_byte_through_here(place: Place) -> None:
    place.put("x", b"x" * 1000)
    made = journal(place)
    place.sync(place.uri(), place.uri(OTHER))
    assert "CopyObject" in made
    assert not {"GetObject", "PutObject"} & set(made)


def test_only_what_differs_is_copied(place: Place, tree: Path, tmp_path: Path) -> None:
    place.sync(tree, place.uri())
    place.sync(place.uri(), tmp_path / "down")
    (tree / "MLmodel").write_bytes(b"changed")
    same_size = (tree / "sub/a b.txt").read_bytes()
    (tree / "sub/a b.txt").write_bytes(bytes(len(same_size)))
    (tree / "new").write_bytes(b"new")
    (tree / "part.bin").unlink()
    up = place.sync(tree, place.uri(), delete=True)
    assert up.plan.copy == ("MLmodel", "new", "sub/a b.txt")
    assert up.plan.delete == ("part.bin",)
    down = place.sync(place.uri(), tmp_path / "down", delete=True)
    assert (down.plan.copy, down.plan.delete) == (up.plan.copy, up.plan.delete)
    assert content(tmp_path / "down") == content(tree)


def test_without_delete_strangers_stay(place: Place, tree: Path, tmp_path: Path) -> None:
    place.sync(tree, place.uri())
    (tmp_path / "down").mkdir()
    (tmp_path / "down/stranger").write_text("x")
    place.sync(place.uri(), tmp_path / "down")
    assert (tmp_path / "down/stranger").exists()
    assert place.sync(place.uri(), tmp_path / "down", delete=True, exclude=["strang*"]).deleted == 0
    assert place.sync(place.uri(), tmp_path / "down", delete=True).deleted == 1


def test_dry_run_changes_nothing(place: Place, tree: Path, tmp_path: Path) -> None:
    place.put("stranger", b"x")
    result = place.sync(tree, place.uri(), delete=True, dry_run=True)
    assert (result.copied, result.deleted, result.bytes_copied) == (0, 0, 0)
    assert (len(result.plan.copy), result.plan.delete) == (8, ("stranger",))
    assert [file.path for file in list_manifest(place.s3, place.uri()).files] == ["stranger"]
    real = place.sync(tree, place.uri(), delete=True)
    assert real.plan == result.plan
    assert real.manifest == result.manifest
    place.sync(place.uri(), tmp_path / "down", dry_run=True)
    assert content(tmp_path / "down") == {}


def test_include_and_exclude(place: Place, tree: Path, tmp_path: Path) -> None:
    place.sync(tree, place.uri(), include=["sub/", "MLmodel"], exclude=["*.bin"])
    paths = [file.path for file in list_manifest(place.s3, place.uri()).files]
    assert paths == ["MLmodel", "sub/a b.txt", "sub/deep/~{x}[y]|*.txt"]


def test_the_same_names_as_boto3_would_have_written(place: Place, tree: Path) -> None:
    """What MLflow's client (boto3) uploaded has the same checksums as what we upload: nothing to do."""
    for path in tree.rglob("*"):
        if path.is_file():
            place.s3.upload_file(str(path), PLAIN, place.key(str(path.relative_to(tree))))
    assert place.sync(tree, place.uri()).copied == 0


def test_a_touched_but_unchanged_file_is_not_sent_again(place: Place, tree: Path) -> None:
    place.sync(tree, place.uri())
    for path in tree.rglob("*"):
        os.utime(path)
    assert place.sync(tree, place.uri()).copied == 0


def test_downloaded_files_without_memory_are_recognised_by_content(place: Place, tree: Path, tmp_path: Path) -> None:
    place.sync(tree, place.uri())
    down = tmp_path / "down"
    place.sync(place.uri(), down)
    for path in down.rglob("*"):
        if path.is_file():
            for name in os.listxattr(path):
                os.removexattr(path, name)
    assert place.sync(place.uri(), down).copied == 0


def test_attributes_of_objects_survive_copies_that_note_their_origin(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_copy, "IN_PARTS_BYTES", 6 * MEBIBYTE)
    monkeypatch.setattr(server_copy, "_PART", 5 * MEBIBYTE)
    body = os.urandom(11 * MEBIBYTE)
    for path, size in (("parts", 11 * MEBIBYTE), ("whole", 10)):
        place.put(path, body[:size], ContentType="text/x-model", Metadata={"owner": "me"}, CacheControl="max-age=5")
    result = place.sync(place.uri(), place.uri(ENCRYPTED))
    assert result.copied == 2
    for path, size in (("parts", 11 * MEBIBYTE), ("whole", 10)):
        head = place.s3.get_object(Bucket=ENCRYPTED, Key=place.key(path))
        assert head["Body"].read() == body[:size]
        assert (head["ContentType"], head["CacheControl"]) == ("text/x-model", "max-age=5")
        assert head["Metadata"] == {"owner": "me", ORIGIN: hashlib.md5(body[:size]).hexdigest()}
    assert place.sync(place.uri(), place.uri(ENCRYPTED)).copied == 0
    assert "Uploads" not in place.s3.list_multipart_uploads(Bucket=ENCRYPTED)


def test_markers_of_folders_are_no_files(place: Place, tmp_path: Path) -> None:
    for path in ("", "sub/", "sub/empty", "sub/x"):
        place.put(path, b"x" if path.endswith("x") else b"")
    assert place.sync(place.uri(), tmp_path / "down").plan.copy == ("sub/empty", "sub/x")
    assert sorted(content(tmp_path / "down")) == ["sub/empty", "sub/x"]


@pytest.mark.parametrize("path", ["../evil", "a/../../evil", "/etc/evil", "a//b", "a/./b", "a\tb/../x"])
def test_names_from_s3_cannot_leave_the_folder(place: Place, tmp_path: Path, path: str) -> None:
    place.put("good", b"x")
    place.put(path, b"evil")
    with pytest.raises(UnsafePathError):
        place.sync(place.uri(), tmp_path / "deep/down")
    assert content(tmp_path) == {}


def test_a_key_that_is_file_and_folder_at_once(place: Place, tmp_path: Path) -> None:
    place.put("a", b"x")
    place.put("a/b", b"x")
    with pytest.raises(UnsafePathError, match="at once"):
        place.sync(place.uri(), tmp_path / "down")
    assert place.sync(place.uri(), place.uri(OTHER)).copied == 2  # S3 has no folders


def test_links_at_the_destination_are_not_followed(place: Place, tmp_path: Path) -> None:
    place.put("dir/x", b"x")
    place.put("link", b"new")
    down, outside = tmp_path / "down", tmp_path / "outside"
    (down / "none").mkdir(parents=True)
    outside.mkdir()
    (outside / "mine").write_text("mine")
    (down / "link").symlink_to(outside / "mine")
    place.sync(place.uri(), down)
    assert (outside / "mine").read_text() == "mine"
    (down / "dir/x").unlink()
    (down / "dir").rmdir()
    (down / "dir").symlink_to(outside)
    with pytest.raises(UnsafePathError, match="link"):
        place.sync(place.uri(), down)
    assert [path.name for path in outside.iterdir()] == ["mine"]


def test_places_that_make_no_sense_are_refused(place: Place, tree: Path, tmp_path: Path) -> None:
    for source, destination, words in [
        ("s3://no-such-bucket-here/x", tmp_path / "d", "no bucket 'no-such-bucket-here'"),
        (tree, "s3://no-such-bucket-here/x", "no bucket"),
        (place.uri(), tmp_path / "d", "nothing to copy"),
        (tmp_path / "none", place.uri(), "no folder"),
        (tree, tmp_path / "d", "Neither"),
        (place.uri(), place.uri() + "/deeper", "overlap"),
        (place.uri(), place.uri(), "overlap"),
    ]:
        with pytest.raises(InvalidInputError, match=words):
            place.sync(source, destination)


def test_nothing_at_the_source_never_empties_the_destination(place: Place) -> None:
    place.put("keep", b"x", folder="b")
    with pytest.raises(InvalidInputError):
        place.sync(place.uri(folder="a"), place.uri(folder="b"), delete=True)
    assert list_manifest(place.s3, place.uri(folder="b")).files


class _Proxy:
    """An HTTP server that answers every request in one way."""

    def __init__(self, status: int, code: str, message: str = "") -> None:
        body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()
        head = f"HTTP/1.1 {status} X\r\nContent-Type: application/xml\r\nContent-Length: {len(body)}\r\n"
        self._answer = head.encode() + b"Connection: close\r\n\r\n" + body
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection:
                connection.recv(65536)
                connection.sendall(self._answer)

    def close(self) -> None:
        self._socket.close()


@pytest.mark.parametrize(
    ("status", "code", "error", "words"),
    [
        (400, "ExpiredToken", AccessDeniedError, "ExpiredToken"),
        (403, "AccessDenied", AccessDeniedError, "AccessDenied"),
        (403, "InvalidAccessKeyId", AccessDeniedError, "InvalidAccessKeyId"),
        (500, "InternalError", StorageUnavailableError, "InternalError"),
        (503, "ServiceUnavailable", StorageUnavailableError, "ServiceUnavailable"),
    ],
)
def test_refusals_and_outages_are_named(
    status: int, code: str, error: type[Exception], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bucket_module, "_ATTEMPTS", 1)
    proxy = _Proxy(status, code)
    try:
        with pytest.raises(error, match=words):
            sync("s3://some-bucket/x", str(tmp_path), session=boto3.Session(**KEYS), endpoint_url=proxy.url)
    finally:
        proxy.close()


def test_nobody_listening_is_transient(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bucket_module, "_ATTEMPTS", 1)
    with pytest.raises(StorageUnavailableError, match="some-bucket"):
        sync("s3://some-bucket/x", str(tmp_path), session=boto3.Session(**KEYS), endpoint_url="http://127.0.0.1:9")


def test_no_credentials_are_named(tmp_path: Path, endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(AccessDeniedError, match="credentials"):
        sync("s3://some-bucket/x", str(tmp_path), session=boto3.Session(region_name="us-east-1"), endpoint_url=endpoint)


def test_refreshed_credentials_are_used(place: Place, tree: Path, tmp_path: Path) -> None:
    """A session of a role: its credentials come from a refresh, and carry a token."""
    from botocore.credentials import RefreshableCredentials
    from botocore.session import get_session

    asked: list[int] = []

    def refresh() -> dict[str, str]:
        asked.append(1)
        return {"access_key": "ASIA", "secret_key": "s", "token": "t", "expiry_time": "2099-01-01T00:00:00Z"}

    core = get_session()
    core._credentials = RefreshableCredentials.create_from_metadata(refresh(), refresh, "test")
    role = boto3.Session(botocore_session=core, region_name="us-east-1")
    assert sync(str(tree), place.uri(), session=role, endpoint_url=place.endpoint).copied == 8
    assert sync(place.uri(), str(tmp_path / "d"), session=role, endpoint_url=place.endpoint).copied == 8
    assert content(tmp_path / "d") == content(tree)


def damage_beginnings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the first block of everything that arrives be zeros."""
    write = Download._write

    def damaged(self: Download, descriptor: int, block: Any, start: int) -> int:
        return write(self, descriptor, block if start else bytes(len(block)), start)

    monkeypatch.setattr(Download, "_write", damaged)


@pytest.mark.parametrize("size", [1000, 9 * MEBIBYTE, 17 * MEBIBYTE, 33 * MEBIBYTE])
@pytest.mark.parametrize("algorithm", [None, "CRC32"])
@pytest.mark.parametrize("in_parts", [False, True])
def test_what_arrives_damaged_is_not_put_in_place(
    place: Place, tmp_path: Path, size: int, algorithm: str | None, in_parts: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bucket_module, "_open_store", lambda *_: None)
    monkeypatch.setattr(download, "_PIECE", 16 * MEBIBYTE)
    kept = {"ChecksumAlgorithm": algorithm} if algorithm else {}
    body = os.urandom(size)
    if in_parts and size > 8 * MEBIBYTE:
        place.put_in_parts(
            "file", [body[start : start + 8 * MEBIBYTE] for start in range(0, size, 8 * MEBIBYTE)], **kept
        )
    else:
        place.put("file", body, **kept)
    damage_beginnings(monkeypatch)
    with pytest.raises(StorageUnavailableError, match="damaged"):
        place.sync(place.uri(), tmp_path / "down")
    assert content(tmp_path / "down") == {}
    monkeypatch.undo()
    assert place.sync(place.uri(), tmp_path / "down").copied == 1
    assert (tmp_path / "down/file").read_bytes() == body


@pytest.mark.parametrize("sizes", [(11, 11, 1), (6, 7, 9), (9, 6, 5, 1)])
@pytest.mark.parametrize("algorithm", [None, "CRC32"])
@pytest.mark.parametrize("piece", [16 * MEBIBYTE, 64 * MEBIBYTE])
def test_however_an_object_was_split_its_parts_are_compared(
    place: Place,
    tmp_path: Path,
    sizes: tuple[int, ...],
    algorithm: str | None,
    piece: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(download, "_PIECE", piece)
    kept = {"ChecksumAlgorithm": algorithm} if algorithm else {}
    parts = [os.urandom(size * MEBIBYTE) for size in sizes]
    place.put_in_parts("file", parts, **kept)
    assert place.sync(place.uri(), tmp_path / "down").copied == 1
    assert (tmp_path / "down/file").read_bytes() == b"".join(parts)
    monkeypatch.setattr(bucket_module, "_open_store", lambda *_: None)
    damage_beginnings(monkeypatch)
    with pytest.raises(StorageUnavailableError, match="damaged"):
        place.sync(place.uri(), tmp_path / "again")
    assert content(tmp_path / "again") == {}


def test_a_store_that_does_not_tell_the_parts_can_be_read(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = [os.urandom(size * MEBIBYTE) for size in (6, 7)]
    place.put_in_parts("file", parts)
    monkeypatch.setattr(Bucket, "part_bytes", lambda *_: None)
    assert place.sync(place.uri(), tmp_path / "down").copied == 1
    assert (tmp_path / "down/file").read_bytes() == b"".join(parts)


def test_a_piece_that_an_earlier_run_left_damaged_is_fetched_again(
    place: Place, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its notes call a piece done of which a crash of the machine kept nothing."""
    monkeypatch.setattr(download, "_PIECE", 8 * MEBIBYTE)
    place.sync(tree, place.uri(), include=["big.bin"])
    fetch = Download._fetch

    def cut_off(self: Any, descriptor: int, start: int, length: int) -> None:
        if start:
            raise PermanentError("cut off")
        fetch(self, descriptor, start, length)

    monkeypatch.setattr(Download, "_fetch", cut_off)
    with pytest.raises(PermanentError, match="cut off"):
        place.sync(place.uri(), tmp_path / "down", workers=1)
    monkeypatch.setattr(Download, "_fetch", fetch)
    (part,) = (tmp_path / "down").glob("*.slipway-part")
    with part.open("r+b") as file:
        file.write(bytes(1000))
    assert place.sync(place.uri(), tmp_path / "down").copied == 1
    assert (tmp_path / "down/big.bin").read_bytes() == (tree / "big.bin").read_bytes()


def test_what_is_sent_damaged_is_noticed(place: Place, tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bucket_module, "_open_store", lambda *_: None)
    monkeypatch.setattr(work, "_PAUSES_SECONDS", ())
    events = place.session.events
    events.register("before-parameter-build.s3.PutObject", damage := lambda params, **_: params.update(Body=b"?"))
    with pytest.raises(StorageUnavailableError, match="BadDigest"):
        place.sync(tree, place.uri(), include=["MLmodel"])
    events.unregister("before-parameter-build.s3.PutObject", damage)
    assert place.sync(tree, place.uri(), include=["MLmodel"]).copied == 1


def test_an_answer_for_other_content_than_was_sent_is_noticed(
    place: Place, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bucket_module, "_open_store", lambda *_: None)
    monkeypatch.setattr(work, "_PAUSES_SECONDS", ())
    other = f'"{hashlib.md5(b"other").hexdigest()}"'
    place.session.events.register("after-call.s3.PutObject", lambda parsed, **_: parsed.update(ETag=other))
    with pytest.raises(StorageUnavailableError, match="damaged"):
        place.sync(tree, place.uri(), include=["MLmodel"])


def test_an_object_that_changes_meanwhile_is_not_mixed_up(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "_PAUSES_SECONDS", ())
    place.put("x", b"old")
    plan = transfer._Run.plan

    def meanwhile(self: Any, **kwargs: Any) -> Any:
        made = plan(self, **kwargs)
        place.put("x", b"new")
        return made

    monkeypatch.setattr(transfer._Run, "plan", meanwhile)
    for destination in (str(tmp_path / "down"), place.uri(OTHER)):
        with pytest.raises(TransientError):  # moto ignores the condition of the request; the checksum tells
            place.sync(place.uri(), destination)
        place.put("x", b"old")
    assert content(tmp_path / "down") == {}


def test_a_file_that_changes_while_it_is_read_is_noticed(
    place: Place, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "_PAUSES_SECONDS", ())
    read = Upload._read

    def meanwhile(self: Any, *args: int) -> bytes:
        data = read(self, *args)
        (tree / "MLmodel").write_bytes(b"rewritten")
        return data

    monkeypatch.setattr(Upload, "_read", meanwhile)
    with pytest.raises(StorageUnavailableError, match=r"changed|shorter"):
        place.sync(tree, place.uri(), include=["MLmodel"])


@pytest.mark.parametrize("path", ["MLmodel", "big.bin"])
def test_a_file_that_grows_before_its_turn_comes_is_noticed(
    place: Place, tree: Path, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "_PAUSES_SECONDS", ())
    plan = transfer._Run.plan

    def meanwhile(self: Any, **kwargs: Any) -> Any:
        made = plan(self, **kwargs)
        with (tree / path).open("ab") as file:
            file.write(b"more")
        return made

    monkeypatch.setattr(transfer._Run, "plan", meanwhile)
    with pytest.raises(StorageUnavailableError, match=f"{path} changed"):
        place.sync(tree, place.uri(), include=[path])
    monkeypatch.undo()
    assert place.sync(tree, place.uri(), include=[path]).copied == 1
    body = place.s3.get_object(Bucket=PLAIN, Key=place.key(path))["Body"].read()
    assert body == (tree / path).read_bytes()


@pytest.mark.parametrize("size", [5, 12 * MEBIBYTE])
def test_a_big_file_that_changes_between_its_parts_is_noticed(
    place: Place, tree: Path, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "_PAUSES_SECONDS", ())
    send = Upload._send_part

    def meanwhile(self: Any, number: int, *args: Any) -> None:
        if number == 1:
            (tree / "big.bin").write_bytes(os.urandom(size))
        send(self, number, *args)

    monkeypatch.setattr(Upload, "_send_part", meanwhile)
    with pytest.raises(StorageUnavailableError, match=r"changed|shorter|BadDigest"):
        place.sync(tree, place.uri(), include=["big.bin"], workers=1)
    monkeypatch.undo()
    assert place.sync(tree, place.uri(), include=["big.bin"]).copied == 1
    body = place.s3.get_object(Bucket=PLAIN, Key=place.key("big.bin"))["Body"].read()
    assert body == (tree / "big.bin").read_bytes()


def test_an_unreadable_part_of_this_machine_is_said_plainly(place: Place, tree: Path, tmp_path: Path) -> None:
    place.sync(tree, place.uri())
    (tmp_path / "file").write_text("x")
    with pytest.raises(PermanentError, match=r"file"):
        place.sync(place.uri(), tmp_path / "file/below")


@pytest.mark.parametrize("algorithm", ["CRC32", None])
def test_interrupted_parts_are_not_sent_again(place: Place, tree: Path, algorithm: str | None) -> None:
    """An upload that was begun by a killed run is found and completed as it was begun; only missing parts are sent."""
    key, body = place.key("big.bin"), (tree / "big.bin").read_bytes()
    plain = place.session.client(
        "s3", endpoint_url=place.endpoint, config=Config(request_checksum_calculation="when_required")
    )
    kept: Any = {"ChecksumAlgorithm": algorithm} if algorithm else {}
    begun = plain.create_multipart_upload(Bucket=PLAIN, Key=key, **kept)["UploadId"]
    for number, part in enumerate([body[: 8 * MEBIBYTE], b"x" * (8 * MEBIBYTE)], 1):
        plain.upload_part(Bucket=PLAIN, Key=key, UploadId=begun, PartNumber=number, Body=part, **kept)
    made: list[dict] = []
    place.session.events.register("before-parameter-build.s3.UploadPart", lambda params, **_: made.append(params))
    place.sync(tree, place.uri(), include=["big.bin"])
    assert sorted(params["PartNumber"] for params in made) == [2, 3]
    assert {"ChecksumCRC32" in params for params in made} == {algorithm is not None}
    assert place.s3.get_object(Bucket=PLAIN, Key=key)["Body"].read() == body
    assert "Uploads" not in place.s3.list_multipart_uploads(Bucket=PLAIN, Prefix=place.name)


def test_an_upload_with_other_checksums_than_ours_is_left_alone(place: Place, tree: Path) -> None:
    """S3 refuses a part that lacks the kind of checksum that its upload was begun with."""
    key = place.key("big.bin")
    begun = place.s3.create_multipart_upload(Bucket=PLAIN, Key=key, ChecksumAlgorithm="SHA256")["UploadId"]
    place.sync(tree, place.uri(), include=["big.bin"])
    assert place.s3.get_object(Bucket=PLAIN, Key=key)["Body"].read() == (tree / "big.bin").read_bytes()
    left = place.s3.list_multipart_uploads(Bucket=PLAIN, Prefix=place.name)["Uploads"]
    assert [upload["UploadId"] for upload in left] == [begun]


@pytest.mark.parametrize("uploader", ["slipway", "boto3"])
def test_what_arrives_is_held_against_the_crc32_that_s3_keeps(
    place: Place, tree: Path, tmp_path: Path, uploader: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if uploader == "slipway":
        place.sync(tree, place.uri(), include=["big.bin"])
    else:
        place.s3.upload_file(str(tree / "big.bin"), PLAIN, place.key("big.bin"))
    monkeypatch.setattr(download, "_PIECE", 16 * MEBIBYTE)
    monkeypatch.setattr(content_check, "_md5", lambda: pytest.fail("MD5 was computed"))
    assert place.sync(place.uri(), tmp_path / "down").copied == 1
    assert (tmp_path / "down/big.bin").read_bytes() == (tree / "big.bin").read_bytes()


def test_damage_to_an_encrypted_object_shows_by_the_crc32_that_s3_keeps(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its tag says nothing about its content."""
    monkeypatch.setattr(bucket_module, "_open_store", lambda *_: None)
    monkeypatch.setattr(download, "_PIECE", 16 * MEBIBYTE)
    for path, size in (("small", 1000), ("big", 17 * MEBIBYTE)):
        place.put(path, os.urandom(size), ENCRYPTED, ChecksumAlgorithm="CRC32")
    damage_beginnings(monkeypatch)
    for path in ("small", "big"):
        with pytest.raises(StorageUnavailableError, match="damaged"):
            place.sync(place.uri(ENCRYPTED), tmp_path / "down", include=[path])
    assert content(tmp_path / "down") == {}
    monkeypatch.undo()
    assert place.sync(place.uri(ENCRYPTED), tmp_path / "down").copied == 2


def test_an_interrupted_upload_that_ends_while_it_is_looked_at_is_begun_anew(place: Place, tree: Path) -> None:
    """What a killed run asked last may be done by the server a moment after the next run has listed its upload."""
    key = place.key("big.bin")
    begun = place.s3.create_multipart_upload(Bucket=PLAIN, Key=key)["UploadId"]
    ended: list[str] = []

    def end(params: dict, **_: Any) -> None:
        if not ended:
            ended.append(params["UploadId"])
            place.s3.abort_multipart_upload(Bucket=PLAIN, Key=key, UploadId=begun)

    place.session.events.register("before-parameter-build.s3.ListParts", end)
    place.sync(tree, place.uri(), include=["big.bin"])
    assert ended == [begun]
    assert place.s3.get_object(Bucket=PLAIN, Key=key)["Body"].read() == (tree / "big.bin").read_bytes()


@pytest.mark.parametrize("denied", ["ListMultipartUploads", "ListParts"])
def test_who_may_not_list_uploads_sends_all_parts(place: Place, tree: Path, denied: str) -> None:
    """``aws s3 sync`` needs neither of these rights."""
    key = place.key("big.bin")
    begun = place.s3.create_multipart_upload(Bucket=PLAIN, Key=key)["UploadId"]

    def deny(**_: Any) -> None:
        raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, denied)

    place.session.events.register(f"before-call.s3.{denied}", deny)
    assert place.sync(tree, place.uri(), include=["big.bin"]).copied == 1
    assert place.s3.get_object(Bucket=PLAIN, Key=key)["Body"].read() == (tree / "big.bin").read_bytes()
    place.s3.abort_multipart_upload(Bucket=PLAIN, Key=key, UploadId=begun)


_KILLED = """
import sys, boto3
from slipway.artifacts.transfer import sync
source, destination, endpoint = sys.argv[1:]
session = boto3.Session("AKIDTEST", "secret", region_name="us-east-1")
print("ready", flush=True)
sync(source, destination, session=session, endpoint_url=endpoint, workers=4, delete=True)
print("done", flush=True)
"""


def kill_at_random_moments(place: Place, source: object, destination: object, times: int) -> int:
    """Start a sync and kill it after a random while, at most so often; returns how often it was really cut off."""
    generator = random.Random(f"{times}{destination}")
    for cut in range(times):
        child = subprocess.Popen(
            [sys.executable, "-c", _KILLED, str(source), str(destination), place.endpoint],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert child.stdout
        assert child.stdout.readline() == "ready\n"
        time.sleep(generator.uniform(0.0, 0.8))
        child.send_signal(signal.SIGKILL)
        if "done" in child.communicate()[0]:
            return cut
    return times


@pytest.mark.parametrize("direction", ["up", "down", "across"])
@pytest.mark.parametrize("times", [6, pytest.param(50, marks=pytest.mark.long)])
@pytest.mark.timeout(600)
def test_killed_at_random_moments_the_next_run_ends_byte_identical(
    place: Place, tmp_path: Path, direction: str, times: int
) -> None:
    tree, generator = tmp_path / "tree", random.Random(3)
    for number in range(60):
        path = tree / f"folder{number % 7}/file{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(generator.randbytes(generator.randint(0, 40_000)))
    for number in range(3):
        (tree / f"big{number}").write_bytes(generator.randbytes(40 * MEBIBYTE + number))
    if direction != "up":
        place.sync(tree, place.uri())
    source = str(tree) if direction == "up" else place.uri()
    killed = 0
    while killed < times:  # a sync that came to its end is followed by one to a new place
        folder = f"killed{killed}"
        destination = str(tmp_path / folder) if direction == "down" else place.uri(OTHER, folder)
        killed += max(1, kill_at_random_moments(place, source, destination, times - killed))
        last = place.sync(source, destination, delete=True)
        assert last.copied + last.skipped == 63
        checked = tmp_path / folder
        if direction != "down":
            place.sync(destination, checked)
        assert content(checked) == content(tree)
        assert not [path for path in checked.rglob(".*") if path.is_file()]
        assert place.sync(source, destination, delete=True).copied == 0


def test_a_second_run_takes_only_the_rest(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(10):
        place.put(f"f{number}", bytes([number]) * 100)
    finished = 0
    place_file = Download._place

    def fail_later(self: Any, **kwargs: Any) -> None:
        nonlocal finished
        if finished == 4:
            raise PermanentError("cut off")
        finished += 1
        place_file(self, **kwargs)

    monkeypatch.setattr(Download, "_place", fail_later)
    with pytest.raises(PermanentError, match="cut off"):
        place.sync(place.uri(), tmp_path / "d", workers=1)
    monkeypatch.undo()
    assert place.sync(place.uri(), tmp_path / "d").copied == 6


def test_pieces_of_a_big_object_are_not_fetched_twice(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = os.urandom(40 * MEBIBYTE)
    place.put("big", body)
    monkeypatch.setattr(download, "_PIECE", 16 * MEBIBYTE)
    fetched: list[int] = []
    fetch = Download._fetch

    def cut_off(self: Any, descriptor: int, start: int, length: int) -> None:
        if start == 16 * MEBIBYTE and len(fetched) < 3:
            fetched.append(-1)
            raise PermanentError("cut off")
        fetch(self, descriptor, start, length)
        fetched.append(start)

    monkeypatch.setattr(Download, "_fetch", cut_off)
    with pytest.raises(PermanentError, match="cut off"):
        place.sync(place.uri(), tmp_path / "d", workers=1)
    fetched.extend([-1, -1, -1])
    place.sync(place.uri(), tmp_path / "d", workers=1)
    assert sorted(start for start in fetched if start >= 0) == [0, 16 * MEBIBYTE, 32 * MEBIBYTE]
    assert (tmp_path / "d/big").read_bytes() == body


def test_memory_stays_flat(place: Place, tmp_path: Path) -> None:
    """160 MiB up and down, sixteen parts of 8 MiB at a time, take far less than those parts together."""
    big = tmp_path / "tree/big"
    big.parent.mkdir()
    with big.open("wb") as file:
        for _ in range(160):
            file.write(os.urandom(MEBIBYTE))
    code = (
        "import re, sys, boto3\n"
        "from pathlib import Path\n"
        "from slipway.artifacts.transfer import sync\n"
        "session = boto3.Session('AKIDTEST', 'secret', region_name='us-east-1')\n"
        "session.client('s3', endpoint_url=sys.argv[3]).list_buckets()\n"
        "def peak():  # not ru_maxrss: a child begins with its parent's\n"
        "    return int(re.search(r'VmHWM:\\s+(\\d+) kB', Path('/proc/self/status').read_text())[1])\n"
        "before = peak()\n"
        "sync(sys.argv[1], sys.argv[2], session=session, endpoint_url=sys.argv[3])\n"
        "print((peak() - before) // 1024)\n"
    )
    for source, destination in ((str(big.parent), place.uri()), (place.uri(), str(tmp_path / "down"))):
        done = subprocess.run(
            [sys.executable, "-c", code, source, destination, place.endpoint],
            capture_output=True,
            text=True,
            check=True,
        )
        assert int(done.stdout) < 90
    assert (tmp_path / "down/big").read_bytes() == big.read_bytes()


def test_deletions_that_s3_refuses_are_an_error(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket = Bucket(place.session, S3Location(PLAIN, f"{place.name}/"), place.endpoint, 2)
    refusal = {"Errors": [{"Key": "x", "Code": "AccessDenied", "Message": "no"}]}
    monkeypatch.setattr(bucket.client, "delete_objects", lambda **_: refusal)
    with pytest.raises(AccessDeniedError, match="x: no"):
        bucket.delete(["x"])
