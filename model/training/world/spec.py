"""What a rendered clip is asked for, and what is true of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from tubelet.errors import InputError
from tubelet.model.describing.colour import COLOUR_NAMES
from tubelet.records import Box, Turn

Category = Literal[
    "car",
    "van",
    "pickup",
    "suv",
    "bus",
    "truck",
    "motorbike",
    "bicycle",
    "person",
    "dog",
    "ball",
    "box",
]
Action = Literal[
    "parked",
    "straight",
    "turn-left",
    "turn-right",
    "u-turn",
    "stop",
    "start",
    "lane-change-left",
    "lane-change-right",
    "overtake",
    "follow",
    "cross",
    "circle",
    "fall",
]
RelationKind = Literal["follows", "overtakes", "next-to", "behind", "in-front-of", "crosses-path-of"]
Split = Literal["train", "held-out"]
Theme = Literal["traffic", "park", "mixed"]
CameraKind = Literal["fixed", "pan", "translate", "handheld"]

CATEGORIES: tuple[Category, ...] = get_args(Category)
ACTIONS: tuple[Action, ...] = get_args(Action)
RELATIONS: tuple[RelationKind, ...] = get_args(RelationKind)
CAMERA_KINDS: tuple[CameraKind, ...] = get_args(CameraKind)
COLOURS = COLOUR_NAMES
VEHICLES: tuple[Category, ...] = ("car", "van", "pickup", "suv", "bus", "truck")

MAX_NUMBER = 250
"""Most objects of a clip: their numbers are bytes."""


@dataclass(frozen=True, slots=True)
class ClipSpec:
    """What to render, everything besides the seed.

    `max_objects` is the most at any one time; a clip longer than some seconds has more after each other.
    `degrade` allows noise, blur, rain and odd light, `encode` is the probability that the clip goes through
    H.264 and back. `photographs` is the probability that photographs from installed packages (the extra
    `train`) serve as textures: only then does the picture depend on what is installed.
    """

    num_frames: int = 24
    frame_rate: float = 6.0
    width: int = 320
    height: int = 180
    split: Split = "train"
    theme: Theme = "mixed"
    max_objects: int = 6
    degrade: bool = True
    encode: float = 0.0
    photographs: float = 0.0

    def __post_init__(self) -> None:
        for name, low, high in (
            ("num_frames", 1, 100_000),
            ("frame_rate", 0.1, 240),
            ("width", 16, 4096),
            ("height", 16, 4096),
            ("max_objects", 1, 40),
            ("encode", 0, 1),
            ("photographs", 0, 1),
        ):
            if not low <= getattr(self, name) <= high:
                raise InputError(f"{name} is {getattr(self, name)}", expected=f"{low} to {high}")
        for name, known in (("split", get_args(Split)), ("theme", get_args(Theme))):
            if getattr(self, name) not in known:
                raise InputError(f"{name} is {getattr(self, name)!r}", expected=f"one of {', '.join(known)}")

    @property
    def duration_s(self) -> float:
        return self.num_frames / self.frame_rate


@dataclass(frozen=True, slots=True)
class Phase:
    """One thing that an object does, start_s <= t <= end_s."""

    action: Action
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class ObjectTruth:
    """What is true of one object. Formulas and words: docs/world.md.

    `number` is its value in `labels_THW`. `colours` holds the main one first, at most two. `actions` follow
    each other and cover its visible life, `start_s` to `end_s`. `turn` is of the whole visible path,
    positive to the left, as seen from above. `attributes` depend on the category.
    """

    number: int
    category: Category
    colours: tuple[str, ...]
    actions: tuple[Phase, ...]
    turn: Turn
    turn_deg: float
    start_s: float
    end_s: float
    attributes: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Relation:
    """What holds between two objects, named by their numbers, start_s <= t <= end_s."""

    kind: RelationKind
    subject: int
    object: int
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class CameraPose:
    """Where the camera is and looks at one time: metres, degrees; z is up, azimuth counter-clockwise from x.

    `elevation_deg` is how far it looks down, 90 straight down. `fov_deg` is the horizontal field of view.
    """

    x: float
    y: float
    z: float
    azimuth_deg: float
    elevation_deg: float
    roll_deg: float
    fov_deg: float


@dataclass(frozen=True, slots=True)
class CameraTruth:
    """The camera's pose in each frame. `view` says from where it looks: overhead, high, street, eye-level."""

    kind: CameraKind
    view: str
    poses: tuple[CameraPose, ...]

    @property
    def moving(self) -> bool:
        return self.kind != "fixed"


@dataclass(frozen=True, slots=True)
class RenderedClip:
    """Pictures and what is true of them.

    `frames_THWC` is RGB. `labels_THW` holds the number of the object seen at each pixel, 0 where there is
    none. `visible_TO` is the share of each object's own pixels that is seen, in the order of `objects`: 1
    when it is unoccluded and inside, 0 when it is hidden or outside. `facing_TO` is which way each object
    faces as the camera sees it, in radians: 0 to the right, a quarter turn away from it. `place` and
    `weather` say what the scene is.
    """

    seed: int
    spec: ClipSpec
    frames_THWC: NDArray[np.uint8]
    labels_THW: NDArray[np.uint8]
    visible_TO: NDArray[np.float32]
    facing_TO: NDArray[np.float32]
    times_s: tuple[float, ...]
    objects: tuple[ObjectTruth, ...]
    relations: tuple[Relation, ...]
    camera: CameraTruth
    place: str = ""
    weather: str = ""

    def find_box(self, frame: int, number: int) -> Box | None:
        """The upright box around what is seen of an object in a frame; None where nothing is seen of it."""
        mask = self.labels_THW[frame] == number
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        if len(rows) == 0:
            return None
        return Box(float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1))
