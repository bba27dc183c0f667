"""The client, sync and async, and the commands that use it: a real service, and bad weather."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import cv2
import httpx2
import numpy as np
import pytest

from tests.api.conftest import Served, StartService
from tests.api.tiny_index import COLOUR_RECOGNISER, fill_home, make_settings
from tests.orchestration.light_models import LIGHT_EMBEDDER
from tubelet.api.cli.app import run
from tubelet.api.client import ApiError, AsyncClient, Client, ServiceAwayError, calls
from tubelet.errors import InputError, TransientError


def test_both_clients_do_the_same(service: Served, tmp_path: Path) -> None:
    with Client(service.address) as client:
        page = client.search("red car turning left", limit=2)
        object_id = page["hits"][0]["object_id"]
        (video,) = client.list_videos()["videos"]
        told: list[Any] = [
            page,
            client.search(structured=page["parsed"], limit=2)["hits"] == page["hits"],
            client.get_video(video["video_id"]),
            client.get_object(object_id),
            client.get_thumbnail(object_id),
            client.get_timeline(video["video_id"], format="json"),
            client.get_clip(object_id, start_s=1, end_s=2),
            client.list_batches(),
        ]
        export = client.begin_export("csv")
        while client.get_export(export["export_id"])["state"] == "running":
            pass
        assert client.get_export_content(export["export_id"]).startswith(b"video_id,")
        with pytest.raises(ApiError) as refused:
            client.get_object("nobody")
        assert (refused.value.status, refused.value.code) == (404, "not-found")
        assert isinstance(refused.value, InputError)
        assert refused.value.request_id
        with pytest.raises(ApiError, match="answers no questions"):
            client.ask(object_id, "What is it?")

    async def ask_all() -> list[Any]:
        async with AsyncClient(service.address) as client:
            page = await client.search("red car turning left", limit=2)
            return [
                page,
                (await client.search(structured=page["parsed"], limit=2))["hits"] == page["hits"],
                await client.get_video(video["video_id"]),
                await client.get_object(object_id),
                await client.get_thumbnail(object_id),
                await client.get_timeline(video["video_id"], format="json"),
                await client.get_clip(object_id, start_s=1, end_s=2),
                await client.list_batches(),
            ]

    assert asyncio.run(ask_all()) == told
    assert told[1] is True
    assert told[5].lstrip().startswith(b"{")


def test_batches_and_uploads(start_service: StartService, tmp_path: Path, clip: Path) -> None:
    served = start_service(make_settings(tmp_path / "home"))
    with Client(served.address) as client:
        source = client.upload(clip)["source"]
        batch = client.submit([source], name="mine", idempotency_key="k")
        assert client.submit([source], name="mine", idempotency_key="k")["batch_id"] == batch["batch_id"]
        batch_id = batch["batch_id"]
        assert client.pause(batch_id)["state"] == "paused"
        assert client.resume(batch_id)["state"] == "listing"
        assert client.retry(batch_id)["counts"]["found"] == 0
        assert client.list_items(batch_id, states=["failed"])["items"] == []
        watched = client.watch(batch_id)
        assert next(watched)["state"] == "listing"
        client.cancel(batch_id)
        assert [state["state"] for state in watched] == ["cancelled"]
        client.delete_batch(batch_id)
        with pytest.raises(ApiError, match="no batch"):
            client.get_batch(batch_id)

    async def send() -> tuple[str, list[str]]:
        async with AsyncClient(served.address) as client:
            source = (await client.upload(clip))["source"]
            batch = await client.submit([source])
            await client.cancel(batch["batch_id"])
            states = [state["state"] async for state in client.watch(batch["batch_id"])]
            return source, states

    source, states = asyncio.run(send())
    assert source.startswith("upload:u")
    assert states == ["cancelled"]


@pytest.fixture
def weather(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """Answers of a service in turn, a status or an error each; no time passes between attempts."""
    answers: list[Any] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        now = answers.pop(0)
        if isinstance(now, Exception):
            raise now
        body = {"code": "busy", "detail": "later"} if now >= 400 else {"videos": []}
        return httpx2.Response(now, json=body, headers={"Retry-After": "7"} if now == 429 else {})

    waited: list[float] = []
    monkeypatch.setattr("time.sleep", waited.append)

    async def wait(seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.setattr("asyncio.sleep", wait)
    for kind in ("Client", "AsyncClient"):
        made = getattr(httpx2, kind)
        monkeypatch.setattr(
            httpx2, kind, lambda made=made, **options: made(transport=httpx2.MockTransport(answer), **options)
        )
    yield answers
    answers[:] = [waited]


def list_videos(kind: str, **options: Any) -> Any:
    if kind == "sync":
        with Client("http://service", **options) as client:
            return client.list_videos()

    async def ask() -> Any:
        async with AsyncClient("http://service", **options) as client:
            return await client.list_videos()

    return asyncio.run(ask())


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_bad_weather_passes(weather: list[Any], kind: str) -> None:
    weather[:] = [503, httpx2.ConnectError("refused"), 429, 200]
    assert list_videos(kind) == {"videos": []}
    assert weather == []


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_weather_that_stays_bad_is_told(weather: list[Any], kind: str) -> None:
    weather[:] = [httpx2.ConnectError("refused")] * 3
    with pytest.raises(ServiceAwayError, match="does not answer") as away:
        list_videos(kind, retries=2)
    assert isinstance(away.value, TransientError)
    weather[:] = [503] * 3
    with pytest.raises(ApiError, match="later") as busy:
        list_videos(kind, retries=2)
    assert not isinstance(busy.value, InputError)
    weather[:] = [500, 200]
    with pytest.raises(ApiError):
        list_videos(kind)


def test_what_must_not_be_done_twice_is_tried_once(weather: list[Any], clip: Path) -> None:
    weather[:] = [503, 200]
    with Client("http://service") as client, pytest.raises(ApiError):
        client.upload(clip)
    assert weather == [200]


def test_waits_grow_and_heed_the_service() -> None:
    call = calls.list_videos(1, "")

    def wait(attempt: int, asked: str) -> float | None:
        answer = httpx2.Response(429, headers={"Retry-After": asked} if asked else {})
        return calls.choose_wait(call, attempt, 100, answer)

    assert wait(0, "7") == 7
    assert wait(0, "86400") is None, "nobody waits for a day"
    assert all((wait(20, "") or 0) <= calls.MAX_WAIT_S for _ in range(50))
    assert max(wait(0, "soon") or 0 for _ in range(50)) <= calls.FIRST_WAIT_S


def command(*arguments: str, code: int = 0) -> str:
    with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as errors:
        assert run([*arguments]) == code, errors.getvalue()
    return " ".join(errors.getvalue().split()) if code else out.getvalue()


def test_a_picture_is_looked_at_by_the_service(
    start_service: StartService, tmp_path: Path, clip: Path
) -> None:
    served = start_service(fill_home(tmp_path / "home", clip, recogniser=COLOUR_RECOGNISER))
    picture = np.zeros((40, 80, 3), np.uint8)
    picture[:, :40], picture[:, 40:] = (0, 0, 255), (255, 0, 0)  # red and blue, as OpenCV has them
    path = tmp_path / "both.png"
    cv2.imwrite(str(path), picture)
    with Client(served.address) as client:
        for crop, wanted in (((0, 0, 40, 40), {"o1", "o2"}), ((40, 0, 80, 40), {"o3"})):
            hits = client.search(image=path.read_bytes(), crop=crop)["hits"]
            assert {hit["object_id"] for hit in hits if hit["score"] > 0.9} == wanted
            assert any(reason.startswith("looks alike") for reason in hits[0]["why"])
        turning = client.search("turning right", image=path.read_bytes(), crop=(0, 0, 40, 40))["hits"]
        assert turning[0]["object_id"] == "o2"

    async def ask() -> list[str]:
        async with AsyncClient(served.address) as client:
            page = await client.search(image=path.read_bytes(), crop=(40, 0, 80, 40), limit=1)
            return [hit["object_id"] for hit in page["hits"]]

    assert asyncio.run(ask()) == ["o3"]
    asked = ("search", "--server", served.address, "--json", "--limit", "1")
    told = json.loads(command(*asked, "--image", str(path), "--crop", "40,0,80,40"))
    assert [hit["object_id"] for hit in told["hits"]] == ["o3"]
    told = json.loads(command(*asked, "--image", str(path), "--crop", "0,0,40,40", "turning right"))
    assert [hit["object_id"] for hit in told["hits"]] == ["o2"]
    assert "cannot be read" in command(*asked, "--image", str(tmp_path / "none.png"), code=2)
    assert "with --crop" in command(*asked, "--image", str(path), "--mask", str(path), code=2)
    told = json.loads(command(*asked, "--verify", "1", "car"))
    assert "answers no questions" in " ".join(told["notes"])


def test_commands_ask_the_service(
    start_service: StartService,
    service: Served,
    tmp_path: Path,
    clip: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = json.loads(command("search", "--server", service.address, "--json", "red car"))
    with Client(service.address) as client:
        assert found == client.search("red car")
    only = command("search", "--server", service.address, "--colour", "blue", "--json", "car")
    assert [hit["object_id"] for hit in json.loads(only)["hits"]] == ["o3"]
    windowed = command("search", "--server", service.address, "--to", "0.5", "--json", "car")
    assert json.loads(windowed)["hits"] == []
    assert "A blue van" in command("search", "--server", service.address, "blue van")
    away = command("search", "--server", "http://127.0.0.1:1", "--thumbnails", "x", "car", code=2)
    assert "leave it out" in away
    monkeypatch.setenv("TUBELET_EMBEDDER", LIGHT_EMBEDDER)
    assert json.loads(command("search", "--home", str(service.settings.home), "--json", "red car")) == found

    served = start_service(make_settings(tmp_path / "service"))
    at = ("--server", served.address)
    batch = json.loads(command("submit", *at, "--json", "--name", "sent", "--chunk-s", "30", str(clip)))
    assert batch["sources"][0].startswith(str(tmp_path / "service" / "uploads"))
    assert "sent" in command("status", *at)
    assert json.loads(command("status", *at, "--json"))[0]["batch_id"] == batch["batch_id"]
    assert "listing" in command("status", *at, batch["batch_id"])
    assert "no batch" in command("status", *at, "b0", code=2)
