"""Small clips with known truth: coloured boxes that drive about on a mottled ground; models that know it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from tubelet.model.describing.base import DescribeRequest, Description
from tubelet.model.frame import Frame
from tubelet.model.masks import encode_mask, mask_box
from tubelet.model.tracking.base import TrackedFrame, TrackedObject
from tubelet.model.training.world import CameraPose, CameraTruth, ClipSpec, ObjectTruth, Phase, RenderedClip
from tubelet.model.training.world.spec import Action, Category
from tubelet.records import CameraStep, Observation, Turn
from tubelet.settings import Settings

WIDTH, HEIGHT, NUM_FRAMES, RATE = 160, 90, 24, 6.0
LENGTH_PX, BREADTH_PX = 24, 16
SPEED_PX_S = 30.0
THUMB = (40, 22)

RGB = {
    "red": (200, 24, 30),
    "blue": (30, 60, 190),
    "green": (30, 140, 50),
    "yellow": (236, 200, 30),
    "white": (240, 240, 238),
}
SPEC = ClipSpec(NUM_FRAMES, RATE, WIDTH, HEIGHT, split="held-out")


@dataclass(frozen=True)
class Thing:
    """What drives through a clip; it starts at (x, y) with a heading in degrees, counter-clockwise."""

    category: Category
    colour: str
    motion: Action
    x: float = 14.0
    y: float = 45.0
    heading: float = 0.0

    @property
    def turn(self) -> Turn:
        return {"turn-left": "left", "turn-right": "right"}.get(self.motion, "none")  # type: ignore[return-value]

    @property
    def phases(self) -> tuple[Phase, ...]:
        end_s = (NUM_FRAMES - 1) / RATE
        if self.turn == "none":
            return (Phase(self.motion, 0.0, end_s),)
        return Phase("straight", 0.0, 1.3), Phase(self.motion, 1.3, 2.6), Phase("straight", 2.6, end_s)

    @property
    def sentence(self) -> str:
        verb = {
            "turn-left": "turns left",
            "turn-right": "turns right",
            "straight": "goes straight",
            "parked": "is parked",
        }[self.motion]
        return f"A {self.colour} {self.category} {verb}."

    def poses(self) -> Iterator[tuple[float, float, float]]:
        """x, y and heading in degrees at each frame."""
        x, y, heading = self.x, self.y, self.heading
        for frame in range(NUM_FRAMES):
            yield x, y, heading
            if self.motion == "parked":
                continue
            if self.turn != "none" and 1.3 <= frame / RATE < 2.6:
                heading += (90 / 1.3 / RATE) * (1 if self.turn == "left" else -1)
            x += SPEED_PX_S / RATE * math.cos(math.radians(heading))
            y -= SPEED_PX_S / RATE * math.sin(math.radians(heading))


def make_clip(seed: int, things: Sequence[Thing]) -> RenderedClip:
    """A clip of these things, numbered from 1; later ones hide earlier ones."""
    ground = np.random.default_rng(seed).uniform(80, 150, (6, 10, 3)).astype(np.float32)
    ground = cv2.resize(ground, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    frames = np.repeat(ground[None], NUM_FRAMES, axis=0).clip(0, 255).astype(np.uint8)
    labels = np.zeros((NUM_FRAMES, HEIGHT, WIDTH), np.uint8)
    full = np.zeros((NUM_FRAMES, len(things)))
    for number, thing in enumerate(things, 1):
        for frame, (x, y, heading) in enumerate(thing.poses()):
            corners = cv2.boxPoints(((x + 100, y + 100), (LENGTH_PX, BREADTH_PX), -heading))
            wide = np.zeros((HEIGHT + 200, WIDTH + 200), np.uint8)
            cv2.fillConvexPoly(wide, np.round(corners).astype(np.int32), 1)
            mask = wide[100 : 100 + HEIGHT, 100 : 100 + WIDTH] > 0
            full[frame, number - 1] = wide.sum()
            labels[frame][mask] = number
            frames[frame][mask] = RGB[thing.colour]
    shown = np.stack([(labels == number).sum((1, 2)) for number in range(1, len(things) + 1)], axis=1)
    times = tuple(frame / RATE for frame in range(NUM_FRAMES))
    pose = CameraPose(0, 0, 20, 90, 90, 0, 60)
    return RenderedClip(
        seed=seed,
        spec=SPEC,
        frames_THWC=frames,
        labels_THW=labels,
        visible_TO=(shown / full).astype(np.float32),
        facing_TO=np.radians(
            [[heading for _, _, heading in thing.poses()] for thing in things], dtype=np.float32
        ).T,
        times_s=times,
        objects=tuple(
            ObjectTruth(
                number,
                thing.category,
                (thing.colour,),
                thing.phases,
                thing.turn,
                {"left": 90.0, "right": -90.0}.get(thing.turn, 0.0),
                0.0,
                times[-1],
                {},
            )
            for number, thing in enumerate(things, 1)
        ),
        relations=(),
        camera=CameraTruth("fixed", "overhead", (pose,) * NUM_FRAMES),
    )


def save_truth(file: Path, films: dict[int, tuple[RenderedClip, Sequence[Thing]]]) -> str:
    """Write what the knowing models read; their checkpoint is this file."""
    clips = [clip for clip, _ in films.values()]
    sentences = [[thing.sentence for thing in things] for _, things in films.values()]
    np.savez_compressed(
        file,
        thumbs=np.stack([[_shrink(image) for image in clip.frames_THWC] for clip in clips]),
        labels=np.stack([clip.labels_THW for clip in clips]),
        sentences=np.array(json.dumps(sentences)),
    )
    return str(file)


class Memory:
    """Recognises pictures of the saved clips, also after coding."""

    def __init__(self, file: str) -> None:
        with np.load(file) as saved:
            self.thumbs, self.labels = saved["thumbs"].astype(np.float32), saved["labels"]
            self.sentences: list[list[str]] = json.loads(str(saved["sentences"]))

    def find_clip(self, image: NDArray[np.uint8]) -> int:
        """The clip that the picture is of."""
        distances = np.abs(self.thumbs - _shrink(image)).mean(axis=(2, 3, 4))
        return int(np.unravel_index(distances.argmin(), distances.shape)[0])


_recall = cache(Memory)


@dataclass(frozen=True)
class KnowingTracker:
    """Gives the true masks of clips that it recognises, moved by some pixels."""

    file: str
    shift_px: int = 0
    name: str = "knowing@1"
    num_context_frames: int = 0

    def track(self, frames: Iterable[Frame], context: Sequence[Frame]) -> Iterator[TrackedFrame]:
        memory, clip = _recall(self.file), None
        for frame in frames:
            clip = memory.find_clip(frame.image) if clip is None else clip
            labels = np.roll(memory.labels[clip][round(frame.time_s * RATE)], self.shift_px, axis=0)
            objects = []
            for number in sorted(set(np.unique(labels).tolist()) - {0}):
                mask = encode_mask(labels == number)
                objects.append(
                    TrackedObject(number + 6, Observation(frame.time_s, mask_box(mask), 0.9, mask))
                )
            still = CameraStep(frame.time_s, (1.0, 0.0, 0.0, 0.0, 1.0, 0.0))
            yield TrackedFrame(frame, tuple(objects), still)


@dataclass(frozen=True)
class KnowingCaptioner:
    """Says the true sentence of the object under the mask."""

    file: str
    name: str = "knowing@1"
    object_dimensions: int = 0
    answers_questions: bool = False

    def describe(self, requests: Sequence[DescribeRequest]) -> list[Description]:
        return [Description(self._say(request), 0.9) for request in requests]

    def _say(self, request: DescribeRequest) -> str:
        memory, view = _recall(self.file), request.views[0]
        assert view.scene is not None
        clip = memory.find_clip(view.scene)
        left, top, right, bottom = (round(side) for side in view.crop)
        labels = memory.labels[clip][round(view.time_s * RATE)][top:bottom, left:right]
        counts = np.bincount(labels[view.mask], minlength=2)
        return memory.sentences[clip][int(counts[1:].argmax())]


@dataclass(frozen=True)
class MistakenCaptioner:
    """Says one thing of everything."""

    name: str = "mistaken@1"
    object_dimensions: int = 0
    answers_questions: bool = False

    def describe(self, requests: Sequence[DescribeRequest]) -> list[Description]:
        return [Description("A pink dog makes a U-turn.", 0.9) for _ in requests]


def make_knowing_tracker(settings: Settings) -> KnowingTracker:
    return KnowingTracker(settings.tracker_checkpoint)


def make_misplacing_tracker(settings: Settings) -> KnowingTracker:
    return KnowingTracker(settings.tracker_checkpoint, shift_px=40)


def make_knowing_captioner(settings: Settings) -> KnowingCaptioner:
    return KnowingCaptioner(settings.captioner_checkpoint)


def make_mistaken_captioner(settings: Settings) -> MistakenCaptioner:
    return MistakenCaptioner()


def _shrink(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return cv2.resize(image, THUMB, interpolation=cv2.INTER_AREA).astype(np.uint8)
