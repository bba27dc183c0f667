"""Objects of rendered clips as the pipeline would see them, with which way they face and turn: what
`facing.py` learns from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tubelet.errors import InputError
from tubelet.model.describing.sights import NUM_PLACE, SIGHT_PX, cut_sight
from tubelet.model.describing.turning import WAYS
from tubelet.model.tracking.base import TrackedFrame
from tubelet.model.training.describe.features import DecodeView
from tubelet.model.training.describe.imperfect import track_truth
from tubelet.model.training.describe.path_noise import spoil_camera
from tubelet.model.training.describe.pool import KeepViews, PoolPlan, RenderClip, make_shards
from tubelet.model.training.describe.rendered import MIN_MOVING_VIEWS, thin_out
from tubelet.model.training.describe.turning import draw_stretches, name_way
from tubelet.model.training.grammar.facts import tell_moment
from tubelet.model.training.world.spec import Category, ObjectTruth, RenderedClip
from tubelet.model.training.world.tracing import list_steps
from tubelet.model.trajectory import measure_motion
from tubelet.model.trajectory.shape import tell_shape
from tubelet.records import CameraStep, Observation, View

NUM_STRETCHES = 2
"""Parts of an object's life, beside the whole of it."""

_STRETCH = pa.struct(
    {"shape": pa.list_(pa.float32()), "way": pa.int32(), "views": pa.list_(pa.int32())},
)
_OBJECT = pa.struct(
    {
        "category": pa.string(),
        "pictures": pa.binary(),
        "places": pa.list_(pa.float32()),
        "facing": pa.list_(pa.float32()),
        "times_s": pa.list_(pa.float64()),
        "stretches": pa.list_(_STRETCH),
    }
)
_SCHEMA = pa.schema({"objects": pa.list_(_OBJECT)})


@dataclass(frozen=True, slots=True, eq=False)
class WatchedStretch:
    """Part of an object's life: its path's `shape_F`, its way as a place in WAYS, and places of its views."""

    shape_F: NDArray[np.float32]
    way: int
    views: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class WatchedObject:
    """N views of an object: `pictures` and `places` as in `Sight`, and which way it faces, in radians."""

    category: Category
    pictures_NSS4: NDArray[np.uint8]
    places_N6: NDArray[np.float32]
    facing_N: NDArray[np.float32]
    times_N: NDArray[np.float64]
    stretches: tuple[WatchedStretch, ...]


def make_watched(
    folder: Path, plan: PoolPlan, render: RenderClip, keep_views: KeepViews, decode: DecodeView
) -> None:
    """Render and watch what of the plan is not there yet. Raises InputError where another plan's rows are."""
    make_shards(folder, plan, lambda number: _make_row(plan, number, render, keep_views, decode), _SCHEMA)


def iterate_watched(folder: Path) -> Iterator[WatchedObject]:
    """The objects of all clips, in order. Raises InputError where there are none."""
    paths = sorted(folder.glob("*.arrow"))
    if not paths:
        raise InputError(f"There are no watched objects in {folder}", expected="some", do="make them first")
    for path in paths:
        for batch in pa.ipc.open_file(pa.memory_map(str(path))).read_all().to_batches():
            for row in batch.to_pylist():
                yield from (_read_object(values) for values in row["objects"])


def _make_row(
    plan: PoolPlan, number: int, render: RenderClip, keep_views: KeepViews, decode: DecodeView
) -> Mapping[str, Any]:
    seed = plan.first_seed + number
    clip = render(seed, plan.specs[number % len(plan.specs)])
    generator = np.random.default_rng([seed, 0x53656E])
    frames = list(track_truth(clip, generator))
    camera = list_steps(clip.camera.poses, clip.times_s, clip.spec)
    return {
        "objects": [
            _watch(clip, clip.objects[own - 1], frames, views, camera, decode, generator)
            for own, views in keep_views(frames).items()
            if views
        ]
    }


def _watch(
    clip: RenderedClip,
    truth: ObjectTruth,
    frames: Sequence[TrackedFrame],
    views: Sequence[View],
    camera: Sequence[CameraStep],
    decode: DecodeView,
    generator: np.random.Generator,
) -> Mapping[str, Any]:
    size = (clip.spec.width, clip.spec.height)
    sights = [cut_sight(decode(view, size)) for view in views]
    seen = [item.observation for frame in frames for item in frame.objects if item.number == truth.number]
    instants = [clip.times_s.index(view.time_s) for view in views]
    return {
        "category": truth.category,
        "pictures": np.stack([sight.picture for sight in sights]).tobytes(),
        "places": np.concatenate([sight.place_6 for sight in sights]).tolist(),
        "facing": clip.facing_TO[instants, truth.number - 1].tolist(),
        "times_s": [view.time_s for view in views],
        "stretches": list(_tell_stretches(clip, truth, seen, views, camera, generator)),
    }


def _tell_stretches(
    clip: RenderedClip,
    truth: ObjectTruth,
    seen: Sequence[Observation],
    views: Sequence[View],
    camera: Sequence[CameraStep],
    generator: np.random.Generator,
) -> Iterator[Mapping[str, Any]]:
    """The stretches of which somebody can say what way they take."""
    width, height = clip.spec.width, clip.spec.height
    for start_s, end_s in draw_stretches(seen[0].time_s, seen[-1].time_s, generator, NUM_STRETCHES):
        facts = tell_moment(clip, truth, start_s, end_s)
        part = [observation for observation in seen if start_s <= observation.time_s <= end_s]
        within = [place for place, view in enumerate(views) if start_s <= view.time_s <= end_s]
        if facts is None or len(part) < MIN_MOVING_VIEWS or len(within) < 2:
            continue
        steps = spoil_camera(camera, (width, height), generator)
        motion = measure_motion(part, steps, frame_width=width, frame_height=height)
        shape_F = tell_shape(part, steps, motion, frame_width=width, frame_height=height)
        yield {
            "shape": shape_F.tolist(),
            "way": WAYS.index(name_way(facts)),
            "views": list(thin_out(within, views)),
        }


def _read_object(values: Mapping[str, Any]) -> WatchedObject:
    pictures = np.frombuffer(values["pictures"], np.uint8).reshape(-1, SIGHT_PX, SIGHT_PX, 4)
    return WatchedObject(
        values["category"],
        pictures.copy(),  # torch takes what can be written
        np.array(values["places"], np.float32).reshape(-1, NUM_PLACE),
        np.array(values["facing"], np.float32),
        np.array(values["times_s"], np.float64),
        tuple(
            WatchedStretch(np.array(own["shape"], np.float32), own["way"], tuple(own["views"]))
            for own in values["stretches"]
        ),
    )
