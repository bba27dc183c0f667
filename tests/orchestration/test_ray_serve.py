"""The describing model served by Ray Serve on a real cluster: batches, queues, health, and who asks it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.orchestration.celery_workers import DYING_TRACKER, SIGNS, run_worker, wait_until
from tests.orchestration.conftest import index_here, read_rows
from tests.orchestration.light_models import LIGHT
from tests.orchestration.ray_head import (
    BAD_QUESTION,
    FULL_STOP,
    NOTING_CAPTIONER,
    RayHead,
    make_request,
    make_settings,
)
from tests.redis_server import RedisServer, has_redis
from tubelet.errors import ModelError, TransientModelError
from tubelet.model.describing.attributes import AttributesCaptioner
from tubelet.orchestration import ray_serve
from tubelet.orchestration.ledger.opening import open_ledger
from tubelet.orchestration.pipeline import index_sources
from tubelet.orchestration.ray_cluster import joined_cluster
from tubelet.settings import Settings, load_settings

pytestmark = pytest.mark.timeout(180)

APP = "captioner of tests"
SERVED = {"captioner": NOTING_CAPTIONER, "captioner_batch": 2, "captioner_queue": 4}


@pytest.fixture(scope="module")
def served(ray_head: RayHead, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Settings of a process that describes by a served captioner."""
    settings = make_settings(tmp_path_factory.mktemp("served"), ray_head, captioner_app=APP, **SERVED)
    with joined_cluster(settings, num_cpus=0):
        from ray import serve

        from tubelet.orchestration.ray_serve import app

        serve.start(proxy_location="Disabled")
        serve.run(app(SERVED), name=APP, route_prefix=None)
        yield settings


def _list_served(head: RayHead) -> list[int]:
    """How many requests came together, each time that the served captioner was asked."""
    noted = head.signs / "batches"
    return list(map(int, noted.read_text().split())) if noted.exists() else []


def _make_captioner(settings: Settings, **kwargs: Any) -> Any:
    from tubelet.orchestration.served_captioner import ServedCaptioner

    return ServedCaptioner(settings, **kwargs)


def test_what_is_served_is_what_the_model_says(served: Settings, ray_head: RayHead) -> None:
    captioner = _make_captioner(served)
    assert captioner.name == AttributesCaptioner().name
    requests = [make_request(seed) for seed in range(9)]
    assert captioner.describe(requests) == AttributesCaptioner().describe(requests)
    assert max(_list_served(ray_head)) == 2, "requests go together, as many as may"


def test_one_bad_request_spoils_no_other(served: Settings) -> None:
    import ray

    handle = _make_captioner(served)._handle
    questions = [None, BAD_QUESTION, None, None]
    calls = [handle.describe.remote(make_request(seed, question)) for seed, question in enumerate(questions)]
    answers = [call.result(timeout_s=60) for call in calls]
    assert ray.is_initialized()
    assert isinstance(answers[1], ModelError)
    alone = AttributesCaptioner()
    for seed in (0, 2, 3):
        assert answers[seed] == alone.describe([make_request(seed)])[0]
    with pytest.raises(ModelError, match="Nobody knows that"):
        _make_captioner(served).describe([make_request(0), make_request(1, BAD_QUESTION)])


def test_a_full_queue_is_a_passing_error(served: Settings, ray_head: RayHead) -> None:
    captioner = _make_captioner(served, busy_s=0.0)
    (ray_head.signs / "go on").unlink(missing_ok=True)
    held: list[Any] = []

    def is_full() -> bool:
        call = captioner._handle.describe.remote(make_request(0, FULL_STOP))
        try:
            call.result(timeout_s=0.1)
        except TimeoutError:
            held.append(call)
            return False
        except captioner._no_room:
            return True
        raise AssertionError("the captioner does not wait for the sign")

    try:
        wait_until(is_full, "the queue is full")
        assert len(held) >= served.captioner_queue
        with pytest.raises(TransientModelError, match="BackPressureError"):
            captioner.describe([make_request(seed) for seed in range(3)])
    finally:
        (ray_head.signs / "go on").touch()
    assert all(call.result(timeout_s=60) for call in held)


def test_a_replica_that_hangs_is_not_healthy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SIGNS, str(tmp_path))
    monkeypatch.setattr(ray_serve, "HANG_S", 0.0)

    async def hang() -> None:
        replica = ray_serve.CaptionerReplica(SERVED)
        call = asyncio.create_task(replica._describe_all([make_request(0, FULL_STOP)]))
        await asyncio.to_thread(wait_until, (tmp_path / "batches").exists, "the model is asked")
        with pytest.raises(RuntimeError, match="one batch for more than"):
            replica.check_health()
        (tmp_path / "go on").touch()
        await call
        replica.check_health()

    asyncio.run(hang())


def test_a_replica_that_is_to_stop_first_ends_what_it_has(served: Settings, ray_head: RayHead) -> None:
    from ray import serve

    (ray_head.signs / "go on").unlink(missing_ok=True)
    before = len(_list_served(ray_head))
    handle = serve.run(ray_serve.app(SERVED), name="another", route_prefix=None)
    held = handle.describe.remote(make_request(0, FULL_STOP))
    wait_until(lambda: len(_list_served(ray_head)) > before, "the request is with the model")
    serve.delete("another", _blocking=False)
    wait_until(lambda: serve.status().applications["another"].status == "DELETING", "it is to stop")
    (ray_head.signs / "go on").touch()
    assert held.result(timeout_s=60) == AttributesCaptioner().describe([make_request(0)])[0]


def test_an_application_that_is_missing_or_has_another_model(served: Settings) -> None:
    with pytest.raises(TransientModelError, match="'nobody'"):
        _make_captioner(served.model_copy(update={"captioner_app": "nobody"}))
    with pytest.raises(ModelError, match="Expected: attributes"):
        _make_captioner(served.model_copy(update={"captioner": "attributes"}))


def test_rows_stay_the_same_though_an_actor_is_killed_and_the_captioner_is_served(
    served: Settings, ray_head: RayHead, short_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another actor does the unit. No actor has a captioner: each moment is described where it is served."""
    again = {"retry_base_s": 0.0, "lease_s": 600.0, "workers": 1}
    models = {**LIGHT, **SERVED, "tracker": DYING_TRACKER}
    settings = make_settings(tmp_path, ray_head, captioner_app=APP, **again, **models)
    before = len(_list_served(ray_head))
    report = index_sources([str(short_clip)], settings=settings)
    assert [video.state for video in report.videos] == ["indexed"]

    assert (ray_head.signs / "died").exists()
    with closing(open_ledger(settings.ledger_location)) as ledger:
        [batch] = ledger.list_batches()
        texts = [event.text for event in ledger.list_events(batch.batch_id)]
    assert [text for text in texts if "died: its actor died" in text]

    rows = read_rows(tmp_path)
    sizes = _list_served(ray_head)[before:]
    assert sum(sizes) == len(rows["moments"]) > 0
    assert max(sizes) <= settings.captioner_batch
    monkeypatch.setenv(SIGNS, str(ray_head.signs))  # where it is written that the tracker has died
    alone = {"home": tmp_path / "alone", **models}
    assert rows == index_here(short_clip, load_settings(alone, environment={}))


@pytest.mark.redis
@pytest.mark.skipif(not has_redis(), reason="redis-server is not installed")
def test_a_task_of_celery_hands_its_describing_to_ray(
    served: Settings, ray_head: RayHead, short_clip: Path, tmp_path: Path
) -> None:
    """The worker has an address of Ray and the name of an application; it loads no captioner."""
    with RedisServer(tmp_path / "redis", appendfsync="no") as server:
        to_ray = {"ledger": server.url, "captioner_app": APP}
        settings = make_settings(tmp_path, ray_head, executor="celery", **to_ray, **SERVED)
        place = {**to_ray, **settings.model_dump(include={"ray_address", "index_uri", "work_uri"})}
        environment = {f"TUBELET_{name.upper()}": value for name, value in place.items()}
        before = len(_list_served(ray_head))
        with run_worker(environment, tmp_path / "worker.log", concurrency=1):
            (video,) = index_sources([str(short_clip)], settings=settings).videos
    assert (video.state, video.reason) == ("indexed", "")
    assert sum(_list_served(ray_head)[before:]) == len(read_rows(tmp_path)["moments"]) > 0
