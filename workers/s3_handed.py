"""Objects that somebody else puts into S3: an address to put one at, a look at it, taking it over."""

from __future__ import annotations

from dataclasses import replace

from tubelet.workers.s3 import S3Options, connect, connect_to_sign
from tubelet.workers.s3_errors import explain_store_errors


def presign_put(
    bucket: str, key: str, size_bytes: int, options: S3Options, *, endpoint_url: str, expires_s: int
) -> str:
    """An address at which whoever has it may PUT one object of this size, and nothing else, for a while."""
    with explain_store_errors(f"s3://{bucket}/{key}"):
        client = connect_to_sign(replace(options, endpoint_url=endpoint_url or options.endpoint_url))
        return client.generate_presigned_url(
            "put_object",
            Params={"Bucket": bucket, "Key": key, "ContentLength": size_bytes},
            ExpiresIn=expires_s,
        )


def look_at_object(bucket: str, key: str, num_bytes: int, options: S3Options) -> tuple[int, str, bytes]:
    """The size of an object, its ETag, and the bytes that it begins with."""
    with explain_store_errors(f"s3://{bucket}/{key}"):
        client = connect(options)
        found = client.head_object(Bucket=bucket, Key=key)
        size_bytes, etag = found["ContentLength"], found["ETag"]
        if not size_bytes:
            return 0, etag, b""
        part = client.get_object(
            Bucket=bucket, Key=key, Range=f"bytes=0-{min(num_bytes, size_bytes) - 1}", IfMatch=etag
        )
        return size_bytes, etag, part["Body"].read()


def take_object(bucket: str, key: str, to: str, etag: str, options: S3Options) -> None:
    """Move an object within its bucket, if it is still the one of this ETag; large ones go in parts."""
    from s3transfer.manager import TransferConfig, TransferManager

    config = TransferConfig(multipart_chunksize=64 << 20, max_request_concurrency=options.num_connections)
    with explain_store_errors(f"s3://{bucket}/{key}"):
        client = connect(options)
        with TransferManager(client, config) as manager:
            condition = {"CopySourceIfMatch": etag}
            manager.copy({"Bucket": bucket, "Key": key}, bucket, to, extra_args=condition).result()
        client.delete_object(Bucket=bucket, Key=key)
