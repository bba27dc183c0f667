"""Which way objects face, learnt from rendered clips as the pipeline sees them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tubelet.errors import InputError
from tubelet.model.categories import WORDS
from tubelet.model.describing.facing import make_facing_network
from tubelet.model.describing.facing_reader import mirror_way
from tubelet.model.describing.kinds import KindReader, make_kind_network
from tubelet.model.describing.sights import SightNetwork, look
from tubelet.model.describing.turning import MIRRORED_WAYS, WAYS, TurnReader
from tubelet.model.training.describe.facing import (
    HEADLESS,
    fit_facing,
    fit_reader,
    gather_ways,
    measure_loss,
)
from tubelet.model.training.describe.kinds import fit_kinds
from tubelet.model.training.describe.pool import PoolPlan
from tubelet.model.training.describe.sights import gather_views
from tubelet.model.training.describe.watching import WatchedObject, iterate_watched, make_watched
from tubelet.model.training.world import ClipSpec, render_clip
from tubelet.model.trajectory.shape import NUM_NUMBERS
from tubelet.orchestration.kept_views import keep_views
from tubelet.workers.evidence import decode_view

SPEC = ClipSpec(num_frames=12, frame_rate=3.0, width=160, height=96, theme="traffic")
WATCHED = PoolPlan(24, (SPEC,), first_seed=7, clips_per_shard=8)


def make(folder: Path, plan: PoolPlan = WATCHED) -> Path:
    make_watched(folder, plan, render_clip, keep_views, decode_view)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("watched"))


@pytest.fixture(scope="module")
def watched(folder: Path) -> list[WatchedObject]:
    return list(iterate_watched(folder))


def make_turns() -> TurnReader:
    """Knows nothing: all ways are as likely."""
    return TurnReader((np.zeros((NUM_NUMBERS, len(WAYS)), np.float32),), (np.zeros(len(WAYS), np.float32),))


def test_objects_are_watched_as_they_are_indexed(watched: list[WatchedObject]) -> None:
    assert len(watched) > 30
    for item in watched:
        assert len(item.pictures_NSS4) == len(item.places_N6) == len(item.facing_N) == len(item.times_N)
        assert (np.diff(item.times_N) > 0).all()
        for stretch in item.stretches:
            assert 2 <= len(stretch.views) <= 8
            assert list(stretch.views) == sorted(set(stretch.views))
            assert stretch.shape_F.shape == (NUM_NUMBERS,)
    ways = {WAYS[stretch.way] for item in watched for stretch in item.stretches}
    assert {"left", "right", "none", "still"} <= ways


def test_making_goes_on_with_what_is_there(folder: Path, tmp_path: Path) -> None:
    again = make(tmp_path, replace(WATCHED, num_clips=8))
    assert (again / "00000.arrow").read_bytes() == (folder / "00000.arrow").read_bytes()
    with pytest.raises(InputError, match="another plan"):
        make(again, WATCHED)


def test_headings_are_learnt_and_the_same_again(watched: list[WatchedObject]) -> None:
    one, other = (fit_facing(watched, num_epochs=2, seed=1).state_dict() for _ in range(2))
    assert all(torch.equal(one[name], other[name]) for name in one)
    network = fit_facing(watched, num_epochs=25, seed=1)
    sights = gather_views(
        (item for item in watched if item.category not in HEADLESS), lambda item: item.facing_N
    )
    pictures = sights.pictures_NSS4.permute(0, 3, 1, 2).float() / 255
    with torch.inference_mode():
        learnt, untaught = (
            float(measure_loss(each(pictures, sights.places_N6), sights.truth_N))
            for each in (network, make_facing_network(normed=True).fold())
        )
    assert learnt < untaught - 0.2


def test_kinds_are_learnt_and_the_same_again(watched: list[WatchedObject]) -> None:
    few = watched[:12]
    one, other = (fit_kinds(few, num_epochs=2, seed=1) for _ in range(2))
    assert one.names == other.names == tuple(sorted({WORDS[item.category] for item in few}))
    states = one.network.state_dict(), other.network.state_dict()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    untaught = replace(one, network=make_kind_network(len(one.names), normed=True).fold())
    learnt, guessed = (
        np.mean([weigh_truth(reader, item) for item in few])
        for reader in (fit_kinds(few, num_epochs=40, seed=1), untaught)
    )
    assert learnt > guessed + 0.2


def weigh_truth(reader: KindReader, item: WatchedObject) -> float:
    """The logarithm of how likely the true category is."""
    logits_NK = look(reader.network, item.pictures_NSS4, item.places_N6, range(len(reader.names)))
    told_K = logits_NK.log_softmax(dim=1).mean(dim=0)
    return float(told_K[reader.names.index(WORDS[item.category])])


def test_what_tells_a_way_comes_with_its_mirror_image(watched: list[WatchedObject]) -> None:
    network = make_facing_network(normed=True).fold()
    numbers, ways = gather_ways(network, make_turns(), watched)
    assert len(numbers) == 2 * sum(len(item.stretches) for item in watched)
    assert [MIRRORED_WAYS[way] for way in ways[::2]] == list(ways[1::2])
    for one, other in zip(numbers[::2], numbers[1::2], strict=True):
        assert mirror_way(one) == pytest.approx(other, abs=1e-5)


def test_who_knows_headings_learns_ways(
    watched: list[WatchedObject], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With true headings in place of guessed ones most turns are told, by a path that tells nothing."""
    true = {item.pictures_NSS4.tobytes(): item.facing_N for item in watched}

    def know(_network: SightNetwork, pictures: np.ndarray, _places: np.ndarray) -> np.ndarray:
        headings = np.round(true[pictures.tobytes()] / (2 * np.pi) * 24).astype(int) % 24
        return np.eye(24, dtype=np.float32)[headings]

    monkeypatch.setattr("tubelet.model.training.describe.facing.face", know)
    network = make_facing_network(normed=True).fold()
    reader = fit_reader(network, make_turns(), watched, seed=1)
    numbers, ways = gather_ways(network, make_turns(), watched)
    told = np.array([WAYS.index(reader.judge(own).name) for own in numbers])
    turning = (ways == WAYS.index("left")) | (ways == WAYS.index("right"))
    assert turning.sum() > 10
    assert np.mean(told[turning] == ways[turning]) > 0.8


def test_what_has_no_front_teaches_nothing(watched: list[WatchedObject], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has a front"):
        fit_facing([replace(item, category="ball") for item in watched[:3]], num_epochs=1, seed=1)
    with pytest.raises(InputError, match="long enough"):
        gather_ways(
            make_facing_network(), make_turns(), [replace(item, stretches=()) for item in watched[:3]]
        )
    with pytest.raises(InputError, match="no watched objects"):
        next(iterate_watched(tmp_path))
