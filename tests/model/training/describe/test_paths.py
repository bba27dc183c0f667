"""Paths without pictures: drawn by number, told of things with looks, and learnt from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.model.training.describe.conftest import CONFIG, PLAN, SPEC
from tubelet.errors import InputError
from tubelet.model.pixelrefer.network import PixelRefer
from tubelet.model.pixelrefer.prompts import DESCRIBE_VIDEO, PLACEHOLDER, PromptTokenizer, RegionRows
from tubelet.model.training.describe.answering import lay_out
from tubelet.model.training.describe.batches import MomentBatches, reframe_path
from tubelet.model.training.describe.features import make_features
from tubelet.model.training.describe.motion_stage import MotionModel, begin_with_places, guide
from tubelet.model.training.describe.path_batches import (
    Form,
    PathBatch,
    PathBatches,
    PathSample,
    measure_turns,
)
from tubelet.model.training.describe.paths import draw_path, make_paths, open_paths
from tubelet.model.training.describe.pool import Pool, PoolPlan
from tubelet.model.training.describe.run import make_network, make_tokenizer
from tubelet.model.training.describe.samples import Exchange
from tubelet.model.training.describe.word_stage import WordModel, thin_layout
from tubelet.model.training.world import trace_clip
from tubelet.records import Turn
from tubelet.workers.evidence import decode_view

PATHS = PoolPlan(40, (replace(SPEC, num_frames=10),), first_seed=900, clips_per_shard=20)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> PromptTokenizer:
    folder = tmp_path_factory.mktemp("tokenizer")
    return make_tokenizer(folder, seed=0, vocab_size=CONFIG.vocab_size, count=100)


@pytest.fixture(scope="module")
def network(tokenizer: PromptTokenizer) -> PixelRefer:
    return make_network(CONFIG, tokenizer, seed=0)


@pytest.fixture(scope="module")
def batches(network: PixelRefer, pool_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> PathBatches:
    folder = tmp_path_factory.mktemp("paths")
    make_features(network, Pool(pool_folder), decode_view, folder / "features")
    make_paths(folder / "paths", PATHS, trace_clip)
    shares = (("left", 0.4), ("right", 0.4), ("straight", 0.2))
    return PathBatches(
        folder / "paths",
        pool_folder,
        PLAN.num_shards,
        folder / "features",
        shares,
        6,
        bare_until=1,
        timed_from=2,
    )


def make_sample(turn: Turn, *, speed: float = 0.1) -> PathSample:
    """Up the picture, then to a side."""
    side = {"left": -1.0, "right": 1.0, "none": 0.0}[turn]
    steps = np.array([(-1.0, 0.0)] * 3 + [(-1.0, 0.0) if turn == "none" else (0.0, side)] * 3)
    places = np.concatenate([[(0.6, 0.5)], (0.6, 0.5) + speed * np.cumsum(steps, axis=0)])
    looks = np.zeros((len(places), CONFIG.vision_width), np.float32)
    return PathSample(
        looks, places.astype(np.float32), tuple(0.5 * n for n in range(len(places))), 1.0, turn, ()
    )


def test_a_batch_depends_on_its_number_alone(batches: PathBatches) -> None:
    first, again, other = batches(4), batches(4), batches(5)
    for one, two in zip(first.samples, again.samples, strict=True):
        assert np.array_equal(one.places_N2, two.places_N2)
        assert np.array_equal(one.looks_NC, two.looks_NC)
        assert one.conversations == two.conversations
    assert not np.array_equal(first.samples[0].places_N2[:3], other.samples[0].places_N2[:3])
    assert [batches(number).form for number in range(2)] == ["bare", "untimed"]
    assert {batches(number).form for number in range(2, 22)} == {"untimed", "timed"}
    asked = [talk[0].prompt for sample in batches(0).samples for talk in sample.conversations]
    assert all("turn" in prompt for prompt in asked), "bare prompts are the same for all questions"


def test_a_mirrored_path_turns_the_other_way(batches: PathBatches) -> None:
    generator = np.random.default_rng(0)
    seen = set()
    while len(seen) < 2:
        path = draw_path(open_paths(batches.paths)["left"], generator)
        if path is None or path.facts.turn != "left":
            continue
        framed = reframe_path(path, generator)
        seen.add(framed.facts.turn)
        assert framed.facts.turn in ("left", "right")
        assert measure_bend(framed.centres_N2, framed.frame_size) == pytest.approx(
            measure_bend(path.centres_N2, path.frame_size) * (1 if framed.facts.turn == "left" else -1)
        )


def measure_bend(centres_N2: np.ndarray, frame_size: tuple[int, int]) -> float:
    """The angle from the first step to the last, in the picture."""
    steps = np.diff(centres_N2 * (np.array(frame_size) - 1), axis=0)
    first, last = (complex(column, -row) for row, column in (steps[0], steps[-1]))
    return float(np.angle(last / first))


def test_paths_of_nothing_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no paths"):
        open_paths(tmp_path)


def test_guides_are_the_steps_and_bends_of_the_path() -> None:
    samples = [make_sample("left"), make_sample("right"), make_sample("none")]
    samples[2] = replace(samples[2], places_N2=samples[2].places_N2[:4], looks_NC=samples[2].looks_NC[:4])
    inside_BT = torch.tensor([[True] * 7, [True] * 7, [True] * 4 + [False] * 3])
    step_BT2, bend_BT2, told_BT = guide(samples, inside_BT)
    torch.testing.assert_close(step_BT2[0, 0], torch.tensor([-1.0, 0.0]))
    torch.testing.assert_close(step_BT2[0, 5], torch.tensor([0.0, -1.0]))
    torch.testing.assert_close(bend_BT2[0, 5], -bend_BT2[1, 5], atol=1e-5, rtol=0)
    torch.testing.assert_close(bend_BT2[0, 1], torch.tensor([1.0, 0.0]), atol=1e-5, rtol=0)
    assert told_BT[2].tolist() == [True] * 3 + [False] * 3


def test_turns_are_learnt_from_paths(tokenizer: PromptTokenizer) -> None:
    """Three kinds of paths at many speeds: a hundred steps suffice, and mirrored ones are told apart."""
    network = make_network(CONFIG, tokenizer, seed=1)
    begin_with_places(network.region_encoder, 1)
    torch.manual_seed(1)
    model = MotionModel(network.requires_grad_(True))
    generator = np.random.default_rng(0)
    turns: tuple[Turn, ...] = ("left", "right", "none")

    def draw(count: int) -> tuple[PathSample, ...]:
        return tuple(
            make_sample(turns[int(generator.integers(3))], speed=float(generator.uniform(0.05, 0.2)))
            for _ in range(count)
        )

    judged = draw(60)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    lost = []
    for _ in range(60):
        losses = model(PathBatch(draw(24)))
        optimizer.zero_grad()
        losses["loss"].backward()
        optimizer.step()
        lost.append(losses["loss"].item())
    after = measure_turns(judged, model.judge(judged))
    assert after["score"] > 0.95, after
    assert lost[-1] < 0.5 * lost[0], lost


def test_a_thinned_prompt_keeps_positions_and_answers(tokenizer: PromptTokenizer) -> None:
    rows = RegionRows(
        tuple(torch.full((3, 8), float(view)) for view in range(4)), tuple(1.5 * view for view in range(4))
    )
    told = ((Exchange(DESCRIBE_VIDEO, "A red car turns left."),), (Exchange(DESCRIBE_VIDEO, "A car."),))
    whole = lay_out(tokenizer, [rows], told)
    by_place = dict(zip(zip(whole.part, whole.position, strict=True), whole.prompt.token_ids, strict=True))
    lengths = []
    forms: tuple[Form, ...] = ("bare", "untimed", "timed")
    for form in forms:
        thin = thin_layout(whole, form)
        assert thin.prompt.token_ids.count(PLACEHOLDER) == 4
        assert thin.prompt.rows[:, 0].tolist() == [0.0, 1.0, 2.0, 3.0]
        assert sum(thin.learnt) == sum(whole.learnt)
        for part, position, token in zip(thin.part, thin.position, thin.prompt.token_ids, strict=True):
            assert by_place[part, position] == token
        text = tokenizer.decode([token for token in thin.prompt.token_ids if token != PLACEHOLDER])
        assert ("4.5" in text) == (form == "timed")
        assert ("Please describe" in text) == (form != "bare")
        lengths.append(len(thin.part))
    assert lengths == sorted(set(lengths))


def test_words_are_judged_by_the_likeliest_answer(network: PixelRefer, tokenizer: PromptTokenizer) -> None:
    model = WordModel(network, tokenizer)
    samples = [make_sample("left"), make_sample("right")]
    said = model.judge(samples)
    assert said == [model.judge([sample])[0] for sample in samples], "in any company"


def test_moments_follow_paths(batches: PathBatches) -> None:
    """With all of them on paths, the views lie where the paths' boxes are, and are told what those do."""
    moments = MomentBatches(
        batches.pool,
        batches.num_shards,
        batches.features,
        (("left", 1.0),),
        8,
        moved=False,
        paths=batches.paths,
        path_share=1.0,
    )
    for sample in moments(0):
        (region,) = sample.regions
        assert region.times_s is not None
        assert len(region.views) == len(region.times_s)
        said = " ".join(exchange.answer for talk in sample.conversations for exchange in talk)
        assert "left" in said or "right" in said
        assert all(np.isfinite(view.places).all() for view in region.views)
