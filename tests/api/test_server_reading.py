"""What is read over HTTP: search, videos, objects, exports, over real HTTP on a free loopback port."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import shutil
import zipfile
from pathlib import Path
from typing import Any
from urllib.parse import quote

import av
import pytest

from tests.api.conftest import Served, StartService
from tests.api.tiny_index import ANSWERING_CAPTIONER, THUMBNAIL, fill_home, make_settings
from tubelet.api.server.app import create_app
from tubelet.api.server.docs_page import find_example


def test_search_object_thumbnail_and_timeline_fit_together(service: Served) -> None:
    answer = service.get(f"/v1/search?q={quote('red car turning left')}&limit=1")
    (hit,) = answer["hits"]
    assert hit["motion"]["turn"] == "left"
    assert answer["next_cursor"]
    item = service.get(f"/v1/objects/{hit['object_id']}")
    assert hit["caption"] in [moment["caption"] for moment in item["moments"]]
    timeline = service.get(f"/v1/objects/{hit['object_id']}/timeline")
    assert timeline["path"] == item["path"]
    assert service.client.get(f"/v1/objects/{hit['object_id']}/thumbnail").content == THUMBNAIL
    (video,) = service.get("/v1/videos")["videos"]
    assert service.get(f"/v1/videos/{video['video_id']}") == video
    lines = service.client.get(f"/v1/videos/{video['video_id']}/timeline").text.splitlines()
    assert item in [json.loads(line) for line in lines]


def test_a_search_takes_all_that_the_command_line_takes(service: Served) -> None:
    by_sentence = service.post("/v1/search", json={"query": "red car turning left"})
    assert by_sentence["query"] == "red car turning left"
    by_structure = service.post("/v1/search", json={"structured": by_sentence["parsed"]})
    assert by_structure["hits"] == by_sentence["hits"]
    only = service.post("/v1/search", json={"query": "car", "filters": {"colours": ["blue"]}})
    assert [hit["object_id"] for hit in only["hits"]] == ["o3"]
    assert service.get("/v1/search?q=car&colour=blue")["hits"] == only["hits"]
    assert len(service.post("/v1/search", json={"filters": {"start_s": 0}})["hits"]) == 3
    ids: list[str] = []
    cursor = ""
    for _ in range(3):
        page = service.post("/v1/search", json={"query": "red car", "limit": 1, "cursor": cursor})
        ids += [hit["object_id"] for hit in page["hits"]]
        cursor = page.get("next_cursor", "")
    assert (sorted(ids), cursor) == (["o1", "o2", "o3"], "")


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({}, 400, "bad-query"),
        ({"query": "car", "structured": {}}, 400, "bad-query"),
        ({"structured": {"colour": "red"}}, 400, "bad-query"),
        ({"structured": [1]}, 422, "invalid"),
        ({"query": "car", "filters": {"colours": ["mauve"]}}, 400, "bad-query"),
        ({"query": "car", "filters": {"videos": ["x"]}}, 400, "bad-query"),
        ({"query": "car", "cursor": "nonsense"}, 400, "bad-query"),
        ({"query": "car", "limit": 0}, 422, "invalid"),
        ({"query": "car", "limits": 5}, 422, "invalid"),
        ({"like": "nobody"}, 400, "bad-query"),
        ({"image": {"data": "%%%"}}, 400, "bad-input"),
        ({"image": {"data": "R0lGODlh"}}, 415, "bad-media-type"),
        ({"image": {"data": "/9j/4AAQ"}}, 400, "bad-input"),
    ],
)
def test_searches_that_cannot_be_meant_are_problems(
    service: Served, body: Any, status: int, code: str
) -> None:
    problem = service.post("/v1/search", status, json=body)
    assert (problem["status"], problem["code"]) == (status, code)
    assert problem["type"] == f"urn:tubelet:problem:{code}"
    assert problem["title"]
    assert problem["detail"]
    assert problem["request_id"]


def test_a_cursor_of_a_version_that_is_gone_is_told(service: Served) -> None:
    cursor = service.get("/v1/search?q=red+car&limit=1")["next_cursor"]
    form, digest, _, offset, pool = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    for version in ("999.999.999", "0.0.0", "x"):
        text = json.dumps([form, digest, version, offset, pool]).encode()
        gone = base64.urlsafe_b64encode(text).decode().rstrip("=")
        assert service.get(f"/v1/search?q=red+car&limit=1&cursor={gone}", 400)["code"] == "bad-query"
    assert service.get(f"/v1/search?q=red+car&limit=1&cursor={cursor}")["hits"]


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/v1/objects/o0", 404, "not-found"),
        ("/v1/objects/o0/thumbnail", 404, "not-found"),
        ("/v1/objects/o0/clip", 404, "not-found"),
        ("/v1/objects/o1/clip?start_s=3&end_s=1", 400, "bad-input"),
        ("/v1/objects/o1/clip?start_s=0&end_s=1000", 400, "bad-input"),
        ("/v1/objects/%00'%22--", 404, "not-found"),
        ("/v1/videos/v0/timeline", 404, "not-found"),
        ("/v1/videos/..%2F..%2Fetc/media", 404, "no-such-route"),
        ("/v1/videos?cursor=%C3%A4", 400, "bad-input"),
        ("/v1/batches/b0", 404, "not-found"),
        ("/v1/exports/x0", 404, "not-found"),
        ("/v1/search", 422, "invalid"),
        ("/v1/search?q=", 400, "bad-query"),
        ("/v1/search?q=car&limit=x", 422, "invalid"),
        ("/v1/search?q=" + "a" * 10_001, 422, "invalid"),
        ("/v1/nothing", 404, "no-such-route"),
    ],
)
def test_bad_addresses_are_problems(service: Served, path: str, status: int, code: str) -> None:
    assert service.get(path, status)["code"] == code


@pytest.mark.parametrize("text", ["🚗" * 50, "' OR 1=1 --", '"(red', "%00", "красная машина"])
def test_any_sentence_is_answered(service: Served, text: str) -> None:
    assert "hits" in service.get(f"/v1/search?q={quote(text)}")


def test_an_empty_home_has_nothing_and_says_so(start_service: StartService, tmp_path: Path) -> None:
    empty = start_service(make_settings(tmp_path))
    assert empty.get("/v1/search?q=car")["notes"] == ["nothing is indexed yet"]
    assert empty.get("/v1/videos")["videos"] == []
    assert empty.get("/v1/batches")["batches"] == []
    assert empty.get("/readyz")["index"] == "empty"
    assert empty.post("/v1/exports", 409, json={})["code"] == "conflict"


def test_what_is_unchanged_is_not_sent_again(service: Served) -> None:
    (video,) = service.get("/v1/videos")["videos"]
    batch = service.post("/v1/batches", 202, json={"sources": ["/nowhere"]})
    export = service.post("/v1/exports", 202, json={"format": "csv"})
    while service.get(f"/v1/exports/{export['export_id']}")["state"] == "running":
        pass
    ids = {"video_id": video["video_id"], "object_id": "o1"}
    ids |= {"batch_id": batch["batch_id"], "export_id": export["export_id"]}
    changing = {"/healthz", "/readyz", "/metrics", "/docs", "/v1/session", "/v1/usage"}
    paths = {
        path.format(**ids) + ("?q=car" if path == "/v1/search" else "")
        for path, operations in service.get("/openapi.json")["paths"].items()
        if "get" in operations and path not in changing and not path.endswith("/events")
    }
    assert len(paths) >= 15
    for path in sorted(paths):
        first = service.client.get(path)
        assert first.status_code == 200, path
        assert first.headers["cache-control"] == "private, no-cache"
        again = service.client.get(path, headers={"If-None-Match": first.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        assert service.client.get(path, headers={"If-None-Match": '"other"'}).status_code == 200
    service.post(f"/v1/batches/{batch['batch_id']}/cancel")
    service.ask("DELETE", f"/v1/batches/{batch['batch_id']}", 204)
    service.ask("DELETE", f"/v1/exports/{export['export_id']}", 204)


def test_media_and_clips_are_sent_in_ranges(service: Served, clip: Path) -> None:
    (video,) = service.get("/v1/videos")["videos"]
    path, content = f"/v1/videos/{video['video_id']}/media", clip.read_bytes()
    assert service.client.get(path).content == content
    part = service.client.get(path, headers={"Range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, content[10:20])
    assert service.get(path, 416, headers={"Range": f"bytes={len(content)}-"})["code"] == "bad-range"
    lengths = {}
    for query in ("annotated=true", "annotated=false"):
        whole = service.client.get(f"/v1/objects/o1/clip?start_s=1&end_s=2&{query}")
        assert (whole.status_code, whole.headers["content-type"]) == (200, "video/mp4")
        with av.open(io.BytesIO(whole.content)) as opened:
            frames = [frame.to_ndarray(format="rgb24") for frame in opened.decode(video=0)]
        assert 20 <= len(frames) <= 31
        lengths[query] = whole.content
        tail = service.client.get(
            f"/v1/objects/o1/clip?start_s=1&end_s=2&{query}", headers={"Range": "bytes=-7"}
        )
        assert (tail.status_code, tail.content) == (206, whole.content[-7:])
    assert lengths["annotated=true"] != lengths["annotated=false"]


@pytest.mark.parametrize("annotated", ["true", "false"])
def test_a_clip_between_two_frames_is_refused(service: Served, annotated: str) -> None:
    """A generated request asked for such a sliver and got an error of the service."""
    sliver = f"start_s=0.9801&end_s=0.9802&annotated={annotated}"
    problem = service.get(f"/v1/objects/o1/clip?{sliver}", 400)
    assert problem["code"] == "bad-input"
    assert "no frame" in problem["detail"]


def test_a_question_that_nobody_answers_is_told(service: Served) -> None:
    problem = service.post("/v1/objects/o1/ask", 400, json={"question": "What is it?"})
    assert "answers no questions" in problem["detail"]
    assert (
        service.post("/v1/objects/o1/ask", 404, json={"question": "?", "moment_id": "m9"})["code"]
        == "not-found"
    )


def test_questions_are_answered_and_hits_verified(
    start_service: StartService, tmp_path: Path, clip: Path
) -> None:
    own = Path(shutil.copy(clip, tmp_path))
    served = start_service(fill_home(tmp_path / "home", own, captioner=ANSWERING_CAPTIONER))
    told = served.post("/v1/objects/o1/ask", json={"question": "What is it carrying?"})
    assert re.fullmatch(r"Yes, in [2-9]\d* frames\.", told["text"])
    assert (told["confidence"], told["captioner"]) == (0.9, "answering@1")
    assert (told["object_id"], told["moment_id"], told["question"]) == ("o1", "m1", "What is it carrying?")
    body = {"query": "red car turning left", "verify": {"count": 2, "seconds": 20}}
    hits = served.post("/v1/search", json=body)["hits"]
    assert [hit.get("verified") for hit in hits] == [0.9, 0.9, None]
    os.truncate(own, 100)
    assert served.post("/v1/objects/o1/ask", 409, json={"question": "?"})["code"] == "source-changed"
    assert served.get("/v1/objects/o1/clip", 409)["code"] == "source-changed"
    own.unlink()
    assert served.get("/v1/objects/o1/clip", 404)["code"] == "source-missing"


def test_exports_are_made_and_fetched(service: Served) -> None:
    def export(**body: Any) -> Any:
        begun = service.client.post("/v1/exports", json=body)
        assert begun.status_code == 202
        place = begun.headers["location"]
        while (state := service.get(place))["state"] == "running":
            pass
        assert state["state"] == "done", state
        got = service.client.get(f"{place}/content")
        assert state["file_name"] in got.headers["content-disposition"]
        assert len(got.content) == state["size_bytes"]
        assert service.client.delete(place).status_code == 204
        service.get(place, 404)
        return got.content

    assert len(export(format="jsonl", colours=["red"]).splitlines()) == 2
    assert b"<annotations>" in export(format="cvat")
    with zipfile.ZipFile(io.BytesIO(export(format="mot"))) as archive:
        assert any(name.endswith("gt.txt") for name in archive.namelist())
    assert service.post("/v1/exports", 400, json={"format": "gif"})["code"] == "unknown-name"
    assert service.post("/v1/exports", 400, json={"videos": ["nobody"]})["code"] == "bad-input"


def test_exports_are_listed_while_they_are_kept(service: Served) -> None:
    begun = [service.post("/v1/exports", 202, json={"format": "csv"})["export_id"] for _ in range(3)]
    kept = [export["export_id"] for export in service.get("/v1/exports")["exports"]]
    assert kept[:3] == begun[::-1], "the newest first"
    found: list[str] = []
    cursor = ""
    while len(found) < len(kept):
        page = service.get(f"/v1/exports?limit=1&cursor={cursor}")
        found += [export["export_id"] for export in page["exports"]]
        cursor = page.get("next_cursor", "")
    assert (found, cursor) == (kept, "")
    for export_id in begun:
        while service.get(f"/v1/exports/{export_id}")["state"] == "running":
            pass
        service.ask("DELETE", f"/v1/exports/{export_id}", 204)


def test_headers_of_every_answer(service: Served) -> None:
    for path in ("/healthz", "/v1/videos", "/v1/nothing", "/docs"):
        answer = service.client.get(path, headers={"X-Request-ID": "mine-1"})
        assert answer.headers["x-request-id"] == "mine-1"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        assert "server" not in answer.headers
    assert len(service.client.get("/healthz", headers={"X-Request-ID": "a b"}).headers["x-request-id"]) == 32
    packed = service.client.get("/openapi.json", headers={"Accept-Encoding": "gzip"})
    assert packed.headers["content-encoding"] == "gzip"
    thumbnail = service.client.get("/v1/objects/o1/clip?start_s=1&end_s=2")
    assert "content-encoding" not in thumbnail.headers


def test_head_tells_what_get_would(service: Served) -> None:
    (video,) = service.get("/v1/videos")["videos"]
    batch = service.post("/v1/batches", 202, json={"sources": ["/nowhere"]})
    ids = {"video_id": video["video_id"], "object_id": "o1", "batch_id": batch["batch_id"], "export_id": "x0"}
    own = {"x-request-id", "date", "connection"}
    for path, operations in service.get("/openapi.json")["paths"].items():
        if "get" not in operations:
            answer = service.client.head(path.format(**ids, upload_id="u0"))
            assert (answer.status_code, answer.content) == (405, b""), path
            continue
        asked = path.format(**ids) + ("?q=car" if path == "/v1/search" else "")
        with service.client.stream("GET", asked) as wanted:
            told = service.client.head(asked, headers={"Range": "bytes=0-1"})
        assert (told.status_code, told.content) == (wanted.status_code, b""), path
        assert {*told.headers} - own == {*wanted.headers} - own - {"transfer-encoding"}, path
        for name in ("content-type", "content-length", "etag"):
            assert told.headers.get(name) == wanted.headers.get(name) or path == "/metrics", (path, name)
    assert service.client.head("/").status_code == 200
    service.post(f"/v1/batches/{batch['batch_id']}/cancel")
    service.ask("DELETE", f"/v1/batches/{batch['batch_id']}", 204)
    assert 'method="HEAD"' in service.client.get("/metrics").text


def test_a_method_that_is_not_taken_is_told_with_those_that_are(service: Served) -> None:
    ids = dict.fromkeys(("video_id", "object_id", "batch_id", "export_id", "upload_id"), "a0")
    paths = {**service.get("/openapi.json")["paths"], "/": {"get": {}}, "/openapi.json": {"get": {}}}
    for path, operations in paths.items():
        known = {method.upper() for method in operations} | ({"HEAD"} if "get" in operations else set())
        for method in {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"} - known:
            refused = service.client.request(method, path.format(**ids))
            assert refused.status_code == 405, (method, path)
            told = refused.headers["allow"].split(", ")
            assert sorted(told) == sorted(known), (method, path)
            if method != "HEAD":
                assert refused.json()["detail"] == f"{method} is not taken here."


def test_every_call_has_examples_and_a_place_on_the_page(service: Served) -> None:
    document = service.get("/openapi.json")
    page = service.client.get("/docs").text
    assert "http" not in page.replace("https://hooks.example.com", "").replace("http:// or https://", "")
    assert "<script" not in page
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert f"{method.upper()} {path}" in page
            assert operation["description"], path
            for content in operation.get("requestBody", {}).get("content", {}).values():
                assert find_example(content, document) is not None, path
            good = [answer for status, answer in operation["responses"].items() if status.startswith("2")]
            for answer in good:
                kinds = answer.get("content", {})
                if kinds and all(kind.startswith(("application/json", "text/event")) for kind in kinds):
                    assert all("example" in content for content in kinds.values()), path


def test_models_formats_and_health(service: Served) -> None:
    told = service.get("/v1/models")
    assert "cvat" in [each["name"] for each in told["formats"]]
    assert "motion" in told["trackers"]
    assert told["in_use"]["profile"] == "quick"
    assert "models" not in told
    assert service.get("/healthz")["status"] == "ok"
    assert service.get("/readyz")["status"] == "ready"
    assert 'tubelet_api_requests_total{method="GET",status="200"}' in service.client.get("/metrics").text


def test_an_application_opens_nothing_before_it_is_served(tmp_path: Path) -> None:
    """Ray Serve makes it in another process than the one that serves it."""
    assert "/v1/search" in create_app(make_settings(tmp_path / "home")).openapi()["paths"]
    assert not (tmp_path / "home").exists()
