"""Search over made-up indexes: building, disk, latency by kind of query, recall, overhead over LanceDB.

    python benchmarks/search.py [--rows 10000 100000] [--folder DIR] [--repeats 3]

Moments are made up, each of one of 4,000 kinds; their captions are what the `attributes` captioner says of
such an object, embedded by MiniLM, and each moment's vector is its caption's with noise, so that vectors
cluster as real ones do. The time of embedding a query is not counted. Overhead is the time outside LanceDB's
calls over the time inside them; it also grows when fewer calls are made, so the time outside is told by
itself too. Recall counts hits that score no less than the tenth of the exact answer, so that ties do not
matter. With --folder, an index is kept and used again.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from lancedb import background_loop
from machine import print_table

from tubelet.index.query import parse_query
from tubelet.index.search import search_page
from tubelet.index.store import IndexStore
from tubelet.index.structured_query import Query, SearchFilter
from tubelet.model.describing.attributes import compose_sentence
from tubelet.model.embedding import MiniLmEmbedder
from tubelet.records import (
    Attributes,
    IndexedObject,
    Likelihoods,
    ModelNames,
    Moment,
    Motion,
    PathPoint,
    Video,
)

MODELS = ModelNames("made-up@1", "attributes@1", "minilm@1")
MOMENTS_A_VIDEO, MOMENTS_AN_OBJECT, PATH_POINTS = 1000, 2, 12
NUM_LOOKS, NUM_WAYS = 200, 20
"""Different attributes, and different motions; moments are made of any of the one and any of the other."""
VIDEO_S = 600.0
THUMBNAIL = bytes(1024)
NOISE = 0.2
"""Length of the noise beside a caption's unit vector: cosines of 0.98 to it."""

COLOURS = ("black", "grey", "white", "red", "blue", "green", "brown", "yellow")
CATEGORIES = ("car", "suv", "van", "truck", "bus", "person", "bicycle", "dog", "")
SIZES = ("tiny", "small", "medium", "large")
HEADINGS = ("right", "up-right", "up", "up-left", "left", "down-left", "down", "down-right")

QUERIES: dict[str, list[str]] = {
    "plain": [
        "a red car",
        "blue bus",
        "white van",
        "a black dog",
        "a person",
        "brown truck",
        "yellow bicycle",
    ],
    "motion": [
        "red car turning left",
        "a parked white van",
        "blue bus going straight",
        "a person walking to the right",
        "black truck makes a u-turn",
        "green car entering from the left",
        "a fast bicycle",
    ],
    "order": ["a red car stops, then turns left", "a van turns right and leaves at the top"],
    "relation": ["a red car next to a bus", "a white van followed by a black truck"],
}
MAKE_FILTERS: tuple[Callable[[list[str]], SearchFilter], ...] = (
    lambda videos: SearchFilter(video_ids=tuple(videos[::10])),
    lambda videos: SearchFilter(start_s=60.0, end_s=120.0),
    lambda videos: SearchFilter(labels=("vehicle",), min_duration_s=2.0),
)


@dataclass(slots=True)
class Timing:
    """Seconds of several searches, in all and inside LanceDB."""

    total: list[float] = field(default_factory=list)
    inside: list[float] = field(default_factory=list)

    @property
    def overhead(self) -> float:
        return sum(self.total) / sum(self.inside) - 1

    @property
    def outside(self) -> float:
        return (sum(self.total) - sum(self.inside)) / len(self.total)


class LanceClock:
    """Adds up the time in which LanceDB is at work: all of its calls run on one background loop."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._lock = Lock()
        self._running = 0
        self._since = 0.0

    @contextmanager
    def watch(self) -> Iterator[None]:
        """Watch the calls that are made inside."""
        loop = type(background_loop.LOOP)
        run = loop.run

        def timed(this: Any, future: Any) -> Any:
            with self._lock:
                self._running += 1
                if self._running == 1:
                    self._since = time.perf_counter()
            try:
                return run(this, future)
            finally:
                with self._lock:
                    self._running -= 1
                    if self._running == 0:
                        self.seconds += time.perf_counter() - self._since

        loop.run = timed
        try:
            yield
        finally:
            loop.run = run


class Maker:
    """Makes moments by a seed; a caption is embedded once, however many moments have it."""

    def __init__(self, seed: int = 7) -> None:
        self._random = np.random.default_rng(seed)
        self._embedder = MiniLmEmbedder()
        self._vectors: dict[str, np.ndarray[Any, Any]] = {}
        self._looks = [self._draw_attributes() for _ in range(NUM_LOOKS)]
        self._ways = [self._draw_motion() for _ in range(NUM_WAYS)]

    def make_video(self, number: int) -> Video:
        """Ten minutes of 1280 x 720."""
        name = f"v{number:05d}"
        return Video(
            video_id=name,
            uri=f"/videos/{name}.mp4",
            identity=f"blake2b:{name}",
            duration_s=VIDEO_S,
            frame_rate=30.0,
            nominal_frame_rate=30.0,
            num_frames=int(30 * VIDEO_S),
            width=1280,
            height=720,
            rotation_deg=0,
            codec="h264",
            variable_frame_rate=False,
        )

    def make_moments(self, video: Video, count: int) -> list[Moment]:
        """The moments of a video, two of an object one after the other."""
        drafts = [self._draft(video, number) for number in range(count)]
        captions = [draft.caption for draft in drafts]
        new = sorted(set(captions) - set(self._vectors))
        if new:
            self._vectors.update(zip(new, self._embedder.embed(new), strict=True))
        clean = np.array([self._vectors[caption] for caption in captions])
        noise = self._random.normal(scale=NOISE / np.sqrt(clean.shape[1]), size=clean.shape)
        noisy = clean + noise
        noisy = (noisy / np.linalg.norm(noisy, axis=1, keepdims=True)).astype(np.float32)
        return [
            replace(draft, text_vector=tuple(vector))
            for draft, vector in zip(drafts, noisy.tolist(), strict=True)
        ]

    def _draw_attributes(self) -> Attributes:
        random = self._random
        return Attributes(
            colours=(COLOURS[random.integers(len(COLOURS))],),
            colour_shares=(0.7,),
            size=SIZES[random.integers(4)],  # type: ignore[arg-type]
            category=CATEGORIES[random.integers(len(CATEGORIES))],
        )

    def _draw_motion(self) -> Motion:
        random = self._random
        stopped = bool(random.random() < 0.25)
        heading = int(random.integers(8))
        turn = "none" if stopped else ("none", "none", "none", "left", "right", "u")[random.integers(6)]
        return Motion(
            heading="none" if stopped else HEADINGS[heading],  # type: ignore[arg-type]
            heading_deg=None if stopped else 45.0 * heading,
            speed=0.0 if stopped else float(random.uniform(0.3, 3)),
            turn=turn,  # type: ignore[arg-type]
            turn_deg={"none": 0.0, "left": 90.0, "right": -90.0, "u": 180.0}[turn],
            stopped=stopped,
            approaching=False,
            leaving=False,
            entry_side="left" if random.random() < 0.1 else None,
            exit_side="top" if random.random() < 0.1 else None,
        )

    def _draft(self, video: Video, number: int) -> Moment:
        random = self._random
        place, part = divmod(number, MOMENTS_AN_OBJECT)
        if part == 0:
            self._attributes = self._looks[random.integers(NUM_LOOKS)]
            self._start_s = float(random.uniform(0, VIDEO_S - 30))
            self._at = random.uniform((50, 50), (1200, 650))
        motion = self._ways[random.integers(NUM_WAYS)]
        start_s, length_s = self._start_s, float(random.uniform(1, 8))
        self._start_s += length_s
        times = np.linspace(start_s, start_s + length_s, PATH_POINTS)
        angle = np.deg2rad(motion.heading_deg or 0.0)
        way = (0.0 if motion.stopped else 30.0) * np.array([np.cos(angle), -np.sin(angle)])
        points = self._at + np.outer(times - start_s, way)
        return Moment(
            moment_id=f"{video.video_id}-m{number:04d}",
            object_id=f"{video.video_id}-o{place:04d}",
            video_id=video.video_id,
            uri=video.uri,
            start_s=start_s,
            end_s=start_s + length_s,
            caption=compose_sentence(self._attributes, motion),
            attributes=self._attributes,
            motion=motion,
            path=tuple(
                PathPoint(float(t), float(x) - 25, float(y) - 15, float(x) + 25, float(y) + 15)
                for t, (x, y) in zip(times, points, strict=True)
            ),
            mean_area=1500.0,
            score=0.9,
            thumbnail=THUMBNAIL,
            likely=Likelihoods(
                self._attributes.colours,
                (0.8, 0.15)[: len(self._attributes.colours)],
                ("still", "none") if motion.stopped else (motion.turn,),
                (0.8, 0.15) if motion.stopped else (0.9,),
            ),
        )


def build(folder: Path, num_rows: int) -> tuple[float, float]:
    """Make an index of so many moments; seconds of writing and of building indexes."""
    store = IndexStore.open(folder, create=True, text_dimensions=384, object_dimensions=0)
    maker = Maker()
    writing = 0.0
    for number in range(-(-num_rows // MOMENTS_A_VIDEO)):
        video = maker.make_video(number)
        moments = maker.make_moments(video, min(MOMENTS_A_VIDEO, num_rows - number * MOMENTS_A_VIDEO))
        start = time.perf_counter()
        store.replace_video(video, make_objects(moments), moments, MODELS)
        writing += time.perf_counter() - start
    start = time.perf_counter()
    store.optimize()
    return writing, time.perf_counter() - start


def make_objects(moments: Sequence[Moment]) -> list[IndexedObject]:
    """The objects of some moments; what is said of one is what its first moment says."""
    firsts = {moment.object_id: moment for moment in reversed(moments)}
    return [
        IndexedObject(
            object_id=first.object_id,
            video_id=first.video_id,
            uri=first.uri,
            start_s=first.start_s,
            end_s=first.end_s,
            attributes=first.attributes,
            motion=first.motion,
            path=first.path,
            score=first.score,
            thumbnail=THUMBNAIL,
        )
        for first in firsts.values()
    ]


def list_requests(store: IndexStore) -> dict[str, list[tuple[Query, SearchFilter, Any]]]:
    """What is asked, by kind: the query, filters, and the text's vector."""
    embedder = MiniLmEmbedder()
    videos = [video.video_id for video in store.list_videos()]
    requests: dict[str, list[tuple[Query, SearchFilter, Any]]] = {}

    def add(kind: str, sentence: str, limits: SearchFilter) -> None:
        query = parse_query(sentence)
        requests.setdefault(kind, []).append((query, limits, embedder.embed([query.text])[0]))

    for kind, sentences in QUERIES.items():
        for place, sentence in enumerate(sentences):
            add(kind, sentence, SearchFilter())
            if kind in ("plain", "motion"):
                limits = MAKE_FILTERS[place % len(MAKE_FILTERS)](videos)
                add("filtered" if kind == "plain" else "filtered hybrid", sentence, limits)
    return requests


def measure(
    store: IndexStore, requests: Sequence[tuple[Query, SearchFilter, Any]], repeats: int, **options: Any
) -> Timing:
    """Search for everything, several times; the first round only warms up."""
    timing = Timing()
    for round_ in range(repeats + 1):
        for query, limits, vector in requests:
            clock = LanceClock()
            with clock.watch():
                start = time.perf_counter()
                search_page(store, query, vector, within=limits, **options)
                total = time.perf_counter() - start
            if round_:
                timing.total.append(total)
                timing.inside.append(clock.seconds)
    return timing


def measure_recall(
    store: IndexStore, requests: Sequence[tuple[Query, SearchFilter, Any]], num_rows: int
) -> float:
    """Share of the first ten hits by candidates that belong among the first ten of the exact search."""
    shares = []
    for query, limits, vector in requests:
        exact = search_page(store, query, vector, within=limits, exact_max_rows=num_rows).hits
        if not exact:
            continue
        quick = search_page(store, query, vector, within=limits, exact_max_rows=0).hits
        least = exact[-1].score - 1e-6
        shares.append(sum(hit.score >= least for hit in quick) / len(exact))
    return float(np.mean(shares))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--folder", type=Path, help="keep the indexes here")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--kinds", nargs="+", help="only these kinds of query")
    parser.add_argument("--no-recall", action="store_true")
    arguments = parser.parse_args()
    for num_rows in arguments.rows:
        folder = Path(arguments.folder or tempfile.mkdtemp(prefix="tubelet-bench-")) / f"rows-{num_rows}"
        try:
            report(folder, num_rows, arguments)
        finally:
            if not arguments.folder:
                shutil.rmtree(folder.parent, ignore_errors=True)


def report(folder: Path, num_rows: int, arguments: argparse.Namespace) -> None:
    """Build an index where there is none yet, and print what was measured on it."""
    if not folder.exists():
        writing, indexing = build(folder, num_rows)
        size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        print_table(
            f"An index of {num_rows:,} moments",
            ["", "s"],
            [
                ["writing", f"{writing:.0f}"],
                ["building indexes", f"{indexing:.0f}"],
                ["disk, MB", f"{size / 1e6:.0f}"],
            ],
        )
    store = IndexStore.open(folder)
    start = time.perf_counter()
    held = store.snapshot().hold_columns()
    reading = time.perf_counter() - start
    if held is not None:
        told = [["reading, s", f"{reading:.1f}"], ["memory, MB", f"{held.nbytes / 1e6:.0f}"]]
        print_table("", [f"columns of {num_rows:,} moments held in memory", ""], told)
    rows = []
    for kind, requests in list_requests(store).items():
        if arguments.kinds and kind not in arguments.kinds:
            continue
        for how, options in {"as is": {}, "by candidates": {"exact_max_rows": 0}}.items():
            if how != "as is" and num_rows > 50_000:
                continue
            timing = measure(store, requests, arguments.repeats, **options)
            milliseconds = 1000 * np.array(timing.total)
            recall = ""
            if not arguments.no_recall and (how != "as is" or num_rows > 50_000):
                recall = f"{measure_recall(store, requests, num_rows):.3f}"
            rows.append(
                [
                    f"{kind}, {how}",
                    *(f"{np.percentile(milliseconds, share):.0f}" for share in (50, 95, 99)),
                    f"{1000 * timing.outside:.0f}",
                    f"{100 * timing.overhead:.0f} %",
                    recall,
                ]
            )
    print_table(
        f"Searching {num_rows:,} moments, ms",
        ["queries", "p50", "p95", "p99", "outside", "over LanceDB", "recall@10"],
        rows,
    )


if __name__ == "__main__":
    main()
