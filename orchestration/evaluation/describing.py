"""Sentences against truth: what they say of category, colour, motion and turn, and in what words."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tubelet.index.query import parse_query
from tubelet.model.describing.attributes import measure_attributes
from tubelet.model.describing.base import Captioner, DescribeRequest
from tubelet.model.describing.choosing import choose_sentence
from tubelet.model.describing.text_scores import BLEU_4, score_texts
from tubelet.model.masks import mask_box
from tubelet.model.recognising.base import Recogniser, Recognition
from tubelet.model.tracking.base import TrackedFrame, TrackedObject
from tubelet.model.tracking.camera import estimate_step, to_grey
from tubelet.model.tracking.measures import compare_frames
from tubelet.model.training.grammar.captions import say_brief, say_detailed
from tubelet.model.training.grammar.facts import MomentFacts, tell_moment
from tubelet.model.training.grammar.reading import read_caption
from tubelet.model.training.world import RenderedClip
from tubelet.model.training.world.spec import Action, ObjectTruth
from tubelet.model.trajectory import measure_as_moving, measure_motion
from tubelet.model.trajectory.shape import tell_shape
from tubelet.orchestration.evaluation.clips import TINY_SHARE, SeenObject, list_seen, make_frames
from tubelet.orchestration.evaluation.figures import Figure, measure_mean
from tubelet.orchestration.evaluation.regions import as_rle
from tubelet.records import CameraStep, Chunk, Observation, Rle, View
from tubelet.workers.describe import choose_views
from tubelet.workers.evidence import ViewCollector, decode_view
from tubelet.workers.recognise import TUBELET_VIEWS, add_recognition, recognise_views, tell_looks

MIN_SEEN_S = 1.0
MIN_COVER = 0.5
"""How well a track must cover an object to be described as it: mean mask IoU over the object's frames."""

NUM_REFERENCES = 5
TURNS = ("left", "right", "straight")
PLAIN_ACTIONS: frozenset[Action] = frozenset(("straight", "start"))
"""Left aside where something more telling is done."""


@dataclass(frozen=True, slots=True)
class DescribedTruth:
    """One object's sentence beside what is true of it. `shown` is the sentence that the index would show."""

    seed: int
    number: int
    facts: MomentFacts
    sentence: str
    shown: str
    references: tuple[str, ...]

    @property
    def has_right_category(self) -> bool:
        return read_caption(self.sentence).category == self.facts.thing.category

    @property
    def has_right_colour(self) -> bool:
        """Whether the colour named first is the main one."""
        return read_caption(self.sentence).colours[:1] == self.facts.thing.colours[:1]

    @property
    def has_right_motion(self) -> bool:
        """Whether it says all that the object does and nothing else; see `list_telling`."""
        return list_telling(read_caption(self.sentence).actions) == list_telling(self.facts.actions)

    @property
    def true_turn(self) -> str:
        """left, right, straight, or nothing where it stands, stops, sets off, circles or makes a U-turn."""
        if self.facts.turn in ("left", "right"):
            return self.facts.turn
        moves = set(self.facts.actions) - {"parked", "start", "stop", "circle", "fall"}
        return "straight" if self.facts.turn == "none" and moves else ""

    @property
    def has_right_turn(self) -> bool:
        """Whether the turn is the true one; straight on only where the sentence says that it moves."""
        read = read_caption(self.sentence)
        if self.true_turn != "straight":
            return read.turn == self.true_turn
        return read.turn == "none" and (
            bool(set(read.actions) - {"parked"}) or _says_that_it_moves(self.sentence)
        )


def list_telling(actions: Iterable[Action]) -> frozenset[Action]:
    """The actions without plain driving where there is more to tell, else straight on."""
    done = frozenset(actions)
    if not done:
        return done
    return done - PLAIN_ACTIONS or frozenset(("straight",))


def track_truth(clip: RenderedClip) -> list[TrackedFrame]:
    """What a perfect tracker would give: true masks under their true numbers, and the camera's steps.

    The steps are estimated as trackers do, from what does not belong to any object.
    """
    objects = list_seen(clip)
    tracked = []
    before = None
    for place, frame in enumerate(make_frames(clip)):
        grey = to_grey(frame.image)
        step = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
        if before is not None and clip.camera.moving:
            a, b, c, d, e, f = estimate_step(before, grey, clip.labels_THW[place - 1] == 0).ravel().tolist()
            step = a, b, c, d, e, f
        items = []
        for item in objects:
            rle = item.masks[place]
            if rle is not None:
                seen = Observation(frame.time_s, mask_box(rle), 1.0, rle)
                items.append(TrackedObject(item.truth.number, seen))
        tracked.append(TrackedFrame(frame, tuple(items), CameraStep(frame.time_s, step)))
        before = grey
    return tracked


def find_owners(clip: RenderedClip, tracked: Sequence[TrackedFrame]) -> dict[int, int]:
    """Of each object that a track covers, the track's number and the object's: the best of each, once."""
    objects = list_seen(clip)
    truth: list[Mapping[int, Rle]] = []
    for place in range(len(tracked)):
        seen = {item.truth.number: item.masks[place] for item in objects}
        truth.append({number: rle for number, rle in seen.items() if rle is not None})
    result = [
        {item.number: as_rle(item.observation, step.frame) for item in step.objects} for step in tracked
    ]
    overlaps = compare_frames(truth, result)
    if not overlaps.num_truth or not overlaps.num_results:
        return {}
    covered = np.zeros((overlaps.num_truth, overlaps.num_results))
    for frame in overlaps.frames:
        covered[np.ix_(frame.truth, frame.result)] += frame.iou
    covered /= overlaps.count_sightings()[0][:, None]
    names = list(dict.fromkeys(number for frame in truth for number in frame))
    tracks = list(dict.fromkeys(number for frame in result for number in frame))
    return {
        tracks[column]: names[row]
        for row, column in enumerate(covered.argmax(axis=1))
        if covered[row, column] >= MIN_COVER
    }


def describe_clip(
    clip: RenderedClip,
    tracked: Sequence[TrackedFrame],
    owners: Mapping[int, int] | None,
    captioner: Captioner,
    recogniser: Recogniser | None = None,
) -> list[DescribedTruth]:
    """A sentence for each object that is large, seen and certain enough, from the tracks given.

    What the recogniser makes of an object is told to the captioner, as in indexing. `owners` says whose track
    is whose; None where tracks bear the objects' own numbers. Each object is described once, over all of its
    track, and compared with what it does in that time.
    """
    requests, told = [], []
    seen = {item.truth.number: item for item in list_seen(clip)}
    collector = _collect_views(clip, tracked)
    camera = [step.camera for step in tracked]
    for track, observations in _gather(tracked).items():
        number = track if owners is None else owners.get(track, 0)
        item = seen.get(number)
        facts = None if item is None else _tell(clip, item, observations)
        views = collector.views_of(track)
        if item is not None and facts is not None and views:
            recognition = None
            if recogniser is not None:
                recognition = recognise_views(recogniser, [views], max_views=TUBELET_VIEWS)[0]
            request = _make_request(clip, views, observations, camera, recognition)
            requests.append(replace(request, looks=tell_looks(recogniser, recognition)))
            told.append((item.truth, facts))
    answers = captioner.describe(requests) if requests else []
    return [
        DescribedTruth(
            clip.seed,
            truth.number,
            facts,
            answer.text,
            choose_sentence(answer, request.attributes, request.motion, request.moving).text,
            _make_references(clip, truth, facts),
        )
        for (truth, facts), request, answer in zip(told, requests, answers, strict=True)
    ]


def summarise_describing(
    subject: str, clips: Sequence[Sequence[DescribedTruth]], *, java: bool, with_texts: bool
) -> list[Figure]:
    """Accuracies over objects, and the scores of the sentences where `with_texts`."""

    def rate(measure: str, judge: Callable[[DescribedTruth], bool | None]) -> Figure:
        judged = [[judge(item) for item in clip] for clip in clips]
        groups = [[float(right) for right in clip if right is not None] for clip in judged]
        return measure_mean(measure, subject, "objects", groups)

    def rate_turn(*turns: str) -> Callable[[DescribedTruth], bool | None]:
        return lambda item: item.has_right_turn if item.true_turn in turns else None

    figures = [
        rate("category", lambda item: item.has_right_category),
        rate("colour", lambda item: item.has_right_colour),
        rate("motion", lambda item: item.has_right_motion),
        rate("turn: left, right or straight", rate_turn(*TURNS)),
        *(rate(f"turn: {turn}", rate_turn(turn)) for turn in TURNS),
    ]
    return figures + (_score_sentences(subject, clips, java=java) if with_texts else [])


def _score_sentences(subject: str, clips: Sequence[Sequence[DescribedTruth]], *, java: bool) -> list[Figure]:
    items = [item for clip in clips for item in clip]
    if not items:
        return []
    scores = score_texts([item.sentence for item in items], [item.references for item in items], java=java)
    figures = []
    for name, score in scores.items():
        if name == BLEU_4:
            figures.append(Figure(name, subject, score.value, None, None, len(items), "sentences"))
            continue
        each = iter(score.per_sentence)
        groups = [[next(each) for _ in clip] for clip in clips]
        figures.append(measure_mean(name, subject, "sentences", groups))
    return figures


def _says_that_it_moves(sentence: str) -> bool:
    """Whether the search would understand that something moves, as in "moves to the right"."""
    if not sentence.strip():
        return False
    query = parse_query(sentence)
    return bool(query.find("heading") or {"moving", "fast", "slow"} & set(query.find("pace")))


def _collect_views(clip: RenderedClip, tracked: Sequence[TrackedFrame]) -> ViewCollector:
    end_s = clip.times_s[-1] + 1 / clip.spec.frame_rate
    collector = ViewCollector(Chunk("rendered", "rendered", 0, 0.0, end_s, 0.0, end_s))
    for step in tracked:
        collector.add(step)
    return collector


def _gather(tracked: Sequence[TrackedFrame]) -> dict[int, list[Observation]]:
    observations: dict[int, list[Observation]] = {}
    for step in tracked:
        for item in step.objects:
            observations.setdefault(item.number, []).append(item.observation)
    return dict(sorted(observations.items()))


def _tell(clip: RenderedClip, item: SeenObject, observations: Sequence[Observation]) -> MomentFacts | None:
    """What the object does while it is tracked; None where it is too small, too short, or cannot be told."""
    places = item.frames_where(min_share=TINY_SHARE)
    start_s, end_s = observations[0].time_s, observations[-1].time_s
    if len(places) < MIN_SEEN_S * clip.spec.frame_rate or end_s - start_s < MIN_SEEN_S:
        return None
    return tell_moment(clip, item.truth, start_s, end_s)


def _make_request(
    clip: RenderedClip,
    views: Sequence[View],
    observations: Sequence[Observation],
    camera: Sequence[CameraStep],
    recognition: Recognition | None,
) -> DescribeRequest:
    """As the describing stage asks, but over the object's whole life."""
    height, width = clip.labels_THW.shape[1:]
    decoded = tuple(decode_view(view, (width, height)) for view in choose_views(views))
    area_share = float(np.mean([item.box.area for item in observations])) / (width * height)
    attributes = measure_attributes(decoded, mean_area_share=area_share)
    motion = measure_motion(observations, camera, frame_width=width, frame_height=height)
    return DescribeRequest(
        decoded,
        add_recognition(attributes, recognition),
        motion,
        shape=tell_shape(observations, camera, motion, frame_width=width, frame_height=height),
        moving=measure_as_moving(motion, observations, camera, frame_width=width, frame_height=height)
        if motion.stopped
        else None,
    )


def _make_references(clip: RenderedClip, truth: ObjectTruth, facts: MomentFacts) -> tuple[str, ...]:
    """What people might say, in words that no training heard: in full, and twice in brief."""
    generator = np.random.default_rng((clip.seed, truth.number))
    told = [say_detailed(facts, generator, "held-out") for _ in range(NUM_REFERENCES - 2)]
    told += [say_brief(facts, generator, "held-out") for _ in range(2)]
    return tuple(dict.fromkeys(told))
