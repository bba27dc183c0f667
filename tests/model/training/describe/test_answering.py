"""The loss is what inference says of the same answer, in any company."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from tubelet.errors import InputError
from tubelet.model.pixelrefer.captioner import PixelReferCaptioner, RegionRequest, phrase_question
from tubelet.model.pixelrefer.config import PixelReferConfig, read_config, write_config
from tubelet.model.pixelrefer.debug import DEBUG_CONFIG, make_debug_network, make_debug_tokenizer
from tubelet.model.pixelrefer.network import PixelRefer
from tubelet.model.pixelrefer.prompts import DESCRIBE_IMAGE, DESCRIBE_VIDEO
from tubelet.model.pixelrefer.regions import Region
from tubelet.model.training.describe.answering import AnswerModel
from tubelet.model.training.describe.samples import Exchange, PreparedSample, Sample, prepare_sample

CONFIG = dataclasses.replace(DEBUG_CONFIG, scene_px=56, local_px=42, crop_padding_px=7, max_region_cells=20)


@pytest.fixture(scope="module")
def network() -> PixelRefer:
    return make_debug_network(config=CONFIG)


def make_region(seed: int, num_frames: int = 2, *, is_video: bool = True) -> Region:
    generator = np.random.default_rng(seed)
    frames = [generator.integers(0, 255, (72, 128, 3), dtype=np.uint8) for _ in range(num_frames)]
    masks = [np.zeros((72, 128), bool) for _ in frames]
    for step, mask in enumerate(masks):
        mask[20 + step : 50 + seed, 30 + 2 * step : 70] = True
    return Region.of(frames, masks, [0.5 * n for n in range(num_frames)] if is_video else None)


def measure(network: PixelRefer, batch: list[PreparedSample]) -> float:
    return float(AnswerModel(network, make_debug_tokenizer())(batch)["loss"])


def score(network: PixelRefer, region: Region, prompt: str, answer: str) -> float:
    captioner = PixelReferCaptioner(network, make_debug_tokenizer(), name="debug@0")
    return captioner.choose(RegionRequest((region,), prompt), [answer])[0].log_prob


def test_the_loss_is_the_captioners_score(network: PixelRefer) -> None:
    region = make_region(0)
    told = [
        (DESCRIBE_VIDEO, "A red car turns left."),
        (phrase_question(region, "What is it?"), "A car."),
        (phrase_question(region, "What colour is it?"), "Red."),
    ]
    sample = Sample((region,), tuple((Exchange(*pair),) for pair in told))
    expected = -sum(score(network, region, *pair) for pair in told)
    num_tokens = sum(len(answer) + 1 for _, answer in told)  # the debug tokenizer spells bytes; and the end
    loss = measure(network, [prepare_sample(sample, CONFIG)])
    assert loss == pytest.approx(expected / num_tokens, rel=1e-5)


def test_batches_of_unequal_samples_are_their_mean(network: PixelRefer) -> None:
    video, image = make_region(0, 3), make_region(1, 1, is_video=False)
    samples = [
        Sample((video,), ((Exchange(DESCRIBE_VIDEO, "It waits."),),)),
        Sample((image,), ((Exchange(DESCRIBE_IMAGE, "A dog, small."),),)),
    ]
    prepared = [prepare_sample(sample, CONFIG) for sample in samples]
    single = [measure(network, [sample]) for sample in prepared]
    counts = [len("It waits.") + 1, len("A dog, small.") + 1]
    expected = float(np.average(single, weights=counts))
    assert measure(network, prepared) == pytest.approx(expected, rel=1e-5)


def test_a_later_turn_sees_the_earlier_one(network: PixelRefer) -> None:
    region = make_region(0)
    opening = Exchange(phrase_question(region, "What is it?"), "A car.")
    later = Exchange("And its colour?", "Red.")
    both = measure(network, [prepare_sample(Sample((region,), ((opening, later),)), CONFIG)])
    swapped = dataclasses.replace(opening, answer="A bus.")
    other = measure(network, [prepare_sample(Sample((region,), ((swapped, later),)), CONFIG)])
    first = measure(network, [prepare_sample(Sample((region,), ((opening,),)), CONFIG)])
    first_other = measure(network, [prepare_sample(Sample((region,), ((swapped,),)), CONFIG)])
    second = both * 12 - first * 7  # 7 tokens of the first answer, 5 of the second
    second_other = other * 12 - first_other * 7
    assert second != pytest.approx(second_other, rel=1e-4)


def test_conversations_beside_each_other_do_not_see_each_other(network: PixelRefer) -> None:
    region = make_region(0)
    asked = Exchange(phrase_question(region, "What is it?"), "A car.")
    described = Exchange(DESCRIBE_VIDEO, "It is red.")
    alone = [
        measure(network, [prepare_sample(Sample((region,), ((e,),)), CONFIG)]) for e in (asked, described)
    ]
    together = measure(network, [prepare_sample(Sample((region,), ((asked,), (described,))), CONFIG)])
    assert together == pytest.approx(float(np.average(alone, weights=[7, 11])), rel=1e-5)


def test_two_objects_and_every_part_learns(network: PixelRefer) -> None:
    regions = (make_region(0), make_region(2))
    sample = Sample(regions, ((Exchange("What does <region> do to <region>?", "It follows it."),),))
    trained = make_debug_network(config=CONFIG).requires_grad_(True)
    model = AnswerModel(trained, make_debug_tokenizer())
    model([prepare_sample(sample, CONFIG)])["loss"].backward()
    without = [name for name, p in trained.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    # A key's bias moves all scores of a query alike: softmax takes it out again.
    assert [name for name in without if not name.endswith("k_proj.bias")] == []


def test_a_conversation_must_name_every_region(network: PixelRefer) -> None:
    sample = Sample((make_region(0), make_region(1)), ((Exchange("What is <region>?", "A car."),),))
    with pytest.raises(InputError, match="names 1 of 2 regions"):
        measure(network, [prepare_sample(sample, CONFIG)])


def test_an_answer_cannot_spell_a_special_token(network: PixelRefer) -> None:
    sample = Sample((make_region(0),), ((Exchange(DESCRIBE_VIDEO, "A <|im_end|> car."),),))
    with pytest.raises(InputError, match="reserved token"):
        measure(network, [prepare_sample(sample, CONFIG)])


def test_picture_sizes_are_written_and_read(network: PixelRefer) -> None:
    published, preprocessor = write_config(CONFIG)
    assert published["scene_image_size"] == 56
    assert read_config(published, preprocessor=preprocessor) == CONFIG
    older = {name: value for name, value in published.items() if "size" not in name or name.startswith("hid")}
    sizes = read_config({**older, "vocab_size": 1, "intermediate_size": 1}, preprocessor=preprocessor)
    assert (sizes.scene_px, sizes.local_px) == (336, 224), "what the published checkpoints do not say"
    assert isinstance(sizes, PixelReferConfig)


def test_smaller_pictures_are_fewer_patches(network: PixelRefer) -> None:
    view = prepare_sample(Sample((make_region(0),), ((Exchange(DESCRIBE_VIDEO, "."),),)), CONFIG)
    first = view.regions[0].views[0]
    assert first.scene.shape == (56, 56, 3)
    assert first.local.shape == (42, 42, 3)
    wide = prepare_sample(
        Sample((make_region(0),), ((Exchange(DESCRIBE_VIDEO, "."),),)),
        dataclasses.replace(CONFIG, crop_padding_px=28),
    )
    assert wide.regions[0].views[0].crop.size > first.crop.size
    assert np.array_equal(wide.regions[0].views[0].local, first.local), "the surroundings stay what they are"


def test_gradients_flow_where_something_is_frozen(network: PixelRefer) -> None:
    trained = make_debug_network(config=CONFIG).requires_grad_(True)
    trained.vision.requires_grad_(False)
    sample = prepare_sample(Sample((make_region(0),), ((Exchange(DESCRIBE_VIDEO, "A car."),),)), CONFIG)
    AnswerModel(trained, make_debug_tokenizer())([sample])["loss"].backward()
    assert all(p.grad is None for p in trained.vision.parameters())
    assert torch.isfinite(trained.region_encoder.pos_linear.weight.grad).all()
