"""Batches of rendered moments by number: what is drawn depends on the seed and the number alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tubelet.model.training.describe.features import FeaturePool, join_region
from tubelet.model.training.describe.pool import Pool
from tubelet.model.training.describe.rendered import Moment, draw_image, draw_moment, draw_pair, list_pairs
from tubelet.model.training.describe.samples import PreparedRegion, PreparedSample
from tubelet.model.training.describe.warm_up import open_pool

Kind = Literal["image", "left", "right", "u", "straight", "other", "pair"]

MAX_TRIES = 20
MAX_SHIFT = 0.25
SCALES = (0.75, 1.35)
MAX_ROTATION_DEG = 40.0
"""Places of a moment are moved, scaled and rotated together, as if the camera framed it otherwise: a turn
stays one, and only the path can tell it."""


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Which objects of a pool suit each kind of sample: (clip, number)."""

    objects: Mapping[Kind, tuple[tuple[int, int], ...]]


@dataclass(frozen=True, slots=True)
class MomentBatches:
    """Makes the batch of a number from pools whose features were computed.

    `shares` says how often each kind is drawn. `moved` varies the places, and must be set where moments may
    be mirrored.
    """

    pool: Path
    num_shards: int
    features: Path
    shares: tuple[tuple[Kind, float], ...]
    batch_size: int
    seed: int = 0
    moved: bool = True

    def __call__(self, number: int) -> list[PreparedSample]:
        generator = np.random.default_rng([self.seed, number])
        return [self._draw(generator) for _ in range(self.batch_size)]

    def _draw(self, generator: np.random.Generator) -> PreparedSample:
        catalogue = list_objects(self.pool, self.num_shards)
        usable = [(kind, share) for kind, share in self.shares if catalogue.objects.get(kind)]
        total = sum(share for _, share in usable)
        kind = usable[int(generator.choice(len(usable), p=[share / total for _, share in usable]))][0]
        for _ in range(MAX_TRIES):
            owners = catalogue.objects[kind]
            clip_number, number = owners[int(generator.integers(len(owners)))]
            clip = open_pool(self.pool, self.num_shards)[clip_number]
            if kind == "image":
                moment: Moment | None = draw_image(clip, number, generator)
            elif kind == "pair":
                moment = draw_pair(clip, list_pairs(clip), generator)
            else:
                moment = draw_moment(clip, number, generator)
            if moment is not None:
                regions = [
                    self._prepare(
                        clip_number, owner, places, [clip.views[owner][p].time_s for p in places], moment
                    )
                    for owner, places in zip(moment.numbers, moment.places, strict=True)
                ]
                if self.moved:
                    regions = move_places(regions, clip.frame_size, generator, mirrored=moment.mirrored)
                return PreparedSample(tuple(regions), moment.conversations)
        raise AssertionError(f"no {kind} moment can be told in {MAX_TRIES} tries; the pool is broken")

    def _prepare(
        self, clip: int, number: int, places: tuple[int, ...], times_s: Sequence[float], moment: Moment
    ) -> PreparedRegion:
        kept = open_features(self.features).get(clip, number, places)
        times = tuple(time_s + moment.shift_s for time_s in times_s) if moment.is_video else None
        return join_region(kept, times)


def move_places(
    regions: Sequence[PreparedRegion],
    frame_size: tuple[int, int],
    generator: np.random.Generator,
    *,
    mirrored: bool,
) -> list[PreparedRegion]:
    """All regions' places changed alike; `mirrored` swaps left and right.

    A place is (row / width, column / height) of the frame, as the published model has it: it is rotated in
    pixels, so that angles stay what they are.
    """
    width, height = frame_size
    sides_2 = np.array([width - 1, height - 1], np.float64)
    angle = np.radians(generator.uniform(-MAX_ROTATION_DEG, MAX_ROTATION_DEG))
    turn_22 = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    turn_22 *= generator.uniform(*SCALES)
    if mirrored:
        turn_22 = turn_22 * (1.0, -1.0)
    shift_2 = generator.uniform(-MAX_SHIFT, MAX_SHIFT, 2)

    def move(places_P2: NDArray[np.float32]) -> NDArray[np.float32]:
        centred_P2 = (places_P2.astype(np.float64) - 0.5) * sides_2
        moved: NDArray[np.float32] = (centred_P2 @ turn_22.T / sides_2 + 0.5 + shift_2).astype(np.float32)
        return moved

    return [
        replace(region, views=tuple(replace(view, places=move(view.places)) for view in region.views))
        for region in regions
    ]


@lru_cache(maxsize=4)
def open_features(folder: Path) -> FeaturePool:
    """Features, opened once in each process."""
    return FeaturePool(folder)


@lru_cache(maxsize=4)
def list_objects(folder: Path, num_shards: int) -> Catalogue:
    """Look through a pool once: what each object does."""
    pool: Pool = open_pool(folder, num_shards)
    found: dict[Kind, list[tuple[int, int]]] = {}
    for number in range(len(pool)):
        clip = pool[number]
        if list_pairs(clip):
            found.setdefault("pair", []).append((number, 0))
        for owner, views in clip.views.items():
            found.setdefault("image", []).append((number, owner))
            if len(views) < 3:
                continue
            truth = clip.find(owner)
            actions = {phase.action for phase in truth.actions}
            kind: Kind = "other"
            if truth.turn != "none":
                kind = truth.turn
            elif actions <= {"straight", "lane-change-left", "lane-change-right", "cross"}:
                kind = "straight"
            found.setdefault(kind, []).append((number, owner))
    return Catalogue({kind: tuple(owners) for kind, owners in found.items()})
