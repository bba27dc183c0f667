"""What S3 and its client have to say when something fails, in our errors.

Error codes are those of "Amazon S3 API Reference, Error responses"; stores that speak the same protocol use
the same ones. A fault of the server or the network is a `TransientError`, everything else fails again.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from tubelet.errors import (
    ObjectMissingError,
    SourceChangedError,
    SourceError,
    SourceMissingError,
    StoreError,
    TransientSourceError,
    TransientStoreError,
    TubeletError,
)

_Kind = Literal[
    "no bucket", "no object", "no permission", "no credentials", "archived", "changed", "busy", "other"
]

_BUSY_CODES = frozenset(
    {
        *("BandwidthLimitExceeded", "ConditionalRequestConflict", "InternalError", "OperationAborted"),
        *("RequestLimitExceeded", "RequestThrottled", "RequestThrottledException", "RequestTimeTooSkewed"),
        *("RequestTimeout", "RequestTimeoutException", "ServiceUnavailable", "SlowDown", "Throttling"),
        *("ThrottlingException", "TooManyRequestsException"),
    }
)
_PASSING_ERRNOS = frozenset(
    {
        *(errno.EAGAIN, errno.EBUSY, errno.ECONNABORTED, errno.ECONNREFUSED, errno.ECONNRESET, errno.EDQUOT),
        *(errno.EHOSTUNREACH, errno.EINTR, errno.EIO, errno.EMFILE, errno.ENETUNREACH, errno.ENFILE),
        *(errno.ENOSPC, errno.EPIPE, errno.ESTALE, errno.ETIMEDOUT),
    }
)


@dataclass(frozen=True, slots=True)
class _Fault:
    kind: _Kind
    text: str


@contextmanager
def explain_source_errors(uri: str) -> Iterator[None]:
    """Turn what boto3 raises while a source is read into a SourceError."""
    with _explain(uri, _make_source_error):
        yield


@contextmanager
def explain_store_errors(uri: str) -> Iterator[None]:
    """Turn what boto3 raises while an object of a store is read or written into a StoreError."""
    with _explain(uri, _make_store_error):
        yield


@contextmanager
def explain_disk_errors(where: object) -> Iterator[None]:
    """Turn an OSError of a folder of ours into a StoreError; a full disk is a transient one."""
    try:
        yield
    except OSError as error:
        kind, do = StoreError, "correct the folder or its permissions"
        if is_passing(error):
            kind, do = TransientStoreError, "make room or wait for the disk, then try again"
        raise kind(f"{where} cannot be used: {error}", expected="a folder to write to", do=do) from error


def is_passing(error: OSError) -> bool:
    """Whether the disk or the network may be well again later."""
    return isinstance(error, TimeoutError | ConnectionError) or error.errno in _PASSING_ERRNOS


@contextmanager
def _explain(uri: str, make: Callable[[str, _Fault], TubeletError]) -> Iterator[None]:
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError
    from s3transfer.exceptions import RetriesExceededError

    try:
        yield
    except RetriesExceededError as error:
        raise make(uri, _Fault("busy", f"{error.last_exception}")) from error
    except ClientError as error:
        raise make(uri, _judge_response(error.response)) from error
    except (BotoCoreError, Boto3Error) as error:
        raise make(uri, _judge_client_fault(error)) from error
    except (TimeoutError, ConnectionError) as error:
        raise make(uri, _Fault("busy", str(error))) from error


def _judge_response(response: Any) -> _Fault:
    code = str(response.get("Error", {}).get("Code", ""))
    status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    text = f"{code} {response.get('Error', {}).get('Message', '')}".strip()
    if code in _BUSY_CODES or status == 429 or (status >= 500 and status != 501):
        return _Fault("busy", text)
    if code == "NoSuchBucket":
        return _Fault("no bucket", text)
    if status == 404:
        return _Fault("no object", text)
    if code == "InvalidObjectState":
        return _Fault("archived", text)
    if status in (401, 403) or code in ("ExpiredToken", "InvalidToken"):
        return _Fault("no permission", text)
    if status == 412:
        return _Fault("changed", text)
    return _Fault("other", text)


def _judge_client_fault(error: Exception) -> _Fault:
    from botocore import exceptions as known

    if isinstance(error, known.NoCredentialsError | known.PartialCredentialsError):
        return _Fault("no credentials", str(error))
    if isinstance(error, known.SSLError) and "CERTIFICATE_VERIFY_FAILED" in str(error):
        return _Fault("other", str(error))
    passing = (
        known.HTTPClientError,
        known.ConnectionError,
        known.IncompleteReadError,
        known.ChecksumError,
        known.CredentialRetrievalError,
        known.MetadataRetrievalError,
    )
    return _Fault("busy" if isinstance(error, passing) else "other", str(error))


def _make_source_error(uri: str, fault: _Fault) -> SourceError:
    match fault.kind:
        case "no bucket":
            return SourceMissingError(
                f"the bucket of {uri} does not exist", do="check the name and the endpoint"
            )
        case "no object":
            return SourceMissingError(f"{uri} does not exist", do="check the bucket and the key")
        case "no permission":
            return SourceMissingError(
                f"no permission to read {uri} ({fault.text})",
                expected="s3:GetObject on the object and s3:ListBucket on the bucket",
                do="check the credentials and the bucket's policy",
            )
        case "no credentials":
            return SourceMissingError(
                f"no S3 credentials to read {uri}",
                expected="credentials where boto3 looks for them",
                do="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile in ~/.aws",
            )
        case "archived":
            return SourceMissingError(
                f"{uri} is in an archive storage class ({fault.text})",
                expected="an object that can be read at once",
                do="restore it, then index it again",
            )
        case "changed":
            return report_change(uri, "its ETag is another")
        case "busy":
            return TransientSourceError(
                f"{uri} could not be read: {fault.text}",
                do="check the network and the S3 endpoint, or try again later",
            )
        case "other":
            return SourceError(
                f"{uri} could not be read: {fault.text}", do="check the address and the S3 settings"
            )


def report_change(uri: str, what: str) -> SourceChangedError:
    """The error for a source that is not the one that was listed."""
    return SourceChangedError(
        f"{uri} changed after it was listed: {what}",
        expected="the object that was listed",
        do="index it again",
    )


def _make_store_error(uri: str, fault: _Fault) -> StoreError:
    match fault.kind:
        case "no bucket":
            return StoreError(
                f"the bucket of {uri} does not exist",
                expected="a bucket that was made before",
                do="make it, or check the name and the endpoint",
            )
        case "no object":
            return ObjectMissingError(f"{uri} does not exist", do="make it again, or check the bucket")
        case "no permission":
            return StoreError(
                f"no permission for {uri} ({fault.text})",
                expected="s3:GetObject, s3:PutObject, s3:DeleteObject and s3:ListBucket",
                do="check the credentials and the bucket's policy",
            )
        case "no credentials":
            return StoreError(
                f"no S3 credentials for {uri}",
                expected="credentials where boto3 looks for them",
                do="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile in ~/.aws",
            )
        case "changed" | "busy":
            return TransientStoreError(
                f"{uri} could not be used: {fault.text}",
                do="check the network and the S3 endpoint, or try again later",
            )
        case "archived" | "other":
            return StoreError(f"{uri} could not be used: {fault.text}", do="check the S3 settings")
