"""Videos in S3 and stores that speak its protocol: list them, and fetch one to a local file.

Credentials come from boto3's usual chain (environment, profile, instance role), never from our settings.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tubelet.errors import SourceError, SourceMissingError
from tubelet.records import Source

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_MEGABYTE = 1 << 20


@dataclass(frozen=True, slots=True)
class S3Options:
    """Where S3 is, for stores other than Amazon's, and how objects are fetched.

    Objects above `part_bytes` come in ranged parts, `num_connections` at once.
    """

    endpoint_url: str | None = None
    region: str | None = None
    part_bytes: int = 16 * _MEGABYTE
    num_connections: int = 4
    connect_timeout_s: float = 10.0
    read_timeout_s: float = 60.0
    num_attempts: int = 4


def parse_address(uri: str) -> tuple[str, str]:
    """Bucket and key of `s3://bucket/key`; the key may be empty and may hold any character.

    >>> parse_address("s3://videos/day 1/../a#b.mp4")
    ('videos', 'day 1/../a#b.mp4')
    """
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    if not uri.startswith("s3://") or not bucket:
        raise SourceError(f"{uri!r} names no bucket", expected="s3://BUCKET/KEY or s3://BUCKET/PREFIX/")
    return bucket, key


def list_objects(bucket: str, prefix: str, options: S3Options) -> Iterator[Source]:
    """Yield the objects under a prefix in key order, page by page; "folder" placeholders are left out."""
    with _explain(f"s3://{bucket}/{prefix}"), _connect(options) as client:
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
            for item in page.get("Contents", []):
                if not item["Key"].endswith("/"):
                    yield _to_source(bucket, item["Key"], item["Size"], item["ETag"])


def find_object(bucket: str, key: str, options: S3Options) -> Source:
    """The object with exactly this key. Raises `SourceMissingError` when it is not there or not readable."""
    with _explain(f"s3://{bucket}/{key}"), _connect(options) as client:
        head = client.head_object(Bucket=bucket, Key=key)
        return _to_source(bucket, key, head["ContentLength"], head["ETag"])


def _to_source(bucket: str, key: str, size_bytes: int, etag: str) -> Source:
    return Source(f"s3://{bucket}/{key}", f"etag:{size_bytes}:{etag.strip(chr(34))}", size_bytes)


@contextmanager
def fetch_object(source: Source, folder: Path, options: S3Options) -> Iterator[Path]:
    """Fetch the object to a temporary file in `folder`, named without the key, and remove it on leaving.

    It must still be the object that was listed: every request is made on condition of the listed ETag.
    """
    from boto3.s3.transfer import TransferConfig

    bucket, key = parse_address(source.uri)
    etag = source.identity.removeprefix(f"etag:{source.size_bytes}:")
    config = TransferConfig(
        multipart_threshold=options.part_bytes,
        multipart_chunksize=options.part_bytes,
        max_concurrency=options.num_connections,
    )

    def require_etag(params: dict[str, Any], **_: object) -> None:
        params["IfMatch"] = f'"{etag}"'

    descriptor, name = tempfile.mkstemp(prefix="tubelet-", suffix=".video", dir=folder)
    os.close(descriptor)
    path = Path(name)
    try:
        with _explain(source.uri), _connect(options) as client:
            for operation in ("HeadObject", "GetObject"):
                client.meta.events.register(f"provide-client-params.s3.{operation}", require_etag)
            client.download_file(bucket, key, name, Config=config)
        size_bytes = path.stat().st_size
        if size_bytes != source.size_bytes:
            raise _report_change(source.uri, f"{size_bytes} bytes came of {source.size_bytes}")
        yield path
    finally:
        path.unlink(missing_ok=True)


@contextmanager
def _connect(options: S3Options) -> Iterator[S3Client]:
    """A client of its own: boto3's shared default session is not safe to share between threads."""
    import boto3
    from botocore.config import Config

    client = boto3.session.Session().client(
        "s3",
        endpoint_url=options.endpoint_url,
        region_name=options.region,
        config=Config(
            connect_timeout=options.connect_timeout_s,
            read_timeout=options.read_timeout_s,
            retries={"total_max_attempts": options.num_attempts, "mode": "standard"},
        ),
    )
    try:
        yield client
    finally:
        client.close()


@contextmanager
def _explain(uri: str) -> Iterator[None]:
    """Turn what boto3 raises into our errors."""
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

    try:
        yield
    except ClientError as error:
        raise _translate(uri, error.response) from error
    except NoCredentialsError as error:
        raise SourceMissingError(
            f"no S3 credentials to read {uri}",
            expected="credentials where boto3 looks for them",
            do="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile in ~/.aws",
        ) from error
    except (BotoCoreError, Boto3Error) as error:
        raise SourceError(
            f"{uri} could not be read: {error}", do="check the network and the S3 endpoint, then try again"
        ) from error


def _translate(uri: str, response: Mapping[str, Any]) -> SourceError:
    code = str(response.get("Error", {}).get("Code", ""))
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if code == "NoSuchBucket":
        return SourceMissingError(f"the bucket of {uri} does not exist", do="check the name and the endpoint")
    if status == 404:
        return SourceMissingError(f"{uri} does not exist", do="check the bucket and the key")
    if status in (401, 403):
        return SourceMissingError(
            f"no permission to read {uri} ({code})",
            expected="s3:GetObject on the object and s3:ListBucket on the bucket",
            do="check the credentials and the bucket's policy",
        )
    if status == 412:
        return _report_change(uri, "its ETag is another")
    message = response.get("Error", {}).get("Message", "")
    return SourceError(f"{uri} could not be read: {code} {message}", do="try again later")


def _report_change(uri: str, what: str) -> SourceError:
    return SourceError(
        f"{uri} changed after it was listed: {what}",
        expected="the object that was listed",
        do="index it again",
    )
