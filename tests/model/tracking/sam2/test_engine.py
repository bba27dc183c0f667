"""The batched, bounded engine against `Sam2VideoModel`, object by object and with all its memory."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import Sam2VideoModel

from tests.model.tracking.sam2.factories import make_clip, make_model, run_library
from tubelet.errors import InputError, ModelError
from tubelet.model.frame import Image
from tubelet.model.masks import decode_mask
from tubelet.model.tracking.sam2.engine import Sam2Session
from tubelet.model.tracking.sam2.network import TransformersNetwork
from tubelet.model.tracking.sam2.prompts import BoxPrompt, MaskPrompt, PointPrompt, Prompt
from tubelet.records import Box

# pycocotools and the newest numpy disagree on a keyword.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

NUM_FRAMES = 24  # longer than memories (6 frames) and object pointers (15 frames) reach


@pytest.fixture(scope="module")
def model() -> Sam2VideoModel:
    return make_model()


@pytest.fixture(scope="module")
def clip() -> list[Image]:
    return make_clip(NUM_FRAMES)


def square_mask(top: int, left: int, side: int = 12) -> np.ndarray:
    mask = np.zeros((48, 80), bool)
    mask[top : top + side, left : left + side] = True
    return mask


PROMPTS: dict[int, dict[int, Prompt]] = {
    1: {0: PointPrompt([(10, 12)])},
    2: {0: BoxPrompt(Box(60, 26, 74, 40))},
    3: {0: MaskPrompt(square_mask(26, 60))},
    4: {0: PointPrompt([(10, 12), (15, 15)], beside=[(50, 40)])},
    5: {5: BoxPrompt(Box(20, 8, 34, 20)), 12: PointPrompt([(45, 12)])},
    6: {9: MaskPrompt(square_mask(8, 30)), 10: MaskPrompt(square_mask(8, 33))},
}
"""By object, then by frame: every kind of prompt, objects added later, and objects prompted again."""


def run_engine(
    network: TransformersNetwork, clip: list[Image], prompts: dict[int, dict[int, Prompt]], **options: int
) -> dict[int, dict[int, tuple[torch.Tensor, torch.Tensor]]]:
    """All objects in one session: mask logits and presence by object and frame."""
    session = Sam2Session(network, **options)
    answers: dict[int, dict[int, tuple[torch.Tensor, torch.Tensor]]] = {number: {} for number in prompts}
    for frame, image in enumerate(clip):
        for seen in (
            session.advance(image),
            session.add({number: at[frame] for number, at in prompts.items() if frame in at}),
        ):
            for place, number in enumerate(seen.numbers):
                answers[number][frame] = (seen.logits_Bhw[place], seen.presence_B[place])
    return answers


@pytest.mark.parametrize("seed", [7, 0])  # masks that change much; objects that go and come back
def test_masks_are_those_of_the_library_run_object_by_object(seed: int, clip: list[Image]) -> None:
    model = make_model(seed)
    ours = run_engine(TransformersNetwork(model), clip, PROMPTS)
    for number, prompts in PROMPTS.items():
        theirs = run_library(model, clip, prompts)
        assert ours[number].keys() == theirs.keys()
        for frame, (logits, presence) in theirs.items():
            torch.testing.assert_close(ours[number][frame][0], logits, atol=2e-4, rtol=1e-4)
            torch.testing.assert_close(ours[number][frame][1], presence.sigmoid(), atol=1e-5, rtol=1e-4)


def test_the_comparison_sees_masks_change_and_objects_come_and_go(
    model: Sam2VideoModel, clip: list[Image]
) -> None:
    """Without both, the equality above would not cover occlusion."""
    coming = run_engine(TransformersNetwork(make_model(0)), clip, PROMPTS)[1]
    in_sight = [float(presence) > 0.5 for _, presence in coming.values()]
    assert in_sight[0]
    assert not any(in_sight[1:10])
    assert any(in_sight[10:])
    changing = run_engine(TransformersNetwork(model), clip, PROMPTS)
    shares = [float((logits > 0).float().mean()) for logits, _ in changing[2].values()]
    assert min(shares) < 0.3 < 0.6 < max(shares)


def test_an_added_object_changes_no_other_mask(model: Sam2VideoModel, clip: list[Image]) -> None:
    network = TransformersNetwork(model)
    together = run_engine(network, clip[:12], PROMPTS)
    alone = run_engine(network, clip[:12], {1: PROMPTS[1]})
    for frame, (logits, _) in alone[1].items():
        torch.testing.assert_close(together[1][frame][0], logits, atol=2e-4, rtol=1e-4)


def test_a_pass_of_few_objects_gives_the_masks_of_one_pass(model: Sam2VideoModel, clip: list[Image]) -> None:
    network = TransformersNetwork(model)
    whole = run_engine(network, clip[:8], PROMPTS)
    split = run_engine(network, clip[:8], PROMPTS, max_batch=2)
    for number, frames in whole.items():
        for frame, (logits, _) in frames.items():
            torch.testing.assert_close(split[number][frame][0], logits, atol=2e-4, rtol=1e-4)


def test_memory_stops_growing(model: Sam2VideoModel) -> None:
    clip = make_clip(2)
    session = Sam2Session(TransformersNetwork(model))
    session.advance(clip[0])
    session.add({1: PointPrompt([(10, 12)]), 2: BoxPrompt(Box(5, 5, 20, 20))})
    held = []
    for turn in range(40):
        session.advance(clip[turn % 2])
        held.append(session.num_memories)
    # A prompted frame (2 tensors), 6 spatial memories and 15 pointers, of two objects.
    assert held[14:] == [2 * (2 + 6 + 15)] * 26
    session.retire([1])
    assert session.numbers == (2,)
    assert session.num_memories == 2 + 6 + 15


def test_an_object_prompted_again_and_again_stays_bounded(model: Sam2VideoModel) -> None:
    image = make_clip(1)[0]
    for session, num_kept in (
        (Sam2Session(TransformersNetwork(model)), 8),
        (Sam2Session(TransformersNetwork(model), max_prompted_frames=3), 3),
    ):
        for _ in range(12):
            session.advance(image)
            session.add({1: PointPrompt([(10, 12)])})
        assert session.num_memories == 2 * num_kept


def test_masks_come_at_the_size_of_the_source(model: Sam2VideoModel) -> None:
    session = Sam2Session(TransformersNetwork(model))
    session.advance(make_clip(1)[0])
    mask = square_mask(20, 30, 16)
    seen = session.add({1: MaskPrompt(mask)})
    (encoded,) = seen.encode(96, 160)
    large = decode_mask(encoded)
    assert large.shape == (96, 160)
    assert abs(large.sum() / (4 * mask.sum()) - 1) < 0.2
    assert large[50:60, 70:80].all()
    assert seen.scores() == pytest.approx([1.0], abs=1e-3)


def test_a_speck_is_not_lost_on_the_grid_of_the_network(model: Sam2VideoModel) -> None:
    session = Sam2Session(TransformersNetwork(model))
    session.advance(np.zeros((480, 800, 3), np.uint8))
    mask = np.zeros((480, 800), bool)
    mask[100:102, 200:202] = True
    assert (
        session.add({1: MaskPrompt(mask)}).logits_Bhw.max()
        > session.add({1: MaskPrompt(mask)}).logits_Bhw.min()
    )


def test_bfloat16_runs_and_stays_finite(clip: list[Image]) -> None:
    network = TransformersNetwork(make_model().to(torch.bfloat16))
    answers = run_engine(network, clip[:4], {number: PROMPTS[number] for number in (1, 2, 3, 4)})
    assert all(
        logits.dtype == torch.bfloat16 and torch.isfinite(logits).all()
        for frames in answers.values()
        for logits, _ in frames.values()
    )


@pytest.mark.parametrize(
    "prompt",
    [
        PointPrompt([(80, 10)]),
        PointPrompt([(float("nan"), 10)]),
        PointPrompt([(10, 10)], beside=[(10, -1)]),
        PointPrompt([]),
        BoxPrompt(Box(90, 10, 100, 20)),
        BoxPrompt(Box(10, 10, 10, 20)),
        BoxPrompt(Box(float("nan"), 0, 10, 20)),
        MaskPrompt(np.ones((48, 79), bool)),
        MaskPrompt(np.zeros((48, 80), bool)),
    ],
)
def test_prompts_outside_the_frame_are_refused(model: Sam2VideoModel, prompt: Prompt) -> None:
    session = Sam2Session(TransformersNetwork(model))
    session.advance(make_clip(1)[0])
    with pytest.raises(InputError):
        session.add({1: prompt})
    assert session.numbers == ()


def test_a_box_over_the_edge_is_cut_off(model: Sam2VideoModel) -> None:
    session = Sam2Session(TransformersNetwork(model))
    session.advance(make_clip(1)[0])
    over = session.look([BoxPrompt(Box(60, 26, 95, 60))])
    inside = session.look([BoxPrompt(Box(60, 26, 80, 48))])
    torch.testing.assert_close(over.logits_Bhw, inside.logits_Bhw)
    assert session.numbers == ()


def test_another_frame_size_is_refused(model: Sam2VideoModel) -> None:
    session = Sam2Session(TransformersNetwork(model))
    session.advance(make_clip(1)[0])
    with pytest.raises(InputError, match="40 x 24 follows frames of 80 x 48"):
        session.advance(np.zeros((24, 40, 3), np.uint8))


def test_features_that_are_not_numbers_stop_the_run() -> None:
    broken = make_model()
    with torch.no_grad():
        broken.vision_encoder.neck.convs[0].bias.fill_(float("nan"))
    with pytest.raises(ModelError, match="frame 0 are not finite"):
        Sam2Session(TransformersNetwork(broken)).advance(make_clip(1)[0])


def test_a_session_without_frames_says_so(model: Sam2VideoModel) -> None:
    with pytest.raises(InputError, match="No frame"):
        Sam2Session(TransformersNetwork(model)).view  # noqa: B018


def test_objects_keep_the_order_in_which_they_were_added(model: Sam2VideoModel, clip: list[Image]) -> None:
    session = Sam2Session(TransformersNetwork(model))
    session.advance(clip[0])
    assert session.add({number: PROMPTS[number][0] for number in (1, 2, 3, 4)}).numbers == (1, 2, 3, 4)
    assert session.numbers == session.advance(clip[1]).numbers == (1, 2, 3, 4)
