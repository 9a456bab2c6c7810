from __future__ import annotations

import io
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from slipway.errors import AccessDeniedError, RegistryRefusedError, RegistryUnavailableError
from slipway.images.auth import ChallengeAuth, Credentials, TokenAuth
from slipway.images.layer import digest_of
from slipway.images.manifest import DOCKER_MANIFEST, assemble
from slipway.images.registry import PutOutcome, RegistryClient
from slipway.images.transport import Patience

if TYPE_CHECKING:
    from conftest import Registry

REPOSITORY = "slipway/flights"
BLOB = bytes(range(256)) * 40_000  # 10 MB: more than one block
DIGEST = digest_of(BLOB)
UPLOADS = "/blobs/uploads/"


def put(client: RegistryClient, blob: bytes = BLOB, **options: object) -> PutOutcome:
    return client.put_blob(REPOSITORY, digest_of(blob), len(blob), lambda: io.BytesIO(blob), **options)  # type: ignore[arg-type]


def test_a_blob_is_sent_once_in_one_piece(registry: Registry) -> None:
    client = registry.client()
    assert put(client) is PutOutcome.PUSHED
    assert put(client) is PutOutcome.EXISTS
    assert registry.blobs[REPOSITORY][DIGEST] == BLOB
    assert len(registry.asked("POST")) == len(registry.asked("PUT")) == 1
    assert registry.asked("PATCH") == []
    assert client.blob_bytes_sent == registry.bytes_received() == len(BLOB)


def test_an_empty_blob_is_sent(registry: Registry) -> None:
    assert put(registry.client(), b"") is PutOutcome.PUSHED
    assert registry.blobs[REPOSITORY][digest_of(b"")] == b""


def test_bytes_are_told_as_they_go(registry: Registry) -> None:
    told: list[int] = []
    put(registry.client(), on_bytes=told.append)
    assert told == sorted(told)
    assert len(told) > 3
    assert told[-1] == len(BLOB)


def test_a_blob_of_the_same_registry_is_mounted(registry: Registry) -> None:
    registry.blobs["base/python"] = {DIGEST: BLOB}
    client = registry.client()
    assert client.mount_blob(REPOSITORY, DIGEST, "base/python")
    assert (registry.blobs[REPOSITORY], client.blob_bytes_sent) == ({DIGEST: BLOB}, 0)


def test_a_registry_may_not_mount_or_fail_over_it(registry: Registry) -> None:
    registry.blobs["base/python"] = {DIGEST: BLOB}
    registry.fail("POST", "mount=", 500, times=4)
    assert not registry.client().mount_blob(REPOSITORY, DIGEST, "base/python")
    registry.mounts = False
    assert not registry.client().mount_blob(REPOSITORY, DIGEST, "base/python")
    assert (registry.faults[0].times, REPOSITORY in registry.blobs) == (0, False)


@pytest.mark.parametrize("kind", [429, 500, 503, "drop"])
@pytest.mark.parametrize("method", ["HEAD", "POST", "PUT"])
def test_a_passing_fault_is_outlived(registry: Registry, method: str, kind: int | str) -> None:
    registry.fail(method, "/blobs/", kind, times=2)
    assert put(registry.client()) is PutOutcome.PUSHED
    assert registry.blobs[REPOSITORY][DIGEST] == BLOB


def test_a_slow_receiver_is_waited_for_as_for_an_answer(registry: Registry) -> None:
    registry.fail("PUT", UPLOADS, "stall")  # for one second, and the kernel's buffers take less than the blob
    patience = Patience(attempts=2, first=0.01, connect_timeout=0.2, read_timeout=20)
    assert put(RegistryClient(registry.url, patience=patience)) is PutOutcome.PUSHED
    assert (registry.faults[0].times, len(registry.asked("POST"))) == (0, 1)


@pytest.mark.parametrize("kind", [429, 502, "drop"])
def test_a_lasting_fault_ends_the_tries(registry: Registry, kind: int | str) -> None:
    registry.fail("PUT", UPLOADS, kind, times=1000)
    with pytest.raises(RegistryUnavailableError, match="PUT"):
        put(registry.client())
    assert registry.faults[0].times == 1000 - 4
    assert REPOSITORY not in registry.blobs


def test_a_file_shorter_than_announced_is_an_error(registry: Registry) -> None:
    client = RegistryClient(
        registry.url, patience=Patience(attempts=2, first=0.01, read_timeout=1), sleep=lambda _: None
    )
    with pytest.raises(RegistryUnavailableError):
        client.put_blob(REPOSITORY, DIGEST, len(BLOB), lambda: io.BytesIO(BLOB[:-5]))
    assert REPOSITORY not in registry.blobs


def test_a_garbled_upload_never_counts(registry: Registry) -> None:
    with pytest.raises(RegistryUnavailableError, match="DIGEST_INVALID"):
        registry.client().put_blob(REPOSITORY, DIGEST, len(BLOB), lambda: io.BytesIO(BLOB[::-1]))
    assert REPOSITORY not in registry.blobs


def test_nobody_listens() -> None:
    client = RegistryClient("http://127.0.0.1:9", patience=Patience(attempts=2, first=0.01), sleep=lambda _: None)
    with pytest.raises(RegistryUnavailableError, match=r"127\.0\.0\.1:9"):
        client.has_blob(REPOSITORY, DIGEST)


def test_pauses_grow_are_bounded_and_heed_the_registry(registry: Registry) -> None:
    pauses: list[float] = []
    client = RegistryClient(registry.url, patience=Patience(attempts=6, first=1.0, longest=3.0), sleep=pauses.append)
    registry.fail("HEAD", "/blobs/", 503, times=4)
    registry.fail("HEAD", "/blobs/", 429, times=1, Retry_After="2")
    client.has_blob(REPOSITORY, DIGEST)
    assert all(0.5 * bound <= pause <= bound for pause, bound in zip(pauses[:4], (1, 2, 3, 3), strict=True))
    assert pauses[4] == 2.0


def test_a_blob_is_read_and_checked(registry: Registry, tmp_path: Path) -> None:
    registry.blobs[REPOSITORY] = {DIGEST: BLOB}
    client = registry.client()
    assert client.get_blob(REPOSITORY, DIGEST) == BLOB
    client.download_blob(REPOSITORY, DIGEST, tmp_path / "blob", size=len(BLOB))
    assert (tmp_path / "blob").read_bytes() == BLOB


@pytest.mark.parametrize("kind", ["garble", "cut", 503, "drop"])
def test_a_spoiled_download_is_made_again(registry: Registry, tmp_path: Path, kind: int | str) -> None:
    registry.blobs[REPOSITORY] = {DIGEST: BLOB}
    registry.fail("GET", "/blobs/", kind, times=2)
    registry.client().download_blob(REPOSITORY, DIGEST, tmp_path / "blob", size=len(BLOB))
    assert (tmp_path / "blob").read_bytes() == BLOB


@pytest.mark.parametrize("kind", ["garble", "cut", 404, 503, "drop"])
def test_a_download_that_fails_leaves_nothing_that_looks_like_the_blob(
    registry: Registry, tmp_path: Path, kind: int | str
) -> None:
    registry.blobs[REPOSITORY] = {DIGEST: BLOB}
    registry.fail("GET", "/blobs/", kind, times=1000)
    with pytest.raises(RegistryRefusedError if kind == 404 else RegistryUnavailableError):
        registry.client().download_blob(REPOSITORY, DIGEST, tmp_path / "blob", size=len(BLOB))
    assert list(tmp_path.iterdir()) == []


def test_wrong_content_is_never_taken(registry: Registry, tmp_path: Path) -> None:
    registry.blobs[REPOSITORY] = {DIGEST: BLOB}
    registry.fail("GET", "/blobs/", "garble", times=1000)
    with pytest.raises(RegistryUnavailableError, match="does not serve"):
        registry.client().get_blob(REPOSITORY, DIGEST)


def test_a_blob_larger_than_announced_is_not_read_to_its_end(registry: Registry, tmp_path: Path) -> None:
    registry.blobs[REPOSITORY] = {DIGEST: BLOB}
    with pytest.raises(RegistryUnavailableError, match="more than 1000 bytes"):
        registry.client().download_blob(REPOSITORY, DIGEST, tmp_path / "blob", size=1000)
    assert list(tmp_path.iterdir()) == []


def image_in(client: RegistryClient) -> bytes:
    image = assemble((), platform="linux/amd64", run={})
    put(client, image.config)
    return image.manifest


def test_a_manifest_comes_back_as_it_went(registry: Registry) -> None:
    client = registry.client()
    manifest = image_in(client)
    assert client.get_manifest(REPOSITORY, "v1") is None
    digest = client.put_manifest(REPOSITORY, "v1", manifest)
    stored = client.get_manifest(REPOSITORY, digest)
    assert stored
    assert (stored.content, stored.media_type, stored.digest) == (manifest, DOCKER_MANIFEST, digest)


def test_an_equal_manifest_is_not_put_again(registry: Registry) -> None:
    client = registry.client()
    manifest = image_in(client)
    registry.immutable = True
    client.put_manifest(REPOSITORY, "v1", manifest)
    client.put_manifest(REPOSITORY, "v1", manifest)
    assert len(registry.asked("PUT", "manifests")) == 1


def test_an_immutable_tag_is_not_taken_over(registry: Registry) -> None:
    client = registry.client()
    manifest = image_in(client)
    client.put_manifest(REPOSITORY, "v1", manifest)
    registry.immutable = True
    with pytest.raises(RegistryRefusedError, match="TAG_INVALID"):
        client.put_manifest(REPOSITORY, "v1", manifest + b" ")


@pytest.mark.parametrize("kind", [500, "drop"])
def test_a_manifest_whose_answer_was_lost_is_there(registry: Registry, kind: int | str) -> None:
    client = registry.client()
    manifest = image_in(client)
    registry.immutable = True
    registry.lose_answer("PUT", "/manifests/", kind)
    assert client.put_manifest(REPOSITORY, "v1", manifest) == digest_of(manifest)
    assert len(registry.asked("PUT", "/manifests/")) == 2


def test_a_manifest_that_was_refused_and_is_not_there_stays_refused(registry: Registry) -> None:
    image = assemble((), platform="linux/amd64", run={})  # its config is not in the repository
    with pytest.raises(RegistryRefusedError, match="MANIFEST_BLOB_UNKNOWN"):
        registry.client().put_manifest(REPOSITORY, "v1", image.manifest)


def test_a_manifest_other_than_its_digest_is_refused(registry: Registry) -> None:
    client = registry.client()
    digest = client.put_manifest(REPOSITORY, "v1", image_in(client))
    registry.manifests[REPOSITORY][digest] = (b"{}", DOCKER_MANIFEST)
    with pytest.raises(RegistryUnavailableError, match="served"):
        client.get_manifest(REPOSITORY, digest)


def test_an_unknown_repository_is_said(registry: Registry) -> None:
    registry.repositories = {"slipway/other"}
    with pytest.raises(RegistryRefusedError, match="NAME_UNKNOWN"):
        put(registry.client())


def test_basic_credentials_are_sent_when_asked_for(registry: Registry) -> None:
    registry.auth = "basic"
    assert put(registry.client(ChallengeAuth(Credentials("AWS", "open-sesame")))) is PutOutcome.PUSHED


@pytest.mark.parametrize("auth", [None, ChallengeAuth(Credentials("AWS", "wrong"))])
def test_no_or_wrong_credentials_are_denied(registry: Registry, auth: ChallengeAuth | None) -> None:
    registry.auth = "basic"
    with pytest.raises(AccessDeniedError, match="401") as raised:
        put(registry.client(auth))
    assert "wrong" not in str(raised.value)


def test_netrc_is_not_looked_into(registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login AWS password open-sesame\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    registry.auth = "basic"
    with pytest.raises(AccessDeniedError):
        put(registry.client())


def test_a_bearer_token_is_fetched_and_kept(registry: Registry) -> None:
    registry.auth = "bearer"
    registry.blobs[REPOSITORY] = {DIGEST: BLOB}
    client = registry.client()
    assert client.has_blob(REPOSITORY, DIGEST)
    assert client.get_blob(REPOSITORY, DIGEST) == BLOB
    assert registry.tokens_given == 1


def test_a_bearer_token_that_ran_out_is_renewed(registry: Registry) -> None:
    registry.auth = "bearer"
    registry.blobs[REPOSITORY] = {DIGEST: BLOB}
    client = registry.client()
    assert client.has_blob(REPOSITORY, DIGEST)
    registry.tokens_valid.clear()
    assert client.has_blob(REPOSITORY, DIGEST)


@pytest.mark.parametrize("kind", [429, 503, "drop"])
def test_a_passing_fault_of_the_token_service_is_outlived(registry: Registry, kind: int | str) -> None:
    registry.auth = "bearer"
    registry.fail("GET", "/token", kind, times=3)
    assert put(registry.client()) is PutOutcome.PUSHED
    assert (registry.faults[0].times, registry.tokens_given) == (0, 2)  # one to look, one to send


def test_a_lasting_fault_of_the_token_service_is_said(registry: Registry) -> None:
    registry.auth = "bearer"
    registry.fail("GET", "/token", 503, times=1000)
    with pytest.raises(RegistryUnavailableError, match=r"token service .*/token answers 503"):
        registry.client().has_blob(REPOSITORY, DIGEST)
    assert registry.faults[0].times == 1000 - 4


def test_credentials_do_not_go_in_clear_text_to_another_machine(registry: Registry) -> None:
    registry.auth = "bearer"
    registry.realm = "http://tokens.example.com/token"
    with pytest.raises(AccessDeniedError, match="not HTTPS"):
        put(registry.client(ChallengeAuth(Credentials("AWS", "open-sesame"))))


def test_an_ecr_token_is_fetched_once_and_again_after_a_refusal(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.auth = "basic"
    tokens = iter(["QVdTOm9sZA==", "QVdTOm9wZW4tc2VzYW1l", "never asked for"])
    auth = TokenAuth(lambda: next(tokens))
    client = registry.client(auth)
    with pytest.raises(AccessDeniedError):  # the token is fresh, so another would not help
        put(client)
    monkeypatch.setattr("slipway.images.auth.time.monotonic", lambda: 1e12)
    assert put(client) is PutOutcome.PUSHED
    assert put(client, b"more") is PutOutcome.PUSHED


def test_many_threads_share_a_client(registry: Registry) -> None:
    registry.auth = "bearer"
    client = registry.client()
    blobs = [bytes([n]) * 100_000 for n in range(12)]
    threads = [threading.Thread(target=put, args=(client, blob)) for blob in blobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(registry.blobs[REPOSITORY].values()) == set(blobs)
    assert client.blob_bytes_sent == sum(map(len, blobs))
