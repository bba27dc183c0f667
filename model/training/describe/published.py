"""Training data in the format of the published data: a JSON list of conversations about masked objects.

    {"video": "clips/a.mp4",              or "image": "a.jpg"; relative to the JSON file or a given folder
     "conversations": [{"from": "human", "value": "<video>\\nWhat does <region> do?"},
                       {"from": "gpt", "value": "It turns left."}],
     "masks": [{"0": RLE, "12": [[x0, y0, x1, y1, …], …]}],
     "width": 1280, "height": 720}

`masks` holds an entry for each `<region>`, in order: by frame number a mask, as COCO RLE (compressed or not)
or as polygons, in pixels of `width` x `height`. An image's entry may be the mask itself. What is wrong is
told sample by sample; nothing is left out silently.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from pycocotools import mask as coco

from tubelet.errors import InputError, TubeletError
from tubelet.model.frame import Frame
from tubelet.model.masks import Mask
from tubelet.model.pixelrefer.config import PixelReferConfig
from tubelet.model.pixelrefer.prompts import REGION
from tubelet.model.pixelrefer.regions import Region, RegionView
from tubelet.model.training.describe.samples import (
    Conversation,
    Exchange,
    PreparedSample,
    Sample,
    choose_evenly,
    prepare_sample,
)

logger = logging.getLogger(__name__)

MAX_FRAMES = 16
PLACES = ("<video>", "<image>")
"""What the published texts put where a model would see the whole scene; Lite sees objects alone."""

ReadFrames = Callable[[Path, Sequence[int]], list[Frame]]
"""Frames of a video file by number, in rising order."""

ReadPicture = Callable[[Path], Frame]


@dataclass(frozen=True, slots=True)
class PublishedSample:
    """A sample whose form is right; its media were not opened yet."""

    number: int
    path: Path
    is_video: bool
    conversation: Conversation
    masks: tuple[Mapping[int, Any], ...]
    size: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a sample of the file was left out."""

    number: int
    reason: str


@dataclass(frozen=True, slots=True)
class PublishedData:
    """What a JSON file holds: samples that can be used, and why the others cannot."""

    samples: tuple[PublishedSample, ...]
    faults: tuple[Fault, ...]


def read_published(file: Path, media: Path | None = None) -> PublishedData:
    """Read and check a JSON file; `media` is the folder of its videos and images, else the file's own.

    Raises InputError where it is no JSON list, or where no sample can be used.
    """
    try:
        rows = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{file} cannot be read: {error}", expected="a JSON file of samples") from error
    if not isinstance(rows, list) or not rows:
        raise InputError(f"{file} holds {type(rows).__name__}", expected="a list of samples, not empty")
    samples: list[PublishedSample] = []
    faults: list[Fault] = []
    for number, row in enumerate(rows):
        try:
            samples.append(_read_sample(number, row, media or file.parent))
        except _SampleError as error:
            faults.append(Fault(number, str(error)))
    if not samples:
        raise InputError(
            f"None of the {len(rows)} samples in {file} can be used; the first: {faults[0].reason}",
            expected="samples in the published format",
            do="compare with the format in docs/training-describe.md",
        )
    return PublishedData(tuple(samples), tuple(faults))


def load_sample(sample: PublishedSample, read_frames: ReadFrames, read_picture: ReadPicture) -> Sample:
    """Open a sample's media. Raises InputError or SourceError where frames or masks do not work out."""
    regions = []
    for masks in sample.masks:
        numbers = [sorted(masks)[place] for place in choose_evenly(len(masks), MAX_FRAMES)]
        frames = read_frames(sample.path, numbers) if sample.is_video else [read_picture(sample.path)]
        views = tuple(
            RegionView(
                frame.image, _draw_mask(masks[number], sample.size, frame.image.shape[:2]), frame.time_s
            )
            for number, frame in zip(numbers, frames, strict=True)
        )
        if not any(view.mask.any() for view in views):
            raise InputError(
                f"Sample {sample.number}: an object's masks are empty", expected="pixels of the object"
            )
        regions.append(Region(views, is_video=sample.is_video))
    return Sample(tuple(regions), (sample.conversation,))


@dataclass(frozen=True)
class PublishedBatches:
    """Makes the batch of a number, epoch after epoch in a new order.

    A sample whose media fail is replaced by the one after it, and told once: see the log.
    """

    data: PublishedData
    config: PixelReferConfig
    read_frames: ReadFrames
    read_picture: ReadPicture
    batch_size: int
    seed: int = 0

    def __call__(self, number: int) -> list[PreparedSample]:
        first = number * self.batch_size
        return [self._load(place) for place in range(first, first + self.batch_size)]

    def _load(self, place: int) -> PreparedSample:
        total = len(self.data.samples)
        for step in range(total):
            epoch, within = divmod(place + step, total)
            order = np.random.default_rng([self.seed, epoch]).permutation(total)
            sample = self.data.samples[int(order[within])]
            try:
                return prepare_sample(load_sample(sample, self.read_frames, self.read_picture), self.config)
            except TubeletError as error:
                logger.warning("sample %d is left out: %s", sample.number, error)
        raise InputError("No sample's media can be read", expected="one at least", do="see the log")


class _SampleError(Exception):
    """A sample is malformed; the message says how."""


def _read_sample(number: int, row: Any, media: Path) -> PublishedSample:
    if not isinstance(row, dict):
        raise _SampleError(f"it is {type(row).__name__}; expected an object")
    is_video = "video" in row
    name = row.get("video", row.get("image"))
    if not isinstance(name, str) or not name:
        raise _SampleError('it names no media; expected "video" or "image": a path')
    path = media / name
    if not path.is_file():
        raise _SampleError(f"{path} is missing")
    size = row.get("width"), row.get("height")
    if not all(isinstance(side, int) and side > 0 for side in size):
        raise _SampleError(f"width and height are {size}; expected the frame's size in pixels")
    conversation = _read_conversation(row.get("conversations"))
    masks = _read_masks(row.get("masks"), is_video=is_video)
    num_places = sum(exchange.prompt.count(REGION) for exchange in conversation)
    if num_places != len(masks):
        raise _SampleError(f"its prompts have {num_places} times {REGION} and it has {len(masks)} masks")
    return PublishedSample(number, path, is_video, conversation, masks, (row["width"], row["height"]))


def _read_conversation(turns: Any) -> Conversation:
    if not isinstance(turns, list) or not turns or len(turns) % 2:
        raise _SampleError("conversations must be a list of human and gpt in turn")
    exchanges = []
    for human, answer in zip(turns[::2], turns[1::2], strict=True):
        for turn, speaker in ((human, "human"), (answer, "gpt")):
            if not isinstance(turn, dict) or turn.get("from") != speaker:
                raise _SampleError("conversations must go human, gpt, human, gpt")
            if not isinstance(turn.get("value"), str) or not turn["value"].strip():
                raise _SampleError(f'{speaker} says nothing; expected text in "value"')
        prompt = human["value"]
        for place in PLACES:
            prompt = prompt.replace(place, "")
        exchanges.append(Exchange(prompt.strip(), answer["value"].strip()))
    return tuple(exchanges)


def _read_masks(masks: Any, *, is_video: bool) -> tuple[Mapping[int, Any], ...]:
    if not isinstance(masks, list) or not masks:
        raise _SampleError("masks must be a list with an entry for each object")
    read = []
    for entry in masks:
        if isinstance(entry, dict) and "counts" not in entry:
            try:
                by_frame = {int(frame): mask for frame, mask in entry.items() if mask}
            except ValueError as error:
                raise _SampleError(f"a mask's frame number is no number: {error}") from error
        elif not is_video:
            by_frame = {0: entry}
        else:
            raise _SampleError("a video's mask needs frame numbers: {frame: mask}")
        if not by_frame or min(by_frame) < 0:
            raise _SampleError("an object has no masks, or one before frame 0")
        for mask in by_frame.values():
            _check_mask(mask)
        read.append(by_frame if is_video else {0: next(iter(by_frame.values()))})
    return tuple(read)


def _check_mask(mask: Any) -> None:
    if isinstance(mask, dict):
        size, counts = mask.get("size"), mask.get("counts")
        is_right = isinstance(size, list) and len(size) == 2 and isinstance(counts, (str, list))
        if not is_right:
            raise _SampleError('an RLE mask must have "size": [height, width] and "counts"')
    elif isinstance(mask, list) and mask:
        polygons = mask if isinstance(mask[0], list) else [mask]
        for polygon in polygons:
            if len(polygon) < 6 or len(polygon) % 2 or not all(isinstance(x, (int, float)) for x in polygon):
                raise _SampleError("a polygon must be a list of x, y in turn, three points at least")
    else:
        raise _SampleError(f"a mask is {type(mask).__name__}; expected RLE or polygons")


def _draw_mask(mask: Any, size: tuple[int, int], shape: tuple[int, int]) -> Mask:
    """A mask over a picture of (height, width) `shape`, from RLE or polygons over `size` (width, height)."""
    width, height = size
    if isinstance(mask, dict):
        try:
            rle = mask
            if isinstance(mask["counts"], list):
                rle = coco.frPyObjects(mask, *mask["size"])
            drawn = coco.decode(rle)
        except Exception as error:  # pycocotools raises whatever its C code meets
            raise InputError(f"A mask's RLE cannot be read: {error}", expected="COCO RLE") from error
    else:
        drawn = np.zeros((height, width), np.uint8)
        for polygon in mask if isinstance(mask[0], list) else [mask]:
            points = np.array(polygon, np.float64).reshape(-1, 2).round().astype(np.int32)
            cv2.fillPoly(drawn, [points], 1)
    if drawn.shape != shape:
        drawn = cv2.resize(drawn, (shape[1], shape[0]), interpolation=cv2.INTER_NEAREST)
    return np.asarray(drawn != 0)
