"""The lines with `curl` of the documents, as they are written, against S3, Redis and a Celery worker."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import av
import pytest

from tests.api.conftest import StartService
from tests.orchestration.celery_workers import DEADLINE_S, ROOT, run_worker
from tests.orchestration.light_models import LIGHT
from tests.redis_server import RedisServer, has_redis
from tests.s3_server import s3_options, s3_server
from tubelet.orchestration.ledger.opening import open_ledger
from tubelet.orchestration.service import WorkService
from tubelet.settings import Settings, load_settings
from tubelet.workers.s3 import S3Options, connect

__all__ = ["s3_options", "s3_server"]
pytestmark = [
    pytest.mark.redis,
    pytest.mark.skipif(not has_redis(), reason="redis-server is not installed"),
    pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed"),
]
WRITTEN = "http://127.0.0.1:8000"


class Shell:
    """Runs the lines of a document in a folder, at the address of a service."""

    def __init__(self, document: Path, folder: Path, address: str) -> None:
        self._folder = folder
        self._address = address
        blocks = re.findall(r"^```[^\n]*\n(.*?)^```", document.read_text(), re.M | re.S)
        self._lines = [line for block in blocks for line in block.splitlines() if line.startswith("curl ")]

    def run(self, part: str, **changed: str) -> str:
        """What the line with this part prints, with words of it changed."""
        (line,) = (each for each in self._lines if part in each)
        assert WRITTEN in line or "URL" in line
        line = line.replace(WRITTEN, self._address).replace("curl ", "curl -sS --fail-with-body -m 100 ", 1)
        for old, new in changed.items():
            assert old in line, (old, line)
            line = line.replace(old, new)
        done = subprocess.run(
            ["bash", "-c", line], cwd=self._folder, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, (line, done.stdout, done.stderr)
        return done.stdout

    def ask(self, part: str, **changed: str) -> Any:
        """The JSON that a line prints."""
        return json.loads(self.run(part, **changed))


@contextmanager
def planning(settings: Settings) -> Iterator[None]:
    """What `tubelet work` does, in a thread."""
    stop = threading.Event()
    with closing(open_ledger(settings.ledger_location)) as ledger:
        thread = threading.Thread(target=WorkService(settings, ledger, stop=stop).run, name="tubelet work")
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join(DEADLINE_S)
    assert not thread.is_alive()


def test_a_video_is_sent_indexed_found_played_and_exported(
    start_service: StartService, tmp_path: Path, clip: Path, s3_options: S3Options
) -> None:
    connect(s3_options).create_bucket(Bucket="walk")
    for name in ("junction.mp4", "lobby.mp4"):
        shutil.copy(clip, tmp_path / name)
    with RedisServer(tmp_path / "redis", appendfsync="always") as redis:
        place = {
            "ledger": redis.url,
            "index_uri": "s3://walk/index",
            "work_uri": "s3://walk/work",
            "s3_endpoint_url": str(s3_options.endpoint_url),
            "s3_region": "us-east-1",
        }
        settings = load_settings(
            {
                "home": tmp_path / "service",
                "executor": "celery",
                "api_uploads": "s3://walk/uploads",
                **place,
                **LIGHT,
            },
            environment={},
        )
        worker = {f"TUBELET_{name.upper()}": value for name, value in place.items()}
        worker |= {"TUBELET_HOME": str(tmp_path / "worker"), "PYTHONPATH": str(ROOT)}
        with run_worker(worker, tmp_path / "celery.log", concurrency=1), planning(settings):
            served = start_service(settings)
            _walk(Shell(ROOT / "README.md", tmp_path, served.address), tmp_path)
            _put(Shell(ROOT / "docs" / "api.md", tmp_path, served.address), clip)
    assert not (tmp_path / "service" / "uploads").exists(), "all lies on S3"


def _walk(shell: Shell, folder: Path) -> None:
    upload = shell.ask("--data-binary")
    batch = shell.ask("-d '{", **{"upload:ID": upload["source"]})
    told = shell.run("/events", ID=batch["batch_id"])
    ended = json.loads(told.strip().rpartition("data: ")[2])
    assert (ended["state"], ended["counts"]["done"]) == ("done", 1), told
    hit = shell.ask("/v1/search?q=")["hits"][0]
    assert "red" in hit["attributes"]["colours"]
    shell.run("/clip", **{"objects/ID": f"objects/{hit['object_id']}"})
    with av.open(str(folder / "clip.mp4")) as film:
        assert sum(1 for _ in film.decode(video=0)) > 10
    video = {"videos/ID": f"videos/{hit['video_id']}"}
    shell.run("timeline?format=cvat", **video)
    tracks = ElementTree.parse(folder / "junction.xml").findall("track")
    shell.run("timeline?format=cvat", **video, **{"format=cvat": "format=mot-results"})
    rows = [line.split(",") for line in (folder / "junction.xml").read_text().splitlines()]
    assert len({row[1] for row in rows}) == len(tracks) > 0


def _put(shell: Shell, clip: Path) -> None:
    expected = shell.ask("size_bytes=", **{"7340032": str(clip.stat().st_size)})
    shell.run("curl -T", URL=f"'{expected['url']}'")
    upload = shell.ask("/complete", u2f6c1e0d9b8a7f6e5d4c3b2a=expected["upload_id"])
    batch = shell.ask("-d '{", u2f6c1e0d9b8a7f6e5d4c3b2a=upload["upload_id"])
    told = shell.run("/events", BATCH=batch["batch_id"])
    ended = json.loads(told.strip().rpartition("data: ")[2])
    assert (ended["state"], ended["counts"]["failed"]) == ("done", 0), "the same bytes again"
