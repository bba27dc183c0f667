"""The ray executor and the served captioner on a real cluster: deaths, versions, batches, full queues."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.orchestration.celery_workers import DYING_TRACKER, ROOT, SIGNS, run_worker, wait_until
from tests.orchestration.conftest import index_here, read_rows
from tests.orchestration.light_models import LIGHT
from tests.orchestration.ray_head import BAD_QUESTION, FULL_STOP, NOTING_CAPTIONER, RayHead, make_request
from tests.redis_server import RedisServer, has_redis
from tubelet.errors import (
    DependencyError,
    ModelError,
    SettingsError,
    StoreError,
    TransientModelError,
    TransientStoreError,
)
from tubelet.model.describing.attributes import AttributesCaptioner
from tubelet.orchestration.ledger.opening import open_ledger
from tubelet.orchestration.pipeline import index_sources
from tubelet.orchestration.ray_actors import choose_shared
from tubelet.orchestration.ray_cluster import import_ray, join_cluster, joined_cluster
from tubelet.orchestration.ray_executor import choose_sizes
from tubelet.settings import Settings, load_settings

pytestmark = pytest.mark.timeout(180)

APP = "captioner of tests"
SERVED = {"captioner": NOTING_CAPTIONER, "captioner_batch": 2, "captioner_queue": 4}


def _settings(tmp_path: Path, head: RayHead, **more: Any) -> Settings:
    shared = {"index_uri": str(tmp_path / "index"), "work_uri": str(tmp_path / "work")}
    values = {"home": tmp_path / "home", "executor": "ray", "ray_address": head.address, **shared, **LIGHT}
    return load_settings({**values, **more}, environment={})


def test_bounds_are_read_and_checked() -> None:
    settings = load_settings(
        {"ray_chunk_actors": "1-8", "ray_chunk_gpus": 0.25, "ray_video_actors": "3"}, environment={}
    )
    sizes = choose_sizes(settings)
    assert (sizes["chunk"].least, sizes["chunk"].most, sizes["chunk"].num_gpus) == (1, 8, 0.25)
    assert (sizes["video"].least, sizes["video"].most) == (3, 3)
    assert (sizes["plan"].least, sizes["plan"].most, sizes["plan"].num_gpus) == (0, 1, 0.0)
    for bad in ("4-2", "0-0", "many", "-3", "1-2-3"):
        with pytest.raises(SettingsError, match="ray_plan_actors"):
            load_settings({"ray_plan_actors": bad}, environment={})


def test_machines_of_a_cluster_keep_their_own_homes(tmp_path: Path) -> None:
    apart = {"ray_address": "ray.example:6379", "index_uri": "s3://a/index", "work_uri": "s3://a/work"}
    shared = choose_shared(load_settings({"home": tmp_path, "device": "cuda:1", **apart}, environment={}))
    assert not {"home", "device", "tracker", "workers", "traces"} & set(shared)
    assert (shared["index_uri"], shared["ledger"]) == ("s3://a/index", str(tmp_path / "ledger.sqlite"))
    del apart["work_uri"]
    assert choose_shared(load_settings({"home": tmp_path, **apart}, environment={}))["home"] == str(tmp_path)


def test_without_the_extra_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(DependencyError, match=r"pip install 'tubelet\[ray\]'"):
        import_ray()


@pytest.mark.parametrize(
    ("address", "error"),
    [("127.0.0.1:1", TransientStoreError), ("ray://head:10001", SettingsError), ("head", SettingsError)],
)
def test_addresses_that_lead_nowhere(
    address: str, error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(import_ray(), "is_initialized", lambda: False)  # tests before this may have joined
    with pytest.raises(error, match="ray_address"):
        join_cluster(load_settings({"ray_address": address}, environment={}))


JOIN = """
import ray
from tubelet.orchestration.ray_cluster import join_cluster
join_cluster(settings)
"""
JOIN_AS_ANOTHER = JOIN.replace("import ray\n", "import ray\nray.__version__ = '2.0.0'\n")
ASK = """
from tubelet.orchestration.served_captioner import ServedCaptioner
ServedCaptioner(settings)
"""


@pytest.mark.parametrize(
    ("code", "changed", "told"),
    [
        (JOIN, {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": ""}, "Transient.*, for which Ray takes .*refused"),
        (JOIN, {"RAY_AUTH_TOKEN": ""}, "SettingsError: .* does not take the token .*set RAY_AUTH_MODE"),
        (
            JOIN,
            {"RAY_AUTH_TOKEN": "ab" * 32},
            "SettingsError: .* does not take the token .*set RAY_AUTH_MODE",
        ),
        (JOIN_AS_ANOTHER, {}, r"SettingsError: .* another version: .*2\.0\.0.*Expected: the same versions"),
        (ASK, {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": ""}, "TransientModelError: .*'nobody'"),
    ],
    ids=["Ray imported too early", "no token", "another token", "another version", "a captioner joins alone"],
)
def test_what_keeps_a_process_from_joining_is_told_soon(
    ray_head: RayHead, tmp_path: Path, code: str, changed: dict[str, str], told: str
) -> None:
    """Ray by itself would ask a wrong address for a quarter of an hour."""
    run = _run_alone(tmp_path, code, changed, ray_address=ray_head.address, captioner_app="nobody")
    assert re.search(told, run.stderr), run.stderr


START = """
import contextlib, psutil
from tubelet.orchestration.ray_cluster import joined_cluster
with joined_cluster(settings, num_cpus=1):
    family, addresses = psutil.Process().children(recursive=True), set()
    for process in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            sockets = process.net_connections("inet")
            addresses |= {one.laddr.ip.removeprefix("::ffff:") for one in sockets if one.status == "LISTEN"}
print(addresses, [str(process) for process in psutil.wait_procs(family, timeout=30)[1]])
"""


def test_a_cluster_of_this_machine_alone_is_on_the_loopback_address_and_ends_with_us(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp") as short:
        run = _run_alone(tmp_path, START, {"RAY_TMPDIR": short, "RAY_enable_worker_prestart": "0"})
    assert run.stdout == "{'127.0.0.1'} []\n", run.stderr


def _run_alone(
    folder: Path, code: str, changed: dict[str, str], **settings: str
) -> subprocess.CompletedProcess[str]:
    """Run code in a process of its own, for Ray's settings hold for all of a process' life."""
    made = (
        f"from tubelet.settings import load_settings\nsettings = load_settings({settings}, environment={{}})"
    )
    environment = {name: value for name, value in {**os.environ, **changed}.items() if value}
    return subprocess.run(
        [sys.executable, "-c", made + code],
        env={**environment, "HOME": str(folder), "PYTHONPATH": str(ROOT)},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_an_actor_that_cannot_start_is_told(ray_head: RayHead, tmp_path: Path, short_clip: Path) -> None:
    (ray_head.signs / "home").mkdir(exist_ok=True)
    wrong = ray_head.signs / "home" / "tubelet.toml"
    wrong.write_text("no_such_setting = 1\n")
    try:
        with pytest.raises(StoreError, match=r"could not start: .*no_such_setting"):
            index_sources([str(short_clip)], settings=_settings(tmp_path, ray_head))
    finally:
        wrong.unlink()


@pytest.fixture(scope="module")
def served(ray_head: RayHead, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Settings of a process that describes by a served captioner."""
    settings = _settings(tmp_path_factory.mktemp("served"), ray_head, captioner_app=APP, **SERVED)
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
    models = {**SERVED, **LIGHT, "tracker": DYING_TRACKER}
    settings = _settings(tmp_path, ray_head, captioner_app=APP, **again, **models)
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
        settings = _settings(tmp_path, ray_head, executor="celery", **to_ray, **SERVED)
        place = {**to_ray, **settings.model_dump(include={"ray_address", "index_uri", "work_uri"})}
        environment = {f"TUBELET_{name.upper()}": value for name, value in place.items()}
        before = len(_list_served(ray_head))
        with run_worker(environment, tmp_path / "worker.log", concurrency=1):
            (video,) = index_sources([str(short_clip)], settings=settings).videos
    assert (video.state, video.reason) == ("indexed", "")
    assert sum(_list_served(ray_head)[before:]) == len(read_rows(tmp_path)["moments"]) > 0
