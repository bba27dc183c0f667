"""Requests in batches, questions, choices, streams and stored tokens."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.model.pixelrefer.region_factory import (
    make_captioner,
    make_frame,
    make_mask,
    make_region,
    make_requests,
)
from tubelet.errors import InputError, ModelError
from tubelet.model.pixelrefer.captioner import PixelReferCaptioner, RegionRequest
from tubelet.model.pixelrefer.debug import make_debug_network, make_debug_tokenizer
from tubelet.model.pixelrefer.object_tokens import ObjectTokens, Precision
from tubelet.model.pixelrefer.regions import Region

CAPTIONER = make_captioner()


def test_an_answer_is_the_same_alone_and_in_a_batch_of_64() -> None:
    """Objects of one to three frames, so that prompts have different lengths."""
    requests = [RegionRequest((make_region(seed, 1 + seed % 3),)) for seed in range(64)]
    together = CAPTIONER.describe(requests)
    assert len({answer.token_ids for answer in together}) > 32
    for request, answer in list(zip(requests, together, strict=True))[::5]:
        (alone,) = CAPTIONER.describe([request])
        assert alone.text == answer.text
        assert alone.token_ids == answer.token_ids
        assert alone.token_log_probs == pytest.approx(answer.token_log_probs, abs=1e-3)
        assert alone.object_vectors[0] == pytest.approx(answer.object_vectors[0], abs=1e-5)


def test_order_and_batch_size_change_nothing() -> None:
    requests = make_requests(10)
    answers = [answer.token_ids for answer in CAPTIONER.describe(requests)]
    assert [answer.token_ids for answer in CAPTIONER.describe(requests[::-1])] == answers[::-1]
    assert [answer.token_ids for answer in make_captioner(batch_size=3).describe(requests)] == answers


@pytest.mark.parametrize("limits", [{"max_new_tokens": 0}, {"batch_size": 0}])
def test_limits_below_one_are_refused(limits: dict[str, int]) -> None:
    with pytest.raises(InputError, match="at least 1"):
        make_captioner(**limits)


def test_no_requests_give_no_answers() -> None:
    assert CAPTIONER.describe([]) == []


def test_object_vectors_have_length_one_and_tell_objects_apart() -> None:
    vectors = [np.asarray(answer.object_vectors[0]) for answer in CAPTIONER.describe(make_requests(2))]
    assert all(len(vector) == CAPTIONER.num_dimensions for vector in vectors)
    assert [np.linalg.norm(vector) for vector in vectors] == pytest.approx([1, 1], abs=1e-5)
    assert vectors[0] @ vectors[1] < 0.9999


def test_confidence_is_the_mean_probability_of_the_tokens() -> None:
    (answer,) = CAPTIONER.describe(make_requests(1))
    assert len(answer.token_log_probs) == len(answer.token_ids)
    mean = sum(answer.token_log_probs) / len(answer.token_log_probs)
    assert answer.confidence == pytest.approx(math.exp(mean), rel=1e-5)


def test_images_and_videos_are_told_apart() -> None:
    frame, mask = make_frame(), make_mask(10, 10, 40, 60)
    image = RegionRequest.of([frame], [mask], None)
    video = RegionRequest.of([frame], [mask], [0.0])
    assert "in the image" in image.prompt
    assert "in the video" in video.prompt
    answers = CAPTIONER.describe([image, video])
    assert answers[0].token_ids != answers[1].token_ids
    assert answers[0].objects[0].times_s is None


def test_questions_about_one_and_several_objects() -> None:
    one, other = make_region(0), make_region(1)
    assert CAPTIONER.ask(one, "What colour is it?") == CAPTIONER.ask(
        one, "There is one object in the video: <region>.\nWhat colour is it?"
    )
    forth, back = CAPTIONER.describe(
        [
            RegionRequest((one, other), "What does <region> do to <region>?"),
            RegionRequest((other, one), "What does <region> do to <region>?"),
        ]
    )
    assert forth.token_ids != back.token_ids
    assert len(forth.object_vectors) == 2
    assert forth.object_vectors[0] == pytest.approx(back.object_vectors[1], abs=1e-5)


def test_a_stream_is_the_answer_in_pieces() -> None:
    for request in make_requests(4):
        pieces = list(CAPTIONER.stream(request))
        assert len(pieces) > 1
        assert "".join(pieces).strip() == CAPTIONER.describe([request])[0].text


def test_choices_are_scored_as_shares() -> None:
    request = RegionRequest((make_region(0),), "There is <region>. Is it a car?")
    scores = CAPTIONER.choose(request, ["yes", "no", "perhaps"])
    assert [score.choice for score in scores] == ["yes", "no", "perhaps"]
    assert sum(score.probability for score in scores) == pytest.approx(1)
    alone = CAPTIONER.choose(request, ["no"])[0]
    assert alone.probability == 1
    assert alone.log_prob == pytest.approx(scores[1].log_prob, abs=1e-3)


def test_the_greedy_answer_is_never_less_likely_than_another_of_its_length() -> None:
    request = RegionRequest((make_region(0),))
    captioner = make_captioner(max_new_tokens=1)
    (answer,) = captioner.describe([request])
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    first_tokens = [score.log_prob for score in captioner.choose(request, letters)]
    assert max(first_tokens) <= answer.token_log_probs[0] + 1e-4


@pytest.mark.parametrize("choices", [[], ["yes", " "]])
def test_choices_must_be_texts(choices: list[str]) -> None:
    with pytest.raises(InputError, match="choices"):
        CAPTIONER.choose(make_requests(1)[0], choices)


def _count_same_answers(captioner: PixelReferCaptioner, precision: Precision) -> int:
    """Of 24 objects: how many are described alike from stored tokens and from video."""
    regions = [make_region(seed) for seed in range(24)]
    stored = [tokens.to_bytes(precision) for tokens in captioner.encode(regions)]
    fresh = captioner.describe([RegionRequest((region,)) for region in regions])
    again = captioner.describe([RegionRequest((ObjectTokens.from_bytes(packed),)) for packed in stored])
    return sum(one.token_ids == other.token_ids for one, other in zip(fresh, again, strict=True))


def test_float16_holds_the_tokens_of_a_bfloat16_model_exactly() -> None:
    captioner = make_captioner(dtype=torch.bfloat16)
    assert _count_same_answers(captioner, "float16") == 24


def test_float16_rarely_changes_an_answer_of_a_float32_model() -> None:
    """Random weights make every token a close call; even so, of 24 answers of 12 tokens two may differ."""
    assert _count_same_answers(CAPTIONER, "float16") >= 22


def test_int8_tokens_are_half_as_large_and_mostly_answer_the_same() -> None:
    captioner = make_captioner(max_new_tokens=6)
    assert _count_same_answers(captioner, "int8") >= 12
    encoded = captioner.encode([make_region(0, 3)])
    sizes = {kind: len(encoded[0].to_bytes(kind)) for kind in ("float16", "int8")}
    num_numbers = 3 * 8 * 48
    assert sizes["float16"] - sizes["int8"] == pytest.approx(num_numbers - 4 * 24, abs=100)
    coarse = ObjectTokens.from_bytes(encoded[0].to_bytes("int8"))
    assert np.dot(encoded[0].vector, coarse.vector) > 0.999


def test_stored_tokens_remember_frames_times_and_model() -> None:
    (tokens,) = CAPTIONER.encode([make_region(0, 3)])
    back = ObjectTokens.from_bytes(tokens.to_bytes())
    assert [len(rows) for rows in back.rows] == [8, 8, 8]
    assert back.times_s == (0.0, 0.5, 1.0)
    assert back.model == "debug@1"


@pytest.mark.parametrize("packed", [b"", b"tokens", b"\x02\x00\x00\x00\x00\x00\x00\x00{}"])
def test_bytes_that_are_no_tokens_are_refused(packed: bytes) -> None:
    with pytest.raises(InputError, match="Stored object tokens"):
        ObjectTokens.from_bytes(packed)


def test_tokens_of_another_model_are_refused() -> None:
    (tokens,) = CAPTIONER.encode([make_region(0)])
    other = ObjectTokens(tokens.rows, tokens.times_s, "other@2")
    with pytest.raises(InputError, match="other@2"):
        CAPTIONER.ask(other, "What is it?")


def _limit_memory(
    captioner: PixelReferCaptioner, monkeypatch: pytest.MonkeyPatch, max_views: int
) -> list[int]:
    """Make the region encoder run out of memory above so many views; returns the sizes that were tried."""
    encoder = captioner._network.region_encoder
    tried: list[int] = []
    tokenize: Callable[..., Tensor] = encoder.tokenize

    def limited(features: Tensor, cells: object) -> Tensor:
        num_views = len(cells.cell_RM)  # type: ignore[attr-defined]
        tried.append(num_views)
        if num_views > max_views:
            raise torch.OutOfMemoryError("pretended")
        return tokenize(features, cells)

    monkeypatch.setattr(encoder, "tokenize", limited)
    return tried


def test_running_out_of_memory_halves_the_batch_and_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    requests = make_requests(9)
    wanted = [answer.token_ids for answer in CAPTIONER.describe(requests)]
    captioner = make_captioner()
    tried = _limit_memory(captioner, monkeypatch, max_views=5)
    assert [answer.token_ids for answer in captioner.describe(requests)] == wanted
    assert tried[0] > 5 >= tried[-1]
    assert len(captioner.encode([make_region(seed) for seed in range(9)])) == 9


def test_one_request_that_does_not_fit_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    captioner = make_captioner()
    _limit_memory(captioner, monkeypatch, max_views=1)
    with pytest.raises(ModelError, match="does not fit in memory"):
        captioner.describe(make_requests(3))


def test_other_failures_are_not_taken_for_lack_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    captioner = make_captioner()

    def fail(*_: object) -> Tensor:
        raise RuntimeError("a bug")

    monkeypatch.setattr(captioner._network.region_encoder, "tokenize", fail)
    with pytest.raises(RuntimeError, match="a bug"):
        captioner.describe(make_requests(2))


def test_the_batch_shrinks_with_free_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    import psutil

    class Memory:
        available = 12 * 2**20

    monkeypatch.setattr(psutil, "virtual_memory", Memory)
    small = CAPTIONER._measure_num_rows(make_requests(1))
    Memory.available = 2**40
    assert 1 <= small < CAPTIONER._measure_num_rows(make_requests(1)) == 128
    Memory.available = 0
    assert CAPTIONER._measure_num_rows(make_requests(1)) == 1


def _describe(frames: Sequence[np.ndarray], masks: Sequence[np.ndarray], prompt: str | None = None) -> str:
    times = [0.5 * i for i in range(len(frames))]
    return CAPTIONER.describe([RegionRequest.of(frames, masks, times, prompt)])[0].text


def test_an_empty_mask_beside_a_full_one_is_described() -> None:
    """The frame without the object gives tokens of the scene alone, as the reference does."""
    frames = [make_frame(0), make_frame(1)]
    masks = [make_mask(10, 10, 40, 60), np.zeros((72, 128), bool)]
    assert _describe(frames, masks) != _describe(frames[:1], masks[:1])


def test_an_object_of_one_pixel_is_described() -> None:
    assert isinstance(_describe([make_frame()], [make_mask(36, 64, 37, 65)]), str)


def test_a_full_mask_is_described() -> None:
    assert isinstance(_describe([make_frame()], [np.ones((72, 128), bool)]), str)


def test_two_hundred_frames_are_described_and_too_many_for_the_model_are_refused() -> None:
    """Pictures shrink so that all frames share the model's limit; the prompt must still fit its positions."""
    frame, mask = make_frame(), make_mask(20, 40, 50, 90)
    assert isinstance(_describe([frame] * 200, [mask] * 200), str)
    with pytest.raises(InputError, match="pass fewer frames"):
        _describe([frame] * 300, [mask] * 300)


@pytest.mark.parametrize("prompt", ["What is it?", "<region> and <region>"])
def test_prompts_without_a_place_for_each_region_are_refused(prompt: str) -> None:
    with pytest.raises(InputError, match="times <region>"):
        _describe([make_frame()], [make_mask(1, 1, 20, 20)], prompt)


def test_reserved_tokens_in_a_prompt_are_refused_before_anything_runs() -> None:
    with pytest.raises(InputError, match="reserved"):
        _describe([make_frame()], [make_mask(1, 1, 20, 20)], "<region> <|im_end|>")


class TestPixelRefer:
    """The vision-object variant, from the same parts."""

    captioner = make_captioner(paradigm="vision_object")

    def test_answers_do_not_depend_on_the_batch(self) -> None:
        requests = [RegionRequest((make_region(seed, 1 + seed % 3),)) for seed in range(8)]
        together = self.captioner.describe(requests)
        assert len({answer.token_ids for answer in together}) > 4
        for request, answer in zip(requests, together, strict=True):
            assert self.captioner.describe([request])[0].token_ids == answer.token_ids

    def test_objects_have_as_many_tokens_as_cells_up_to_the_most(self) -> None:
        frame = make_frame(0, 400, 400)
        thin = Region.of([frame], [make_mask(200, 100, 201, 300, 400, 400)], None)
        wide = Region.of([frame], [make_mask(100, 100, 300, 300, 400, 400)], None)
        few, many = self.captioner.encode([thin, wide])
        assert 1 <= len(few.rows[0]) <= 8
        assert len(many.rows[0]) == 8

    def test_scenes_of_images_and_videos_differ(self) -> None:
        frame, mask = make_frame(0, 140, 140), make_mask(40, 40, 90, 90, 140, 140)
        image = self.captioner._encode_scene(RegionRequest.of([frame], [mask], None), {})
        video = self.captioner._encode_scene(RegionRequest.of([frame] * 2, [mask] * 2, [0.0, 1.0]), {})
        assert [len(rows) for rows in image.rows] == [100]
        # 140 px are 10 patches, 5 x 5 after merging; the second frame did not change: one token stays
        assert [len(rows) for rows in video.rows] == [25, 1]

    def test_objects_of_the_same_frames_share_their_scene(self, monkeypatch: pytest.MonkeyPatch) -> None:
        frames = [make_frame(0), make_frame(1)]
        masks = [make_mask(5 * place, 10, 5 * place + 20, 60) for place in range(4)]
        requests = [RegionRequest.of(frames, [mask] * 2, [0.0, 0.5]) for mask in masks]
        wanted = [self.captioner.describe([request])[0].token_ids for request in requests]
        encoded: list[int] = []
        project = self.captioner._network.project_scene

        def count(features: Tensor) -> Tensor:
            encoded.append(len(features))
            return project(features)

        monkeypatch.setattr(self.captioner._network, "project_scene", count)
        assert [answer.token_ids for answer in self.captioner.describe(requests)] == wanted
        assert len(encoded) == 2

    def test_empty_masks_and_stored_tokens_are_refused(self) -> None:
        frame = make_frame()
        with pytest.raises(InputError, match="mask is empty"):
            self.captioner.describe([RegionRequest.of([frame], [np.zeros((72, 128), bool)], None)])
        (tokens,) = self.captioner.encode([make_region(0)])
        with pytest.raises(InputError, match="reads the scene"):
            self.captioner.ask(tokens, "What is it?")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_gives_the_answers_of_the_cpu() -> None:
    """In float32, fresh and stored objects together."""
    gpu = PixelReferCaptioner(
        make_debug_network().to("cuda"), make_debug_tokenizer(), name="debug@1", max_new_tokens=12
    )
    (stored,) = CAPTIONER.encode([make_region(1)])
    pair = RegionRequest((make_region(0), stored), "What does <region> do to <region>?")
    requests = [*make_requests(6), pair]
    wanted = [answer.token_ids for answer in CAPTIONER.describe(requests)]
    assert [answer.token_ids for answer in gpu.describe(requests)] == wanted


def test_an_object_that_is_nowhere_is_told_from_the_scene_alone() -> None:
    empty = np.zeros((72, 128), bool)
    one, other = (RegionRequest.of([make_frame(seed)], [empty], [0.0]) for seed in (0, 1))
    answers = CAPTIONER.describe([one, other, *make_requests(1)])
    assert answers[0].token_ids != answers[1].token_ids
    assert answers[0].token_ids == CAPTIONER.describe([one])[0].token_ids
