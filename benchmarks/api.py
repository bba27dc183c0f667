"""The HTTP service: start, memory, search by many users against calls in process, listeners, and a clip.

    python benchmarks/api.py [--rows 100000] [--users 20] [--seconds 20] [--listeners 200] [--folder DIR]

The index is made up as by benchmarks/search.py. Server and users are on this machine: users are threads of
this process with a connection each, the server is `tubelet serve --no-work`. A search includes embedding its
sentence. The same searches in process are done by as many threads. With --folder, the home is kept and used
again.
"""

from __future__ import annotations

import argparse
import http.client
import json
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import numpy as np
import psutil
from machine import make_video, print_table
from search import MODELS, QUERIES, build

from tubelet.index.store import IndexStore
from tubelet.orchestration.batches import submit_batch
from tubelet.orchestration.ledger.opening import open_ledger
from tubelet.orchestration.searching import search_index
from tubelet.records import Attributes, IndexedObject, Moment, Motion, PathPoint
from tubelet.settings import Settings
from tubelet.workers.probe import probe_video
from tubelet.workers.source import identify_file

SENTENCES = [sentence for sentences in QUERIES.values() for sentence in sentences]
CLIP_S = 12
CLIP_OBJECT = "o-of-the-clip"
MEGABYTE = 1 << 20


class Server:
    """`tubelet serve` over a home, and how long it took to be ready."""

    def __init__(self, home: Path) -> None:
        command = [sys.executable, "-m", "tubelet", "serve", "--no-work", "--port", "0", "--home", str(home)]
        start = time.perf_counter()
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
        assert self.process.stderr is not None
        self.port = 0
        for line in self.process.stderr:
            if found := re.search(r"running on http://127\.0\.0\.1:(\d+)", line):
                self.port = int(found[1])
                break
        assert self.port, "the server does not start"
        threading.Thread(target=self.process.stderr.read, daemon=True).start()
        self.listening_s = time.perf_counter() - start
        status, _ = ask(self.connect(), "/readyz")
        assert status == 200, status
        self.ready_s = time.perf_counter() - start

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)

    @property
    def resident_mb(self) -> float:
        return float(psutil.Process(self.process.pid).memory_info().rss / MEGABYTE)


@contextmanager
def serve(home: Path) -> Iterator[Server]:
    server = Server(home)
    try:
        yield server
    finally:
        server.process.terminate()
        server.process.wait(30)


def ask(connection: http.client.HTTPConnection, path: str) -> tuple[int, bytes]:
    """One request on a connection that is kept."""
    connection.request("GET", path)
    answer = connection.getresponse()
    return answer.status, answer.read()


def run_users(num_users: int, seconds: float, make_user: Callable[[], Callable[[str], None]]) -> list[float]:
    """Seconds of each search of so many users, who ask one after another until the time is up."""
    taken: list[list[float]] = [[] for _ in range(num_users)]
    failures: list[BaseException] = []
    begin = threading.Barrier(num_users)

    def use(place: int) -> None:
        try:
            search = make_user()
            begin.wait()
            end = time.perf_counter() + seconds
            number = place
            while (start := time.perf_counter()) < end:
                search(SENTENCES[number % len(SENTENCES)])
                taken[place].append(time.perf_counter() - start)
                number += 1
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=use, args=(place,)) for place in range(num_users)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return [each for one in taken for each in one]


def measure_search(server: Server, settings: Settings, arguments: argparse.Namespace) -> list[list[str]]:
    """Searches over HTTP and in process, each by as many users."""

    def over_http() -> Callable[[str], None]:
        connection = server.connect()

        def search(sentence: str) -> None:
            status, body = ask(connection, f"/v1/search?q={quote(sentence)}&limit=10")
            assert status == 200, body

        return search

    def in_process() -> Callable[[str], None]:
        def search(sentence: str) -> None:
            search_index(sentence, settings=settings, store=store)

        return search

    rows = []
    rates = {}
    for users in (1, arguments.users):
        run_users(users, 2.0, over_http)
        times = run_users(users, arguments.seconds, over_http)
        rates["http", users] = len(times) / arguments.seconds
        rows.append(_tell(f"HTTP, {users} users", times, arguments.seconds))
    store = IndexStore.open(settings.index_location)
    for users in (1, arguments.users):
        run_users(users, 2.0, in_process)
        times = run_users(users, arguments.seconds, in_process)
        rates["own", users] = len(times) / arguments.seconds
        rows.append(_tell(f"in process, {users} threads", times, arguments.seconds))
    for users in (1, arguments.users):
        share = rates["http", users] / rates["own", users]
        rows.append([f"HTTP's share of it, {users}", "", "", "", f"{share:.2f}"])
    return rows


def _tell(name: str, times: Sequence[float], seconds: float) -> list[str]:
    shares = [f"{1000 * np.percentile(times, share):.0f}" for share in (50, 95, 99)]
    return [name, *shares, f"{len(times) / seconds:.1f}"]


def measure_listeners(server: Server, settings: Settings, count: int) -> list[list[str]]:
    """Memory with so many listeners of one batch, and after they have gone, three times over."""
    ledger = open_ledger(settings.ledger_location)
    batch = submit_batch(["/nowhere"], settings=settings, ledger=ledger)
    rows = [["none", f"{server.resident_mb:.0f}"]]
    for turn in range(1, 4):
        connections = []
        for _ in range(count):
            connection = server.connect()
            connection.request("GET", f"/v1/batches/{batch.batch_id}/events")
            answer = connection.getresponse()
            while not answer.readline().startswith(b"data: "):
                pass
            connections.append((connection, answer))
        rows.append([f"{count} listen, time {turn}", f"{server.resident_mb:.0f}"])
        for connection, answer in connections:
            answer.close()
            connection.close()
        give_up = time.perf_counter() + 60
        while b"tubelet_api_listeners 0" not in ask(server.connect(), "/metrics")[1]:
            assert time.perf_counter() < give_up, "listeners that have gone are still counted"
            time.sleep(0.2)
        rows.append([f"gone, time {turn}", f"{server.resident_mb:.0f}"])
    ledger.set_control(batch.batch_id, "cancelled")
    ledger.delete_batch(batch.batch_id)
    ledger.close()
    return rows


def measure_clip(server: Server) -> list[list[str]]:
    """Ten seconds of 1080p as a clip, drawn in and clean; the second time it is there already."""
    rows = []
    for name, query in (("drawn in", "annotated=true"), ("clean", "annotated=false")):
        for turn in ("made", "kept"):
            start = time.perf_counter()
            status, body = ask(server.connect(), f"/v1/objects/{CLIP_OBJECT}/clip?start_s=1&end_s=11&{query}")
            assert status == 200, body
            rows.append([f"{name}, {turn}", f"{time.perf_counter() - start:.2f}", f"{len(body) / 1e6:.1f}"])
    return rows


def make_home(home: Path, num_rows: int) -> Settings:
    """A home with the made-up index, and one object of a clip of 1080p."""
    settings = Settings(home=home)
    if (home / "done").exists():
        return settings
    build(home / "index", num_rows)
    path = home / "clip.mp4"
    make_video(path, seconds=CLIP_S)
    video = probe_video(path, identify_file(path), timeout_s=60)
    points = tuple(PathPoint(t, 240 * t - 192, 360.0, 240 * t, 450.0) for t in np.arange(1, 7.5, 1 / 6))
    attributes = Attributes(colours=("red",), colour_shares=(0.9,), size="medium")
    motion = Motion("right", 0.0, 1.0, "none", 0.0, stopped=False, approaching=False, leaving=False)
    common = {"video_id": video.video_id, "uri": video.uri, "start_s": points[0].t, "end_s": points[-1].t}
    told = {"attributes": attributes, "motion": motion, "path": points, "score": 0.9}
    item = IndexedObject(object_id=CLIP_OBJECT, **common, **told)  # type: ignore[arg-type]
    moment = Moment(
        moment_id="m-of-the-clip",
        object_id=CLIP_OBJECT,
        caption="A red box moves right.",
        mean_area=38400.0,
        text_vector=(1.0, *[0.0] * 383),
        **common,  # type: ignore[arg-type]
        **told,  # type: ignore[arg-type]
    )
    IndexStore.open(home / "index").replace_video(video, [item], [moment], MODELS)
    (home / "done").write_text(json.dumps({"rows": num_rows}))
    return settings


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--users", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--listeners", type=int, default=200)
    parser.add_argument("--folder", type=Path, help="keep the home here")
    arguments = parser.parse_args()
    folder = arguments.folder or Path(tempfile.mkdtemp(prefix="tubelet-bench-"))
    try:
        settings = make_home(folder / f"rows-{arguments.rows}", arguments.rows)
        report(settings, arguments)
    finally:
        if not arguments.folder:
            shutil.rmtree(folder, ignore_errors=True)


def report(settings: Settings, arguments: argparse.Namespace) -> None:
    with serve(settings.home) as server:
        starts = [["listening, s", f"{server.listening_s:.2f}"], ["ready, s", f"{server.ready_s:.2f}"]]
        starts.append(["idle memory, MiB", f"{server.resident_mb:.0f}"])
        start = time.perf_counter()
        status, _ = ask(server.connect(), "/v1/search?q=red+car")
        assert status == 200, status
        starts.append(["first search, s", f"{time.perf_counter() - start:.2f}"])
        starts.append(["memory after it, MiB", f"{server.resident_mb:.0f}"])
        print_table("Start", ["", ""], starts)
        title = f"Searches over {arguments.rows:,} moments, ms"
        print_table(title, ["", "p50", "p95", "p99", "a second"], measure_search(server, settings, arguments))
        print_table("A clip of 10 s of 1080p", ["", "s", "MB"], measure_clip(server))
        print_table(
            "Memory with listeners", ["", "MiB"], measure_listeners(server, settings, arguments.listeners)
        )


if __name__ == "__main__":
    main()
