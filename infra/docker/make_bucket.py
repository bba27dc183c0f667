"""Make the buckets of the index and the work store where they do not exist yet.

For a store that comes up empty, as the compose file's does. Run again, it changes nothing.
"""

from __future__ import annotations

import sys
from typing import Any

from botocore.exceptions import ClientError

from tubelet.errors import TubeletError
from tubelet.orchestration.resources import make_s3_options
from tubelet.settings import load_settings
from tubelet.workers.s3 import connect, parse_address

MISSING = ("404", "NoSuchBucket")


def make_bucket(client: Any, bucket: str, region: str) -> bool:
    """Make a bucket; gives whether it was missing."""
    try:
        client.head_bucket(Bucket=bucket)
        return False
    except ClientError as error:
        if error.response["Error"]["Code"] not in MISSING:
            raise
    elsewhere = region not in ("", "us-east-1")  # the one region that S3 does not let a request name
    options = {"CreateBucketConfiguration": {"LocationConstraint": region}} if elsewhere else {}
    client.create_bucket(Bucket=bucket, **options)
    return True


def main() -> int:
    """Make the bucket of every setting that names one."""
    try:
        settings = load_settings()
        addresses = [uri for uri in (settings.index_uri, settings.work_uri) if uri.startswith("s3://")]
        client = connect(make_s3_options(settings))
        for bucket in sorted({parse_address(uri)[0] for uri in addresses}):
            made = make_bucket(client, bucket, settings.s3_region)
            sys.stdout.write(f"{bucket}: {'made' if made else 'is there'}\n")
    except (TubeletError, ClientError) as error:
        sys.stderr.write(f"Error: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
