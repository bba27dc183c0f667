"""The tracker `motion`: moving things before a still scene, for fixed cameras, with no network."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from tubelet.errors import SettingsError, VideoFormatError
from tubelet.model.frame import Frame, Image
from tubelet.model.masks import encode_mask
from tubelet.model.tracking.background import estimate_background
from tubelet.model.tracking.base import TrackedFrame, TrackedObject, make_cap_warning
from tubelet.model.tracking.blobs import find_blobs, index_colours
from tubelet.model.tracking.camera import Affine, has_travelled, to_grey
from tubelet.model.tracking.flow import FlowScene
from tubelet.model.tracking.scene import LearningScene, Scene, StillScene
from tubelet.model.tracking.tracks import Sighting, Track, TrackSet
from tubelet.records import Box, CameraStep, Observation

_MIN_CONTEXT = 4
_MIN_STEADINESS = 0.4
_MAX_BLOBS = 256
_TENTATIVE_GAP_S = 0.4
_MIN_RESTING_SHARE = 0.0025


class MotionTracker:
    """Follows whatever stands out from the background.

    The background comes from the context pictures, so that things which stand still for the whole run are
    found too, and runs of one video agree. With fewer than four context pictures the background is learned
    while watching, and what stands still from the start is not seen until it moves. Where the context shows
    that the camera moves, objects are seen only while they move against the scene.

    `max_side_px` is the longest side of the pictures analysed (larger frames are shrunk), `min_area_share`
    the smallest object as a share of the picture, `confirm_s` how long an object must be seen to count
    (frames are held back a little longer than that), `max_gap_s` how long it may stay hidden. At most
    `max_num_objects` are followed at a time, the largest.
    """

    name = "motion@1"

    def __init__(
        self,
        *,
        max_side_px: int = 512,
        min_area_share: float = 0.0006,
        confirm_s: float = 0.6,
        max_gap_s: float = 1.5,
        max_num_objects: int = 64,
        num_context_frames: int = 48,
    ) -> None:
        for setting, value, low in (
            ("max_side_px", max_side_px, 16),
            ("min_area_share", min_area_share, 0),
            ("confirm_s", confirm_s, 0),
            ("max_gap_s", max_gap_s, 0),
            ("max_num_objects", max_num_objects, 1),
            ("num_context_frames", num_context_frames, 0),
        ):
            if not value >= low:
                raise SettingsError(f"{setting} is {value}", expected=f"{low} or more")
        self.num_context_frames = num_context_frames
        self._max_side_px = max_side_px
        self._min_area_share = min_area_share
        self._confirm_s = confirm_s
        self._max_gap_s = max_gap_s
        self._max_num_objects = max_num_objects

    def track(self, frames: Iterable[Frame], context: Sequence[Frame]) -> Iterator[TrackedFrame]:
        """Yield every frame with its objects; frames are held back until new objects are sure.

        Raises `VideoFormatError` when the frames do not all have one size.
        """
        run: _Run | None = None
        for frame in frames:
            if run is None:
                run = _Run(self, frame, context)
            yield from run.take(frame)
        if run is not None:
            yield from run.finish()

    def _shrink(self, picture: Image) -> Image:
        height, width = picture.shape[:2]
        scale = self._max_side_px / max(height, width)
        if scale >= 1:
            return picture
        size = max(1, round(width * scale)), max(1, round(height * scale))
        return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


@dataclass(slots=True)
class _Held:
    """A frame that waits until all tracks on it are sure or gone."""

    frame: Frame
    camera: CameraStep
    sightings: list[tuple[Track, Observation]]


class _Run:
    """The state of one call of `track`."""

    def __init__(self, tracker: MotionTracker, first: Frame, context: Sequence[Frame]) -> None:
        self._tracker = tracker
        self._shape = first.image.shape
        self._source = first.source_width, first.source_height
        self._scene = _choose_scene([self._prepare(frame) for frame in context])
        self._tracks = TrackSet(
            max_num=tracker._max_num_objects,
            max_gap_s=tracker._max_gap_s,
            tentative_gap_s=_TENTATIVE_GAP_S,
        )
        self._held: deque[_Held] = deque()
        self._time_s = first.time_s
        self._num_confirmed = 0
        self._has_warned = False

    def _prepare(self, frame: Frame) -> Image:
        if frame.image.shape != self._shape or (frame.source_width, frame.source_height) != self._source:
            height, width = frame.image.shape[:2]
            raise VideoFormatError(
                f"The frame at {frame.time_s:.3f} s is {width} x {height} pixels",
                expected=f"{self._shape[1]} x {self._shape[0]} pixels, as in the first frame of the run",
                do="split the video where its size changes",
            )
        return self._tracker._shrink(frame.image)

    def take(self, frame: Frame) -> Iterator[TrackedFrame]:
        picture = self._prepare(frame)
        step_s = frame.time_s - self._time_s
        self._time_s = frame.time_s
        height, width = picture.shape[:2]
        sight = self._scene.look(picture, step_s)
        colours = index_colours(sight.even)
        min_area = max(4.0, 0.5 * self._tracker._min_area_share * height * width)
        blobs = find_blobs(sight.foreground, colours, min_area, _MAX_BLOBS)
        sightings = self._tracks.follow(blobs, colours, sight.step, frame.time_s, step_s)
        scale = np.array([frame.source_width / width, frame.source_height / height])
        self._held.append(
            _Held(
                frame,
                CameraStep(frame.time_s, _scale_step(sight.step, scale)),
                [(s.track, _observe(s, frame.time_s, scale, height, width)) for s in sightings],
            )
        )
        self._confirm(height * width)
        yield from self._release(frame.time_s - self._tracker._confirm_s - _TENTATIVE_GAP_S)

    def finish(self) -> Iterator[TrackedFrame]:
        """Give back what is still held; objects that are not sure by now are left out."""
        yield from self._release(float("inf"))

    def _confirm(self, num_pixels: int) -> None:
        """Number the tracks that were seen for long enough, and that are large or have moved."""
        for track in self._tracks.tracks:
            if track.number is not None or track.seen_s - track.born_s < self._tracker._confirm_s:
                continue
            share = track.area / num_pixels
            if share >= (self._tracker._min_area_share if track.has_moved else _MIN_RESTING_SHARE):
                track.number = self._num_confirmed
                self._num_confirmed += 1

    def _release(self, until_s: float) -> Iterator[TrackedFrame]:
        """Give back the frames on which nothing is open any more, and all up to `until_s`."""
        while self._held:
            held = self._held[0]
            is_open = any(track.number is None and not track.ended for track, _ in held.sightings)
            if is_open and held.frame.time_s > until_s:
                return
            self._held.popleft()
            objects = tuple(
                TrackedObject(track.number, observation)
                for track, observation in held.sightings
                if track.number is not None
            )
            yield TrackedFrame(held.frame, objects, held.camera, warnings=self._warn_of_cap())

    def _warn_of_cap(self) -> tuple[str, ...]:
        """Say once that there were more objects than may be followed."""
        if self._has_warned or not self._tracks.was_full:
            return ()
        self._has_warned = True
        return (make_cap_warning(self._tracker._max_num_objects),)


def _choose_scene(context: Sequence[Image]) -> Scene:
    if len(context) < _MIN_CONTEXT:
        return LearningScene()
    background = estimate_background(context)
    if background.steadiness < _MIN_STEADINESS or has_travelled([to_grey(picture) for picture in context]):
        return FlowScene()  # plain ground looks steady before any camera
    return StillScene(background)


def _observe(sighting: Sighting, time_s: float, scale: np.ndarray, height: int, width: int) -> Observation:
    x0, y0, x1, y1 = (float(v) for v in sighting.patch.box * np.tile(scale, 2))
    mask = encode_mask(sighting.patch.draw(height, width))
    return Observation(time_s, Box(x0, y0, x1, y1), min(1.0, max(0.0, sighting.score)), mask)


def _scale_step(step: Affine, scale: np.ndarray) -> tuple[float, float, float, float, float, float]:
    """A camera step between analysed pictures as one between source frames."""
    (a, b, c), (d, e, f) = step.tolist()
    ratio = float(scale[0] / scale[1])
    return a, b * ratio, c * float(scale[0]), d / ratio, e, f * float(scale[1])
