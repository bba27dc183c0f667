"""Where files go that other processes or machines need: a folder, or S3.

A store is a flat map from keys to files. Keys are made by us, of plain characters and slashes, and are
checked, so that no key can leave the folder or prefix. An object appears whole or not at all.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

from tubelet.errors import ObjectMissingError, SettingsError, StoreError, TransientStoreError
from tubelet.workers.s3 import S3Options, connect, download, parse_address
from tubelet.workers.s3_errors import explain_disk_errors, explain_store_errors
from tubelet.workers.scratch import Scratch

_PART = r"[A-Za-z0-9_=-][A-Za-z0-9._=-]*"
_KEY = re.compile(rf"{_PART}(/{_PART})*")
_PREFIX = re.compile(rf"({_PART}/)*({_PART})?")
_MAX_RACES = 20
_LARGE_BYTES = 64 << 20
"""S3 objects from here on are put in parts; S3 takes no conditions for these."""


class ObjectStore(Protocol):
    """Files by key. Every method raises StoreError where the store cannot be used.

    What may succeed when it is tried again is a TransientStoreError.
    """

    def put(self, key: str, file: Path, *, replace: bool = True) -> None:
        """Take a finished temporary file in, whole or not at all; it is gone afterwards.

        Without `replace` what lies under the key already stays, and that is no error.
        """

    def borrow(self, key: str) -> AbstractContextManager[Path]:
        """A local file with the content, not to be changed; it may be gone after leaving.

        Raises ObjectMissingError where there is none.
        """

    def exists(self, key: str) -> bool:
        """Whether there is something under the key."""

    def list(self, prefix: str = "") -> Iterator[str]:
        """The keys that begin with `prefix`, in order, as a stream."""

    def delete(self, key: str) -> None:
        """Remove an object, if it is there."""

    def delete_all(self, prefix: str) -> None:
        """Remove all objects whose keys begin with `prefix`."""

    def drop_emptied(self, prefix: str) -> None:
        """Remove folders below `prefix`, which ends with a slash, that a killed process had just emptied.

        Safe beside others: a writer whose folder goes makes it again.
        """


def open_object_store(uri: str, s3: S3Options, *, scratch: Path) -> FolderStore | S3Store:
    """The store at a folder (a path or `file://`) or at `s3://bucket/prefix`. Nothing is made or asked yet.

    `scratch` is the folder for temporary copies of S3 objects. Raises SettingsError for other addresses.
    """
    if re.match("s3://[^/]", uri):
        return S3Store(uri, s3, Scratch(scratch))
    path = uri.removeprefix("file://")
    if not path or "://" in path:
        raise SettingsError(
            f"{uri!r} is no place for files", expected="a folder or s3://BUCKET/PREFIX", do="correct it"
        )
    return FolderStore(Path(path))


def check_key(key: str) -> str:
    """The key itself. Raises StoreError where it is not one of ours: dots first, odd characters, no name."""
    if not _KEY.fullmatch(key):
        raise StoreError(
            f"{key!r} is no key",
            expected="names of letters, digits and ._=- with slashes between, none beginning with a dot",
            do="make it from ids",
        )
    return key


def _check_prefix(prefix: str) -> str:
    if not _PREFIX.fullmatch(prefix):
        raise StoreError(f"{prefix!r} is no prefix of keys", expected="the beginning of a key")
    return prefix


class FolderStore:
    """Objects are files below a folder, which machines may share.

    `scratch` lies on the same disk: a file that is made there is moved to its place, not copied.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.expanduser().absolute()
        self.scratch = Scratch(self.folder / ".scratch")

    def put(self, key: str, file: Path, *, replace: bool = True) -> None:
        """Move the file to its place; from another disk it is copied beside it first."""
        target = self.find(key)
        with explain_disk_errors(self.folder):
            if not replace and target.exists():
                file.unlink()
                return
            with file.open("rb") as content:
                os.fsync(content.fileno())
            for _ in range(_MAX_RACES):
                target.parent.mkdir(parents=True, exist_ok=True)
                try:
                    self._move(file, target)
                    return
                except FileNotFoundError:
                    if not file.exists():
                        raise
            raise TransientStoreError(
                f"{target.parent} is removed again and again", do="try again when nothing deletes it"
            )

    def _move(self, file: Path, target: Path) -> None:
        try:
            os.replace(file, target)
            return
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
        with self.scratch.make_folder() as folder:
            copy = folder / target.name
            with file.open("rb") as content, copy.open("wb") as written:
                shutil.copyfileobj(content, written, 1 << 20)
                written.flush()
                os.fsync(written.fileno())
            os.replace(copy, target)
        file.unlink()

    def find(self, key: str) -> Path:
        """The path of an object, whether it is there or not."""
        return self.folder / check_key(key)

    @contextmanager
    def borrow(self, key: str) -> Iterator[Path]:
        """The folder's own file."""
        path = self.find(key)
        if not self.exists(key):
            raise ObjectMissingError(f"{path} does not exist", do="make it again")
        yield path

    def exists(self, key: str) -> bool:
        """Whether there is a file under the key."""
        with explain_disk_errors(self.folder):
            return self.find(key).is_file()

    def list(self, prefix: str = "") -> Iterator[str]:
        """The keys that begin with `prefix`, in order, as a stream."""
        parent, _, start = _check_prefix(prefix).rpartition("/")
        with explain_disk_errors(self.folder):
            yield from _walk(self.folder / parent, f"{parent}/" if parent else "", start)

    def delete(self, key: str) -> None:
        """Remove a file, if it is there, and the folders that it leaves empty."""
        path = self.find(key)
        with explain_disk_errors(self.folder):
            path.unlink(missing_ok=True)
            self._drop_empty(path.parent)

    def delete_all(self, prefix: str) -> None:
        """Remove all files under a prefix, what killed writers left there, and the empty folders."""
        parent, _, start = _check_prefix(prefix).rpartition("/")
        with explain_disk_errors(self.folder):
            for name in _list_names(self.folder / parent):
                if name.startswith(start) and (parent or not name.startswith(".")):
                    _remove(self.folder / parent / name)
            self._drop_empty(self.folder / parent)

    def drop_emptied(self, prefix: str) -> None:
        """Remove empty folders below a prefix: a process that was killed while it removed leaves them."""
        with explain_disk_errors(self.folder):
            for folder, _, files in os.walk(self.folder / _check_prefix(prefix), topdown=False):
                if not files:
                    self._drop_empty(Path(folder))

    def _drop_empty(self, folder: Path) -> None:
        while folder != self.folder:
            try:
                folder.rmdir()
            except FileNotFoundError:
                pass
            except OSError as error:
                if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
                    return
                raise
            folder = folder.parent


def _list_names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _walk(folder: Path, key: str, start: str) -> Iterator[str]:
    """Keys in the order that S3 gives: a folder counts with the slash after its name."""
    try:
        with os.scandir(folder) as entries:
            names = sorted(
                f"{entry.name}/" if entry.is_dir() else entry.name
                for entry in entries
                if entry.name.startswith(start) and not entry.name.startswith(".")
            )
    except (FileNotFoundError, NotADirectoryError):
        return
    for name in names:
        if name.endswith("/"):
            yield from _walk(folder / name, key + name, "")
        else:
            yield key + name


def _remove(path: Path) -> None:
    """Remove a file or a folder with all in it, also while others put files there or remove them."""
    for _ in range(_MAX_RACES):
        try:
            if path.is_dir() and not path.is_symlink():
                for name in _list_names(path):
                    _remove(path / name)
                path.rmdir()
            else:
                path.unlink()
            return
        except FileNotFoundError:
            return
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise


class S3Store:
    """Objects under a prefix of a bucket. Uploads that were cut off are never seen."""

    def __init__(self, uri: str, options: S3Options, scratch: Scratch) -> None:
        self.uri = uri.rstrip("/")
        self._bucket, self._prefix = parse_address(f"{self.uri}/")
        self._options = options
        self.scratch = scratch

    def locate(self, key: str) -> tuple[str, str]:
        """Bucket and full key of an object."""
        return self._bucket, self._key(key)

    def put(self, key: str, file: Path, *, replace: bool = True) -> None:
        """Upload the file; without `replace` on the condition that nothing is there."""
        with explain_store_errors(self._name(key)):
            self._upload(self._key(key), file, replace=replace)
        with explain_disk_errors(file.parent):
            file.unlink()

    def _upload(self, key: str, file: Path, *, replace: bool) -> None:
        from botocore.exceptions import ClientError

        client = connect(self._options)
        if file.stat().st_size >= _LARGE_BYTES:
            self._upload_in_parts(key, file, replace=replace)
            return
        with file.open("rb") as body:
            if replace:
                client.put_object(Bucket=self._bucket, Key=key, Body=body)
                return
            try:
                client.put_object(Bucket=self._bucket, Key=key, Body=body, IfNoneMatch="*")
            except ClientError as error:
                status = error.response["ResponseMetadata"]["HTTPStatusCode"]
                if status == 501:  # a store that knows no conditions; the content would be the same
                    body.seek(0)
                    client.put_object(Bucket=self._bucket, Key=key, Body=body)
                elif status != 412:
                    raise

    def _upload_in_parts(self, key: str, file: Path, *, replace: bool) -> None:
        from s3transfer.manager import TransferConfig, TransferManager

        if not replace and self._has(key):
            return
        part_bytes = max(self._options.part_bytes, 5 << 20)  # S3 takes no smaller ones
        config = TransferConfig(
            multipart_threshold=_LARGE_BYTES,
            multipart_chunksize=part_bytes,
            max_request_concurrency=self._options.num_connections,
        )
        with TransferManager(connect(self._options), config) as manager:
            manager.upload(str(file), self._bucket, key).result()

    @contextmanager
    def borrow(self, key: str) -> Iterator[Path]:
        """A temporary copy, removed on leaving."""
        place = self._key(key)
        with ExitStack() as stack:
            with explain_disk_errors(self.scratch.folder), explain_store_errors(self._name(key)):
                path = stack.enter_context(self.scratch.make_folder()) / key.rpartition("/")[2]
                path.touch()
                download(self._bucket, place, path, self._options)
            yield path

    def exists(self, key: str) -> bool:
        """Whether there is an object under the key; asking costs a request."""
        with explain_store_errors(self._name(key)):
            return self._has(self._key(key))

    def _has(self, key: str) -> bool:
        from botocore.exceptions import ClientError

        try:
            connect(self._options).head_object(Bucket=self._bucket, Key=key)
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
                return False
            raise
        return True

    def list(self, prefix: str = "") -> Iterator[str]:
        """The keys that begin with `prefix`, in order, page by page."""
        with explain_store_errors(f"{self.uri}/{prefix}"):
            pages = connect(self._options).get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=self._bucket, Prefix=self._prefix + _check_prefix(prefix)):
                for item in page.get("Contents", []):
                    key = item["Key"].removeprefix(self._prefix)
                    if _KEY.fullmatch(key):
                        yield key

    def delete(self, key: str) -> None:
        """Remove an object, if it is there."""
        with explain_store_errors(self._name(key)):
            connect(self._options).delete_object(Bucket=self._bucket, Key=self._key(key))

    def delete_all(self, prefix: str) -> None:
        """Remove all objects under a prefix, a thousand in a request."""
        from botocore.exceptions import ClientError

        keys = self.list(prefix)
        with explain_store_errors(f"{self.uri}/{prefix}"):
            while some := list(islice(keys, 1000)):
                reply = connect(self._options).delete_objects(
                    Bucket=self._bucket, Delete={"Objects": [{"Key": self._prefix + key} for key in some]}
                )
                for failed in reply.get("Errors", []):  # the reply to the request itself is a success
                    status = 403 if failed.get("Code") == "AccessDenied" else 400
                    error: Any = {"Error": failed, "ResponseMetadata": {"HTTPStatusCode": status}}
                    raise ClientError(error, "DeleteObjects")

    def drop_emptied(self, prefix: str) -> None:
        """Nothing to do: S3 has no folders."""

    def _key(self, key: str) -> str:
        return self._prefix + check_key(key)

    def _name(self, key: str) -> str:
        return f"{self.uri}/{key}"
