"""The frozen records that cross a stage, a queue or a process.

Times are seconds from the start of the video. Boxes are pixels of the upright source frame. Masks travel
as COCO run-length encoding (RLE), pictures as encoded bytes, vectors as tuples of floats: a record never
holds a tensor or a raw mask. Records check themselves when they are made.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Literal, NamedTuple

Side = Literal["left", "right", "top", "bottom"]
Turn = Literal["left", "right", "u", "none"]
CaptionSource = Literal["model", "measured"]
Heading = Literal["right", "up-right", "up", "up-left", "left", "down-left", "down", "down-right", "none"]


class Box(NamedTuple):
    """A rectangle, x0 <= x1 and y0 <= y1, in pixels of the upright source frame; x1 and y1 are exclusive."""

    x0: float
    y0: float
    x1: float
    y1: float

    @property
    def width(self) -> float:
        return self.x1 - self.x0

    @property
    def height(self) -> float:
        return self.y1 - self.y0

    @property
    def area(self) -> float:
        return self.width * self.height

    @property
    def centre(self) -> tuple[float, float]:
        return (self.x0 + self.x1) / 2, (self.y0 + self.y1) / 2

    def iou(self, other: Box) -> float:
        """Intersection over union, 0..1; 0 when both are empty."""
        width = min(self.x1, other.x1) - max(self.x0, other.x0)
        height = min(self.y1, other.y1) - max(self.y0, other.y0)
        if width <= 0 or height <= 0:
            return 0.0
        both = width * height
        return both / (self.area + other.area - both)


@dataclass(frozen=True, slots=True)
class Rle:
    """A binary mask in COCO's compressed run-length encoding, over a grid of height x width cells.

    The grid covers the picture it belongs to (a whole frame, or a view's crop) and may be coarser than it.
    """

    height: int
    width: int
    counts: bytes

    def __post_init__(self) -> None:
        if self.height < 1 or self.width < 1:
            raise ValueError(f"mask grid is {self.height} x {self.width}; both must be at least 1")


@dataclass(frozen=True, slots=True)
class Source:
    """One video file that was found, not yet opened.

    `identity` names its content: `etag:SIZE:ETAG` for S3 objects, `blake2b:HEX` for files.
    """

    uri: str
    identity: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Video:
    """A source that was opened. Width and height are those of the upright frame, after `rotation_deg`.

    `frame_rate` is the average over the file, `nominal_frame_rate` the smallest constant rate that holds
    all its timestamps (ffmpeg calls it the real base frame rate).
    """

    video_id: str
    uri: str
    identity: str
    duration_s: float
    frame_rate: float
    nominal_frame_rate: float
    num_frames: int
    width: int
    height: int
    rotation_deg: int
    codec: str
    variable_frame_rate: bool
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not (math.isfinite(self.duration_s) and self.duration_s > 0):
            raise ValueError(f"duration_s is {self.duration_s}; it must be positive")
        if self.width < 1 or self.height < 1:
            raise ValueError(f"frame is {self.width} x {self.height}; both must be at least 1")


@dataclass(frozen=True, slots=True)
class Chunk:
    """A time window of a video: the unit of work, retry and resume.

    The chunk answers for start_s <= t < end_s; it reads read_start_s <= t < read_end_s, which overlaps
    its neighbours so that tracklets can be joined.
    """

    chunk_id: str
    video_id: str
    index: int
    start_s: float
    end_s: float
    read_start_s: float
    read_end_s: float

    def __post_init__(self) -> None:
        if not self.read_start_s <= self.start_s < self.end_s <= self.read_end_s:
            raise ValueError(f"chunk window is out of order: {self}")


@dataclass(frozen=True, slots=True)
class Observation:
    """One object in one frame. `score` is the tracker's confidence, 0..1."""

    time_s: float
    box: Box
    score: float
    mask: Rle | None = None


@dataclass(frozen=True, slots=True)
class CameraStep:
    """How the camera moved since the previous sampled frame.

    `matrix` is (a, b, c, d, e, f): a point (x, y) of the still scene at the previous sample is now seen at
    (a*x + b*y + c, d*x + e*y + f), in source pixels.
    """

    time_s: float
    matrix: tuple[float, float, float, float, float, float]


@dataclass(frozen=True, slots=True)
class View:
    """A picture of one object kept as evidence: what captions and thumbnails are made from.

    `image` is a crop, JPEG, covering `crop` of the source frame; `mask` is
    the object over the crop's grid. `scene` is the whole frame, small, or empty. `quality` ranks views of
    one object (larger, sharper, whole): it has no unit.
    """

    time_s: float
    box: Box
    crop: Box
    image: bytes
    mask: Rle
    quality: float
    scene: bytes = b""


@dataclass(frozen=True, slots=True)
class Tracklet:
    """An object inside one chunk: observations in time order, and a vector of how it looks."""

    tracklet_id: str
    chunk_index: int
    observations: tuple[Observation, ...]
    appearance: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        times = [observation.time_s for observation in self.observations]
        if not times or any(a >= b for a, b in pairwise(times)):
            raise ValueError(f"tracklet {self.tracklet_id} needs observations in rising time order")

    @property
    def start_s(self) -> float:
        return self.observations[0].time_s

    @property
    def end_s(self) -> float:
        return self.observations[-1].time_s


@dataclass(frozen=True, slots=True)
class Tubelet:
    """An object through the whole video: tracklets joined across chunks."""

    object_id: str
    video_id: str
    observations: tuple[Observation, ...]
    tracklet_ids: tuple[str, ...]

    @property
    def start_s(self) -> float:
        return self.observations[0].time_s

    @property
    def end_s(self) -> float:
        return self.observations[-1].time_s


@dataclass(frozen=True, slots=True)
class Motion:
    """How an object moved, from its path alone, camera motion removed. Formulas: docs/motion.md.

    `heading_deg` is counter-clockwise on screen, 0 = right, 90 = up, None while stopped. `speed` is in own
    lengths (square root of the box area) a second. `turn_deg` is the heading's change on the ground, as seen
    from above, positive to the left.
    """

    heading: Heading
    heading_deg: float | None
    speed: float
    turn: Turn
    turn_deg: float
    stopped: bool
    approaching: bool
    leaving: bool
    entry_side: Side | None = None
    exit_side: Side | None = None


@dataclass(frozen=True, slots=True)
class Attributes:
    """What was measured on an object's pixels.

    `colours` are basic colour names, the main one first (at most two); `colour_shares` are their
    shares of the mask, 0..1. `size` is by mean area over the frame. `category` is what the object was
    recognised as, empty when nobody knows, and `category_score` its probability, 0..1; `kinds` name it more
    exactly, such as a breed, the surest first.
    """

    colours: tuple[str, ...]
    colour_shares: tuple[float, ...]
    size: Literal["tiny", "small", "medium", "large"]
    category: str = ""
    category_score: float = 0.0
    kinds: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(self.colours) != len(self.colour_shares):
            raise ValueError("colours and colour_shares must pair up")


@dataclass(frozen=True, slots=True)
class Likelihoods:
    """What an object may be, in the words of a captioner that knows its like from training.

    `colours` are main colours, `ways` are how it moves: a turn ("none" for straight on) or "still". Each has
    its probability beside it, 0..1, the likeliest first; the least likely are left out. Empty where nobody
    knows.
    """

    colours: tuple[str, ...] = ()
    colour_scores: tuple[float, ...] = ()
    ways: tuple[str, ...] = ()
    way_scores: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if len(self.colours) != len(self.colour_scores) or len(self.ways) != len(self.way_scores):
            raise ValueError("names and scores must pair up")


class PathPoint(NamedTuple):
    """One step of an object's path: seconds, then its box."""

    t: float
    x0: float
    y0: float
    x1: float
    y1: float


@dataclass(frozen=True, slots=True)
class Moment:
    """A stretch of a tubelet with one description and one motion: the unit of search.

    `caption` is the sentence that is shown, and `caption_source` who said it: the captioner's network, or
    what was measured. `model_caption` is what the network said, whichever is shown, with its own
    `model_confidence`, 0..1; it is empty where no network was asked. `likely` is what else the object may be.
    """

    moment_id: str
    object_id: str
    video_id: str
    uri: str
    start_s: float
    end_s: float
    caption: str
    attributes: Attributes
    motion: Motion
    path: tuple[PathPoint, ...]
    mean_area: float
    score: float
    thumbnail: bytes = b""
    text_vector: tuple[float, ...] = ()
    object_vector: tuple[float, ...] = ()
    caption_source: CaptionSource = "measured"
    model_caption: str = ""
    model_confidence: float = 0.0
    likely: Likelihoods = Likelihoods()

    def __post_init__(self) -> None:
        if self.end_s < self.start_s or not self.path:
            raise ValueError(f"moment {self.moment_id} needs a path and end_s >= start_s")


@dataclass(frozen=True, slots=True)
class IndexedObject:
    """A tubelet as the index keeps it: the whole path and what was measured over all of it."""

    object_id: str
    video_id: str
    uri: str
    start_s: float
    end_s: float
    attributes: Attributes
    motion: Motion
    path: tuple[PathPoint, ...]
    score: float
    thumbnail: bytes = b""


@dataclass(frozen=True, slots=True)
class ModelNames:
    """Which models made a row, as `name@version`; `recogniser` is empty where none was asked."""

    tracker: str
    captioner: str
    embedder: str
    recogniser: str = ""


@dataclass(frozen=True, slots=True)
class HitStep:
    """The moment in which an object did one of the things that were asked for in order."""

    moment_id: str
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class HitRelation:
    """How well a hit stands in a relation that was asked for, 0..1, and to which other object, if any."""

    kind: str
    value: float
    object_id: str = ""


@dataclass(frozen=True, slots=True)
class Hit:
    """One answer to a search, best first. `box` is the object's box in the middle of the moment.

    `why` says in words what matched; `score` is 0..1. `caption_source` is as in `Moment`. Where an order was
    asked, `steps` are its moments, `moment_id` is the first of them, and the times reach over all. `verified`
    is the probability that the describing model gave the hit, where it was asked.
    """

    object_id: str
    moment_id: str
    video_id: str
    uri: str
    start_s: float
    end_s: float
    score: float
    caption: str
    attributes: Attributes
    motion: Motion
    box: Box
    why: tuple[str, ...]
    thumbnail: bytes = field(default=b"", repr=False)
    caption_source: CaptionSource = "measured"
    steps: tuple[HitStep, ...] = ()
    relations: tuple[HitRelation, ...] = ()
    verified: float | None = None


@dataclass(frozen=True, slots=True)
class SearchResult:
    """A search's answer: the sentence, what was understood of it, and the hits, best first.

    `next_cursor` asks for the next page, and is empty on the last. `notes` say where less was done than was
    asked for.
    """

    query: str
    parsed: Mapping[str, Any]
    hits: tuple[Hit, ...]
    next_cursor: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class VideoReport:
    """What became of one source of a batch. `reason` says why it was skipped or failed."""

    uri: str
    state: Literal["indexed", "skipped", "failed"]
    video_id: str = ""
    duration_s: float = 0.0
    num_objects: int = 0
    num_moments: int = 0
    warnings: tuple[str, ...] = ()
    reason: str = ""


@dataclass(frozen=True, slots=True)
class IndexReport:
    """What became of every source of a batch, in the order they ended.

    `deleted` are sources that the index holds, below folders, prefixes and globs of the batch, and that are
    no longer there.
    """

    videos: tuple[VideoReport, ...]
    deleted: tuple[str, ...] = ()

    @property
    def failed(self) -> tuple[VideoReport, ...]:
        return tuple(video for video in self.videos if video.state == "failed")

    def count(self, state: Literal["indexed", "skipped", "failed"]) -> int:
        """How many sources ended in `state`."""
        return sum(video.state == state for video in self.videos)
