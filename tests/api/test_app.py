"""The HTTP service, over real HTTP on a free loopback port."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import urlopen

import pytest
import uvicorn

import tubelet
from tubelet.api.app import create_app
from tubelet.api.demo_scene import render_scene
from tubelet.settings import Settings


class Service:
    """A running server and where it is."""

    def __init__(self, settings: Settings) -> None:
        self._server = uvicorn.Server(
            uvicorn.Config(create_app(settings), host="127.0.0.1", port=0, log_level="warning")
        )
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._server.run)

    def __enter__(self) -> Service:
        self._thread.start()
        while not self._server.started:
            assert self._thread.is_alive()
            self._thread.join(0.01)
        self.address = f"http://127.0.0.1:{self._server.servers[0].sockets[0].getsockname()[1]}"
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join()

    def get(self, path: str, status: int = 200) -> bytes:
        try:
            answer: Any = urlopen(self.address + path, timeout=60)
        except HTTPError as error:
            answer = error
        with answer:
            found, kind, body = answer.status, answer.headers["content-type"], bytes(answer.read())
        assert found == status, body
        assert (kind == "application/problem+json") == (status >= 400)
        return body

    def get_json(self, path: str, status: int = 200) -> Any:
        return json.loads(self.get(path, status))


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("served")
    render_scene(folder / "junction.mp4", duration_s=6)
    settings = Settings(home=folder / "home", profile="measured")
    tubelet.index(str(folder / "junction.mp4"), settings=settings)
    with Service(settings) as running:
        yield running


def test_search_object_thumbnail_and_timeline_fit_together(service: Service) -> None:
    answer = service.get_json(f"/v1/search?q={quote('red car turning left')}&limit=1")
    (hit,) = answer["hits"]
    assert hit["motion"]["turn"] == "left"
    item = service.get_json(f"/v1/objects/{hit['object_id']}")
    assert hit["caption"] in [moment["caption"] for moment in item["moments"]]
    assert service.get(f"/v1/objects/{hit['object_id']}/thumbnail").startswith(b"\xff\xd8")
    (video,) = service.get_json("/v1/videos")["videos"]
    lines = service.get(f"/v1/videos/{video['video_id']}/timeline").splitlines()
    assert item in [json.loads(line) for line in lines]
    assert service.get_json("/healthz")["status"] == "ok"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/objects/o0", 404),
        ("/v1/objects/o0/thumbnail", 404),
        ("/v1/videos/v0/timeline", 404),
        ("/v1/search", 422),
        ("/v1/search?q=", 400),
        ("/v1/search?q=car&limit=0", 422),
        ("/v1/search?q=car&limit=x", 422),
        ("/v1/search?q=" + "a" * 10_001, 422),
    ],
)
def test_bad_requests_are_problems(service: Service, path: str, status: int) -> None:
    problem = service.get_json(path, status)
    assert problem["status"] == status
    assert problem["title"]
    assert problem["detail"]


@pytest.mark.parametrize("text", ["🚗" * 50, "' OR 1=1 --", '"(red', "%00", "красная машина"])
def test_any_sentence_is_answered(service: Service, text: str) -> None:
    assert "hits" in service.get_json(f"/v1/search?q={quote(text)}")


def test_an_empty_home_is_a_problem_not_a_crash(tmp_path: Path) -> None:
    with Service(Settings(home=tmp_path)) as empty:
        assert "tubelet index" in empty.get_json("/v1/search?q=car", 503)["detail"]
