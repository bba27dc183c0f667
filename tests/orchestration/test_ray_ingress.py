"""The HTTP service as an application of Ray Serve on a real cluster, behind its proxy."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.api.tiny_index import fill_home
from tests.orchestration.ray_head import RayHead
from tubelet.api.keys import KeyFile, find_key_file
from tubelet.orchestration.ray_cluster import joined_cluster
from tubelet.settings import Settings, load_settings

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory, short_clip: Path) -> Settings:
    return fill_home(tmp_path_factory.mktemp("ingress") / "home", short_clip)


@pytest.fixture(scope="module")
def client(ray_head: RayHead, settings: Settings) -> Iterator[httpx2.Client]:
    """A client with a key of the service that Ray Serve runs below a prefix."""
    key = KeyFile(find_key_file(settings)).add("k", scopes=("search", "submit"))
    own = ("home", "profile", "recogniser", "embedder", "workers")
    overrides = {name: getattr(settings, name) for name in own}
    joined = load_settings({"ray_address": ray_head.address}, environment={})
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with joined_cluster(joined, num_cpus=0):
        from ray import serve

        from tubelet.api.server.ray_ingress import app

        serve.shutdown()  # a captioner that other tests serve has no proxy
        serve.start(http_options={"host": "127.0.0.1", "port": port})
        try:
            serve.run(app(overrides), name="api of tests", route_prefix="/tubelet")
            headers = {"Authorization": f"Bearer {key}"}
            with httpx2.Client(
                base_url=f"http://127.0.0.1:{port}/tubelet", headers=headers, timeout=60
            ) as client:
                yield client
        finally:
            serve.shutdown()


def test_the_service_answers_searches_and_streams_behind_a_proxy(
    client: httpx2.Client, short_clip: Path
) -> None:
    assert client.get("/readyz").json() == {"status": "ready", "ledger": "ok", "index": "ok"}
    (hit,) = client.get("/v1/search", params={"q": "red car turning left", "limit": 1}).json()["hits"]
    assert hit["motion"]["turn"] == "left"
    media, content = f"/v1/videos/{hit['video_id']}/media", short_clip.read_bytes()
    part = client.get(media, headers={"Range": "bytes=5-9"})
    assert (part.status_code, part.content) == (206, content[5:10])
    assert client.get(media).content == content

    raw = {"Content-Type": "application/octet-stream"}
    upload = client.post("/v1/uploads?name=sent.mov", content=content, headers=raw)
    assert (upload.status_code, upload.json()["size_bytes"]) == (201, len(content))
    begun = client.post("/v1/batches", json={"sources": [upload.json()["source"]]})
    assert begun.status_code == 202
    place = f"/v1/batches/{begun.json()['batch_id']}"
    with client.stream("GET", f"{place}/events") as events:
        names = (line for line in events.iter_lines() if line.startswith("event: "))
        assert next(names) == "event: progress", "told while the batch goes on"
        client.post(f"{place}/cancel")
        assert next(names) == "event: ended"
        assert next(names, "") == "", "the stream ends"


def test_who_shows_no_key_is_refused_with_a_problem(client: httpx2.Client) -> None:
    answer = httpx2.get(f"{client.base_url}v1/videos", headers={"X-Request-ID": "mine-1"})
    assert (answer.status_code, answer.json()["code"]) == (401, "no-key")
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-request-id"] == answer.json()["request_id"] == "mine-1"
    given = httpx2.get(f"{client.base_url}v1/videos")
    assert given.headers["x-request-id"] == given.json()["request_id"], "the proxy's own, where none is sent"
    page = httpx2.get(f"{client.base_url}")
    assert "page/app.js" in page.text
