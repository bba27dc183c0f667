"""Joining a real cluster of Ray, pools of actors on it, and what goes wrong with either."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.orchestration.celery_workers import ROOT
from tests.orchestration.ray_head import RayHead, make_settings
from tubelet.errors import (
    DependencyError,
    SettingsError,
    StoreError,
    TransientStoreError,
)
from tubelet.orchestration import ray_pools
from tubelet.orchestration.ledger.records import ReadyUnit
from tubelet.orchestration.pipeline import index_sources
from tubelet.orchestration.ray_actors import choose_shared
from tubelet.orchestration.ray_cluster import import_ray, join_cluster, joined_cluster
from tubelet.orchestration.ray_executor import choose_sizes
from tubelet.settings import load_settings

pytestmark = pytest.mark.timeout(180)


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
            index_sources([str(short_clip)], settings=make_settings(tmp_path, ray_head))
    finally:
        wrong.unlink()


def test_a_pool_grows_and_shrinks_between_its_bounds(
    ray_head: RayHead, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Actor:
        """Does nothing."""

        def __init__(self, *_: object) -> None:
            pass

        def run(self, unit_id: str) -> bool:
            return True

    monkeypatch.setattr(ray_pools, "UnitActor", Actor)
    monkeypatch.setattr(ray_pools, "IDLE_S", 0.0)
    settings = make_settings(tmp_path, ray_head)
    units = [ReadyUnit(f"chunk:x:{number}", "chunk", "x", 1.0) for number in range(4)]
    with joined_cluster(settings, num_cpus=0) as ray:
        pool = ray_pools.Pool(ray, ray_pools.PoolSize(1, 2, 0.5, 0.0), "test:", {})
        try:
            assert pool.capacity == 4
            for unit in units:
                pool.add(unit)
            assert (pool.count(), len(pool.calls)) == (4, 2)
            returned = []
            while pool.count():
                ended, _ = ray.wait(pool.calls, timeout=60)
                returned += [pool.collect(call) for call in ended]
                assert len(pool._actors) <= 2
                pool.fill()
            assert sorted(each.unit.unit_id for each in returned) == [unit.unit_id for unit in units]
            assert len(pool._actors) == 1
        finally:
            pool.stop(at_once=True)
