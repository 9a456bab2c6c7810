from __future__ import annotations

import boto3
import pytest
from hypothesis import given
from hypothesis import strategies as st
from moto import mock_aws

from slipway.artifacts.manifest import ArtifactManifest, list_manifest
from slipway.artifacts.sync_plan import Entry
from slipway.errors import InvalidInputError

_ENTRIES = st.builds(Entry, st.text(max_size=4), st.integers(0, 9), st.text(max_size=4))


@given(st.lists(_ENTRIES, unique_by=lambda entry: entry.path), st.randoms())
def test_the_digest_does_not_depend_on_order(entries: list[Entry], random) -> None:
    shuffled = list(entries)
    random.shuffle(shuffled)
    assert ArtifactManifest.of(entries).digest == ArtifactManifest.of(shuffled).digest


@given(st.lists(_ENTRIES, unique_by=lambda e: e.path), st.lists(_ENTRIES, unique_by=lambda e: e.path))
def test_different_files_have_different_digests(one: list[Entry], other: list[Entry]) -> None:
    same = {(e.path, e.size, e.tag) for e in one} == {(e.path, e.size, e.tag) for e in other}
    assert (ArtifactManifest.of(one).digest == ArtifactManifest.of(other).digest) is same


def test_listing_a_prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    with mock_aws():
        s3 = boto3.client("s3", "us-east-1")
        s3.create_bucket(Bucket="models")
        for key in ("m/v1/MLmodel", "m/v1/sub/x", "m/v1/sub/", "m/v10/other"):
            s3.put_object(Bucket="models", Key=key, Body=b"" if key.endswith("/") else key.encode())
        manifest = list_manifest(s3, "s3://models/m/v1")
        assert [file.path for file in manifest.files] == ["MLmodel", "sub/x"]
        assert manifest.size == len("m/v1/MLmodel") + len("m/v1/sub/x")
        assert all(len(file.checksum) == 32 for file in manifest.files)
        assert list_manifest(s3, "s3://models/none").files == ()
        with pytest.raises(InvalidInputError, match="no bucket 'nowhere'"):
            list_manifest(s3, "s3://nowhere/x")
    with pytest.raises(InvalidInputError):
        list_manifest(s3, "/local")
