"""Batches of paths told of objects that have pictures, by number; and held-out ones to be judged by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tubelet.model.pixelrefer.network import PixelRefer
from tubelet.model.pixelrefer.prompts import DESCRIBE_BRIEFLY, DESCRIBE_VIDEO
from tubelet.model.training.describe.batches import (
    MAX_TRIES,
    draw_kind,
    list_objects,
    open_features,
    reframe_path,
)
from tubelet.model.training.describe.paths import PathMoment, choose_views, draw_path, open_paths, place_views
from tubelet.model.training.describe.rendered import Kind, choose_best, draw_shift, introduce
from tubelet.model.training.describe.samples import Conversation, Exchange
from tubelet.model.training.describe.warm_up import open_pool
from tubelet.model.training.grammar.captions import say_brief, say_detailed
from tubelet.model.training.grammar.facts import MomentFacts, tell_moment
from tubelet.model.training.grammar.questions import ask_category, ask_colour, ask_turn
from tubelet.model.training.world.spec import Split
from tubelet.records import Turn

TURN_SHARE, DETAILED_SHARE = 0.55, 0.33
"""What a path is told by: its turn, a detailed caption, else a brief one."""

LOOKS_SHARE = 0.45
"""How often a question for the turn comes with one for the colour or the category."""

TIMED_SHARE = 0.75

JUDGED_KINDS: tuple[Kind, ...] = ("left", "right", "straight", "u")


@dataclass(frozen=True, slots=True, eq=False)
class PathSample:
    """A path of N views: mean features (N, C), places (N, 2), times; how it turns, and what is said.

    `aspect` is the frame's height over its width: it makes steps to the side as long as steps up and down.
    """

    looks_NC: NDArray[np.float32]
    places_N2: NDArray[np.float32]
    times_s: tuple[float, ...]
    aspect: float
    turn: Turn
    conversations: tuple[Conversation, ...]


Form = Literal["bare", "untimed", "timed"]
"""How much of a prompt is read: the views and the end; all but the times between views; everything."""


@dataclass(frozen=True, slots=True, eq=False)
class PathBatch:
    """Samples of one step, and how much of their prompts is read."""

    samples: tuple[PathSample, ...]
    form: Form = "untimed"


@dataclass(frozen=True, slots=True)
class PathBatches:
    """Makes the batch of a number from paths, and from a pool whose features were computed for the looks.

    Before the batch `bare_until` prompts are bare, and turns all that is asked for; from `timed_from` on all
    but one batch in four are timed.
    """

    paths: Path
    pool: Path
    num_shards: int
    features: Path
    shares: tuple[tuple[Kind, float], ...]
    batch_size: int
    bare_until: int = 0
    timed_from: int = 0
    seed: int = 0

    def __call__(self, number: int) -> PathBatch:
        generator = np.random.default_rng([self.seed, number])
        form: Form = "bare" if number < self.bare_until else "untimed"
        if number >= self.timed_from and generator.random() < TIMED_SHARE:
            form = "timed"
        samples = tuple(self._draw(form, generator) for _ in range(self.batch_size))
        return PathBatch(samples, form)

    def _draw(self, form: Form, generator: np.random.Generator) -> PathSample:
        paths = open_paths(self.paths)
        kind = draw_kind(self.shares, paths, generator)
        for _ in range(MAX_TRIES):
            path = draw_path(paths[kind], generator)
            if path is not None:
                return self.dress(reframe_path(path, generator), form, generator)
        raise AssertionError(f"no {kind} path can be told in {MAX_TRIES} tries; the paths are broken")

    def dress(self, path: PathMoment, form: Form, generator: np.random.Generator) -> PathSample:
        """The path told of an object with looks."""
        wardrobe = list_objects(self.pool, self.num_shards).wardrobe
        facts, owner = wardrobe.dress(path.facts, generator)
        looks_VC = open_looks(self.features, self.pool, self.num_shards)[owner]
        chosen = choose_views(len(looks_VC), len(path.times_s), generator)
        shift_s = draw_shift(generator)
        return PathSample(
            looks_VC[chosen],
            path.centres_N2.astype(np.float32),
            tuple(float(time_s) + shift_s for time_s in path.times_s),
            path.frame_size[1] / path.frame_size[0],
            facts.turn,
            tell_turn(facts, generator) if form == "bare" else tell_path(facts, generator),
        )

    def choose_judged(self, count: int) -> tuple[PathSample, ...]:
        """`count` whole paths of each of JUDGED_KINDS, exactly where they are; always the same ones."""
        generator = np.random.default_rng(0)
        samples: list[PathSample] = []
        for kind in JUDGED_KINDS:
            paths = open_paths(self.paths).get(kind, ())
            told = 0
            for at in generator.permutation(len(paths)).tolist():
                path = paths[at]
                facts = tell_moment(path, path.truth, path.truth.start_s, path.truth.end_s)
                if facts is not None and told < count:
                    within = np.array(choose_best(path.times_s, generator.random(len(path.times_s))))
                    samples.append(self.dress(place_views(path, facts, within), "timed", generator))
                    told += 1
        return tuple(samples)


def tell_turn(facts: MomentFacts, generator: np.random.Generator) -> tuple[Conversation, ...]:
    """The question for the turn alone."""
    return ((introduce(ask_turn(facts, generator)),),)


def tell_path(
    facts: MomentFacts, generator: np.random.Generator, split: Split = "train"
) -> tuple[Conversation, ...]:
    """One or two short conversations."""
    drawn = generator.random()
    if drawn < TURN_SHARE:
        told = [introduce(ask_turn(facts, generator, split))]
        if generator.random() < LOOKS_SHARE:
            ask = ask_colour if generator.random() < 0.5 else ask_category
            told.append(introduce(ask(facts, generator, split)))
    elif drawn < TURN_SHARE + DETAILED_SHARE:
        told = [Exchange(DESCRIBE_VIDEO, say_detailed(facts, generator, split))]
    else:
        told = [Exchange(DESCRIBE_BRIEFLY, say_brief(facts, generator, split))]
    return tuple((exchange,) for exchange in told)


@lru_cache(maxsize=4)
def open_looks(features: Path, pool: Path, num_shards: int) -> dict[tuple[int, int], NDArray[np.float32]]:
    """The mean features of every view of every object of a pool: (views, C) by clip and number."""
    kept, clips = open_features(features), open_pool(pool, num_shards)
    return {
        (number, owner): np.stack(
            [
                (part.crop[view.patches].astype(np.float32) * view.weights[..., None])
                .sum(axis=1)
                .mean(axis=0)
                for view, part in kept.get(number, owner, tuple(range(len(views))))
            ]
        )
        for number in range(len(clips))
        for owner, views in clips[number].views.items()
    }


def join_views(network: PixelRefer, samples: Sequence[PathSample]) -> Tensor:
    """A decoder's input for every view of the samples, one after another: (views, D), in full precision.

    A view is the mean of its features and one place, without the surroundings.
    """
    encoder, device = network.region_encoder, network.device
    places_N2 = torch.from_numpy(np.concatenate([sample.places_N2 for sample in samples])).to(device)
    looks_NC = torch.from_numpy(np.concatenate([sample.looks_NC for sample in samples])).to(device)
    with torch.autocast(device.type, enabled=False):  # 8 bits of a place are too few
        placed_NC = looks_NC.to(network.dtype) + encoder.pos_linear(places_N2.to(network.dtype))
        return encoder.project(placed_NC)


def measure_turns(samples: Sequence[PathSample], said: Sequence[Turn]) -> dict[str, float]:
    """Shares of right turns by how the paths turn; "score" is their mean."""
    right: dict[str, list[bool]] = {}
    for sample, turn in zip(samples, said, strict=True):
        right.setdefault(sample.turn, []).append(sample.turn == turn)
    shares = {turn: float(np.mean(found)) for turn, found in sorted(right.items())}
    return {**shares, "score": float(np.mean(list(shares.values())))}
