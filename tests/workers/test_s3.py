"""S3 through real boto3 against a real server on loopback."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from tubelet.errors import SourceChangedError, SourceError, SourceMissingError, TransientSourceError
from tubelet.workers.s3 import (
    S3Options,
    close_clients,
    connect,
    fetch_object,
    find_object,
    list_objects,
    parse_address,
)
from tubelet.workers.s3_errors import explain_source_errors

STRANGE_KEYS = (
    "day 1/a b.mp4",
    "días/ñandú 車.mp4",
    "../../etc/passwd.mp4",
    "a//b/./c.mp4",
    "x#y?z%20+&.mp4",
)


def test_lists_more_than_one_page_in_key_order(s3_client: Any, bucket: str, s3_options: S3Options) -> None:
    keys = [f"v/{number:04d}.mp4" for number in range(25)]
    for key in keys:
        s3_client.put_object(Bucket=bucket, Key=key, Body=b"x")

    page = s3_client.list_objects_v2(Bucket=bucket)
    assert page["IsTruncated"]

    found = list(list_objects(bucket, "v/", s3_options))

    assert [source.uri for source in found] == [f"s3://{bucket}/{key}" for key in keys]


def test_leaves_out_folder_placeholders(s3_client: Any, bucket: str, s3_options: S3Options) -> None:
    s3_client.put_object(Bucket=bucket, Key="v/", Body=b"")
    s3_client.put_object(Bucket=bucket, Key="v/a.mp4", Body=b"abc")

    [source] = list_objects(bucket, "", s3_options)

    assert source.uri == f"s3://{bucket}/v/a.mp4"
    assert source.identity == "etag:3:900150983cd24fb0d6963f7d28e17f72"


@pytest.mark.parametrize("key", STRANGE_KEYS)
def test_strange_keys_are_found_and_stay_in_the_folder(
    s3_client: Any, bucket: str, s3_options: S3Options, tmp_path: Path, key: str
) -> None:
    s3_client.put_object(Bucket=bucket, Key=key, Body=b"content")
    [listed] = list_objects(bucket, "", s3_options)

    assert find_object(bucket, key, s3_options) == listed
    with fetch_object(listed, tmp_path, s3_options) as path:
        assert path.read_bytes() == b"content"
        assert path.parent == tmp_path
    assert list(tmp_path.iterdir()) == []


def test_large_objects_come_in_ranged_parts(
    s3_client: Any, bucket: str, s3_options: S3Options, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import botocore.client

    content = bytes(range(256)) * 1024
    s3_client.put_object(Bucket=bucket, Key="a.mp4", Body=content)
    options = S3Options(s3_options.endpoint_url, s3_options.region, part_bytes=100_000)
    ranges = []
    call = botocore.client.BaseClient._make_api_call

    def record(self: Any, operation: str, arguments: dict[str, Any]) -> Any:
        if operation == "GetObject":
            ranges.append(arguments["Range"])
        return call(self, operation, arguments)

    monkeypatch.setattr(botocore.client.BaseClient, "_make_api_call", record)
    with fetch_object(find_object(bucket, "a.mp4", options), tmp_path, options) as path:
        assert path.read_bytes() == content

    assert sorted(ranges) == ["bytes=0-99999", "bytes=100000-199999", "bytes=200000-"]


def test_an_object_uploaded_in_parts_is_fetched_whole(
    s3_client: Any, bucket: str, s3_options: S3Options, tmp_path: Path
) -> None:
    part = b"p" * (5 << 20)
    upload = s3_client.create_multipart_upload(Bucket=bucket, Key="m.mp4")["UploadId"]
    parts = []
    for number, body in ((1, part), (2, b"end")):
        reply = s3_client.upload_part(
            Bucket=bucket, Key="m.mp4", UploadId=upload, PartNumber=number, Body=body
        )
        parts.append({"PartNumber": number, "ETag": reply["ETag"]})
    s3_client.complete_multipart_upload(
        Bucket=bucket, Key="m.mp4", UploadId=upload, MultipartUpload={"Parts": parts}
    )
    source = find_object(bucket, "m.mp4", s3_options)

    assert source.identity.endswith("-2")
    with fetch_object(source, tmp_path, s3_options) as path:
        assert path.read_bytes() == part + b"end"


def test_missing_bucket(s3_options: S3Options) -> None:
    with pytest.raises(SourceMissingError, match="bucket of s3://no-such-bucket/ does not exist"):
        list(list_objects("no-such-bucket", "", s3_options))


def test_missing_key(bucket: str, s3_options: S3Options) -> None:
    with pytest.raises(SourceMissingError, match=r"gone\.mp4 does not exist"):
        find_object(bucket, "gone.mp4", s3_options)


@pytest.mark.parametrize("part_bytes", [1 << 20, 4])
def test_an_object_that_changed_after_listing(
    s3_client: Any, bucket: str, s3_options: S3Options, tmp_path: Path, part_bytes: int
) -> None:
    s3_client.put_object(Bucket=bucket, Key="a.mp4", Body=b"first one")
    source = find_object(bucket, "a.mp4", s3_options)
    s3_client.put_object(Bucket=bucket, Key="a.mp4", Body=b"other one")
    options = S3Options(s3_options.endpoint_url, s3_options.region, part_bytes=part_bytes)

    with (
        pytest.raises(SourceError, match="changed after it was listed"),
        fetch_object(source, tmp_path, options),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


def test_an_object_that_vanished_after_listing(
    s3_client: Any, bucket: str, s3_options: S3Options, tmp_path: Path
) -> None:
    s3_client.put_object(Bucket=bucket, Key="a.mp4", Body=b"x")
    source = find_object(bucket, "a.mp4", s3_options)
    s3_client.delete_object(Bucket=bucket, Key="a.mp4")

    with (
        pytest.raises(SourceMissingError, match="does not exist"),
        fetch_object(source, tmp_path, s3_options),
    ):
        pass


def test_the_file_is_removed_when_its_use_fails(
    s3_client: Any, bucket: str, s3_options: S3Options, tmp_path: Path
) -> None:
    s3_client.put_object(Bucket=bucket, Key="a.mp4", Body=b"x")
    source = find_object(bucket, "a.mp4", s3_options)

    with pytest.raises(ZeroDivisionError), fetch_object(source, tmp_path, s3_options):
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_no_permission(s3_server: str, s3_client: Any, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import boto3
    import urllib3

    s3_client.put_object(Bucket=bucket, Key="a.mp4", Body=b"x")
    iam = boto3.session.Session().client("iam", endpoint_url=s3_server, region_name="us-east-1")
    iam.create_user(UserName=bucket)
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "s3:*", "Resource": "*"}]}
    iam.put_user_policy(UserName=bucket, PolicyName="none", PolicyDocument=json.dumps(policy))
    key = iam.create_access_key(UserName=bucket)["AccessKey"]
    iam.close()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key["AccessKeyId"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", key["SecretAccessKey"])
    options = S3Options(s3_server, "us-east-1", num_attempts=1)

    def check_permissions_after(num_calls: bytes) -> None:
        address = f"{s3_server}/moto-api/reset-auth"
        assert urllib3.request("POST", address, body=num_calls).status == 200

    check_permissions_after(b"0")
    try:
        with pytest.raises(SourceMissingError, match="no permission"):
            find_object(bucket, "a.mp4", options)
        with pytest.raises(SourceMissingError, match="no permission"):
            list(list_objects(bucket, "", options))
    finally:
        check_permissions_after(b"Infinity")


def test_no_credentials(bucket: str, s3_options: S3Options, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")

    with pytest.raises(SourceMissingError, match="no S3 credentials"):
        find_object(bucket, "a.mp4", s3_options)


def test_an_endpoint_that_does_not_answer(s3_options: S3Options) -> None:
    options = S3Options("http://127.0.0.1:9", "us-east-1", num_attempts=1)

    with pytest.raises(SourceError, match="check the network"):
        find_object("bucket", "a.mp4", options)


@pytest.mark.parametrize("address", ["s3://", "s3:///key.mp4"])
def test_an_address_without_bucket(address: str) -> None:
    with pytest.raises(SourceError, match="names no bucket"):
        parse_address(address)


@given(st.from_regex(r"[a-z0-9.-]{3,63}", fullmatch=True), st.text(max_size=50))
def test_addresses_come_apart_where_they_were_joined(bucket_name: str, key: str) -> None:
    assert parse_address(f"s3://{bucket_name}/{key}") == (bucket_name, key)


def test_one_client_a_process_for_the_same_options_and_variables(
    s3_options: S3Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = connect(s3_options)
    assert connect(replace(s3_options)) is client
    assert connect(replace(s3_options, num_attempts=2)) is not client
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "another")
    other = connect(s3_options)
    assert other is not client
    close_clients()
    assert connect(s3_options) is not other


FORKED = """
import os, sys
from tubelet.workers.s3 import S3Options, connect, find_object
options = S3Options(sys.argv[1], "us-east-1")
find_object(sys.argv[2], "a.mp4", options)
mine = connect(options)
child = os.fork()
if child == 0:
    find_object(sys.argv[2], "a.mp4", options)
    os._exit(7 if connect(options) is not mine else 1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_forked_process_has_a_client_of_its_own(s3_client: Any, bucket: str, s3_options: S3Options) -> None:
    s3_client.put_object(Bucket=bucket, Key="a.mp4", Body=b"x")
    command = [sys.executable, "-c", FORKED, str(s3_options.endpoint_url), bucket]
    assert subprocess.run(command, timeout=120).returncode == 7


@pytest.mark.parametrize(
    ("status", "code", "kind", "words"),
    [
        (400, "RequestTimeout", TransientSourceError, "try again later"),
        (403, "RequestTimeTooSkewed", TransientSourceError, "try again later"),
        (429, "TooManyRequests", TransientSourceError, "try again later"),
        (502, "", TransientSourceError, "try again later"),
        (403, "InvalidObjectState", SourceMissingError, "archive storage class"),
        (400, "ExpiredToken", SourceMissingError, "no permission"),
        (412, "PreconditionFailed", SourceChangedError, "changed after it was listed"),
        (501, "NotImplemented", SourceError, "S3 settings"),
        (301, "PermanentRedirect", SourceError, "S3 settings"),
    ],
)
def test_answers_of_s3_are_told_apart(status: int, code: str, kind: type[SourceError], words: str) -> None:
    answer: Any = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    with pytest.raises(SourceError, match=words) as caught, explain_source_errors("s3://b/k"):
        raise ClientError(answer, "GetObject")
    assert type(caught.value) is kind
    assert type(pickle.loads(pickle.dumps(caught.value))) is kind
