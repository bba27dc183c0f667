"""From labelled clips to what one training step sees: square frames, target masks, prompts.

Shapes: I clips, T frames, S the square picture's side, B objects (rows), G the side of the loss grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from tubelet.model.tracking.sam2.prompts import (
    LABEL_BACKGROUND,
    LABEL_CORNER_FIRST,
    LABEL_CORNER_SECOND,
    LABEL_NONE,
    LABEL_OBJECT,
)
from tubelet.model.training.track.clips import Bytes, ClipSource, LabelledClip
from tubelet.model.training.track.roughening import misplace, roughen

Floats = NDArray[np.float32]
PromptKind = Literal["box", "point", "points", "mask", "rough"]
KINDS: tuple[PromptKind, ...] = ("box", "point", "points", "mask", "rough")
_NUM_POINTS = 3


class SampleSettings(BaseModel):
    """How clips become training samples."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    image_px: int = Field(default=128, ge=64)
    clips_per_batch: int = Field(default=8, ge=1)
    num_frames: int = Field(default=1, ge=1, le=8)
    crops_per_clip: int = Field(default=2, ge=1)
    """Crops of each clip that is rendered or read: cheaper than as many clips."""
    min_crop: float = Field(default=0.35, gt=0, le=1)
    """The smallest crop, as a share of the short side: crops make objects large."""
    whole: float = Field(default=0.3, ge=0, le=1)
    """How often the whole frame is seen, squeezed into a square as the engine does."""
    max_objects: int = Field(default=5, ge=1)
    min_area_share: float = Field(default=0.004, gt=0, lt=1)
    """Of the picture; what is smaller in the first frame is not asked for."""
    prompts: dict[PromptKind, float] = {"box": 0.8, "point": 0.6, "points": 0.2}
    """How often an object is asked for in each way: for single pictures each by itself, so that an object
    may be asked for in several ways; for clips these are shares, and each object is asked for once. "mask"
    is the true mask, taken as it is; "rough" one to be set right, as the last frame's mask is in the next."""
    background_points: int = Field(default=1, ge=0)
    """Points beside every object, for which there is nothing to find, in each picture."""
    background_roughs: int = Field(default=0, ge=0)
    """Rough masks where no object is, in each picture."""
    jitter: float = Field(default=0.1, ge=0)
    """Standard deviation of a box's sides, in lengths of the box."""
    loss_scale: int = Field(default=2, ge=1, le=4)
    """How much finer than the mask grid (a quarter of the picture) masks are compared."""


@dataclass(frozen=True, slots=True)
class PromptGroup:
    """Rows of one batch that are asked for in one way, with as many points each.

    `masks_Rhw` are rough masks on the mask grid, shares of each cell from 0 to 1; None for other kinds.
    """

    kind: PromptKind
    rows: NDArray[np.int64]
    points_RP2: Floats
    labels_RP: NDArray[np.int32]
    masks_Rhw: Floats | None = None


@dataclass(frozen=True, slots=True)
class TrackBatch:
    """One training step. Rows are objects; `clip_B` says in which clip each is.

    `targets_TBGG` are shares of each cell, 0..255; an object without any is out of sight. A row that points
    at nothing has empty targets throughout. `objects_TIGG` are the shares of all objects together.
    """

    frames_ITSS3: Bytes
    clip_B: NDArray[np.int64]
    targets_TBGG: Bytes
    objects_TIGG: Bytes
    first_masks_BSS: NDArray[np.bool_]
    groups: tuple[PromptGroup, ...]


@dataclass(frozen=True, slots=True)
class TrackBatches:
    """Makes the batch of a number from a source: a pure function of source, settings, seed and number."""

    source: ClipSource
    settings: SampleSettings
    seed: int = 0

    def __call__(self, number: int) -> TrackBatch:
        settings = self.settings
        generator = np.random.default_rng((self.seed, number))
        cropped: list[LabelledClip] = []
        at = number * settings.clips_per_batch * 4
        while len(cropped) < settings.clips_per_batch:
            clip = self.source.get(self.seed * 10_000_019 + at, settings.num_frames)
            at += 1
            for _ in range(settings.crops_per_clip):
                square = crop_square(clip, settings, generator)
                if len(cropped) < settings.clips_per_batch and _choose_objects(square, settings, generator):
                    cropped.append(square)
        return make_batch(cropped, settings, generator)


def crop_square(clip: LabelledClip, settings: SampleSettings, generator: np.random.Generator) -> LabelledClip:
    """The whole frames, or a part around an object of the first, as squares; half of them mirrored."""
    height, width = clip.labels_THW.shape[1:]
    top, left, bottom, right = 0, 0, height, width
    if generator.random() >= settings.whole:
        side = generator.uniform(settings.min_crop, 1.0) * min(height, width)
        squeeze = 2 ** generator.uniform(-0.4, 0.4)
        crop_h, crop_w = min(height, round(side * squeeze)), min(width, round(side / squeeze))
        y, x = _choose_centre(clip.labels_THW[0], generator)
        top = int(np.clip(y - crop_h * generator.uniform(0.25, 0.75), 0, height - crop_h))
        left = int(np.clip(x - crop_w * generator.uniform(0.25, 0.75), 0, width - crop_w))
        bottom, right = top + crop_h, left + crop_w
    flip = -1 if generator.random() < 0.5 else 1
    frames = clip.frames_THW3[:, top:bottom, left:right][:, :, ::flip]
    labels = clip.labels_THW[:, top:bottom, left:right][:, :, ::flip]
    side = settings.image_px
    shrinks = frames.shape[1] * frames.shape[2] > side * side
    way = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return LabelledClip(
        np.stack([cv2.resize(np.ascontiguousarray(f), (side, side), interpolation=way) for f in frames]),
        np.stack(
            [
                cv2.resize(np.ascontiguousarray(f), (side, side), interpolation=cv2.INTER_NEAREST_EXACT)
                for f in labels
            ]
        ),
    )


def make_batch(
    clips: Sequence[LabelledClip], settings: SampleSettings, generator: np.random.Generator
) -> TrackBatch:
    """Choose objects and prompts in square clips."""
    rows: list[tuple[int, int, PromptKind]] = []  # clip, object (0 is none), how it is asked for
    for place, clip in enumerate(clips):
        for number in _choose_objects(clip, settings, generator):
            rows += [(place, number, kind) for kind in _choose_kinds(settings, generator)]
        if settings.num_frames == 1:
            rows += [(place, 0, "point")] * settings.background_points
            rows += [(place, 0, "rough")] * settings.background_roughs
    rows = [row for row in rows if row[1] or _find_background(clips[row[0]].labels_THW[0]).any()]
    rows.sort(key=lambda row: KINDS.index(row[2]))

    side = settings.image_px
    grid = side // 4 * settings.loss_scale
    targets_TBGG = np.zeros((settings.num_frames, len(rows), grid, grid), np.uint8)
    objects_TIGG = np.zeros((settings.num_frames, len(clips), grid, grid), np.uint8)
    for place, clip in enumerate(clips):
        for time, labels_SS in enumerate(clip.labels_THW):
            objects_TIGG[time, place] = _shrink(labels_SS > 0, grid)
    first_masks_BSS = np.zeros((len(rows), side, side), bool)
    prompts: list[list[tuple[float, float, int]]] = []
    roughs: dict[int, Floats] = {}
    for row, (place, number, kind) in enumerate(rows):
        labels_TSS = clips[place].labels_THW
        if number:
            for time, labels_SS in enumerate(labels_TSS):
                targets_TBGG[time, row] = _shrink(labels_SS == number, grid)
            first_masks_BSS[row] = labels_TSS[0] == number
            prompts.append(_ask(first_masks_BSS[row], kind, settings, generator))
            if kind == "rough":
                roughs[row] = roughen(first_masks_BSS[row], generator, side // 4)
        elif kind == "rough":
            prompts.append([(0.0, 0.0, LABEL_NONE)])
            roughs[row] = roughen(misplace(labels_TSS[0], generator), generator, side // 4)
        else:
            prompts.append([(*_pick(_find_background(labels_TSS[0]), generator), LABEL_OBJECT)])

    groups = []
    for kind in KINDS:
        chosen = [row for row, (_, _, other) in enumerate(rows) if other == kind]
        if not chosen:
            continue
        listed = np.array([prompts[row] for row in chosen], np.float32)
        groups.append(
            PromptGroup(
                kind,
                np.array(chosen),
                listed[..., :2].copy(),
                listed[..., 2].astype(np.int32),
                np.stack([roughs[row] for row in chosen]) if kind == "rough" else None,
            )
        )
    return TrackBatch(
        np.stack([clip.frames_THW3 for clip in clips]),
        np.array([place for place, _, _ in rows]),
        targets_TBGG,
        objects_TIGG,
        first_masks_BSS,
        tuple(groups),
    )


def _shrink(mask_SS: NDArray[np.bool_], grid: int) -> Bytes:
    """Shares of cells, 0..255."""
    whole = mask_SS.astype(np.uint8) * 255
    return np.asarray(cv2.resize(whole, (grid, grid), interpolation=cv2.INTER_AREA), np.uint8)


def _choose_objects(
    clip: LabelledClip, settings: SampleSettings, generator: np.random.Generator
) -> list[int]:
    numbers, areas = np.unique(clip.labels_THW[0], return_counts=True)
    least = settings.min_area_share * settings.image_px**2
    large = numbers[(numbers > 0) & (areas >= least)]
    chosen: list[int] = generator.permutation(large)[: settings.max_objects].tolist()
    return chosen


def _choose_kinds(settings: SampleSettings, generator: np.random.Generator) -> list[PromptKind]:
    names = list(settings.prompts)
    chances = np.array([settings.prompts[name] for name in names], float)
    if settings.num_frames > 1:
        return [names[int(generator.choice(len(names), p=chances / chances.sum()))]]
    chosen = [name for name, chance in zip(names, chances, strict=True) if generator.random() < chance]
    return chosen or [names[int(chances.argmax())]]


def _choose_centre(labels_HW: Bytes, generator: np.random.Generator) -> tuple[float, float]:
    """A pixel of an object, each object as likely as another; the middle where there is none."""
    numbers = np.unique(labels_HW[labels_HW > 0])
    if len(numbers) == 0:
        return labels_HW.shape[0] / 2, labels_HW.shape[1] / 2
    rows, columns = np.nonzero(labels_HW == generator.choice(numbers))
    at = int(generator.integers(len(rows)))
    return float(rows[at]), float(columns[at])


def _ask(
    mask_SS: NDArray[np.bool_], kind: PromptKind, settings: SampleSettings, generator: np.random.Generator
) -> list[tuple[float, float, int]]:
    """A prompt for a mask, as labelled points in pixels; masks have none."""
    side = settings.image_px
    if kind in ("mask", "rough"):
        return [(0.0, 0.0, LABEL_NONE)]
    if kind == "box":
        rows, columns = np.flatnonzero(mask_SS.any(1)), np.flatnonzero(mask_SS.any(0))
        x0, x1, y0, y1 = columns[0], columns[-1] + 1, rows[0], rows[-1] + 1
        noise = generator.normal(0, settings.jitter, 4).clip(-0.3, 0.3)
        dx, dy = noise[:2] * (x1 - x0), noise[2:] * (y1 - y0)
        x0, x1 = np.clip((x0 + dx[0], x1 + dx[1]), 0, side)
        y0, y1 = np.clip((y0 + dy[0], y1 + dy[1]), 0, side)
        return [(x0, y0, LABEL_CORNER_FIRST), (x1, y1, LABEL_CORNER_SECOND)]
    if kind == "point":
        return [(*_pick(mask_SS, generator), LABEL_OBJECT)]
    reach = max(3, round(0.1 * side))
    near = cv2.dilate(mask_SS.astype(np.uint8), np.ones((reach, reach), np.uint8)).astype(bool) & ~mask_SS
    num_on = int(generator.integers(1, 3)) if near.any() else _NUM_POINTS
    on = [(*_pick(mask_SS, generator), LABEL_OBJECT) for _ in range(num_on)]
    return on + [(*_pick(near, generator), LABEL_BACKGROUND) for _ in range(_NUM_POINTS - num_on)]


def _find_background(labels_SS: Bytes) -> NDArray[np.bool_]:
    """Pixels that are on no object and not at the edge of one."""
    near: NDArray[np.bool_] = cv2.dilate((labels_SS > 0).astype(np.uint8), np.ones((5, 5), np.uint8)) == 0
    return near


def _pick(mask_SS: NDArray[np.bool_], generator: np.random.Generator) -> tuple[float, float]:
    """A pixel of a mask, x and y, at a random place in it."""
    places = np.flatnonzero(mask_SS)
    y, x = divmod(int(places[int(generator.integers(len(places)))]), mask_SS.shape[1])
    return x + generator.random(), y + generator.random()
