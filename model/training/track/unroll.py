"""SAM 2 with gradients: prompts in the first frame, then memory through the clip, all objects at once.

What `Sam2Session` does for a stream, done for a batch of clips of one length whose objects are all prompted
in their first frame; `tests/model/training/track/test_unroll.py` holds the two together. Shapes as in
`tubelet.model.tracking.sam2.network`; B are all objects of all clips.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import Sam2VideoModel

from tubelet.model.tracking.sam2.maps import (
    IMAGE_MEAN,
    IMAGE_STD,
    MASK_PROMPT_LOGIT,
    OUT_OF_SIGHT,
    encode_age,
    hint_at_masks,
    resize,
)
from tubelet.model.tracking.sam2.network import DecodedMasks, ImageFeatures, TransformersNetwork
from tubelet.model.tracking.sam2.prompts import LABEL_NONE
from tubelet.model.training.track.losses import LossWeights, MaskLosses, add_up, measure_losses
from tubelet.model.training.track.samples import PromptGroup, TrackBatch


@dataclass(frozen=True, slots=True)
class Remembered:
    """All objects on one frame."""

    spatial_BNM: Tensor
    pointer_BC: Tensor


@dataclass(frozen=True, slots=True)
class FrameAnswer:
    """What is said of some rows on one frame: masks as decoded, and the one that goes on, as the engine
    publishes it (a constant where the object is taken to be out of sight)."""

    rows_R: Tensor
    decoded: DecodedMasks
    is_given: bool
    """The mask was the prompt: there is nothing to learn from it but the pointer."""
    settled_R1hw: Tensor
    settled_R1SS: Tensor
    pointer_RC: Tensor
    presence_R: Tensor


class TrackTraining(nn.Module):
    """Losses of a SAM 2 on a batch of clips. `network` is the model that is trained and saved."""

    def __init__(self, network: Sam2VideoModel, weights: LossWeights | None = None) -> None:
        super().__init__()
        self.network = network
        self._weights = weights or LossWeights()

    def forward(self, batch: TrackBatch) -> dict[str, Tensor]:
        """Losses by name, "loss" their weighted sum."""
        device = self.network.device
        targets_TBGG = torch.from_numpy(batch.targets_TBGG).to(device).float() / 255
        objects_TIGG = torch.from_numpy(batch.objects_TIGG).to(device).float() / 255
        others_TBGG = (objects_TIGG[:, torch.from_numpy(batch.clip_B).to(device)] - targets_TBGG).clamp(min=0)
        parts: list[MaskLosses] = []
        for target_BGG, other_BGG, answers in zip(targets_TBGG, others_TBGG, self.unroll(batch), strict=True):
            for answer in answers:
                if not answer.is_given:
                    decoded = answer.decoded
                    parts.append(
                        measure_losses(
                            decoded.logits_BKhw,
                            decoded.iou_BK,
                            decoded.presence_B,
                            target_BGG[answer.rows_R],
                            other_BGG[answer.rows_R],
                            self._weights,
                        )
                    )
        return add_up(parts, self._weights)

    def unroll(self, batch: TrackBatch) -> list[list[FrameAnswer]]:
        """Answers of every frame: the first by way of prompting, the others for all rows at once."""
        mode = self.network.training
        parts = TransformersNetwork(self.network)
        self.network.train(mode)  # which the line before has changed
        num_frames = batch.frames_ITSS3.shape[1]
        seen = _encode_frames(parts, batch)
        clip_B = torch.from_numpy(batch.clip_B).to(parts.device)
        features = [_select(seen, clip_B * num_frames + time) for time in range(num_frames)]
        first_masks_B1SS = torch.from_numpy(batch.first_masks_BSS).to(parts.device)[:, None].to(parts.dtype)

        answers = [[_prompt(parts, features[0], group, first_masks_B1SS) for group in batch.groups]]
        if num_frames == 1:
            return answers
        # Rows are in order of prompting, so the groups' answers in one are all rows in order.
        memory_position_NM = parts.locate_memory()
        remembered = [_remember(parts, features[0], answers[0], prompted=True)]
        for time in range(1, num_frames):
            memory, position, num_pointer_tokens = _lay_out(parts, remembered, memory_position_NM)
            coarse_BCHW = parts.attend_memory(features[time], memory, position, num_pointer_tokens)
            decoded = _decode(
                parts,
                features[time],
                coarse_BCHW,
                *_no_points(parts, len(clip_B)),
                None,
                multimask=parts.shape.multimask_when_following,
            )
            rows_B = torch.arange(len(clip_B), device=parts.device)
            answers.append([_settle(parts, rows_B, decoded)])
            remembered.append(_remember(parts, features[time], answers[-1], prompted=False))
        return answers


def encode_clips(network: Sam2VideoModel, batch: TrackBatch) -> ImageFeatures:
    """Image features of all frames of all clips, clip by clip; the "1" of their names is I x T here."""
    return _encode_frames(TransformersNetwork(network), batch)


def _encode_frames(parts: TransformersNetwork, batch: TrackBatch) -> ImageFeatures:
    pixels_ITSS3 = torch.from_numpy(batch.frames_ITSS3).to(parts.device)
    pixels = pixels_ITSS3.flatten(0, 1).permute(0, 3, 1, 2).float() / 255
    mean, std = (pixels.new_tensor(c)[:, None, None] for c in (IMAGE_MEAN, IMAGE_STD))
    return parts.encode_image(((pixels - mean) / std).to(parts.dtype))


def _select(seen: ImageFeatures, places_B: Tensor) -> ImageFeatures:
    """Each object's picture."""
    position = seen.position_1CHW
    return ImageFeatures(
        seen.fine[places_B],
        seen.middle[places_B],
        seen.coarse_1CHW[places_B],
        position.expand(len(seen.coarse_1CHW), -1, -1, -1)[places_B],
    )


def _prompt(
    parts: TransformersNetwork, features: ImageFeatures, group: PromptGroup, first_masks_B1SS: Tensor
) -> FrameAnswer:
    """Answer one kind of prompt from the first frame alone."""
    rows_R = torch.from_numpy(group.rows).to(parts.device)
    own = _select(features, rows_R)
    if group.kind == "mask":
        return _take_masks(parts, own, rows_R, first_masks_B1SS[rows_R])
    coarse_RCHW = own.coarse_1CHW + parts.learned.no_memory_C[:, None, None]
    points_RP2, labels_RP = (
        torch.from_numpy(array).to(parts.device) for array in (group.points_RP2, group.labels_RP)
    )
    rough_R1hw = None
    if group.masks_Rhw is not None:
        rough_R1hw = hint_at_masks(torch.from_numpy(group.masks_Rhw).to(parts.device, parts.dtype)[:, None])
    multimask = rough_R1hw is None and labels_RP.shape[1] in parts.shape.multimask_points
    decoded = _decode(parts, own, coarse_RCHW, points_RP2, labels_RP, rough_R1hw, multimask=multimask)
    return _settle(parts, rows_R, decoded)


def _take_masks(
    parts: TransformersNetwork, features: ImageFeatures, rows_R: Tensor, masks_R1SS: Tensor
) -> FrameAnswer:
    decoded = _decode(
        parts,
        features,
        features.coarse_1CHW,
        *_no_points(parts, len(rows_R)),
        parts.shrink_mask(masks_R1SS),
        multimask=parts.shape.mask_prompts != "meta",
    )
    settled = _settle(parts, rows_R, decoded)
    logits_R1SS = (2 * masks_R1SS - 1) * MASK_PROMPT_LOGIT
    return FrameAnswer(
        rows_R,
        decoded,
        is_given=True,
        settled_R1hw=resize(logits_R1SS, parts.shape.image_px // 4),
        settled_R1SS=logits_R1SS,
        pointer_RC=settled.pointer_RC,
        presence_R=torch.full_like(decoded.presence_B, MASK_PROMPT_LOGIT),
    )


def _decode(
    parts: TransformersNetwork,
    features: ImageFeatures,
    coarse_BCHW: Tensor,
    points_BP2: Tensor,
    labels_BP: Tensor,
    masks_B1hw: Tensor | None,
    *,
    multimask: bool,
) -> DecodedMasks:
    return parts.decode_masks(features, coarse_BCHW, points_BP2, labels_BP, masks_B1hw, multimask=multimask)


def _no_points(parts: TransformersNetwork, num_objects: int) -> tuple[Tensor, Tensor]:
    points = torch.zeros(num_objects, 1, 2, device=parts.device, dtype=parts.dtype)
    return points, torch.full((num_objects, 1), LABEL_NONE, dtype=torch.int32, device=parts.device)


def _settle(parts: TransformersNetwork, rows_R: Tensor, decoded: DecodedMasks) -> FrameAnswer:
    """The best mask by predicted IoU; an object out of sight has none."""
    best_R = decoded.iou_BK.argmax(1)
    places_R = torch.arange(len(best_R), device=best_R.device)
    seen_R1 = (decoded.presence_B > 0)[:, None]
    logits_Rhw = decoded.logits_BKhw[places_R, best_R]
    logits_R1hw = torch.where(seen_R1[:, :, None], logits_Rhw, OUT_OF_SIGHT)[:, None]
    pointer_RC = parts.project_pointer(decoded.tokens_BKC[places_R, best_R])
    return FrameAnswer(
        rows_R,
        decoded,
        is_given=False,
        settled_R1hw=logits_R1hw,
        settled_R1SS=resize(logits_R1hw, parts.shape.image_px, antialias=False).to(logits_R1hw.dtype),
        pointer_RC=torch.where(seen_R1, pointer_RC, parts.learned.no_pointer_C),
        presence_R=decoded.presence_B,
    )


def _remember(
    parts: TransformersNetwork, features: ImageFeatures, answers: list[FrameAnswer], *, prompted: bool
) -> Remembered:
    """Encode all rows' masks on a frame."""
    large_B1SS = torch.cat([answer.settled_R1SS for answer in answers])
    soft_B1SS = (large_B1SS > 0).to(parts.dtype) if prompted else large_B1SS.sigmoid()
    shape = parts.shape
    memory_BNM = parts.encode_memory(features, soft_B1SS * shape.memory_mask_scale + shape.memory_mask_bias)
    if parts.learned.occlusion_M is not None:
        presence_B = torch.cat([answer.presence_R for answer in answers])
        memory_BNM = memory_BNM + (presence_B <= 0).to(parts.dtype)[:, None, None] * parts.learned.occlusion_M
    if not torch.is_grad_enabled():
        memory_BNM = memory_BNM.to(torch.bfloat16).to(parts.dtype)  # as the engine keeps it
    return Remembered(memory_BNM, torch.cat([answer.pointer_RC for answer in answers]))


def _lay_out(
    parts: TransformersNetwork, remembered: list[Remembered], memory_position_NM: Tensor
) -> tuple[Tensor, Tensor, int]:
    """Memory tokens, position codes, and how many of the last are pointers, for the frame after the last.

    The prompted frame first, at age 0; then the latest frames, the oldest of them first.
    """
    now, shape, learned = len(remembered), parts.shape, parts.learned
    spatial = [0, *range(max(1, now - shape.num_spatial_memories), now)]
    pointers = [0, *range(max(1, now - shape.num_pointers), now)]
    ages = [0, *(now - at for at in spatial[1:])]
    spatial_BTM = torch.cat([remembered[at].spatial_BNM for at in spatial], dim=1)
    spatial_position_TM = torch.cat([memory_position_NM + learned.memory_age_LM[age - 1] for age in ages])
    num_objects, _, num_channels = spatial_BTM.shape
    pointers_BLC = torch.stack([remembered[at].pointer_BC for at in pointers], dim=1)
    num_splits = pointers_BLC.shape[2] // num_channels
    pointers_BTM = pointers_BLC.reshape(num_objects, -1, num_channels)
    ages_L = torch.tensor([now - at for at in pointers], device=parts.device)
    code = encode_age(ages_L / shape.num_pointers, pointers_BLC.shape[2])
    pointer_position_TM = parts.project_age(code.to(parts.dtype)).repeat_interleave(num_splits, dim=0)
    position_TM = torch.cat([spatial_position_TM, pointer_position_TM])
    return (
        torch.cat([spatial_BTM, pointers_BTM], dim=1),
        position_TM.expand(num_objects, -1, -1),
        pointers_BTM.shape[1],
    )
