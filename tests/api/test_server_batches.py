"""Batches over HTTP: submitted, watched, steered, forgotten; uploads; and the whole way to a search."""

from __future__ import annotations

import json
import multiprocessing
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.api.conftest import Served, StartService, serve
from tests.api.tiny_index import make_settings
from tubelet.api.server.working import working
from tubelet.orchestration.ledger.opening import open_ledger
from tubelet.orchestration.service import WorkService


@pytest.fixture(scope="module")
def batches(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A service in which nobody works."""
    with serve(make_settings(tmp_path_factory.mktemp("batches") / "home")) as served:
        yield served


def submit(served: Served, *sources: str, status: int = 202, **more: Any) -> Any:
    return served.post("/v1/batches", status, json={"sources": sources, **more})


def kill_worker() -> None:
    """End the process that works on batches, as a crash does."""
    (worker,) = (each for each in multiprocessing.active_children() if each.name == "tubelet-work")
    worker.kill()


def ask_until(ended: threading.Event, address: str, batch_id: str) -> int:
    """Ask for this and that, each of which must be answered well; how often."""
    num_asked = 0
    with httpx2.Client(base_url=address, timeout=60) as client:
        while not ended.wait(0.02):
            for path in ("/readyz", "/v1/search?q=red+thing", f"/v1/batches/{batch_id}"):
                answer = client.get(path)
                assert answer.status_code == 200, answer.text
            num_asked += 1
    return num_asked


def read_events(
    served: Served, batch_id: str, once_running: Callable[[], None] | None = None
) -> list[tuple[str, dict[str, Any]]]:
    """All events of a batch until the stream ends; what is to be done once something runs is done once."""
    told: list[tuple[str, dict[str, Any]]] = []
    name = ""
    with served.client.stream("GET", f"/v1/batches/{batch_id}/events") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        for line in answer.iter_lines():
            if line.startswith("event: "):
                name = line.removeprefix("event: ")
            elif line.startswith("data: "):
                told.append((name, json.loads(line.removeprefix("data: "))))
                if once_running is not None and told[-1][1]["counts"]["running"]:
                    once_running()
                    once_running = None
    assert once_running is None, "nothing was seen running"
    return told


def test_a_dropped_video_is_indexed_and_found_though_the_worker_is_killed(
    start_service: StartService, tmp_path: Path, clip: Path
) -> None:
    settings = make_settings(tmp_path / "home", lease_s=10, retry_base_s=0.1)  # of the worker that is killed
    with working(settings):
        served = start_service(settings)
        upload = served.post(
            "/v1/uploads?name=../Über den Platz.mov",
            201,
            content=clip.read_bytes(),
            headers={"Content-Type": "application/octet-stream"},
        )
        assert (upload["name"], upload["container"]) == ("ber_den_Platz.mp4", "mov")
        batch = submit(served, upload["source"], name="dropped", options={"sample_fps": 4})
        ended = threading.Event()
        with ThreadPoolExecutor(2) as pool:
            asking = [pool.submit(ask_until, ended, served.address, batch["batch_id"]) for _ in range(2)]
            try:
                events = read_events(served, batch["batch_id"], kill_worker)
            finally:
                ended.set()
            assert all(each.result() > 0 for each in asking), "requests are answered all the while"
        assert [name for name, _ in events].count("ended") == 1
        state = served.get(f"/v1/batches/{batch['batch_id']}")
        assert (events[-1][1], state["state"]) == (state, "done")
        (item,) = served.get(f"/v1/batches/{batch['batch_id']}/items")["items"]
        assert (item["state"], item["num_objects"] > 0) == ("done", True)
        assert served.get(f"/v1/batches/{batch['batch_id']}/log?limit=1")["events"][0]["level"] == "info"
        hits = served.get("/v1/search?q=red+thing")["hits"]
        assert hits[0]["video_id"] == item["video_id"]
        assert served.client.get(f"/v1/videos/{item['video_id']}/media").content == clip.read_bytes()
        assert served.client.get(f"/v1/objects/{hits[0]['object_id']}/clip").status_code == 200


def test_a_batch_is_steered_and_forgotten(batches: Served) -> None:
    answer = batches.client.post("/v1/batches", json={"sources": ["/nowhere"], "priority": 5})
    place = answer.headers["location"]
    assert answer.json()["state"] == "listing"
    assert batches.post(f"{place}/pause")["state"] == "paused"
    assert batches.post(f"{place}/resume")["state"] == "listing"
    assert batches.ask("DELETE", place, 409)["code"] == "conflict"
    assert batches.post(f"{place}/cancel")["state"] == "cancelled"
    assert batches.post(f"{place}/cancel")["state"] == "cancelled"
    assert batches.post(f"{place}/retry", 409)["code"] == "conflict"
    assert batches.post(f"{place}/explode", 404)["code"] == "no-such-route"
    assert batches.ask("DELETE", place, 204) is None
    assert batches.ask("DELETE", place, 404)["code"] == "not-found"


def test_failed_sources_are_told_and_tried_again(batches: Served, tmp_path: Path) -> None:
    (tmp_path / "bad.mp4").write_text("no video")
    place = f"/v1/batches/{submit(batches, str(tmp_path), options={'chunk_s': 30})['batch_id']}"
    with closing(open_ledger(batches.settings.ledger_location)) as ledger:
        WorkService(batches.settings, ledger).run(until_idle=True)
    assert batches.get(place)["state"] == "failed"
    (item,) = batches.get(f"{place}/items?state=failed")["items"]
    assert "no known video container" in item["reason"]
    assert batches.get(f"{place}/items?state=done")["items"] == []
    assert batches.post(f"{place}/cancel")["state"] == "failed", "what has ended is not cancelled any more"
    assert batches.post(f"{place}/retry")["counts"]["waiting"] == 1
    batches.post(f"{place}/cancel")


def test_pages_of_batches(batches: Served) -> None:
    wanted = [submit(batches, f"/nowhere/{number}")["batch_id"] for number in range(3)]
    found: list[str] = []
    cursor = ""
    while True:
        page = batches.get(f"/v1/batches?limit=2&cursor={cursor}")
        found += [batch["batch_id"] for batch in page["batches"]]
        cursor = page.get("next_cursor", "")
        if not cursor:
            break
    assert [batch_id for batch_id in found if batch_id in wanted] == wanted[::-1]
    assert len(set(found)) == len(found)
    assert batches.get("/v1/batches?cursor=bm9ib2R5", 400)["code"] == "bad-input"


def test_a_submission_counts_once_under_its_key(batches: Served) -> None:
    def ask(source: str, status: int) -> Any:
        headers = {"Idempotency-Key": "once"}
        return batches.post("/v1/batches", status, json={"sources": [source]}, headers=headers)

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: ask("/nowhere", 202)["batch_id"], range(8)))
    assert len(set(found)) == 1
    assert ask("/elsewhere", 409)["code"] == "key-conflict"


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"sources": []}, 422, "invalid"),
        ({"sources": ["http://169.254.169.254/latest"]}, 400, "bad-input"),
        ({"sources": ["relative.mp4"]}, 400, "bad-input"),
        ({"sources": ["upload:u0"]}, 404, "not-found"),
        ({"sources": ["/a"], "options": {"profile": "none such"}}, 400, "unknown-name"),
        ({"sources": ["/a"], "options": {"tracker": "os:system"}}, 400, "unknown-name"),
        ({"sources": ["/a"], "options": {"captioner": "nobody"}}, 400, "unknown-name"),
        ({"sources": ["/a"], "options": {"sample_fps": 0}}, 422, "invalid"),
        ({"sources": ["/a"], "options": {"home": "/tmp"}}, 422, "invalid"),
        ({"sources": ["/a"], "priority": 1000}, 422, "invalid"),
        ({"sources": ["/a"], "webhook": {"url": "http://127.0.0.1/"}}, 400, "bad-input"),
    ],
)
def test_submissions_that_cannot_be_meant_are_refused(
    batches: Served, body: Any, status: int, code: str
) -> None:
    assert batches.post("/v1/batches", status, json=body)["code"] == code


@pytest.mark.parametrize("content", [b"", b"#EXTM3U\n#EXTINF:9,\n/etc/passwd\n", b"<html>", b"\0" * 4096])
def test_uploads_that_are_no_videos_are_refused(batches: Served, content: bytes) -> None:
    before = sorted((batches.settings.home / "uploads").rglob("*"))
    headers = {"Content-Type": "application/octet-stream"}
    assert batches.post("/v1/uploads", 415, content=content, headers=headers)["code"] == "bad-media-type"
    assert not [path for path in before if path.is_file()]


def test_an_upload_that_ends_early_leaves_nothing(batches: Served, clip: Path) -> None:
    headers = {"Content-Type": "application/octet-stream"}
    short = clip.read_bytes()[:-1000]
    assert batches.post("/v1/uploads", 422, content=short, headers=headers)["code"] == "source-unusable"
    upload = batches.post("/v1/uploads", 201, content=clip.read_bytes(), headers=headers)
    assert batches.ask("DELETE", f"/v1/uploads/{upload['upload_id']}", 204) is None
    assert batches.ask("DELETE", f"/v1/uploads/{upload['upload_id']}", 404)["code"] == "not-found"
    left = [path for path in (batches.settings.home / "uploads").rglob("*") if path.is_file()]
    assert left == []


def test_many_listeners_share_one_look_and_leave_nothing(batches: Served) -> None:
    batch_id = submit(batches, "/nowhere/at/all")["batch_id"]
    ready = threading.Barrier(31)

    def listen(_: int) -> list[str]:
        names = []
        with (
            httpx2.Client(base_url=batches.address, timeout=60) as client,
            client.stream("GET", f"/v1/batches/{batch_id}/events") as answer,
        ):
            for line in answer.iter_lines():
                if line.startswith("event: "):
                    names.append(line.removeprefix("event: "))
                    if len(names) == 1:
                        ready.wait(timeout=60)
        return names

    with ThreadPoolExecutor(30) as pool:
        listening = pool.map(listen, range(30))
        ready.wait(timeout=60)
        watch = batches.app.state.service.watch
        assert watch.num_listeners == 30
        assert len(watch._watched) == 1
        batches.post(f"/v1/batches/{batch_id}/cancel")
        assert {tuple(names) for names in listening} == {("progress", "ended")}
    while watch._watched:
        batches.get("/healthz")
