"""Uploads to S3, and videos that lie there, sent in ranges."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest

from tests.api.conftest import Served, StartService
from tests.api.tiny_index import fill_home, make_settings
from tests.s3_server import s3_options, s3_server
from tubelet.api.client import AsyncClient, Client
from tubelet.api.keys import KeyFile, find_key_file
from tubelet.api.server import handed_uploads
from tubelet.workers.object_store import S3Store
from tubelet.workers.reopen import find_source
from tubelet.workers.s3 import S3Options, connect

__all__ = ["s3_options", "s3_server"]


def test_uploads_and_media_on_s3(
    start_service: StartService, tmp_path: Path, clip: Path, s3_options: S3Options
) -> None:
    client = connect(s3_options)
    client.create_bucket(Bucket="archive")
    client.put_object(Bucket="archive", Key="2026/a clip.mp4", Body=clip.read_bytes())
    address = "s3://archive/2026/a clip.mp4"
    settings = fill_home(
        tmp_path / "home",
        clip,
        source=find_source(address, s3=s3_options),
        api_uploads="s3://archive/uploads",
        s3_endpoint_url=s3_options.endpoint_url,
        s3_region="us-east-1",
    )
    served = start_service(settings)
    (video,) = served.get("/v1/videos")["videos"]
    path, content = f"/v1/videos/{video['video_id']}/media", clip.read_bytes()
    whole = served.client.get(path)
    assert (whole.status_code, whole.content) == (200, content)
    for asked, wanted in (
        ("bytes=5-9", content[5:10]),
        ("bytes=-4", content[-4:]),
        ("bytes=9-", content[9:]),
    ):
        part = served.client.get(path, headers={"Range": asked})
        assert (part.status_code, part.content) == (206, wanted)
    first = served.client.get(path, headers={"Range": "bytes=0-0"})
    assert first.headers["content-range"] == f"bytes 0-0/{len(content)}"
    assert served.get(path, 416, headers={"Range": f"bytes={len(content)}-"})["code"] == "bad-range"
    stale = served.client.get(path, headers={"Range": "bytes=0-3", "If-Range": '"other"'})
    assert (stale.status_code, stale.content) == (200, content)
    assert served.client.get(path, headers={"If-None-Match": whole.headers["etag"]}).status_code == 304
    clip_path = "/v1/objects/o1/clip?start_s=1&end_s=1.5"
    assert served.client.get(clip_path).headers["content-type"] == "video/mp4"

    headers = {"Content-Type": "application/octet-stream"}
    upload = served.post("/v1/uploads?name=sent.mov", 201, content=content, headers=headers)
    key = f"uploads/{upload['upload_id']}/sent.mp4"
    assert client.get_object(Bucket="archive", Key=key)["Body"].read() == content
    batch = served.post("/v1/batches", 202, json={"sources": [upload["source"]]})
    assert batch["sources"] == [f"s3://archive/{key}"]
    served.ask("DELETE", f"/v1/uploads/{upload['upload_id']}", 204)
    assert "Contents" not in client.list_objects_v2(Bucket="archive", Prefix="uploads/")

    client.put_object(Bucket="archive", Key="2026/a clip.mp4", Body=b"another")
    assert served.get(path, 409)["code"] == "source-changed"
    client.delete_object(Bucket="archive", Key="2026/a clip.mp4")
    assert served.get(path, 404)["code"] == "source-missing"


def test_callers_put_uploads_at_s3_themselves(
    start_service: StartService,
    tmp_path: Path,
    clip: Path,
    s3_options: S3Options,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    client, content = connect(s3_options), clip.read_bytes()
    client.create_bucket(Bucket="handed")
    settings = make_settings(
        tmp_path / "home",
        api_uploads="s3://handed/uploads",
        s3_endpoint_url=s3_options.endpoint_url,
        api_uploads_endpoint_url=str(s3_options.endpoint_url).replace("127.0.0.1", "localhost"),
        s3_region="us-east-1",
        api_upload_gb=1e-3,
    )
    key = KeyFile(find_key_file(settings)).add("k", scopes=["submit", "search"], quotas={"upload_gb": 0.01})
    served = start_service(settings, key=key)

    address = urlsplit(_sign(served, len(content)))
    signed = parse_qs(address.query)
    assert address.hostname == "localhost", "as callers reach it"
    assert signed["X-Amz-SignedHeaders"] == ["content-length;host"], "the size is signed too"
    assert signed["X-Amz-Expires"] == ["3600"]
    assert "/v1/uploads" in caplog.text
    assert signed["X-Amz-Signature"][0] not in caplog.text

    def put(body: bytes, announced: int) -> str:
        upload = served.post(f"/v1/uploads?name=../my%20clip.mov&size_bytes={announced}", 201)
        assert served.post("/v1/batches", 404, json={"sources": [upload["source"]]})["code"] == "not-found"
        assert httpx2.put(upload["url"], content=body).status_code == 200
        assert served.post("/v1/batches", 404, json={"sources": [upload["source"]]})["code"] == "not-found"
        return f"/v1/uploads/{upload['upload_id']}"

    def list_keys() -> list[str]:
        return [each["Key"] for each in client.list_objects_v2(Bucket="handed").get("Contents", [])]

    place = put(content, len(content))
    upload = served.post(f"{place}/complete")
    assert (upload["name"], upload["size_bytes"], upload["container"]) == ("my_clip.mp4", len(content), "mov")
    assert served.post(f"{place}/complete") == upload, "as after an answer that was lost"
    batch = served.post("/v1/batches", 202, json={"sources": [upload["source"]]})
    assert batch["sources"] == [f"s3://handed/{key}" for key in list_keys()]
    assert client.get_object(Bucket="handed", Key=list_keys()[0])["Body"].read() == content
    used = served.get("/v1/usage")["quotas"][0]["used"]
    assert used == pytest.approx(2 * len(content) / 1e9)
    served.ask("DELETE", place, 204)

    for body, announced, code in (
        (content, len(content) + 1, "source-unusable"),
        (b"<html>" * 100, 600, "bad-media-type"),
        (b"", 600, "source-unusable"),
    ):
        place = put(body, announced)
        assert served.post(f"{place}/complete", 415 if "media" in code else 422)["code"] == code
        assert list_keys() == []
        assert served.post(f"{place}/complete", 404)["code"] == "not-found"
    place = put(content, len(content))
    served.ask("DELETE", place, 204)
    served.ask("DELETE", place, 404)
    put(content, len(content))
    monkeypatch.setattr(handed_uploads, "ABANDONED_S", -1.0)
    monkeypatch.setattr(handed_uploads, "LOOK_S", 0.0)
    _sign(served, 5)
    while list_keys():  # until they are gone, in the background
        served.get("/healthz")
    assert served.post("/v1/uploads?size_bytes=1000001", 413)["code"] == "too-large"
    served.post("/v1/uploads/u0/complete", 404)
    with Client(served.address, key=key) as sync:
        assert sync.upload_to_s3(clip, name="mine.mp4")["name"] == "mine.mp4"

    async def send() -> str:
        async with AsyncClient(served.address, key=key) as client:
            return (await client.upload_to_s3(clip))["name"]

    assert asyncio.run(send()) == "junction.mp4"
    assert len(list_keys()) == 2


def test_what_waits_is_seldom_listed(
    start_service: StartService, tmp_path: Path, s3_options: S3Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(s3_options).create_bucket(Bucket="seldom")
    settings = make_settings(
        tmp_path / "home",
        api_uploads="s3://seldom/uploads",
        s3_endpoint_url=s3_options.endpoint_url,
        s3_region="us-east-1",
    )
    keys = KeyFile(find_key_file(settings))
    headers = [{"Authorization": f"Bearer {keys.add(n, tenant=n, scopes=['submit'])}"} for n in ("a", "b")]
    served, listed, list_all = start_service(settings, is_local=False), [], S3Store.list

    def note(store: S3Store, prefix: str = "") -> Iterator[str]:
        listed.append(store.uri)
        return list_all(store, prefix)

    monkeypatch.setattr(S3Store, "list", note)
    for number in range(6):
        served.post("/v1/uploads?size_bytes=5", 201, headers=headers[number % 2])
    served.app.state.service.exporters.shutdown(wait=True)
    assert sorted(listed) == [f"s3://seldom/uploads-tenants/{name}" for name in "ab"], "once for each tenant"


def _sign(served: Served, size_bytes: int) -> str:
    return str(served.post(f"/v1/uploads?size_bytes={size_bytes}", 201)["url"])


def test_nobody_puts_at_s3_where_uploads_lie_in_a_folder(service: Served) -> None:
    assert service.post("/v1/uploads?size_bytes=5", 400)["code"] == "bad-input"


def test_a_bucket_that_does_not_answer_is_told(
    start_service: StartService, tmp_path: Path, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}.items():
        monkeypatch.setenv(name, value)
    settings = fill_home(
        tmp_path / "home",
        clip,
        api_uploads="s3://archive/uploads",
        s3_endpoint_url="http://127.0.0.1:1",
        s3_region="us-east-1",
    )
    served = start_service(settings)
    headers = {"Content-Type": "application/octet-stream"}
    problem = served.post("/v1/uploads", 503, content=clip.read_bytes(), headers=headers)
    assert problem["code"] == "unavailable"
