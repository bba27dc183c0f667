"""Vision features of a pool, computed once by an encoder that is no longer trained.

With the encoder frozen, the same pictures give the same features in every step, and they are most of its
cost: each is computed once and read from disk. A shard is a file of features, float16 (patches, C), and
one of the small arrays that say where each view's are.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tubelet.errors import InputError
from tubelet.model.describing.base import ObjectView
from tubelet.model.pixelrefer.describer import as_region_view
from tubelet.model.pixelrefer.encoding import PreparedView, ScenePool, encode_pictures, prepare_views
from tubelet.model.pixelrefer.network import PixelRefer
from tubelet.model.training.describe.pool import Pool, PooledClip
from tubelet.model.training.describe.samples import PreparedRegion, ViewFeatures
from tubelet.records import View

DecodeView = Callable[[View, tuple[int, int]], ObjectView]
"""A stored view with its pixels, as the pipeline decodes it."""

CLIPS_PER_SHARD = 50
_NO_PICTURE = np.empty((0, 0, 3), np.uint8)


@torch.inference_mode()
def make_features(network: PixelRefer, pool: Pool, decode: DecodeView, folder: Path) -> None:
    """Compute what is not there yet, a shard at a time. `folder` belongs to one network and one pool."""
    folder.mkdir(parents=True, exist_ok=True)
    for start in range(0, len(pool), CLIPS_PER_SHARD):
        path = folder / f"{start // CLIPS_PER_SHARD:05d}.npz"
        if not path.is_file():
            clips = [pool[number] for number in range(start, min(start + CLIPS_PER_SHARD, len(pool)))]
            _make_shard(network, clips, start, decode, path)


def prepare_clip(
    clip: PooledClip, network_config: Any, decode: DecodeView
) -> dict[int, tuple[PreparedView, ...]]:
    """Every view of every object of a clip, cut; equal scenes are cut once."""
    scenes = ScenePool(network_config)
    decoded_scenes: dict[bytes, NDArray[np.uint8] | None] = {}
    prepared = {}
    for number, views in clip.views.items():
        cut = []
        for view in views:
            region_view = as_region_view(decode(view, clip.frame_size))
            # The same bytes were decoded before: one array for all, so that its scene is cut once.
            scene = decoded_scenes.setdefault(view.scene, region_view.scene)
            cut += prepare_views([_with_scene(region_view, scene)], network_config, scenes)
        prepared[number] = tuple(cut)
    return prepared


class FeaturePool:
    """Regions of a pool with their stored features."""

    def __init__(self, folder: Path) -> None:
        paths = sorted(folder.glob("*.npz"))
        if not paths:
            raise InputError(f"There are no features in {folder}", expected="some", do="make them first")
        self._shards = [_Shard(path) for path in paths]
        self._by_clip = {clip: shard for shard in self._shards for clip in shard.clips}

    def get(self, clip: int, number: int, places: tuple[int, ...]) -> list[tuple[PreparedView, ViewFeatures]]:
        """The views of an object of the pool's clip at these places."""
        return [self._by_clip[clip].get(clip, number, place) for place in places]


class _Shard:
    def __init__(self, path: Path) -> None:
        with np.load(path) as arrays:
            self._arrays = {name: arrays[name] for name in arrays.files}
        self._features = np.load(path.with_suffix(".npy"), mmap_mode="r")
        ids = self._arrays["ids"].tolist()
        self._row = {tuple(key): row for row, key in enumerate(ids)}
        self.clips = {key[0] for key in ids}

    def get(self, clip: int, number: int, place: int) -> tuple[PreparedView, ViewFeatures]:
        arrays, row = self._arrays, self._row[clip, number, place]
        crop0, crop1, local1, scene0, scene1 = arrays["spans"][row].tolist()
        cell0, cell1 = arrays["cells"][row].tolist()
        place0, place1 = arrays["place_spans"][row].tolist()
        starts = arrays["starts"][row]
        view = PreparedView(
            crop=_NO_PICTURE,
            local=_NO_PICTURE,
            scene=_NO_PICTURE,
            scene_key=b"",
            places=arrays["places"][place0:place1],
            patches=arrays["patches"][cell0:cell1],
            weights=arrays["weights"][cell0:cell1],
            starts=starts[starts >= 0],
        )
        features = ViewFeatures(
            crop=self._features[crop0:crop1],
            local=self._features[crop1:local1],
            scene=self._features[scene0:scene1],
        )
        return view, features


def join_region(
    kept: list[tuple[PreparedView, ViewFeatures]], times_s: tuple[float, ...] | None
) -> PreparedRegion:
    """A region from views with features."""
    return PreparedRegion(tuple(view for view, _ in kept), times_s, tuple(features for _, features in kept))


def _make_shard(
    network: PixelRefer, clips: list[PooledClip], first: int, decode: DecodeView, path: Path
) -> None:
    config = network.config
    features: list[NDArray[np.float16]] = []
    ids, spans, cells, place_spans, starts = [], [], [], [], []
    places, patches, weights = [], [], []
    num_patches = num_cells = num_places = 0
    for offset, clip in enumerate(clips):
        prepared = prepare_clip(clip, config, decode)
        views = [view for own in prepared.values() for view in own]
        if not views:
            continue
        fresh = {view.scene_key: view.scene for view in views}
        pictures = [picture for view in views for picture in (view.crop, view.local)] + list(fresh.values())
        encoded = [part.to(torch.float16).cpu().numpy() for part in encode_pictures(network, pictures)]
        features += encoded
        scene_spans = {}
        end = num_patches + sum(len(part) for part in encoded[: 2 * len(views)])
        for key, part in zip(fresh, encoded[2 * len(views) :], strict=True):
            scene_spans[key] = (end, end + len(part))
            end += len(part)
        row = iter(range(len(views)))
        for number, own in prepared.items():
            for place, view in enumerate(own):
                at = next(row)
                crop, local = len(encoded[2 * at]), len(encoded[2 * at + 1])
                ids.append((first + offset, number, place))
                spans.append(
                    (
                        num_patches,
                        num_patches + crop,
                        num_patches + crop + local,
                        *scene_spans[view.scene_key],
                    )
                )
                cells.append((num_cells, num_cells + len(view.patches)))
                place_spans.append((num_places, num_places + len(view.places)))
                start = np.full(config.num_object_tokens, -1, np.int64)
                start[: len(view.starts)] = view.starts
                starts.append(start)
                places.append(view.places)
                patches.append(view.patches)
                weights.append(view.weights)
                num_patches += crop + local
                num_cells += len(view.patches)
                num_places += len(view.places)
        num_patches = end
    unfinished = path.with_suffix(f".{os.getpid()}.part")
    width = config.vision_width
    with open(unfinished, "wb") as file:
        np.save(file, np.concatenate(features) if features else np.zeros((0, width), np.float16))
    os.replace(unfinished, path.with_suffix(".npy"))
    with open(unfinished, "wb") as file:
        np.savez(
            file,
            ids=np.array(ids, np.int64).reshape(-1, 3),
            spans=np.array(spans, np.int64).reshape(-1, 5),
            cells=np.array(cells, np.int64).reshape(-1, 2),
            place_spans=np.array(place_spans, np.int64).reshape(-1, 2),
            starts=np.array(starts, np.int64).reshape(-1, config.num_object_tokens),
            places=np.concatenate([np.zeros((0, 2), np.float32), *places]),
            patches=np.concatenate([np.zeros((0, 4), np.int64), *patches]),
            weights=np.concatenate([np.zeros((0, 4), np.float32), *weights]),
        )
    os.replace(unfinished, path)


def _with_scene(view: Any, scene: NDArray[np.uint8] | None) -> Any:
    from dataclasses import replace

    return replace(view, scene=scene)
