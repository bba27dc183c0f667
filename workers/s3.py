"""Videos in S3 and stores that speak its protocol: list them, and fetch one to a local file.

Credentials come from boto3's usual chain (environment, profile, instance role), never from our settings.
"""

from __future__ import annotations

import os
import tempfile
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from tubelet.errors import SourceError
from tubelet.records import Source
from tubelet.workers.s3_errors import explain_disk_errors, explain_source_errors, report_change

if TYPE_CHECKING:
    from boto3.session import Session
    from botocore.config import Config
    from mypy_boto3_s3 import S3Client

_MEGABYTE = 1 << 20
_MAX_CLIENTS = 4


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
    with explain_source_errors(f"s3://{bucket}/{prefix}"):
        for page in connect(options).get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
            for item in page.get("Contents", []):
                if not item["Key"].endswith("/"):
                    yield _to_source(bucket, item["Key"], item["Size"], item["ETag"])


def find_object(bucket: str, key: str, options: S3Options) -> Source:
    """The object with exactly this key. Raises `SourceMissingError` when it is not there or not readable."""
    with explain_source_errors(f"s3://{bucket}/{key}"):
        head = connect(options).head_object(Bucket=bucket, Key=key)
        return _to_source(bucket, key, head["ContentLength"], head["ETag"])


def _to_source(bucket: str, key: str, size_bytes: int, etag: str) -> Source:
    return Source(f"s3://{bucket}/{key}", f"etag:{size_bytes}:{etag.strip(chr(34))}", size_bytes)


@contextmanager
def fetch_object(source: Source, folder: Path, options: S3Options) -> Iterator[Path]:
    """Fetch the object to a temporary file in `folder`, named without the key, and remove it on leaving.

    It must still be the object that was listed, else `SourceChangedError` is raised.
    """
    descriptor, name = tempfile.mkstemp(prefix="tubelet-", suffix=".video", dir=folder)
    os.close(descriptor)
    path = Path(name)
    try:
        fetch_into(source, path, options)
        yield path
    finally:
        path.unlink(missing_ok=True)


def fetch_into(source: Source, path: Path, options: S3Options) -> None:
    """Fetch the object into the file `path`, which is there; what it holds is written over.

    Every request is made on condition of the listed ETag. Raises `SourceChangedError` where it is another
    object by now, `SourceMissingError` where it is gone, `TransientSourceError` where S3 does not answer,
    `TransientStoreError` where the disk is full.
    """
    bucket, key = parse_address(source.uri)
    etag = source.identity.removeprefix(f"etag:{source.size_bytes}:")
    with explain_disk_errors(path.parent), explain_source_errors(source.uri):
        size_bytes = download(bucket, key, path, options, etag=etag)
    if size_bytes != source.size_bytes:
        raise report_change(source.uri, f"it has {size_bytes} bytes and had {source.size_bytes}")


def download(bucket: str, key: str, path: Path, options: S3Options, *, etag: str = "") -> int:
    """Write an object over the file `path` and give its size; boto3's errors come as they are.

    Parts of `part_bytes` come over `num_connections` connections and go to disk in blocks of 256 KiB, of
    which a bounded number waits, so memory does not grow with the object.
    """
    from s3transfer.manager import TransferConfig, TransferManager

    config = TransferConfig(
        multipart_threshold=options.part_bytes,
        multipart_chunksize=options.part_bytes,
        max_request_concurrency=options.num_connections,
        max_io_queue_size=16,
        num_download_attempts=3,
    )
    condition = {"IfMatch": f'"{etag}"'} if etag else {}
    with path.open("r+b") as file, TransferManager(connect(options), config) as manager:
        manager.ALLOWED_DOWNLOAD_ARGS = [*manager.ALLOWED_DOWNLOAD_ARGS, "IfMatch"]  # left out by default
        future = manager.download(bucket, key, file, extra_args=condition)
        future.result()
        size_bytes = future.meta.size
        assert size_bytes is not None
        file.truncate(size_bytes)
        return size_bytes


_Key = tuple[S3Options, tuple[tuple[str, str], ...]]
_CLIENTS: OrderedDict[_Key, S3Client] = OrderedDict()
_CLIENTS_LOCK = Lock()


def connect(options: S3Options) -> S3Client:
    """The client of this process for these options and for the `AWS_*` variables; threads may share it."""
    environment = tuple(sorted(item for item in os.environ.items() if item[0].startswith("AWS_")))
    key = (options, environment)
    with _CLIENTS_LOCK:
        client = _CLIENTS.get(key)
        if client is not None:
            _CLIENTS.move_to_end(key)
            return client
        session = _make_session(environment)
        client = session.client(
            "s3",
            endpoint_url=options.endpoint_url,
            region_name=options.region,
            config=_make_config(options),
        )
        if session.get_credentials() is not None:  # without, whoever asks next looks for them again
            _CLIENTS[key] = client
        while len(_CLIENTS) > _MAX_CLIENTS:
            _CLIENTS.popitem(last=False)[1].close()
        return client


def connect_to_sign(options: S3Options) -> S3Client:
    """A client that signs addresses with version 4, which also holds them to a size; it sends nothing."""
    from botocore.config import Config

    environment = tuple(sorted(item for item in os.environ.items() if item[0].startswith("AWS_")))
    with _CLIENTS_LOCK:
        return _make_session(environment).client(
            "s3",
            endpoint_url=options.endpoint_url,
            region_name=options.region,
            config=_make_config(options).merge(Config(signature_version="s3v4")),
        )


def close_clients() -> None:
    """Close the connections to S3; whoever needs them next makes them anew."""
    with _CLIENTS_LOCK:
        while _CLIENTS:
            _CLIENTS.popitem()[1].close()


@lru_cache(maxsize=2)
def _make_session(environment: tuple[tuple[str, str], ...]) -> Session:
    """A session for these variables, which reads the service's description once.

    It is not boto3's shared one, which is not safe between threads; the lock of the clients guards it.
    """
    import boto3

    return boto3.session.Session()


def _make_config(options: S3Options) -> Config:
    from botocore.config import Config

    return Config(
        connect_timeout=options.connect_timeout_s,
        read_timeout=options.read_timeout_s,
        retries={"total_max_attempts": options.num_attempts, "mode": "standard"},
        max_pool_connections=32,
    )


def _forget_clients() -> None:
    """A forked process makes clients of its own: connections must not be shared with its parent."""
    global _CLIENTS_LOCK
    _CLIENTS_LOCK = Lock()
    _CLIENTS.clear()
    _make_session.cache_clear()


os.register_at_fork(after_in_child=_forget_clients)
