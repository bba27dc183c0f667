"""Pictures of tracked objects, kept while the frame is at hand so that describing needs no video.

Time is cut into slots on one grid for the whole video; of each object the best view of each slot is kept,
which bounds what a chunk holds whatever the frame rate.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from tubelet.model.describing.base import ObjectView
from tubelet.model.frame import Frame, Image
from tubelet.model.masks import Mask, decode_mask, encode_mask
from tubelet.model.recognising.base import Crop
from tubelet.model.tracking.base import TrackedFrame
from tubelet.records import Box, Chunk, Observation, View

SLOT_S = 0.5
CROP_PADDING_PX = 28  # two patches a side: what PixelRefer crops around an object
MAX_CROP_PX = 384
SCENE_PX = 384
JPEG_QUALITY = 92
MIN_WEIGHT = 1e-3
"""Of a view without any quality, as one that was cut by hand."""


class ViewCollector:
    """Keeps the best view of every object and slot within a chunk's own window."""

    def __init__(self, chunk: Chunk) -> None:
        self._chunk = chunk
        self._best: dict[tuple[int, int], View] = {}

    def add(self, tracked: TrackedFrame) -> None:
        """Look at every object of a frame; frames of the margins belong to the neighbours."""
        frame = tracked.frame
        if not self._chunk.start_s <= frame.time_s < self._chunk.end_s:
            return
        slot = math.floor(frame.time_s / SLOT_S)
        scene = b""
        for item in tracked.objects:
            quality = _rate(item.observation, frame)
            best = self._best.get((item.number, slot))
            if best is not None and best.quality >= quality:
                continue
            scene = scene or encode_picture(_shrink(frame.image, SCENE_PX))
            view = cut_view(frame, item.observation, quality=quality, scene=scene)
            if view is not None:
                self._best[item.number, slot] = view

    def views_of(self, number: int) -> list[View]:
        """The views of one object in time order."""
        return [view for (owner, _), view in sorted(self._best.items()) if owner == number]


def cut_view(
    frame: Frame, observation: Observation, *, quality: float = 0.0, scene: bytes = b""
) -> View | None:
    """The padded crop of an object with its mask over it; None where no pixel of it is inside the frame."""
    crop = _padded_crop(frame, observation.box)
    left, top, right, bottom = crop
    if right <= left or bottom <= top:
        return None
    picture = frame.image[top:bottom, left:right]
    picture = _shrink(picture, MAX_CROP_PX)
    height, width = picture.shape[:2]
    if observation.mask is None:
        mask = _resize_mask(_draw_box_mask(frame, observation.box, crop), width, height)
    else:
        whole = _resize_mask(decode_mask(observation.mask), frame.image.shape[1], frame.image.shape[0])
        mask = _resize_mask(whole[top:bottom, left:right], width, height)
    if not mask.any():
        return None
    return View(
        time_s=frame.time_s,
        box=observation.box,
        crop=Box(left * frame.scale_x, top * frame.scale_y, right * frame.scale_x, bottom * frame.scale_y),
        image=encode_picture(picture),
        mask=encode_mask(mask),
        quality=quality,
        scene=scene,
    )


def decode_view(view: View, frame_size: tuple[int, int]) -> ObjectView:
    """The view with pixels, as captioners take it; `frame_size` is the source frame's width and height."""
    return ObjectView(
        time_s=view.time_s,
        image=decode_picture(view.image),
        mask=decode_mask(view.mask),
        crop=view.crop,
        scene=decode_picture(view.scene) if view.scene else None,
        frame_size=frame_size,
    )


def make_crop(view: View) -> Crop:
    """The view as recognisers take it: its box in pixels of its picture, weighted by its quality."""
    image = decode_picture(view.image)
    scale_x, scale_y = image.shape[1] / view.crop.width, image.shape[0] / view.crop.height
    box = Box(
        (view.box.x0 - view.crop.x0) * scale_x,
        (view.box.y0 - view.crop.y0) * scale_y,
        (view.box.x1 - view.crop.x0) * scale_x,
        (view.box.y1 - view.crop.y0) * scale_y,
    )
    return Crop(image, decode_mask(view.mask), box, weight=max(view.quality, MIN_WEIGHT))


def decode_picture(encoded: bytes) -> Image:
    """An encoded picture as (height, width, 3) RGB."""
    picture = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None, "a view holds a picture that we encoded ourselves"
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB).astype(np.uint8)


def encode_picture(image: Image) -> bytes:
    """Encode (height, width, 3) RGB as JPEG."""
    options = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    done, encoded = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)
    assert done, "OpenCV encodes any picture that has pixels"
    return encoded.tobytes()


def _rate(observation: Observation, frame: Frame) -> float:
    """Larger, more certain and wholly inside the frame is better; called often, so cheap."""
    box = observation.box
    touches_edge = (
        box.x0 <= 1 or box.y0 <= 1 or box.x1 >= frame.source_width - 1 or box.y1 >= frame.source_height - 1
    )
    return math.sqrt(max(box.area, 0.0)) * observation.score * (0.5 if touches_edge else 1.0)


def _padded_crop(frame: Frame, box: Box) -> tuple[int, int, int, int]:
    height, width = frame.image.shape[:2]
    return (
        max(0, math.floor(box.x0 / frame.scale_x) - CROP_PADDING_PX),
        max(0, math.floor(box.y0 / frame.scale_y) - CROP_PADDING_PX),
        min(width, math.ceil(box.x1 / frame.scale_x) + CROP_PADDING_PX),
        min(height, math.ceil(box.y1 / frame.scale_y) + CROP_PADDING_PX),
    )


def _draw_box_mask(frame: Frame, box: Box, crop: tuple[int, int, int, int]) -> Mask:
    left, top, right, bottom = crop
    mask = np.zeros((bottom - top, right - left), bool)
    x0, x1 = round(box.x0 / frame.scale_x) - left, round(box.x1 / frame.scale_x) - left
    y0, y1 = round(box.y0 / frame.scale_y) - top, round(box.y1 / frame.scale_y) - top
    mask[max(0, y0) : max(y1, y0 + 1), max(0, x0) : max(x1, x0 + 1)] = True
    return mask


def _resize_mask(mask: Mask, width: int, height: int) -> Mask:
    if mask.shape == (height, width):
        return mask
    resized = cv2.resize(mask.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)
    return resized.astype(bool)


def _shrink(image: Image, longest_px: int) -> Image:
    height, width = image.shape[:2]
    scale = longest_px / max(height, width)
    if scale >= 1:
        return image
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.uint8)
