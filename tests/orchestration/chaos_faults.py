"""What chaos does: each fault strikes a deployment once; the deployment mends what does not pass alone."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import psutil
import redis

from tests.orchestration.chaos_deployment import Deployment
from tubelet.errors import StoreError
from tubelet.orchestration.celery_executor import CeleryExecutor
from tubelet.orchestration.celery_queues import KEY_PREFIX, QUEUES
from tubelet.orchestration.ledger.records import ReadyUnit, UnitEntry

COMMIT_S = 8.0
"""How long a fault that waits for a commit waits."""


@dataclass(frozen=True)
class Fault:
    """A way to fail. `strike` says whether there was something to strike."""

    name: str
    strike: Callable[[Deployment, random.Random, str], bool]
    can_strike: Callable[[Deployment], bool] = lambda _: True


def _kill(process: psutil.Process) -> bool:
    try:
        process.send_signal(signal.SIGKILL)
    except psutil.NoSuchProcess:
        return False
    return True


def kill_worker(deployment: Deployment, draw: random.Random, batch_id: str) -> bool:
    """SIGKILL of one process that runs units."""
    workers = deployment.list_workers()
    return bool(workers) and _kill(draw.choice(workers))


def kill_celery(deployment: Deployment, draw: random.Random, batch_id: str) -> bool:
    """SIGKILL of the parent of Celery's processes, as when a machine is lost."""
    assert deployment.worker is not None
    return _kill(deployment.worker)


def kill_planner(deployment: Deployment, draw: random.Random, batch_id: str) -> bool:
    """SIGKILL of `tubelet work`, which lists and sends, and with `local` of what it started."""
    assert deployment.planner is not None
    return _kill(deployment.planner)


def kill_committer(deployment: Deployment, draw: random.Random, batch_id: str) -> bool:
    """SIGKILL of whoever joins, describes and commits a video, up to a quarter of a second into it."""
    give_up = time.monotonic() + COMMIT_S
    while time.monotonic() < give_up:
        for unit in _list_units(deployment, batch_id):
            if (unit.kind, unit.state) == ("video", "running"):
                time.sleep(draw.uniform(0.0, 0.25))
                if deployment.kind == "celery":
                    return _kill_id(int(unit.owner.rpartition(":")[2]))
                return any([_kill(worker) for worker in deployment.list_workers()])
        deployment.start_what_died()
        time.sleep(0.01)
    return False


def restart_redis(deployment: Deployment, draw: random.Random, batch_id: str) -> bool:
    """SIGKILL of the Redis server; a while later it is there again with its append-only file."""
    assert deployment.redis is not None
    deployment.redis.kill()
    time.sleep(draw.uniform(0.0, 2.0))
    deployment.redis.start()
    return True


def double_messages(deployment: Deployment, draw: random.Random, batch_id: str) -> bool:
    """All units that run, wait or are done are sent once more."""
    units = _list_units(deployment, batch_id)
    with CeleryExecutor(deployment.settings) as executor:
        for unit in units:
            executor.send(ReadyUnit(unit.unit_id, unit.kind, unit.job_id, unit.span_s))
    return bool(units)


def delay_messages(deployment: Deployment, draw: random.Random, batch_id: str) -> bool:
    """Messages are taken out of their queues, and put back a while later."""
    with redis.Redis.from_url(deployment.settings.ledger) as client:
        lists = [
            key
            for kind in QUEUES
            for key in client.scan_iter(f"{KEY_PREFIX}{kind}*")
            if client.type(key) == b"list"
        ]
        held = [(key, message) for key in lists for message in client.lpop(key, 100) or []]
        time.sleep(draw.uniform(0.2, 2.0))
        for key, message in held:
            client.lpush(key, message)
    return bool(held)


def fail_s3(deployment: Deployment, draw: random.Random, batch_id: str) -> bool:
    """Some answers of S3 are 5xx, broken off or lost: fewer in a row than a client tries, and more."""
    for method, fault in (("GET", "503"), ("HEAD", "500"), ("GET", "short"), ("GET", "reset")):
        deployment.s3.fail(method, fault, draw.randint(1, 6))  # type: ignore[arg-type]
    return True


def slow_s3(deployment: Deployment, draw: random.Random, batch_id: str) -> bool:
    """Every answer of S3 comes late, until the batch has ended."""
    deployment.s3.delay_s = draw.uniform(0.1, 0.5)
    return True


def fill_disk(deployment: Deployment, draw: random.Random, batch_id: str) -> bool:
    """The disk of the home is full for a while."""
    filler = deployment.home / "filler"
    try:
        with filler.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(1 << 16))
    except OSError:
        pass
    threading.Timer(draw.uniform(0.5, 3.0), lambda: filler.unlink(missing_ok=True)).start()
    return True


def _list_units(deployment: Deployment, batch_id: str) -> list[UnitEntry]:
    try:
        items = deployment.ledger.list_items(batch_id)
        batch = deployment.ledger.get_batch(batch_id)
        assert batch is not None
        jobs = [f"{item.video_id}.{batch.digest}" for item in items if item.video_id]
        return [unit for job_id in jobs for unit in deployment.ledger.list_units(job_id)]
    except StoreError:
        return []


def _kill_id(process_id: int) -> bool:
    try:
        os.kill(process_id, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def _has_celery(deployment: Deployment) -> bool:
    return deployment.kind == "celery"


FAULTS = (
    Fault("worker killed", kill_worker),
    Fault("committer killed", kill_committer),
    Fault("planner killed", kill_planner),
    Fault("Celery's parent killed", kill_celery, _has_celery),
    Fault("Redis killed", restart_redis, _has_celery),
    Fault("messages doubled", double_messages, _has_celery),
    Fault("messages delayed", delay_messages, _has_celery),
    Fault("S3 fails", fail_s3),
    Fault("S3 slow", slow_s3),
    Fault("disk full", fill_disk, lambda deployment: deployment.has_small_disk),
)
