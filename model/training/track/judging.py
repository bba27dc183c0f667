"""Teach a judge of masks: pictures, masks of them good and bad, and each one's true IoU."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from tubelet.model.tracking.sam2.flow_session import FlowSession
from tubelet.model.tracking.sam2.judge import JUDGE_FILE
from tubelet.model.tracking.sam2.network import Sam2Network
from tubelet.model.tracking.sam2.perceptron import even_out, write_weights
from tubelet.model.training.track.clips import ClipSource, LabelledClip
from tubelet.model.training.track.perceptrons import Teaching, fit_perceptron
from tubelet.model.training.track.sampled_masks import MaskSampling, sample_masks

logger = logging.getLogger(__name__)

_LOG_EVERY = 100


class JudgeSettings(BaseModel):
    """What a judge is shown, and how it is taught."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seed: int = 0
    num_pictures: int = Field(default=1200, ge=1)
    sampling: MaskSampling = MaskSampling()
    teaching: Teaching = Teaching()


@dataclass(frozen=True, slots=True)
class JudgedMasks:
    """What was measured of masks, (B, X), and their true IoU, (B,)."""

    measured_BX: Tensor
    iou_B: Tensor


def train_judge(network: Sam2Network, source: ClipSource, settings: JudgeSettings, folder: Path) -> None:
    """Teach a judge for the features of this network, and write it into the checkpoint's folder."""
    masks = gather_masks(network, source, settings, range(settings.num_pictures))
    write_weights(folder / JUDGE_FILE, fit_judge(masks, settings))


def gather_masks(
    network: Sam2Network, source: ClipSource, settings: JudgeSettings, numbers: Sequence[int]
) -> JudgedMasks:
    """Masks of the pictures of these numbers. What comes of a number does not depend on the others."""
    parts = []
    for count, number in enumerate(numbers, 1):
        generator = np.random.default_rng((settings.seed, 23, number))
        clip = source.get(settings.seed * 10_000_019 + number, 1)
        parts.append(_gather(network, clip, settings.sampling, generator))
        if count % _LOG_EVERY == 0:
            logger.info("Masks of %d pictures of %d", count, len(numbers))
    return JudgedMasks(
        torch.cat([part.measured_BX for part in parts]), torch.cat([part.iou_B for part in parts])
    )


def fit_judge(masks: JudgedMasks, settings: JudgeSettings) -> dict[str, Tensor]:
    """The weights of a judge."""
    measured_BX = masks.measured_BX.float()
    mean_X, scale_X = measured_BX.mean(0), measured_BX.std(0) + 1e-3

    def draw() -> tuple[Tensor, Tensor]:
        rows = torch.randint(len(measured_BX), (settings.teaching.batch,))
        return even_out(measured_BX[rows], mean_X, scale_X), masks.iou_B[rows]

    layers = fit_perceptron(draw, measured_BX.shape[1], settings.teaching, seed=settings.seed, name="Judge")
    return {"mean": mean_X, "scale": scale_X, **layers}


@torch.inference_mode()
def _gather(
    network: Sam2Network, clip: LabelledClip, plan: MaskSampling, generator: np.random.Generator
) -> JudgedMasks:
    """The masks of one picture."""
    session = FlowSession(network)
    session.advance(clip.frames_THW3[0])
    sampled = sample_masks(session, clip.labels_THW[0], plan, generator)
    return JudgedMasks(session.view.measure(sampled.masks_Bhw).half(), sampled.iou_B.clone())
