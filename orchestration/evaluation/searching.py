"""From a video file to the rank of the right answer: clips through the real pipeline, queries with rivals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tubelet.errors import TubeletError
from tubelet.index.query import parse_query
from tubelet.index.search import search_moments
from tubelet.index.store import IndexStore
from tubelet.index.structured_query import Query
from tubelet.model.training.grammar.captions import say_brief
from tubelet.model.training.grammar.facts import MomentFacts, tell_moment, tell_thing
from tubelet.model.training.world import RenderedClip
from tubelet.orchestration.evaluation.clips import LARGE_SHARE, ClipPlan, list_seen
from tubelet.orchestration.evaluation.contests import (
    DIFFERENCES,
    Candidate,
    Contest,
    choose_clips,
    list_contests,
)
from tubelet.orchestration.evaluation.figures import Figure, measure_mean
from tubelet.orchestration.pipeline import index_sources
from tubelet.orchestration.resources import make_embedder, open_index
from tubelet.records import Box, Hit, PathPoint
from tubelet.settings import Settings
from tubelet.workers.video_writer import VideoWriter

POOL_CLIPS_A_CLIP = 3
"""So many clips are looked through for each that is indexed."""

MIN_SEEN_S = 2.0
MIN_PATH_IOU = 0.3
"""From here on a found path is taken for an object's: mean box IoU over the path. It tells whose it is."""

MAX_HITS = 50
WRITER_QUALITY = 18


@dataclass(frozen=True, slots=True)
class ClipTruth:
    """What is kept of a clip that was written: boxes by object number, one a frame, None where unseen."""

    path: Path
    frame_rate: float
    boxes: Mapping[int, tuple[Box | None, ...]]


@dataclass(frozen=True, slots=True)
class Answer:
    """One query, how far down the first right answer was (None: not in the list), and what was before it.

    `beaten_by` holds the differences of the rivals above it.
    """

    query: str
    subject: str
    seed: int
    number: int
    rank: int | None
    beaten_by: frozenset[str]
    sentences: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Archive:
    """Clips written to files, and what is asked of them."""

    clips: Mapping[int, ClipTruth]
    contests: tuple[Contest, ...]


class ArchiveBuilder:
    """Writes clips to H.264 files, and keeps those that make good contests."""

    def __init__(self, plan: ClipPlan, folder: Path) -> None:
        folder.mkdir(parents=True)
        self._plan = plan
        self._folder = folder
        self._truths: dict[int, ClipTruth] = {}
        self._pool: list[Candidate] = []

    def add(self, clip: RenderedClip) -> None:
        """Take a clip into the pool."""
        self._truths[clip.seed] = _write_clip(clip, self._folder)
        self._pool += list_candidates(clip)

    def finish(self, report: Callable[[int, int], None]) -> Archive:
        """Render the rest of the pool, choose as many clips as were planned, and delete the others.

        `report` hears how many of how many clips are in the pool.
        """
        pool_plan = replace(self._plan, num_clips=POOL_CLIPS_A_CLIP * self._plan.num_clips)
        for clip in pool_plan.render(besides=self._truths):
            self.add(clip)
            report(len(self._truths), pool_plan.num_clips)
        chosen = set(choose_clips(self._pool, self._plan.num_clips))
        for seed in set(self._truths) - chosen:
            self._truths.pop(seed).path.unlink()
        kept = [candidate for candidate in self._pool if candidate.clip in chosen]
        return Archive(self._truths, tuple(list_contests(kept)))


def list_candidates(clip: RenderedClip) -> list[Candidate]:
    """The objects of a clip; clear are those that are large, seen for long, and told with certainty."""
    candidates = []
    for item in list_seen(clip):
        truth = item.truth
        if not truth.colours:
            continue
        facts = tell_moment(clip, truth, truth.start_s, truth.end_s)
        is_large = len(item.frames_where(min_share=LARGE_SHARE)) >= MIN_SEEN_S * clip.spec.frame_rate
        done = tuple(dict.fromkeys(phase.action for phase in truth.actions))
        loose = MomentFacts(tell_thing(truth), done, truth.turn)
        candidates.append(Candidate(clip.seed, truth.number, facts or loose, is_large and facts is not None))
    return candidates


def index_archive(archive: Archive, settings: Settings) -> None:
    """Run the whole pipeline over the files. Raises TubeletError where a file fails."""
    report = index_sources([str(truth.path) for truth in archive.clips.values()], settings=settings)
    for video in report.failed:
        raise TubeletError(f"The rendered clip {video.uri} could not be indexed: {video.reason}")


def ask_archive(archive: Archive, settings: Settings, subject: str) -> list[Answer]:
    """The answers to every query, by the whole search and by the sentences' vectors alone."""
    store = open_index(settings)
    embedder = make_embedder(settings)
    answers = []
    for contest in archive.contests:
        sentence = phrase_query(contest.target)
        parsed = parse_query(sentence)
        vector = embedder.embed([parsed.text])[0]
        for name, query in ((subject, parsed), ("vectors alone", Query(text=parsed.text))):
            hits = search_moments(store, query, vector, limit=MAX_HITS)
            answers.append(_judge(archive, store, contest, sentence, name, hits))
    return answers


def phrase_query(target: Candidate) -> str:
    """What somebody might type: colour, category and motion, in words that no training heard."""
    assert target.motion is not None, "a target does one thing"
    thing = replace(target.facts.thing, colours=target.facts.thing.colours[:1])
    facts = MomentFacts(thing, (target.motion,), target.facts.turn)
    generator = np.random.default_rng((target.clip, target.number))
    return say_brief(facts, generator, "held-out")


def summarise_search(answers: Sequence[Answer]) -> list[Figure]:
    """recall@1, recall@5, mean reciprocal rank, and how often each kind of rival came before the answer."""

    def lost_to(difference: str) -> Callable[[Answer], float]:
        return lambda answer: float(difference in answer.beaten_by)

    figures = []
    for subject in dict.fromkeys(answer.subject for answer in answers):

        def rate(measure: str, judge: Callable[[Answer], float], subject: str = subject) -> Figure:
            groups = [[judge(answer)] for answer in answers if answer.subject == subject]
            return measure_mean(measure, subject, "queries", groups)

        figures += [
            rate("recall@1", lambda answer: float(answer.rank == 1)),
            rate("recall@5", lambda answer: float(answer.rank is not None and answer.rank <= 5)),
            rate("mean reciprocal rank", lambda answer: 1 / answer.rank if answer.rank else 0.0),
            *(rate(f"another {difference} came first", lost_to(difference)) for difference in DIFFERENCES),
        ]
    return figures


def find_object(path: Sequence[PathPoint], truth: ClipTruth) -> int | None:
    """The number of the object whose boxes a found path follows best; None where it follows none."""
    best, best_iou = None, MIN_PATH_IOU
    for number, boxes in truth.boxes.items():
        overlaps = []
        for point in path:
            place = min(max(round(point.t * truth.frame_rate), 0), len(boxes) - 1)
            box = boxes[place]
            overlaps.append(0.0 if box is None else box.iou(Box(point.x0, point.y0, point.x1, point.y1)))
        iou = float(np.mean(overlaps))
        if iou >= best_iou:
            best, best_iou = number, iou
    return best


def _judge(
    archive: Archive,
    store: IndexStore,
    contest: Contest,
    sentence: str,
    subject: str,
    hits: Sequence[Hit],
) -> Answer:
    seeds = {truth.path.name: seed for seed, truth in archive.clips.items()}
    rank = None
    before: set[str] = set()
    for place, hit in enumerate(hits, 1):
        seed = seeds[Path(hit.uri).name]
        item = store.get_object(hit.object_id)
        number = None if item is None else find_object(item.path, archive.clips[seed])
        if number is None:
            continue
        if (seed, number) in contest.right:
            rank = place
            break
        before |= {name for name, rivals in contest.rivals.items() if (seed, number) in rivals}
    return Answer(
        sentence,
        subject,
        contest.target.clip,
        contest.target.number,
        rank,
        frozenset(before),
        tuple(hit.caption for hit in hits[:5]),
    )


def _write_clip(clip: RenderedClip, folder: Path) -> ClipTruth:
    path = folder / f"{clip.seed:06d}.mp4"
    height, width = clip.labels_THW.shape[1:]
    rate = clip.spec.frame_rate
    with VideoWriter(path, width=width, height=height, frame_rate=rate, quality=WRITER_QUALITY) as writer:
        for image in clip.frames_THWC:
            writer.write(image)
    boxes = {
        item.number: tuple(clip.find_box(place, item.number) for place in range(len(clip.times_s)))
        for item in clip.objects
    }
    return ClipTruth(path, rate, boxes)
