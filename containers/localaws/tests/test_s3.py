"""S3 as its user guide and API reference describe it, where the stand-in differs from moto."""

from __future__ import annotations

import base64
import hashlib
import http.client
import os
import threading
import urllib.error
import urllib.request
import zlib
from typing import Any

import pytest
from botocore.exceptions import ClientError

pytestmark = pytest.mark.integration


@pytest.fixture
def bucket(aws: Any, name: str) -> str:
    made = f"b-{name}".lower()[:60].strip("-")
    aws("s3").create_bucket(Bucket=made)
    return made


def code(caught: pytest.ExceptionInfo[ClientError]) -> tuple[str, int]:
    response = caught.value.response
    return response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]


# https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html


def test_if_none_match_lets_only_the_first_write_through(aws: Any, bucket: str) -> None:
    s3 = aws("s3")
    s3.put_object(Bucket=bucket, Key="state.json", Body=b"1", IfNoneMatch="*")
    with pytest.raises(ClientError) as caught:
        s3.put_object(Bucket=bucket, Key="state.json", Body=b"2", IfNoneMatch="*")
    assert code(caught) == ("PreconditionFailed", 412)
    assert s3.get_object(Bucket=bucket, Key="state.json")["Body"].read() == b"1"


def test_if_none_match_takes_nothing_but_a_star(aws: Any, bucket: str) -> None:
    with pytest.raises(ClientError) as caught:
        aws("s3").put_object(Bucket=bucket, Key="k", Body=b"", IfNoneMatch='"abc"')
    assert code(caught) == ("NotImplemented", 501)


def test_if_match_writes_over_the_version_that_was_read(aws: Any, bucket: str) -> None:
    s3 = aws("s3")
    first = s3.put_object(Bucket=bucket, Key="state.json", Body=b"1")["ETag"]
    s3.put_object(Bucket=bucket, Key="state.json", Body=b"2", IfMatch=first)
    with pytest.raises(ClientError) as caught:
        s3.put_object(Bucket=bucket, Key="state.json", Body=b"3", IfMatch=first)
    assert code(caught) == ("PreconditionFailed", 412)
    assert s3.get_object(Bucket=bucket, Key="state.json")["Body"].read() == b"2"


def test_if_match_on_nothing_is_not_found(aws: Any, bucket: str) -> None:
    with pytest.raises(ClientError) as caught:
        aws("s3").put_object(Bucket=bucket, Key="none", Body=b"", IfMatch='"abc"')
    assert code(caught) == ("NoSuchKey", 404)


def test_only_one_of_many_conditional_writers_wins(aws: Any, bucket: str) -> None:
    s3 = aws("s3", max_pool_connections=16)
    etag = s3.put_object(Bucket=bucket, Key="k", Body=b"0")["ETag"]
    won: list[int] = []

    def write(number: int) -> None:
        try:
            s3.put_object(Bucket=bucket, Key="k", Body=str(number).encode(), IfMatch=etag)
        except ClientError:
            return
        won.append(number)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(1, 13)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == str(won[0]).encode()


def test_complete_multipart_upload_is_conditional_as_well(aws: Any, bucket: str) -> None:
    s3 = aws("s3")
    s3.put_object(Bucket=bucket, Key="big", Body=b"old")
    upload = s3.create_multipart_upload(Bucket=bucket, Key="big")["UploadId"]
    part = s3.upload_part(Bucket=bucket, Key="big", UploadId=upload, PartNumber=1, Body=b"new")["ETag"]
    parts = {"Parts": [{"PartNumber": 1, "ETag": part}]}
    with pytest.raises(ClientError) as caught:
        s3.complete_multipart_upload(
            Bucket=bucket, Key="big", UploadId=upload, MultipartUpload=parts, IfMatch='"0" * 32'
        )
    assert code(caught) == ("PreconditionFailed", 412)
    with pytest.raises(ClientError) as caught:
        s3.complete_multipart_upload(Bucket=bucket, Key="big", UploadId=upload, MultipartUpload=parts, IfNoneMatch="*")
    assert code(caught) == ("PreconditionFailed", 412)
    etag = s3.head_object(Bucket=bucket, Key="big")["ETag"]
    s3.complete_multipart_upload(Bucket=bucket, Key="big", UploadId=upload, MultipartUpload=parts, IfMatch=etag)
    assert s3.get_object(Bucket=bucket, Key="big")["Body"].read() == b"new"


# https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-reads.html


@pytest.mark.parametrize("quotes", ["", '"'])
def test_conditional_reads_do_not_care_about_quotes(aws: Any, bucket: str, quotes: str) -> None:
    s3 = aws("s3")
    etag = s3.put_object(Bucket=bucket, Key="k", Body=b"x")["ETag"].strip('"')
    assert s3.head_object(Bucket=bucket, Key="k", IfMatch=f"{quotes}{etag}{quotes}")["ContentLength"] == 1
    with pytest.raises(ClientError) as caught:
        s3.get_object(Bucket=bucket, Key="k", IfNoneMatch=f"{quotes}{etag}{quotes}")
    assert code(caught)[1] == 304
    with pytest.raises(ClientError) as caught:
        s3.head_object(Bucket=bucket, Key="k", IfMatch="0" * 32)
    assert code(caught)[1] == 412


def test_copy_obeys_conditions_on_its_source(aws: Any, bucket: str) -> None:
    s3 = aws("s3")
    etag = s3.put_object(Bucket=bucket, Key="a", Body=b"x")["ETag"]
    source = {"Bucket": bucket, "Key": "a"}
    s3.copy_object(Bucket=bucket, Key="b", CopySource=source, CopySourceIfMatch=etag)
    for condition in ({"CopySourceIfMatch": "0" * 32}, {"CopySourceIfNoneMatch": etag}):
        with pytest.raises(ClientError) as caught:
            s3.copy_object(Bucket=bucket, Key="c", CopySource=source, **condition)
        assert code(caught) == ("PreconditionFailed", 412)
    assert [each["Key"] for each in s3.list_objects_v2(Bucket=bucket)["Contents"]] == ["a", "b"]


# https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html

DATA = b"the quick brown fox" * 100


@pytest.mark.parametrize("algorithm", ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"])
def test_a_right_checksum_is_kept_and_a_wrong_one_refused(aws: Any, bucket: str, algorithm: str) -> None:
    s3 = aws("s3")
    stored = s3.put_object(Bucket=bucket, Key="k", Body=DATA, ChecksumAlgorithm="CRC32")
    assert stored["ChecksumCRC32"] == base64.b64encode(zlib.crc32(DATA).to_bytes(4, "big")).decode()
    width = {"CRC32": 4, "CRC32C": 4, "CRC64NVME": 8, "SHA1": 20, "SHA256": 32}[algorithm]
    wrong = base64.b64encode(bytes(width)).decode()
    with pytest.raises(ClientError) as caught:
        s3.put_object(Bucket=bucket, Key="wrong", Body=DATA, **{f"Checksum{algorithm}": wrong})
    assert code(caught) == ("BadDigest", 400)
    with pytest.raises(ClientError):
        s3.head_object(Bucket=bucket, Key="wrong")


@pytest.mark.parametrize(
    ("algorithm", "value"),
    [  # of b"123456789": the check values in the catalogue of parametrised CRC algorithms and FIPS 180-4
        ("CRC32", (0xCBF43926).to_bytes(4, "big")),
        ("CRC32C", (0xE3069283).to_bytes(4, "big")),
        ("CRC64NVME", (0xAE8B14860A799888).to_bytes(8, "big")),
        ("SHA1", hashlib.sha1(b"123456789").digest()),
        ("SHA256", hashlib.sha256(b"123456789").digest()),
    ],
)
def test_checksums_come_back_with_the_object(aws: Any, bucket: str, algorithm: str, value: bytes) -> None:
    s3 = aws("s3")
    checksum = {f"Checksum{algorithm}": base64.b64encode(value).decode()}
    s3.put_object(Bucket=bucket, Key="k", Body=b"123456789", **checksum)
    head = s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    assert head[f"Checksum{algorithm}"] == checksum[f"Checksum{algorithm}"]
    assert head["ChecksumType"] == "FULL_OBJECT"
    assert s3.get_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")["Body"].read() == b"123456789"


def test_a_part_with_a_wrong_checksum_is_not_kept(aws: Any, bucket: str) -> None:
    s3 = aws("s3")
    upload = s3.create_multipart_upload(Bucket=bucket, Key="big", ChecksumAlgorithm="SHA256")["UploadId"]
    wrong = base64.b64encode(bytes(32)).decode()
    with pytest.raises(ClientError) as caught:
        s3.upload_part(Bucket=bucket, Key="big", UploadId=upload, PartNumber=1, Body=DATA, ChecksumSHA256=wrong)
    assert code(caught) == ("BadDigest", 400)
    assert "Parts" not in s3.list_parts(Bucket=bucket, Key="big", UploadId=upload)


@pytest.mark.parametrize("given", [None, "CRC32"])
def test_a_part_has_the_kind_of_checksum_that_its_upload_was_begun_with(
    aws: Any, bucket: str, given: str | None
) -> None:
    s3 = aws("s3", request_checksum_calculation="when_required")
    upload = s3.create_multipart_upload(Bucket=bucket, Key="big", ChecksumAlgorithm="SHA256")["UploadId"]
    place = {"Bucket": bucket, "Key": "big", "UploadId": upload, "PartNumber": 1}
    names = f"expected checksum Type: sha256, actual checksum Type: {(given or 'null').lower()}"
    with pytest.raises(ClientError, match=names) as caught:
        s3.upload_part(**place, Body=DATA, **({"ChecksumAlgorithm": given} if given else {}))
    assert code(caught) == ("InvalidRequest", 400)
    assert s3.upload_part(**place, Body=DATA, ChecksumAlgorithm="SHA256")["ETag"]


def test_who_completes_an_upload_with_checksums_names_those_of_the_parts(aws: Any, bucket: str) -> None:
    s3 = aws("s3")
    place = {"Bucket": bucket, "Key": "big"}
    place["UploadId"] = s3.create_multipart_upload(**place, ChecksumAlgorithm="CRC32")["UploadId"]
    answer = s3.upload_part(**place, PartNumber=1, Body=DATA, ChecksumAlgorithm="CRC32")
    part = {"PartNumber": 1, "ETag": answer["ETag"]}
    with pytest.raises(ClientError, match=r"created using a crc32 checksum.*missing for part 1") as caught:
        s3.complete_multipart_upload(**place, MultipartUpload={"Parts": [part]})
    assert code(caught) == ("InvalidRequest", 400)
    part["ChecksumCRC32"] = answer["ChecksumCRC32"]
    s3.complete_multipart_upload(**place, MultipartUpload={"Parts": [part]})
    assert s3.get_object(Bucket=bucket, Key="big")["Body"].read() == DATA


def test_composite_checksums_say_how_many_parts_they_are_of(aws: Any, bucket: str) -> None:
    s3 = aws("s3")
    upload = s3.create_multipart_upload(Bucket=bucket, Key="big", ChecksumAlgorithm="SHA256")["UploadId"]
    bodies = [os.urandom(5 * 1024 * 1024), b"rest"]
    parts = []
    for number, body in enumerate(bodies, 1):
        answer = s3.upload_part(
            Bucket=bucket, Key="big", UploadId=upload, PartNumber=number, Body=body, ChecksumAlgorithm="SHA256"
        )
        parts.append({"PartNumber": number, "ETag": answer["ETag"], "ChecksumSHA256": answer["ChecksumSHA256"]})
    s3.complete_multipart_upload(Bucket=bucket, Key="big", UploadId=upload, MultipartUpload={"Parts": parts})
    digest = hashlib.sha256(b"".join(hashlib.sha256(body).digest() for body in bodies)).digest()
    expected = base64.b64encode(digest).decode() + "-2"
    assert s3.head_object(Bucket=bucket, Key="big", ChecksumMode="ENABLED")["ChecksumSHA256"] == expected
    assert s3.get_object(Bucket=bucket, Key="big")["Body"].read() == b"".join(bodies)
    s3.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": "big"})
    copied = s3.head_object(Bucket=bucket, Key="copy", ChecksumMode="ENABLED")
    assert copied["ChecksumSHA256"] == base64.b64encode(hashlib.sha256(b"".join(bodies)).digest()).decode()
    assert copied["ChecksumType"] == "FULL_OBJECT"


def test_a_wrong_content_md5_is_refused(aws: Any, bucket: str) -> None:
    with pytest.raises(ClientError) as caught:
        aws("s3").put_object(Bucket=bucket, Key="k", Body=DATA, ContentMD5=base64.b64encode(bytes(16)).decode())
    assert code(caught) == ("BadDigest", 400)


def test_a_checksum_in_a_trailer_is_checked(aws: Any, stand_in: Any, bucket: str) -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming-trailers.html"""

    def put(checksum: bytes) -> int:
        body = b"9\r\n123456789\r\n0\r\nx-amz-checksum-crc32:" + base64.b64encode(checksum) + b"\r\n\r\n"
        headers = {
            "x-amz-content-sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
            "x-amz-trailer": "x-amz-checksum-crc32",
            "x-amz-decoded-content-length": "9",
            "Content-Encoding": "aws-chunked",
            "Authorization": "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260101/us-east-1/s3/aws4_request, x",
        }
        connection = http.client.HTTPConnection("127.0.0.1", stand_in.port)
        connection.request("PUT", f"/{bucket}/k", body, headers)
        return connection.getresponse().status

    assert put(bytes(4)) == 400
    assert put((0xCBF43926).to_bytes(4, "big")) == 200
    assert aws("s3").get_object(Bucket=bucket, Key="k")["Body"].read() == b"123456789"


def test_a_chunked_body_of_many_chunks_is_put_together(aws: Any, stand_in: Any, bucket: str) -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming-trailers.html"""
    data = os.urandom(100_000)
    pieces = [data[start : start + 7_777] for start in range(0, len(data), 7_777)]
    body = b"".join(f"{len(each):x}\r\n".encode() + each + b"\r\n" for each in pieces) + b"0\r\n\r\n"
    headers = {
        "x-amz-content-sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "x-amz-decoded-content-length": str(len(data)),
        "Content-Encoding": "aws-chunked",
        "Authorization": "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260101/us-east-1/s3/aws4_request, x",
    }  # fmt: skip
    connection = http.client.HTTPConnection("127.0.0.1", stand_in.port)
    connection.request("PUT", f"/{bucket}/k", body, headers)
    assert connection.getresponse().status == 200
    assert aws("s3").get_object(Bucket=bucket, Key="k")["Body"].read() == data


def test_large_objects_by_ranges_copies_and_overwriting(aws: Any, bucket: str) -> None:
    s3 = aws("s3")
    data = os.urandom(3_000_000)
    first = s3.put_object(Bucket=bucket, Key="a", Body=data)
    assert s3.get_object(Bucket=bucket, Key="a")["Body"].read() == data
    for wanted, expected in (
        ("bytes=0-1999999", data[:2_000_000]), ("bytes=1000000-", data[1_000_000:]), ("bytes=-5", data[-5:]),
        ("bytes=2999999-9999999", data[-1:]),
    ):  # fmt: skip
        answer = s3.get_object(Bucket=bucket, Key="a", Range=wanted)
        assert answer["Body"].read() == expected
        assert answer["ContentLength"] == len(expected)
    with pytest.raises(ClientError) as caught:
        s3.get_object(Bucket=bucket, Key="a", Range="bytes=3000000-")
    assert code(caught) == ("InvalidRange", 416)
    copied = s3.copy_object(Bucket=bucket, Key="b", CopySource={"Bucket": bucket, "Key": "a"})
    assert copied["CopyObjectResult"]["ETag"] == first["ETag"]
    stream = s3.get_object(Bucket=bucket, Key="a")["Body"]
    s3.put_object(Bucket=bucket, Key="a", Body=b"new")
    s3.delete_object(Bucket=bucket, Key="a")
    assert stream.read() == data, "who reads already reads on"
    assert s3.get_object(Bucket=bucket, Key="b")["Body"].read() == data


# https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html and _ListObjectsV2.html


def test_ranges_metadata_and_odd_keys(aws: Any, bucket: str) -> None:
    s3 = aws("s3")
    key = "a b/ü+%2F=&?#.txt"
    s3.put_object(Bucket=bucket, Key=key, Body=b"0123456789", Metadata={"made-by": "test"}, ContentType="text/x-y")
    part = s3.get_object(Bucket=bucket, Key=key, Range="bytes=2-4")
    assert part["Body"].read() == b"234"
    assert part["ResponseMetadata"]["HTTPStatusCode"] == 206
    assert part["ContentRange"] == "bytes 2-4/10"
    assert s3.get_object(Bucket=bucket, Key=key, Range="bytes=-3")["Body"].read() == b"789"
    head = s3.head_object(Bucket=bucket, Key=key)
    assert (head["ContentLength"], head["Metadata"], head["ContentType"]) == (10, {"made-by": "test"}, "text/x-y")
    assert [each["Key"] for each in s3.list_objects_v2(Bucket=bucket)["Contents"]] == [key]


def test_listing_pages_and_folders(aws: Any, bucket: str) -> None:
    s3 = aws("s3")
    for number in range(7):
        s3.put_object(Bucket=bucket, Key=f"d{number % 2}/f{number}", Body=b"")
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, PaginationConfig={"PageSize": 3})
    assert [len(page["Contents"]) for page in pages] == [3, 3, 1]
    folders = s3.list_objects_v2(Bucket=bucket, Delimiter="/")["CommonPrefixes"]
    assert [each["Prefix"] for each in folders] == ["d0/", "d1/"]


def test_presigned_urls_expire(aws: Any, bucket: str) -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-presigned-url.html"""
    s3 = aws("s3")
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    parameters = {"Bucket": bucket, "Key": "k"}
    with urllib.request.urlopen(s3.generate_presigned_url("get_object", Params=parameters, ExpiresIn=60)) as answer:
        assert answer.read() == b"x"
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(s3.generate_presigned_url("get_object", Params=parameters, ExpiresIn=-5))
    assert caught.value.code == 403


def test_notifications_leave_slashes_in_keys(aws: Any, bucket: str) -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html"""
    s3, sqs = aws("s3"), aws("sqs")
    queue = sqs.create_queue(QueueName=bucket)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    configuration = {"QueueConfigurations": [{"QueueArn": arn, "Events": ["s3:ObjectCreated:*"]}]}
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration=configuration)
    s3.put_object(Bucket=bucket, Key="models/red flower.jpg", Body=b"x")
    bodies = [each["Body"] for each in sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10)["Messages"]]
    assert any('"key": "models/red+flower.jpg"' in body for body in bodies)


def test_a_waiting_receiver_does_not_hold_up_the_others(aws: Any, name: str) -> None:
    """https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-short-and-long-polling.html"""
    sqs = aws("sqs")
    queue = sqs.create_queue(QueueName=name)["QueueUrl"]
    received: list[str] = []

    def receive() -> None:
        answer = aws("sqs").receive_message(QueueUrl=queue, WaitTimeSeconds=10)
        received.extend(each["Body"] for each in answer.get("Messages", ()))

    thread = threading.Thread(target=receive)
    thread.start()
    for _ in range(5):
        assert queue in sqs.list_queues()["QueueUrls"]
    sqs.send_message(QueueUrl=queue, MessageBody="hello")
    thread.join(5)
    assert received == ["hello"]


def test_many_writers_and_readers_at_once(aws: Any, bucket: str) -> None:
    """moto has no locks of its own: dictionaries used to change under the feet of those who listed them."""
    s3 = aws("s3", max_pool_connections=16)
    errors: list[Exception] = []

    def work(worker: int) -> None:
        try:
            for number in range(15):
                s3.put_object(Bucket=bucket, Key=f"{worker}/{number}", Body=b"x")
                s3.list_objects_v2(Bucket=bucket)
                s3.list_buckets()
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 90
