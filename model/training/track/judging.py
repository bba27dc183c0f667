"""Teach a judge of masks: pictures, masks of them good and bad, and each one's true IoU.

Shown are what the mask decoder proposes on a grid of points, the true masks, rough ones such as the flow
leaves, and masks where nothing is. Of each picture a few of every object and of the rest are taken, so that
a large object, which many points lie on, counts no more than a small one.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from tubelet.model.tracking.sam2.engine import Sam2Session
from tubelet.model.tracking.sam2.judge import (
    GRID,
    even_out,
    fit_grid,
    flatten_features,
    measure_masks,
    write_judge,
)
from tubelet.model.tracking.sam2.masks import measure_iou
from tubelet.model.tracking.sam2.network import Sam2Network
from tubelet.model.training.track.clips import ClipSource, LabelledClip
from tubelet.model.training.track.roughening import misplace, roughen

logger = logging.getLogger(__name__)

_SIDE = 256
_LIES_ON = 0.3
_LOG_EVERY = 100


class JudgeSettings(BaseModel):
    """How a judge is taught. Shares are of the picture's area."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seed: int = 0
    num_pictures: int = Field(default=1200, ge=1)
    points_per_side: int = Field(default=12, ge=1)
    min_object_share: float = Field(default=0.003, ge=0, lt=1)
    """Smaller objects are not looked for: a mask of one is as wrong as any."""
    min_mask_share: float = Field(default=0.002, ge=0, lt=1)
    max_mask_share: float = Field(default=0.45, gt=0, le=1)
    num_roughs: int = Field(default=4, ge=0)
    """Rough masks of each object, and misplaced ones of each picture."""
    num_each: int = Field(default=12, ge=1)
    """Proposals taken of each object."""
    num_others: int = Field(default=60, ge=0)
    """Proposals taken of each picture that lie on no object."""
    steps: int = Field(default=4000, ge=1)
    batch: int = Field(default=768, ge=1)
    hidden: int = Field(default=160, ge=1)
    learning_rate: float = Field(default=1e-3, gt=0)
    weight_decay: float = Field(default=1e-2, ge=0)
    dropout: float = Field(default=0.3, ge=0, lt=1)


@dataclass(frozen=True, slots=True)
class JudgedMasks:
    """What was measured of masks, (B, X), and their true IoU, (B,)."""

    measured_BX: Tensor
    iou_B: Tensor


def train_judge(network: Sam2Network, source: ClipSource, settings: JudgeSettings, folder: Path) -> None:
    """Teach a judge for the features of this network, and write it into the checkpoint's folder."""
    masks = gather_masks(network, source, settings, range(settings.num_pictures))
    write_judge(folder, fit_judge(masks, settings))


def gather_masks(
    network: Sam2Network, source: ClipSource, settings: JudgeSettings, numbers: Sequence[int]
) -> JudgedMasks:
    """Masks of the pictures of these numbers. What comes of a number does not depend on the others."""
    parts = []
    for count, number in enumerate(numbers, 1):
        generator = np.random.default_rng((settings.seed, 23, number))
        clip = source.get(settings.seed * 10_000_019 + number, 1)
        parts += list(_gather(network, clip, settings, generator))
        if count % _LOG_EVERY == 0:
            logger.info("Masks of %d pictures of %d", count, len(numbers))
    return JudgedMasks(
        torch.cat([part.measured_BX for part in parts]), torch.cat([part.iou_B for part in parts])
    )


def fit_judge(masks: JudgedMasks, settings: JudgeSettings) -> dict[str, Tensor]:
    """The weights of a judge, by cross entropy with the true IoU as the target."""
    measured_BX = masks.measured_BX.float()
    mean_X, scale_X = measured_BX.mean(0), measured_BX.std(0) + 1e-3
    torch.manual_seed(settings.seed)
    first = nn.Linear(measured_BX.shape[1], settings.hidden)
    second = nn.Linear(settings.hidden, settings.hidden)
    last = nn.Linear(settings.hidden, 1)
    layers = nn.Sequential(
        first, nn.ReLU(), nn.Dropout(settings.dropout), second, nn.ReLU(), nn.Dropout(settings.dropout), last
    )
    optimizer = torch.optim.AdamW(
        layers.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.steps)
    for step in range(settings.steps):
        rows = torch.randint(len(measured_BX), (settings.batch,))
        even_BX = even_out(measured_BX[rows], mean_X, scale_X)
        loss = F.binary_cross_entropy_with_logits(layers(even_BX)[:, 0], masks.iou_B[rows])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        if step % 1000 == 0:
            logger.info("Judge, step %d: loss %.4f", step, loss.item())
    weights = {"mean": mean_X, "scale": scale_X}
    for name, layer in (("first", first), ("second", second), ("last", last)):
        weights |= {f"{name}.weight": layer.weight.detach(), f"{name}.bias": layer.bias.detach()}
    return weights


@torch.inference_mode()
def _gather(
    network: Sam2Network, clip: LabelledClip, settings: JudgeSettings, generator: np.random.Generator
) -> Iterator[JudgedMasks]:
    """The masks of one picture."""
    image, labels_HW = clip.frames_THW3[0], clip.labels_THW[0]
    session = Sam2Session(network)
    session.advance(image)
    maps_CN = flatten_features(session.features, image)
    numbers, areas = np.unique(labels_HW, return_counts=True)
    wanted = numbers[(numbers > 0) & (areas >= settings.min_object_share * labels_HW.size)]
    truth_Ohw = _on_grid([(labels_HW == number).astype(np.float32) for number in wanted])
    proposed_Bhw = _propose(session, settings, generator)
    made_Bhw = _make_up(labels_HW, wanted, settings, generator)
    for masks_Bhw, is_proposed in ((proposed_Bhw, True), (made_Bhw, False)):
        if not len(masks_Bhw):
            continue
        if len(truth_Ohw):
            iou_B, owner_B = measure_iou(masks_Bhw, truth_Ohw).max(1)
        else:
            iou_B, owner_B = torch.zeros(len(masks_Bhw)), torch.zeros(len(masks_Bhw), dtype=torch.long)
        rows = _choose(iou_B, owner_B, settings, generator) if is_proposed else np.arange(len(masks_Bhw))
        yield JudgedMasks(measure_masks(maps_CN, masks_Bhw[rows]).half(), iou_B[rows].clone())


def _propose(session: Sam2Session, settings: JudgeSettings, generator: np.random.Generator) -> Tensor:
    """What the decoder sees at the points of a grid, each somewhere in its cell."""
    side = settings.points_per_side
    cells = np.stack(np.meshgrid(np.arange(side), np.arange(side)), axis=-1).reshape(-1, 2)
    height, width = session.size
    points = (cells + generator.random(cells.shape)) / side * (width, height)
    masks_Ahw = session.look_at_points(torch.from_numpy(points).float()).logits_BKhw.flatten(0, 1) > 0
    return _keep_sizes(fit_grid(masks_Ahw), settings)


def _make_up(
    labels_HW: NDArray[np.uint8],
    wanted: NDArray[np.uint8],
    settings: JudgeSettings,
    generator: np.random.Generator,
) -> Tensor:
    """The true masks, rough ones, and the shapes of objects where none is."""
    square_SS = cv2.resize(labels_HW, (_SIDE, _SIDE), interpolation=cv2.INTER_NEAREST_EXACT)
    masks = []
    for number in wanted:
        mask_SS = square_SS == number
        masks.append(mask_SS.astype(np.float32))
        masks += [roughen(mask_SS, generator, GRID) for _ in range(settings.num_roughs)]
    for _ in range(settings.num_roughs):
        away_SS = misplace(np.asarray(square_SS, np.uint8), generator)
        masks.append(roughen(away_SS, generator, GRID))
    return _keep_sizes(_on_grid(masks), settings)


def _on_grid(shares: Sequence[NDArray[np.float32]]) -> Tensor:
    """Masks on the judge's grid, (B, GRID, GRID): cells at least half inside."""
    if not shares:
        return torch.zeros(0, GRID, GRID, dtype=torch.bool)
    resized = [cv2.resize(share, (GRID, GRID), interpolation=cv2.INTER_AREA) for share in shares]
    return torch.from_numpy(np.stack(resized)) >= 0.5


def _keep_sizes(masks_Bhw: Tensor, settings: JudgeSettings) -> Tensor:
    share_B = masks_Bhw.float().mean((1, 2))
    return masks_Bhw[(share_B >= settings.min_mask_share) & (share_B <= settings.max_mask_share)]


def _choose(
    iou_B: Tensor, owner_B: Tensor, settings: JudgeSettings, generator: np.random.Generator
) -> NDArray[np.int64]:
    """Rows of some masks of each object, and of some that lie on none."""
    owners = torch.where(iou_B >= _LIES_ON, owner_B, -1).numpy()
    chosen = [np.zeros(0, np.int64)]
    for owner in np.unique(owners):
        limit = settings.num_others if owner < 0 else settings.num_each
        chosen.append(generator.permutation(np.flatnonzero(owners == owner))[:limit])
    return np.concatenate(chosen)
