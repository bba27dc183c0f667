"""Both stores keep one contract: objects whole or not at all, keys that stay inside, clear errors."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import botocore.client
import pytest
from botocore.exceptions import ClientError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.s3_server import FaultyS3
from tubelet.errors import ObjectMissingError, SettingsError, StoreError, TransientError, TransientStoreError
from tubelet.workers.object_store import FolderStore, S3Store, open_object_store
from tubelet.workers.s3 import S3Options

Store = FolderStore | S3Store


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "folder":
        return open_object_store(str(tmp_path / "store"), S3Options(), scratch=tmp_path / "scratch")
    bucket = request.getfixturevalue("bucket")
    options = request.getfixturevalue("s3_options")
    return open_object_store(f"s3://{bucket}/some/where/", options, scratch=tmp_path / "scratch")


@pytest.fixture
def make(tmp_path: Path) -> Callable[[bytes], Path]:
    """A finished temporary file."""

    def make_file(content: bytes) -> Path:
        path = tmp_path / "finished"
        path.write_bytes(content)
        return path

    return make_file


def read(store: Store, key: str) -> bytes:
    with store.borrow(key) as path:
        return path.read_bytes()


def test_what_was_put_is_there_and_the_file_is_taken(store: Store, make: Callable[[bytes], Path]) -> None:
    file = make(b"content")
    assert not store.exists("a/b.arrow")
    store.put("a/b.arrow", file)
    assert not file.exists()
    assert store.exists("a/b.arrow")
    assert read(store, "a/b.arrow") == b"content"
    store.put("a/b.arrow", make(b"other"))
    assert read(store, "a/b.arrow") == b"other"


def test_an_empty_object(store: Store, make: Callable[[bytes], Path]) -> None:
    store.put("empty", make(b""))
    assert read(store, "empty") == b""


def test_a_second_writer_changes_nothing(store: Store, make: Callable[[bytes], Path]) -> None:
    store.put("a/b", make(b"first"), replace=False)
    second = make(b"second")
    store.put("a/b", second, replace=False)
    assert read(store, "a/b") == b"first"
    assert not second.exists()


def test_a_missing_object_is_an_error_of_its_own(store: Store) -> None:
    with pytest.raises(ObjectMissingError, match="does not exist"), store.borrow("a/gone"):
        pass
    store.delete("a/gone")
    store.delete_all("a/")


def test_keys_are_listed_in_order_and_by_prefix(store: Store, make: Callable[[bytes], Path]) -> None:
    keys = [
        "a-b/1",
        "a/1",
        "a/1-x",
        "a/2/deep",
        "a/2x",
        "ab/1",
        *(f"many/{number:02}" for number in range(25)),
    ]
    for key in keys:
        store.put(key, make(b"x"))
    assert list(store.list()) == sorted(keys)
    for prefix in ("a/", "a", "a/1", "a/2", "a/2/", "many/", "nothing/", "a/1/"):
        assert list(store.list(prefix)) == [key for key in sorted(keys) if key.startswith(prefix)], prefix
    store.delete_all("a/")
    store.delete("ab/1")
    assert list(store.list("a")) == ["a-b/1"]
    store.delete_all("many/1")
    assert len(list(store.list("many/"))) == 15


def test_a_borrowed_copy_is_removed_on_leaving(store: Store, make: Callable[[bytes], Path]) -> None:
    store.put("a/b.arrow", make(b"content"))
    with store.borrow("a/b.arrow") as path:
        assert path.name == "b.arrow"
    assert path.exists() == isinstance(store, FolderStore)
    assert not store.scratch.folder.exists() or not list(store.scratch.folder.iterdir())


@pytest.mark.parametrize(
    "key", ["", "/a", "a/", "a//b", "../a", "a/../b", "a/./b", ".a", "a b", "ä", "a\0", "a\n"]
)
def test_keys_that_are_not_ours_are_refused(store: Store, make: Callable[[bytes], Path], key: str) -> None:
    file = make(b"x")
    for use in (store.exists, store.delete, lambda key: store.put(key, file), lambda key: read(store, key)):
        with pytest.raises(StoreError, match="is no key"):
            use(key)  # type: ignore[operator]
    assert file.exists()


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(st.sampled_from("./a\\~\0 %"), max_size=8))
def test_no_key_leaves_the_folder(tmp_path: Path, key: str) -> None:
    store = FolderStore(tmp_path / "store")
    try:
        path = store.find(key)
    except StoreError:
        return
    assert (tmp_path / "store") in Path(os.path.normpath(path)).parents


@pytest.mark.parametrize("uri", ["", "s3://", "s3:///x", "gs://bucket/x", "http://host/x"])
def test_other_places_are_refused(uri: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no place for files"):
        open_object_store(uri, S3Options(), scratch=tmp_path)


def test_a_folder_may_be_given_as_file_uri(tmp_path: Path, make: Callable[[bytes], Path]) -> None:
    store = open_object_store(f"file://{tmp_path}/x", S3Options(), scratch=tmp_path / "scratch")
    store.put("k", make(b"1"))
    assert (tmp_path / "x" / "k").read_bytes() == b"1"


def test_a_file_from_another_disk_appears_whole(
    tmp_path: Path, make: Callable[[bytes], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, file, move = FolderStore(tmp_path / "store"), make(b"content"), os.replace

    def refuse_other_disks(source: Path, target: Path) -> None:
        if Path(source) == file:
            raise OSError(18, "Invalid cross-device link")
        assert Path(source).read_bytes() == b"content"
        move(source, target)

    monkeypatch.setattr(os, "replace", refuse_other_disks)
    store.put("a/b", file)
    assert read(store, "a/b") == b"content"
    assert not file.exists()
    store.delete_all("a/")
    assert not (tmp_path / "store" / "a").exists()


def test_removing_leaves_no_empty_folders_and_no_unfinished_files(
    tmp_path: Path, make: Callable[[bytes], Path]
) -> None:
    store = FolderStore(tmp_path / "store")
    store.put("chunks/v1/d1/c1", make(b"1"))
    store.put("chunks/v2/d1/c1", make(b"1"))
    (store.folder / "chunks/v1/d1/.writing-x").write_bytes(b"")
    store.delete_all("chunks/v1/d1/")
    assert sorted(path.name for path in (store.folder / "chunks").iterdir()) == ["v2"]
    store.delete("chunks/v2/d1/c1")
    assert not (store.folder / "chunks").exists()


def test_folders_that_a_killed_process_emptied_are_dropped(
    tmp_path: Path, make: Callable[[bytes], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def die(_: Path) -> None:
        raise Killed

    store = FolderStore(tmp_path / "store")
    store.put("chunks/v1/d1/c1", make(b"1"))
    store.put("chunks/v2/d1/c1", make(b"1"))
    (store.folder / "downloads").mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(Path, "rmdir", die)
        with pytest.raises(Killed):
            store.delete_all("chunks/v1/")
    assert list(store.list("chunks/v1/")) == []
    assert (store.folder / "chunks/v1/d1").exists()
    store.drop_emptied("chunks/")
    assert sorted(path.name for path in (store.folder / "chunks").iterdir()) == ["v2"]
    assert (store.folder / "downloads").exists(), "what lies elsewhere is not ours to remove"


def test_a_full_disk_is_transient(tmp_path: Path, make: Callable[[bytes], Path], monkeypatch: Any) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    file = make(b"x")
    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(TransientStoreError, match="No space left"):
        FolderStore(tmp_path / "store").put("a", file)
    assert file.exists()


def test_a_folder_that_is_a_file_is_not_transient(tmp_path: Path, make: Callable[[bytes], Path]) -> None:
    (tmp_path / "store").write_text("a file")
    with pytest.raises(StoreError, match="cannot be used") as caught:
        FolderStore(tmp_path / "store").put("a/b", make(b"x"))
    assert not isinstance(caught.value, TransientError)


def test_an_unknown_bucket(s3_options: S3Options, tmp_path: Path, make: Callable[[bytes], Path]) -> None:
    store = S3Store("s3://no-such-bucket/x", s3_options, FolderStore(tmp_path).scratch)
    file = make(b"x")
    for use in (lambda: store.put("k", file), lambda: list(store.list()), lambda: store.delete("k")):
        with pytest.raises(StoreError, match=r"bucket of s3://no-such-bucket/x/k? ?does not exist") as caught:
            use()
        assert not isinstance(caught.value, TransientError | ObjectMissingError)
    assert file.exists()


def test_foreign_objects_under_the_prefix_are_left_alone(
    s3_client: Any, bucket: str, s3_options: S3Options, tmp_path: Path, make: Callable[[bytes], Path]
) -> None:
    for key in ("p/a b.mp4", "p/../etc", "p/ä", "pq/c", "p/folder/"):
        s3_client.put_object(Bucket=bucket, Key=key, Body=b"x")
    store = S3Store(f"s3://{bucket}/p", s3_options, FolderStore(tmp_path).scratch)
    store.put("c", make(b"x"))
    assert list(store.list()) == ["c"]
    store.delete_all("")
    assert len(s3_client.list_objects_v2(Bucket=bucket)["Contents"]) == 5


def test_large_objects_go_up_in_parts(
    s3_client: Any, bucket: str, s3_options: S3Options, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tubelet.workers import object_store

    monkeypatch.setattr(object_store, "_LARGE_BYTES", 6 << 20)
    options = replace(s3_options, part_bytes=5 << 20)
    store = S3Store(f"s3://{bucket}/p", options, FolderStore(tmp_path).scratch)
    content = os.urandom(1 << 20) * 7
    for body in (content, b"another"):
        (tmp_path / "file").write_bytes(body.ljust(6 << 20))
        store.put("large", tmp_path / "file", replace=False)
    assert s3_client.head_object(Bucket=bucket, Key="p/large")["ETag"].endswith('-2"')
    with store.borrow("large") as path:
        assert path.read_bytes() == content


def test_no_permission(
    s3_server: str,
    bucket: str,
    tmp_path: Path,
    make: Callable[[bytes], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import boto3
    import urllib3

    iam = boto3.session.Session().client("iam", endpoint_url=s3_server, region_name="us-east-1")
    iam.create_user(UserName=bucket)
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "s3:*", "Resource": "*"}]}
    iam.put_user_policy(UserName=bucket, PolicyName="none", PolicyDocument=json.dumps(policy))
    key = iam.create_access_key(UserName=bucket)["AccessKey"]
    iam.close()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key["AccessKeyId"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", key["SecretAccessKey"])
    store = S3Store(
        f"s3://{bucket}/p", S3Options(s3_server, "us-east-1", num_attempts=1), FolderStore(tmp_path).scratch
    )
    file = make(b"x")
    address = f"{s3_server}/moto-api/reset-auth"
    assert urllib3.request("POST", address, body=b"0").status == 200
    try:
        for use in (lambda: store.put("k", file), lambda: store.exists("k"), lambda: list(store.list())):
            with pytest.raises(StoreError, match="no permission") as caught:
                use()
            assert not isinstance(caught.value, TransientError)
    finally:
        assert urllib3.request("POST", address, body=b"Infinity").status == 200
    assert file.exists()


@pytest.mark.parametrize("fault", ["500", "503", "reset"])
def test_a_server_in_trouble_is_transient_and_loses_nothing(
    faulty_s3: FaultyS3, bucket: str, tmp_path: Path, make: Callable[[bytes], Path], fault: Any
) -> None:
    options = S3Options(faulty_s3.url, "us-east-1", num_attempts=1)
    store = S3Store(f"s3://{bucket}/p", options, FolderStore(tmp_path).scratch)
    file = make(b"content")
    faulty_s3.fail("PUT", fault)
    with pytest.raises(TransientStoreError, match=r"could not be used.*try again later"):
        store.put("k", file, replace=False)
    store.put("k", file, replace=False)
    for method, use in (
        ("HEAD", lambda: store.exists("k")),
        ("GET", lambda: list(store.list())),
        ("HEAD", lambda: read(store, "k")),
        ("POST", lambda: store.delete_all("k")),
    ):
        faulty_s3.fail(method, fault)
        with pytest.raises(TransientStoreError):
            use()
    assert read(store, "k") == b"content"


def test_a_write_whose_answer_was_lost_is_not_doubled_or_refused(
    faulty_s3: FaultyS3, bucket: str, tmp_path: Path, make: Callable[[bytes], Path]
) -> None:
    """The client tries again by itself and finds its own object there."""
    options = S3Options(faulty_s3.url, "us-east-1", num_attempts=3)
    store = S3Store(f"s3://{bucket}/p", options, FolderStore(tmp_path).scratch)
    faulty_s3.fail("PUT", "lost")
    store.put("k", make(b"content"), replace=False)
    assert faulty_s3.requests == ["PUT", "PUT"]
    assert read(store, "k") == b"content"


def test_a_store_without_conditions_still_takes_objects(
    s3_options: S3Options, bucket: str, tmp_path: Path, make: Callable[[bytes], Path], monkeypatch: Any
) -> None:
    call = botocore.client.BaseClient._make_api_call

    def refuse_conditions(self: Any, operation: str, arguments: dict[str, Any]) -> Any:
        if "IfNoneMatch" in arguments:
            arguments["Body"].read()
            failed: Any = {"Error": {"Code": "NotImplemented"}, "ResponseMetadata": {"HTTPStatusCode": 501}}
            raise ClientError(failed, operation)
        return call(self, operation, arguments)

    monkeypatch.setattr(botocore.client.BaseClient, "_make_api_call", refuse_conditions)
    store = S3Store(f"s3://{bucket}/p", s3_options, FolderStore(tmp_path).scratch)
    store.put("k", make(b"content"), replace=False)
    assert read(store, "k") == b"content"


@pytest.mark.parametrize(("code", "is_transient"), [("AccessDenied", False), ("SlowDown", True)])
def test_what_could_not_be_deleted_is_said(
    s3_options: S3Options,
    bucket: str,
    tmp_path: Path,
    make: Callable[[bytes], Path],
    monkeypatch: Any,
    code: str,
    is_transient: bool,
) -> None:
    """The request itself succeeds and lists what failed."""
    store = S3Store(f"s3://{bucket}/p", s3_options, FolderStore(tmp_path).scratch)
    store.put("k", make(b"content"))
    call = botocore.client.BaseClient._make_api_call

    def refuse_deleting(self: Any, operation: str, arguments: dict[str, Any]) -> Any:
        if operation == "DeleteObjects":
            return {"Errors": [{"Key": "p/k", "Code": code, "Message": "no"}]}
        return call(self, operation, arguments)

    monkeypatch.setattr(botocore.client.BaseClient, "_make_api_call", refuse_deleting)
    with pytest.raises(StoreError, match=code) as caught:
        store.delete_all("")
    assert isinstance(caught.value, TransientError) == is_transient
