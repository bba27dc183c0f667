"""The training pass says what the engine says, and gradients reach every part."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from transformers import Sam2VideoModel

from tests.model.tracking.sam2.factories import make_model
from tests.model.training.track.polygons import PolygonClips
from tubelet.model.tracking.sam2.engine import Sam2Session
from tubelet.model.tracking.sam2.network import TransformersNetwork
from tubelet.model.tracking.sam2.prompts import BoxPrompt, MaskPrompt, PointPrompt, Prompt
from tubelet.model.training.track.run import resize_config
from tubelet.model.training.track.samples import (
    PromptGroup,
    PromptKind,
    SampleSettings,
    TrackBatch,
    TrackBatches,
)
from tubelet.model.training.track.start import make_network
from tubelet.model.training.track.unroll import TrackTraining
from tubelet.records import Box

SIDE = 64


def make_batches(num_frames: int, prompts: dict[PromptKind, float], *, clips: int = 2) -> TrackBatches:
    settings = SampleSettings(
        image_px=SIDE,
        num_frames=num_frames,
        clips_per_batch=clips,
        crops_per_clip=1,
        whole=1.0,
        min_area_share=0.02,
        prompts=prompts,
    )
    return TrackBatches(PolygonClips(side=SIDE), settings)


def as_prompt(group: PromptGroup, at: int, mask_SS: np.ndarray) -> Prompt:
    """What the engine is asked in place of a row of a group."""
    points = group.points_RP2[at].tolist()
    if group.kind == "mask":
        return MaskPrompt(mask_SS)
    if group.kind == "box":
        (x0, y0), (x1, y1) = points
        return BoxPrompt(Box(x0, y0, x1, y1))
    labels = group.labels_RP[at].tolist()
    chosen = {
        label: [(x, y) for (x, y), own in zip(points, labels, strict=True) if own == label]
        for label in (1, 0)
    }
    return PointPrompt(chosen[1], chosen[0])


def run_engine(
    model: Sam2VideoModel, batch: TrackBatch
) -> list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Masks, presence and IoU of all rows, frame by frame, from one session a clip."""
    asked = {
        int(row): as_prompt(group, at, batch.first_masks_BSS[row])
        for group in batch.groups
        for at, row in enumerate(group.rows)
    }
    found: list[dict[int, Sequence[torch.Tensor]]] = [{} for _ in range(batch.frames_ITSS3.shape[1])]
    for place, frames in enumerate(batch.frames_ITSS3):
        session = Sam2Session(TransformersNetwork(model))
        own = {row: prompt for row, prompt in asked.items() if batch.clip_B[row] == place}
        for time, frame in enumerate(frames):
            seen = session.advance(frame)
            if time == 0:
                seen = session.add(own)
            for at, row in enumerate(seen.numbers):
                found[time][row] = (seen.logits_Bhw[at], seen.presence_B[at], seen.iou_B[at])
    return [
        tuple(torch.stack([frame[row][part] for row in sorted(frame)]) for part in range(3))  # type: ignore[misc]
        for frame in found
    ]


def make_stepping(several_masks: bool) -> Sam2VideoModel:
    model = make_model()
    model.config.multimask_output_for_tracking = several_masks
    return model


@pytest.mark.parametrize("several_masks", [True, False])
def test_forward_agrees_with_the_engine(several_masks: bool) -> None:
    model = make_stepping(several_masks)
    # As long as memory reaches and longer: 7 masks and 16 pointers by default, 3 and 4 here.
    model.config.num_maskmem, model.config.max_object_pointers_in_encoder = 3, 4
    model.memory_temporal_positional_encoding = torch.nn.Parameter(
        model.memory_temporal_positional_encoding.detach()[-3:].clone()
    )
    batch = make_batches(7, {"mask": 1, "box": 1, "point": 1, "points": 1}, clips=4)(2)
    assert {group.kind for group in batch.groups} == {"mask", "box", "point", "points"}
    with torch.no_grad():
        seen = TrackTraining(model.eval()).unroll(batch)
        presences = torch.cat([answer.presence_R for answer in (*seen[0], *seen[1])])
        # Around the middle of what is answered, so that objects come and go.
        model.mask_decoder.pred_obj_score_head.proj_out.bias -= presences[presences != 10].median() - 0.1
        answers = TrackTraining(model.eval()).unroll(batch)
    expected = run_engine(model, batch)
    present = set()
    for time, (frame, (logits, presence, iou)) in enumerate(zip(answers, expected, strict=True)):
        own_logits = torch.cat([answer.settled_R1hw[:, 0] for answer in frame])
        own_presence = torch.cat([answer.presence_R for answer in frame]).sigmoid()
        own_iou = torch.cat([answer.decoded.iou_BK.amax(1) for answer in frame])
        is_followed = slice(None) if time else slice(0, 0)  # the engine gives a mask prompt's IoU as 1
        present |= set((presence > 0.5).tolist())
        assert torch.equal(own_presence > 0.5, presence > 0.5), time
        scale = float(logits[presence > 0.5].abs().mean()) if (presence > 0.5).any() else 1.0
        assert float((own_logits - logits).abs().max()) < 0.02 * scale, time
        torch.testing.assert_close(own_iou[is_followed], iou[is_followed], atol=0.01, rtol=0)
    assert present == {True, False}, "objects in sight and out of it are both compared"


def test_a_row_does_not_depend_on_the_others() -> None:
    model = make_model()
    batch = make_batches(3, {"box": 1.0}, clips=2)(0)
    assert len(batch.clip_B) > 1
    only = TrackBatch(
        batch.frames_ITSS3,
        batch.clip_B[:1],
        batch.targets_TBGG[:, :1],
        batch.objects_TIGG,
        batch.first_masks_BSS[:1],
        tuple(
            PromptGroup(group.kind, group.rows[:1], group.points_RP2[:1], group.labels_RP[:1])
            for group in batch.groups
        ),
    )
    with torch.no_grad():
        together, alone = (TrackTraining(model).unroll(each)[-1][0] for each in (batch, only))
    torch.testing.assert_close(together.settled_R1hw[:1], alone.settled_R1hw, atol=1e-3, rtol=1e-3)


def test_gradients_reach_every_part() -> None:
    training = TrackTraining(make_network(seed=0, image_px=SIDE))
    training.network.requires_grad_(True).train()
    batch = make_batches(3, {"mask": 1, "box": 1, "point": 1}, clips=4)(0)
    assert {group.kind for group in batch.groups} == {"mask", "box", "point"}
    losses = training(batch)
    losses["loss"].backward()
    without = {name for name, p in training.named_parameters() if p.grad is None or not p.grad.any()}
    # Not used by any path of the engine: a tracked mask is never fed back to the decoder, and every object
    # is prompted in the first frame, so that nothing follows an absence.
    allowed = ("mask_embed", "no_memory_positional", "occlusion", "no_object_pointer", "memory_temporal")
    unexpected = {name for name in without if not any(part in name for part in allowed)}
    assert not unexpected


def test_weights_do_not_depend_on_the_size_of_pictures() -> None:
    small, large = (Sam2VideoModel(resize_config(make_network(seed=0).config, side)) for side in (64, 128))
    large.load_state_dict(small.state_dict())
    for model, side in ((small, 64), (large, 128)):
        seen = TransformersNetwork(model).encode_image(torch.zeros(1, 3, side, side))
        assert seen.coarse_1CHW.shape[-1] == side // 16
