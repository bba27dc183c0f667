"""Teach an outliner: pictures, masks of their objects as trackers have them, and the true masks.

What it is shown is what it will be asked to set right: masks that the decoder has for boxes, points and rough
masks, rough ones such as the flow leaves, and objects together with a neighbour. Which object is meant is the
one that a mask agrees with best, or of which it is a part.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from tubelet.errors import InputError
from tubelet.model.masks import box_around
from tubelet.model.tracking.sam2.flow_session import FlowSession
from tubelet.model.tracking.sam2.masks import measure_iou, share_pixels
from tubelet.model.tracking.sam2.network import Sam2Network
from tubelet.model.tracking.sam2.outlining import (
    OUTLINER_FILE,
    Crops,
    MaskOutliner,
    crop_each,
    find_windows,
    see_crops,
    see_picture,
    write_outliner,
)
from tubelet.model.tracking.sam2.prompts import BoxPrompt
from tubelet.model.training.descent import descend
from tubelet.model.training.track.clips import Bytes, ClipSource
from tubelet.model.training.track.roughening import roughen
from tubelet.model.training.track.sampled_masks import list_objects, unite_neighbours
from tubelet.records import Box

logger = logging.getLogger(__name__)

_LOG_EVERY = 250
_SURE = 1e-3
"""Rough masks are asked about with shares this far from 0 and 1."""
_LIES_ON = 0.25
_IS_PART, _MIN_PART = 0.8, 0.1
"""How much of a mask has to lie in an object for it to be a part of that, and how much of it at least."""
_MAX_BOX_SHIFT = 0.35
_WINDOW_SHIFT = 0.04
_GAIN, _OFFSET = 0.1, 0.1
"""Spread of what the colours of crops are multiplied by, and of what is added to them."""
_EDGE_WEIGHT = 2.0
"""How much cross entropy counts beside dice."""


class OutlinerSettings(BaseModel):
    """What an outliner is shown, and how it is taught."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seed: int = 0
    num_pictures: int = Field(default=7000, ge=1)
    min_scale: float = Field(default=0.55, gt=0, le=1)
    """Pictures are made smaller by up to this: things a few pixels wide look otherwise."""
    num_each: int = Field(default=4, ge=1)
    """Masks of each object. A crop of one takes 54 kB of memory."""
    min_object_share: float = Field(default=0.003, ge=0, lt=1)
    min_mask_share: float = Field(default=0.0015, ge=0, lt=1)
    max_mask_share: float = Field(default=0.5, gt=0, le=1)
    box_jitter: float = Field(default=0.12, ge=0)
    """Standard deviation of a box's sides, in lengths of the box."""
    steps: int = Field(default=8000, ge=1)
    batch: int = Field(default=32, ge=1)
    widths: tuple[int, int, int] = (48, 64, 96)
    learning_rate: float = Field(default=3e-3, gt=0)
    weight_decay: float = Field(default=0.02, ge=0)


@dataclass(frozen=True, slots=True)
class LabelledCrops:
    """What the network is shown of masks, packed, and how much of each cell the objects cover, 0..255,
    (B, CELLS, CELLS)."""

    crops: Crops
    target_Bnn: Tensor

    def unpack(self, rows: Sequence[int]) -> tuple[Crops, Tensor]:
        """Some crops as the network takes them, and their targets, 0..1."""
        picture, mask, inside, middle, coarse = (maps[rows].float() for maps in self.crops)
        picture = torch.where(inside > 0, picture / 127.5 - 1, 0.0)
        crops = Crops(picture, mask / 127.5 - 1, inside / 255, middle, coarse)
        return crops, self.target_Bnn[rows].float() / 255


def train_outliner(
    network: Sam2Network, source: ClipSource, settings: OutlinerSettings, folder: Path
) -> None:
    """Teach an outliner for the features of this network, and write it into the checkpoint's folder."""
    crops = gather_crops(network, source, settings, range(settings.num_pictures))
    write_outliner(folder / OUTLINER_FILE, fit_outliner(crops, settings))


def gather_crops(
    network: Sam2Network, source: ClipSource, settings: OutlinerSettings, numbers: Sequence[int]
) -> LabelledCrops:
    """Masks of the pictures of these numbers. What comes of a number does not depend on the others.

    Raises InputError where no picture has an object.
    """
    parts: list[LabelledCrops] = []
    for count, number in enumerate(numbers, 1):
        generator = np.random.default_rng((settings.seed, 29, number))
        clip = source.get(settings.seed * 10_000_019 + number, 1)
        image, labels_HW = _shrink(clip.frames_THW3[0], clip.labels_THW[0], settings, generator)
        if list_objects(labels_HW, settings.min_object_share):
            parts += _gather(network, image, labels_HW, settings, generator)
        if count % _LOG_EVERY == 0:
            logger.info("Crops of %d pictures of %d", count, len(numbers))
    if not parts:
        raise InputError(
            f"None of {len(numbers)} pictures has an object to outline",
            expected=f"objects that cover {settings.min_object_share} of a picture",
            do="give other data, or more pictures (`num_pictures`)",
        )
    return join_crops(parts)


def join_crops(parts: Sequence[LabelledCrops]) -> LabelledCrops:
    """All crops as one."""
    return LabelledCrops(
        Crops(*(torch.cat(maps) for maps in zip(*(part.crops for part in parts), strict=True))),
        torch.cat([part.target_Bnn for part in parts]),
    )


def fit_outliner(crops: LabelledCrops, settings: OutlinerSettings) -> MaskOutliner:
    """An outliner that was shown these crops and their mirror images, in an order that the seed decides."""
    torch.manual_seed(settings.seed)
    channels = crops.crops.middle.shape[1], crops.crops.coarse.shape[1]
    outliner = MaskOutliner(*channels, widths=settings.widths)
    weights = [parameter for parameter in outliner.parameters() if parameter.ndim > 1]
    others = [parameter for parameter in outliner.parameters() if parameter.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [
            {"params": weights, "weight_decay": settings.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ],
        lr=settings.learning_rate,
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, settings.learning_rate, total_steps=settings.steps, pct_start=0.05
    )

    def measure_some() -> Tensor:
        rows = torch.randint(len(crops.target_Bnn), (settings.batch,)).tolist()
        seen, target_Bnn = vary(*crops.unpack(rows))
        return measure_loss(outliner(seen), target_Bnn, seen.inside[:, 0])

    descend(measure_some, optimizer, schedule, num_steps=settings.steps, name="outliner", max_norm=1.0)
    return outliner.eval()


def vary(crops: Crops, target_Bnn: Tensor) -> tuple[Crops, Tensor]:
    """Crops in other light, and half of the times mirrored."""
    picture = crops.picture
    gain = (torch.randn(len(picture), 3, 1, 1) * _GAIN).exp()
    offset = torch.randn(len(picture), 1, 1, 1) * _OFFSET
    crops = crops._replace(picture=(picture * gain + offset) * crops.inside)
    if torch.rand(()) < 0.5:
        return Crops(*(maps.flip(-1) for maps in crops)), target_Bnn.flip(-1)
    return crops, target_Bnn


def measure_loss(logits_Bnn: Tensor, target_Bnn: Tensor, inside_Bnn: Tensor) -> Tensor:
    """Cross entropy of the cells in the picture, and dice (Milletari et al., 2016) of each mask."""
    entropy_Bnn = F.binary_cross_entropy_with_logits(logits_Bnn, target_Bnn, reduction="none")
    entropy_B = _sum(entropy_Bnn * inside_Bnn) / _sum(inside_Bnn).clamp(min=1)
    share_Bnn = logits_Bnn.sigmoid() * inside_Bnn
    both_B = _sum(share_Bnn * target_Bnn)
    dice_B = 1 - (2 * both_B + 1) / (_sum(share_Bnn) + _sum(target_Bnn * inside_Bnn) + 1)
    return (_EDGE_WEIGHT * entropy_B + dice_B).mean()


def _sum(maps_Bnn: Tensor) -> Tensor:
    return maps_Bnn.flatten(1).sum(1)


def _shrink(
    image: Bytes, labels_HW: Bytes, settings: OutlinerSettings, generator: np.random.Generator
) -> tuple[Bytes, Bytes]:
    """The picture and its labels at a size that is drawn."""
    scale = float(generator.uniform(settings.min_scale, 1.0))
    height, width = (max(16, round(side * scale)) for side in labels_HW.shape)
    small = cv2.resize(np.ascontiguousarray(image), (width, height), interpolation=cv2.INTER_AREA)
    small_HW = cv2.resize(labels_HW, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
    return np.asarray(small, np.uint8), np.asarray(small_HW, np.uint8)


@torch.inference_mode()
def _gather(
    network: Sam2Network,
    image: Bytes,
    labels_HW: Bytes,
    settings: OutlinerSettings,
    generator: np.random.Generator,
) -> list[LabelledCrops]:
    """Masks of one picture that has objects, each with what its window shows; nothing where none is fit."""
    session = FlowSession(network)
    session.advance(image)
    numbers = list_objects(labels_HW, settings.min_object_share)
    side = len(session.make_blank())
    square_SS = cv2.resize(labels_HW, (side, side), interpolation=cv2.INTER_NEAREST_EXACT)
    truth_Ohw = torch.stack([torch.from_numpy(square_SS == number) for number in numbers])
    masks_Bhw = _list_masks(session, labels_HW, numbers, truth_Ohw, settings, generator)
    owners_B = _find_owners(masks_Bhw, truth_Ohw, settings)
    rows: list[int] = []
    for owner in range(len(numbers)):
        own = np.flatnonzero((owners_B == owner).numpy())
        rows += generator.permutation(own)[: settings.num_each].tolist()
    if not rows:
        return []
    masks_Bhw, size = masks_Bhw[rows], (image.shape[0], image.shape[1])
    windows_B4 = find_windows(masks_Bhw, size)
    shift_B2 = torch.from_numpy(generator.normal(0, _WINDOW_SHIFT, (len(rows), 2))).float()
    windows_B4 = windows_B4 + ((windows_B4[:, 2:] - windows_B4[:, :2]) * shift_B2).repeat(1, 2)
    owned_BHW = torch.zeros(len(rows), *size)
    for at, row in enumerate(rows):
        owned_BHW[at] = torch.from_numpy(labels_HW == numbers[int(owners_B[row])])
    seen = see_crops(session.view.features, see_picture(image), masks_Bhw, windows_B4)
    packed = Crops(
        _as_bytes((seen.picture + 1) / 2),
        _as_bytes((seen.mask + 1) / 2),
        _as_bytes(seen.inside),
        seen.middle.half(),
        seen.coarse.half(),
    )
    return [LabelledCrops(packed, _as_bytes(crop_each(owned_BHW, windows_B4)))]


def _as_bytes(shares: Tensor) -> Tensor:
    return (shares * 255).round().clamp(0, 255).byte()


def _list_masks(
    session: FlowSession,
    labels_HW: Bytes,
    numbers: Sequence[int],
    truth_Ohw: Tensor,
    settings: OutlinerSettings,
    generator: np.random.Generator,
) -> Tensor:
    """Masks as trackers have them, boolean, on the session's grid."""
    boxes: list[Box] = []
    points: list[tuple[float, float]] = []
    roughs: list[NDArray[np.float32]] = []
    for number, true_hw in zip(numbers, truth_Ohw.numpy(), strict=True):
        mask_HW = labels_HW == number
        for _ in range(2):
            boxes += _shift_box(mask_HW, settings.box_jitter, generator)
            row, column = divmod(int(generator.choice(np.flatnonzero(mask_HW))), mask_HW.shape[1])
            points.append((column + 0.5, row + 0.5))
        roughs += [roughen(true_hw, generator, true_hw.shape[0]) for _ in range(3)]
    rough_Bhw = torch.from_numpy(np.stack(roughs))
    asked_Bhw = rough_Bhw[::3].clamp(_SURE, 1 - _SURE).logit()
    by_point_BKhw = session.look_at_points(torch.tensor(points)).logits_BKhw
    return torch.cat(
        [
            session.look([BoxPrompt(box) for box in boxes]).binary_Bhw,
            session.fit_masks(by_point_BKhw.flatten(0, 1)) > 0,
            rough_Bhw >= 0.5,
            session.look_at_masks(asked_Bhw) > 0,
            unite_neighbours(truth_Ohw),
        ]
    )


def _shift_box(mask_HW: NDArray[np.bool_], jitter: float, generator: np.random.Generator) -> list[Box]:
    """The box of a mask with each side moved, if that leaves one."""
    box, (height, width) = box_around(mask_HW), mask_HW.shape
    assert box is not None, "objects have pixels"
    left, top, right, bottom = generator.normal(0, jitter, 4).clip(-_MAX_BOX_SHIFT, _MAX_BOX_SHIFT)
    wide, high = box.x1 - box.x0, box.y1 - box.y0
    x0, x1 = (float(np.clip(x, 0, width)) for x in (box.x0 + left * wide, box.x1 + right * wide))
    y0, y1 = (float(np.clip(y, 0, height)) for y in (box.y0 + top * high, box.y1 + bottom * high))
    return [Box(x0, y0, x1, y1)] if x1 - x0 >= 1 and y1 - y0 >= 1 else []


def _find_owners(masks_Bhw: Tensor, truth_Ohw: Tensor, settings: OutlinerSettings) -> Tensor:
    """The place of the object that each mask means, (B,), -1 where none is or its size is out of bounds."""
    best_B, owner_B = measure_iou(masks_Bhw, truth_Ohw).max(1)
    area_B, truth_O = (maps.flatten(1).sum(1).float() for maps in (masks_Bhw, truth_Ohw))
    inside_B, whole_B = (share_pixels(masks_Bhw, truth_Ohw) / area_B.clamp(min=1)[:, None]).max(1)
    is_part_B = (inside_B >= _IS_PART) & (area_B >= _MIN_PART * truth_O[whole_B])
    owner_B = torch.where(best_B >= _LIES_ON, owner_B, torch.where(is_part_B, whole_B, -1))
    share_B = area_B / masks_Bhw[0].numel()
    has_size_B = (share_B >= settings.min_mask_share) & (share_B <= settings.max_mask_share)
    return torch.where(has_size_B, owner_B, -1)
