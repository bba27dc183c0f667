"""Uploads to S3, and videos that lie there, sent in ranges."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.api.conftest import StartService
from tests.api.tiny_index import fill_home
from tests.s3_server import s3_options, s3_server
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
