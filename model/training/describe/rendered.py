"""Samples from rendered clips: a stretch of an object's life, its views, and conversations about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tubelet.model.pixelrefer.prompts import DESCRIBE_BRIEFLY, DESCRIBE_IMAGE, DESCRIBE_VIDEO, REGION
from tubelet.model.training.describe.pool import PooledClip
from tubelet.model.training.describe.samples import Conversation, Exchange
from tubelet.model.training.grammar.captions import say_brief, say_detailed
from tubelet.model.training.grammar.facts import (
    MomentFacts,
    RelationFacts,
    mirror_moment,
    tell_moment,
    tell_relations,
    tell_thing,
)
from tubelet.model.training.grammar.questions import Question, ask, ask_relation, ask_turn
from tubelet.model.training.world.spec import ObjectTruth, Split
from tubelet.records import View

Kind = Literal["image", "left", "right", "u", "straight", "other", "pair"]
"""What a sample shows: a picture, an object by what it does as a whole, or two objects."""

STRAIGHT = {"straight", "lane-change-left", "lane-change-right", "cross"}

MAX_VIEWS = 8
MIN_MOVING_VIEWS = 3
"""Fewer views of a moment show no motion: nothing is said of any."""

WHOLE_LIFE_SHARE = 0.6
MIN_STRETCH_S = 1.4
MAX_START_S = 900.0
"""Clips are told as if they began anywhere in a video of a quarter of an hour."""

MIRRORED_SHARE = 0.5
EARLY_SHARE = 0.5
TURN_QUESTION_SHARE = 0.8
BRIEF_SHARE = 0.4
NUM_QUESTIONS = 1

INTRODUCE = "There is one object in the {kind}: " + REGION + ".\n"
INTRODUCE_TWO = f"There are two objects in the video: {REGION}, {REGION}.\n"


@dataclass(frozen=True, slots=True)
class Moment:
    """Places of views of each object of a moment (in `PooledClip.views`), and what is said.

    `shift_s` is added to all times. Two objects have one conversation about both. What is said of a
    `mirrored` moment holds when its places are mirrored: left and right then lie in the path alone.
    """

    numbers: tuple[int, ...]
    places: tuple[tuple[int, ...], ...]
    conversations: tuple[Conversation, ...]
    shift_s: float = 0.0
    is_video: bool = True
    mirrored: bool = False


def name_kind(truth: ObjectTruth) -> Kind:
    """What an object does over its whole life."""
    if truth.turn != "none":
        return truth.turn
    is_straight = {phase.action for phase in truth.actions} <= STRAIGHT
    return "straight" if is_straight else "other"


def draw_moment(
    clip: PooledClip, number: int, generator: np.random.Generator, split: Split = "train"
) -> Moment | None:
    """A stretch of one object's life with captions and questions; None where nothing certain can be said."""
    truth, views = clip.find(number), clip.views[number]
    start_s, end_s = draw_stretch(truth, len(views), generator)
    facts = tell_moment(clip, truth, start_s, end_s)
    if facts is None:
        start_s, end_s = truth.start_s, truth.end_s
        facts = tell_moment(clip, truth, start_s, end_s)
    if facts is None:
        return None
    within = [place for place, view in enumerate(views) if start_s <= view.time_s <= end_s]
    if not within:
        return None
    places = thin_out(within, views)
    if len(places) < MIN_MOVING_VIEWS:
        facts = MomentFacts(facts.thing)
    mirrored = bool(generator.random() < MIRRORED_SHARE)
    return Moment(
        (number,),
        (places,),
        talk_about(mirror_moment(facts) if mirrored else facts, generator, split),
        shift_s=draw_shift(generator),
        mirrored=mirrored,
    )


def draw_image(
    clip: PooledClip, number: int, generator: np.random.Generator, split: Split = "train"
) -> Moment:
    """One view of an object, told as an image or as a video of one frame."""
    place = int(generator.integers(len(clip.views[number])))
    facts = MomentFacts(tell_thing(clip.find(number)))
    is_video = bool(generator.random() < 0.5)
    conversations = talk_about(facts, generator, split, is_video=is_video)
    return Moment((number,), ((place,),), conversations, draw_shift(generator), is_video)


def draw_pair(
    clip: PooledClip,
    relations: Sequence[tuple[int, int]],
    generator: np.random.Generator,
    split: Split = "train",
) -> Moment | None:
    """Two objects and what one does to the other; None where the relation does not hold long enough."""
    first, second = relations[int(generator.integers(len(relations)))]
    if generator.random() < 0.5:
        first, second = second, first
    one, two = clip.find(first), clip.find(second)
    start_s, end_s = max(one.start_s, two.start_s), min(one.end_s, two.end_s)
    found = _relate(clip, first, second, start_s, end_s)
    places = tuple(
        thin_out(
            [p for p, view in enumerate(clip.views[n]) if start_s <= view.time_s <= end_s], clip.views[n]
        )
        for n in (first, second)
    )
    if found is None or not all(places):
        return None
    question = ask_relation(found, generator, split)
    conversation = (Exchange(question.text, question.answer),)
    return Moment((first, second), places, (conversation,), shift_s=draw_shift(generator))


def talk_about(
    facts: MomentFacts, generator: np.random.Generator, split: Split, *, is_video: bool = True
) -> tuple[Conversation, ...]:
    """Captions and some questions, each its own conversation, in the words that the product asks with."""
    detail = Exchange(DESCRIBE_VIDEO if is_video else DESCRIBE_IMAGE, say_detailed(facts, generator, split))
    told = [detail]
    if is_video and generator.random() < BRIEF_SHARE:
        told.append(Exchange(DESCRIBE_BRIEFLY, say_brief(facts, generator, split)))
    questions = ask(facts, generator, split, count=NUM_QUESTIONS)
    if facts.actions and generator.random() < TURN_QUESTION_SHARE:
        questions.append(ask_turn(facts, generator, split))
    kind = "video" if is_video else "image"
    told += [introduce(question, kind) for question in questions]
    return tuple((exchange,) for exchange in told)


def list_pairs(clip: PooledClip) -> list[tuple[int, int]]:
    """Objects that have views and a relation to each other."""
    return [
        (relation.subject, relation.object)
        for relation in clip.relations
        if relation.subject in clip.views and relation.object in clip.views
    ]


def thin_out(within: Sequence[int], views: Sequence[View]) -> tuple[int, ...]:
    """At most MAX_VIEWS of the places: the best view of each equal stretch, as describing chooses them."""
    times_s = np.array([views[place].time_s for place in within])
    qualities = np.array([views[place].quality for place in within])
    return tuple(within[chosen] for chosen in choose_best(times_s, qualities))


def choose_best(times_s: NDArray[np.float64], qualities: NDArray[np.float64]) -> list[int]:
    """Places of the best of each of MAX_VIEWS equal stretches of time; all where there are no more."""
    if len(times_s) <= MAX_VIEWS:
        return list(range(len(times_s)))
    edges = np.linspace(times_s[0], times_s[-1], MAX_VIEWS + 1)[1:-1]
    best: dict[int, int] = {}
    for place, stretch in enumerate(np.searchsorted(edges, times_s, side="right").tolist()):
        if stretch not in best or qualities[place] > qualities[best[stretch]]:
            best[stretch] = place
    return [best[stretch] for stretch in sorted(best)]


def draw_stretch(truth: ObjectTruth, num_views: int, generator: np.random.Generator) -> tuple[float, float]:
    """When a moment begins and ends: mostly the whole of an object's life."""
    lasts_s = truth.end_s - truth.start_s
    if generator.random() < WHOLE_LIFE_SHARE or lasts_s < MIN_STRETCH_S + 0.5 or num_views < 2:
        return truth.start_s, truth.end_s
    length_s = generator.uniform(MIN_STRETCH_S, lasts_s)
    start_s = truth.start_s + generator.uniform(0, lasts_s - length_s)
    return start_s, start_s + length_s


def draw_shift(generator: np.random.Generator) -> float:
    """How late in its video a moment is."""
    return float(generator.uniform(0, 10.0 if generator.random() < EARLY_SHARE else MAX_START_S))


def _relate(clip: PooledClip, first: int, second: int, start_s: float, end_s: float) -> RelationFacts | None:
    only: Mapping[int, ObjectTruth] = {number: clip.find(number) for number in (first, second)}
    pair = PooledClip(
        tuple(only.values()),
        tuple(r for r in clip.relations if {r.subject, r.object} == {first, second}),
        clip.frame_size,
        {},
    )
    return next(iter(tell_relations(pair, first, start_s, end_s)), None)


def introduce(question: Question, kind: str = "video") -> Exchange:
    """A question as the product puts it, about one object in a video or an image."""
    return Exchange(INTRODUCE.replace("{kind}", kind) + question.text, question.answer)
