"""Batches of rendered moments by number: what is drawn depends on the seed and the number alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tubelet.model.training.describe.features import FeaturePool, join_region
from tubelet.model.training.describe.paths import (
    ObjectPath,
    PathMoment,
    Wardrobe,
    choose_views,
    draw_path,
    move_path,
    open_paths,
)
from tubelet.model.training.describe.pool import Pool
from tubelet.model.training.describe.rendered import (
    MIRRORED_SHARE,
    Kind,
    Moment,
    draw_image,
    draw_moment,
    draw_pair,
    draw_shift,
    list_pairs,
    name_kind,
    talk_about,
)
from tubelet.model.training.describe.samples import PreparedRegion, PreparedSample
from tubelet.model.training.describe.warm_up import open_pool
from tubelet.model.training.grammar.facts import ThingFacts, tell_thing
from tubelet.model.training.grammar.words import MOVERS, Mover

MAX_TRIES = 20
MAX_SHIFT = 0.25
SCALES = (0.75, 1.35)
MAX_ROTATION_DEG = 40.0
"""Places of a moment are moved, scaled and rotated together, as if the camera framed it otherwise: a turn
stays one, and only the path can tell it."""


MIN_SPREAD = 1e-3
"""Patches of a crop of one row or column lie this far apart, for division."""


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Which objects of a pool suit each kind of sample: (clip, number); and all of them, as a wardrobe."""

    objects: Mapping[Kind, tuple[tuple[int, int], ...]]
    wardrobe: Wardrobe


@dataclass(frozen=True, slots=True)
class MomentBatches:
    """Makes the batch of a number from pools whose features were computed.

    `shares` says how often each kind is drawn. `moved` varies the places, and must be set where moments may
    be mirrored. Of the moments of one object `path_share` follow paths from `paths` instead of their own.
    """

    pool: Path
    num_shards: int
    features: Path
    shares: tuple[tuple[Kind, float], ...]
    batch_size: int
    seed: int = 0
    moved: bool = True
    paths: Path | None = None
    path_share: float = 0.0

    def __call__(self, number: int) -> list[PreparedSample]:
        generator = np.random.default_rng([self.seed, number])
        return [self._draw(generator) for _ in range(self.batch_size)]

    def _draw(self, generator: np.random.Generator) -> PreparedSample:
        owners = list_objects(self.pool, self.num_shards).objects
        paths = open_paths(self.paths) if self.paths is not None and self.path_share else {}
        kind = draw_kind(self.shares, {**paths, **owners}, generator)
        for _ in range(MAX_TRIES):
            follows = kind in paths and (kind not in owners or generator.random() < self.path_share)
            sample = (
                self._draw_on_path(paths[kind], generator)
                if follows
                else self._draw_own(kind, owners[kind], generator)
            )
            if sample is not None:
                return sample
        raise AssertionError(f"no {kind} moment can be told in {MAX_TRIES} tries; the pool is broken")

    def _draw_own(
        self, kind: Kind, owners: Sequence[tuple[int, int]], generator: np.random.Generator
    ) -> PreparedSample | None:
        """One of the objects, or two, as their clip shows them."""
        clip_number, number = owners[int(generator.integers(len(owners)))]
        clip = open_pool(self.pool, self.num_shards)[clip_number]
        if kind == "image":
            moment: Moment | None = draw_image(clip, number, generator)
        elif kind == "pair":
            moment = draw_pair(clip, list_pairs(clip), generator)
        else:
            moment = draw_moment(clip, number, generator)
        if moment is None:
            return None
        regions = [
            self._prepare(clip_number, owner, places, [clip.views[owner][p].time_s for p in places], moment)
            for owner, places in zip(moment.numbers, moment.places, strict=True)
        ]
        if self.moved:
            regions = move_places(regions, clip.frame_size, generator, mirrored=moment.mirrored)
        return PreparedSample(tuple(regions), moment.conversations)

    def _draw_on_path(
        self, paths: Sequence[ObjectPath], generator: np.random.Generator
    ) -> PreparedSample | None:
        """An object of the pool on a path that moves as it could."""
        path = draw_path(paths, generator)
        if path is None:
            return None
        path = reframe_path(path, generator)
        wardrobe = list_objects(self.pool, self.num_shards).wardrobe
        facts, (clip_number, owner) = wardrobe.dress(path.facts, generator)
        num_views = len(open_pool(self.pool, self.num_shards)[clip_number].views[owner])
        places = tuple(choose_views(num_views, len(path.times_s), generator))
        kept = open_features(self.features).get(clip_number, owner, places)
        shift_s = draw_shift(generator)
        region = join_region(kept, tuple(float(time_s) + shift_s for time_s in path.times_s))
        return PreparedSample((put_on_path(region, path),), talk_about(facts, generator, "train"))

    def _prepare(
        self, clip: int, number: int, places: tuple[int, ...], times_s: Sequence[float], moment: Moment
    ) -> PreparedRegion:
        kept = open_features(self.features).get(clip, number, places)
        times = tuple(time_s + moment.shift_s for time_s in times_s) if moment.is_video else None
        return join_region(kept, times)


def draw_kind(
    shares: Sequence[tuple[Kind, float]], found: Mapping[Kind, object], generator: np.random.Generator
) -> Kind:
    """A kind by its share, among those of which something was found."""
    usable = [(kind, share) for kind, share in shares if found.get(kind)]
    total = sum(share for _, share in usable)
    return usable[int(generator.choice(len(usable), p=[share / total for _, share in usable]))][0]


def draw_framing(
    frame_size: tuple[int, int], generator: np.random.Generator, *, mirrored: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Another way to frame a moment: a rotation with scale, (2, 2) in pixels, and a shift of places."""
    angle = np.radians(generator.uniform(-MAX_ROTATION_DEG, MAX_ROTATION_DEG))
    turn_22 = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    turn_22 *= generator.uniform(*SCALES)
    if mirrored:
        turn_22 = turn_22 * (1.0, -1.0)
    return turn_22, generator.uniform(-MAX_SHIFT, MAX_SHIFT, 2)


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
    turn_22, shift_2 = draw_framing(frame_size, generator, mirrored=mirrored)
    sides_2 = np.array(frame_size, np.float64) - 1

    def move(places_P2: NDArray[np.float32]) -> NDArray[np.float32]:
        centred_P2 = (places_P2.astype(np.float64) - 0.5) * sides_2
        moved: NDArray[np.float32] = (centred_P2 @ turn_22.T / sides_2 + 0.5 + shift_2).astype(np.float32)
        return moved

    return [
        replace(region, views=tuple(replace(view, places=move(view.places)) for view in region.views))
        for region in regions
    ]


def reframe_path(path: PathMoment, generator: np.random.Generator) -> PathMoment:
    """The path as another camera might frame it, in half of the cases mirrored."""
    mirrored = bool(generator.random() < MIRRORED_SHARE)
    return move_path(path, *draw_framing(path.frame_size, generator, mirrored=mirrored))


def put_on_path(region: PreparedRegion, path: PathMoment) -> PreparedRegion:
    """The views where a path's are: each view's places are moved and scaled to the path's box."""
    views = []
    for view, centre_2, sides_2 in zip(region.views, path.centres_N2, path.sides_N2, strict=True):
        own_2 = view.places.mean(axis=0)
        spread_2 = np.maximum(np.ptp(view.places, axis=0), MIN_SPREAD)
        places = (view.places - own_2) * (sides_2 / spread_2) + centre_2
        views.append(replace(view, places=places.astype(np.float32)))
    return replace(region, views=tuple(views))


@lru_cache(maxsize=4)
def open_features(folder: Path) -> FeaturePool:
    """Features, opened once in each process."""
    return FeaturePool(folder)


@lru_cache(maxsize=4)
def list_objects(folder: Path, num_shards: int) -> Catalogue:
    """Look through a pool once: what each object does."""
    pool: Pool = open_pool(folder, num_shards)
    found: dict[Kind, list[tuple[int, int]]] = {}
    things: dict[Mover, dict[str, list[tuple[tuple[int, int], ThingFacts]]]] = {}
    for number in range(len(pool)):
        clip = pool[number]
        if list_pairs(clip):
            found.setdefault("pair", []).append((number, 0))
        for owner, views in clip.views.items():
            found.setdefault("image", []).append((number, owner))
            thing = tell_thing(clip.find(owner))
            alike = things.setdefault(MOVERS[thing.category], {}).setdefault(thing.category, [])
            alike.append(((number, owner), thing))
            if len(views) < 3:
                continue
            found.setdefault(name_kind(clip.find(owner)), []).append((number, owner))
    wardrobe = {
        mover: {name: tuple(owners) for name, owners in alike.items()} for mover, alike in things.items()
    }
    return Catalogue({kind: tuple(owners) for kind, owners in found.items()}, Wardrobe(wardrobe))
