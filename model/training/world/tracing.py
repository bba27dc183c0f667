"""A clip's truth and the boxes of its objects without a picture, for what is learnt from paths alone.

What hides an object is not known here, and a box is that of the body's corners, a little larger than the
outline that a picture shows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from tubelet.model.training.world.actors import Actor
from tubelet.model.training.world.camera import Lens, make_lens
from tubelet.model.training.world.paths import Places
from tubelet.model.training.world.render import conclude_truth
from tubelet.model.training.world.scene import make_scene
from tubelet.model.training.world.spec import CameraPose, ClipSpec, ObjectTruth, Relation
from tubelet.records import CameraStep

OUTLINE_SHARE = 0.6
"""How much of its box an object covers, about."""

MIN_INSIDE = 0.2
"""An object of whose box less is in the picture is not seen."""

NEAREST_M, FARTHEST_M = 0.3, 60.0

_CORNERS_83 = np.array(list(product((-0.5, 0.5), (-0.5, 0.5), (0.0, 1.0))))


@dataclass(frozen=True, slots=True)
class TracedClip:
    """What is true of a clip and where its objects are seen.

    `boxes` holds (T, 4) for each object's number: x0, y0, x1, y1 in pixels, cut at the picture's borders; NaN
    where it is out of sight. `camera` are its steps, as a tracker would estimate them from the ground; none
    where it stands.
    """

    objects: tuple[ObjectTruth, ...]
    relations: tuple[Relation, ...]
    frame_size: tuple[int, int]
    times_s: tuple[float, ...]
    boxes: Mapping[int, NDArray[np.float64]]
    camera: tuple[CameraStep, ...] = ()


def trace_clip(seed: int, spec: ClipSpec) -> TracedClip:
    """The clip of a seed as `render_clip` draws it, but for what is hidden and for the pictures."""
    scene = make_scene(seed, spec, painted=False)
    shape_TA = (len(scene.times), len(scene.actors))
    boxes_TA4 = np.full((*shape_TA, 4), np.nan)
    visible_TA = np.zeros(shape_TA, np.float32)
    for index, pose in enumerate(scene.camera.poses):
        lens = make_lens(pose, spec.width, spec.height)
        for place, (actor, places) in enumerate(zip(scene.actors, scene.places, strict=True)):
            box_4, inside = _project(actor, places, index, lens)
            if inside >= MIN_INSIDE:
                boxes_TA4[index, place] = box_4
                visible_TA[index, place] = inside
    sides_TA2 = boxes_TA4[..., 2:] - boxes_TA4[..., :2]
    counts_TA = np.nan_to_num(sides_TA2.prod(axis=-1) * OUTLINE_SHARE).astype(np.intp)
    truth = conclude_truth(scene, counts_TA, visible_TA, spec)
    return TracedClip(
        truth.objects,
        truth.relations,
        (spec.width, spec.height),
        tuple(float(time_s) for time_s in scene.times),
        {item.number: boxes_TA4[:, actor] for item, actor in zip(truth.objects, truth.kept, strict=True)},
        list_steps(scene.camera.poses, scene.times, spec),
    )


def list_steps(
    poses: Sequence[CameraPose], times: Sequence[float] | NDArray[np.float64], spec: ClipSpec
) -> tuple[CameraStep, ...]:
    """The affine map that fits how the ground moves in the picture, from each frame to the next."""
    if all(pose == poses[0] for pose in poses):
        return ()
    lenses = [make_lens(pose, spec.width, spec.height) for pose in poses]
    steps = []
    for before, after, time_s in zip(lenses, lenses[1:], times[1:], strict=False):
        ground_n3 = _see_ground(before)
        seen_n2, then_n2 = (_see(lens, ground_n3) for lens in (before, after))
        flat_n3 = np.column_stack([seen_n2, np.ones(len(seen_n2))])
        matrix_32, *_ = np.linalg.lstsq(flat_n3, then_n2, rcond=None)
        a, b, c, d, e, f = matrix_32.T.ravel().tolist()
        steps.append(CameraStep(float(time_s), (a, b, c, d, e, f)))
    return tuple(steps)


def _see_ground(lens: Lens) -> NDArray[np.float64]:
    """Where rays through a grid of pixels meet the ground, or how far one sees: (n, 3)."""
    x, y = np.meshgrid(np.linspace(0, lens.width, 9), np.linspace(0, lens.height, 7))
    rays_n3 = np.column_stack(
        [
            (x.ravel() - lens.width / 2) / lens.focal,
            (y.ravel() - lens.height / 2) / lens.focal,
            np.ones(x.size),
        ]
    )
    ways_n3 = rays_n3 @ lens.axes
    ways_n3 /= np.linalg.norm(ways_n3, axis=1, keepdims=True)
    reach_n = np.where(ways_n3[:, 2] < 0, -lens.position[2] / np.minimum(ways_n3[:, 2], -1e-6), FARTHEST_M)
    return lens.position + ways_n3 * np.minimum(reach_n, FARTHEST_M)[:, None]


def _see(lens: Lens, points_n3: NDArray[np.float64]) -> NDArray[np.float64]:
    """Pixels of points in front of the camera: (n, 2)."""
    seen_n3 = (points_n3 - lens.position) @ lens.axes.T @ lens.matrix.T
    return np.asarray(seen_n3[:, :2] / np.maximum(seen_n3[:, 2:], NEAREST_M))


def _project(actor: Actor, places: Places, index: int, lens: Lens) -> tuple[NDArray[np.float64], float]:
    """The box of an actor at an instant, cut at the borders, and how much of the whole one that is."""
    nowhere = np.full(4, np.nan)
    heading = places.heading_T[index]
    turn_22 = np.array([[np.cos(heading), -np.sin(heading)], [np.sin(heading), np.cos(heading)]])
    corners_83 = _CORNERS_83 * actor.looks.size
    corners_83[:, :2] = corners_83[:, :2] @ turn_22.T
    corners_83 += (places.x_T[index], places.y_T[index], places.z_T[index])
    seen_83 = (corners_83 - lens.position) @ lens.axes.T
    if (seen_83[:, 2] < NEAREST_M).any():
        return nowhere, 0.0
    points_82 = seen_83[:, :2] / seen_83[:, 2:] * lens.focal + np.array([lens.width, lens.height]) / 2
    low_2, high_2 = points_82.min(axis=0), points_82.max(axis=0)
    cut_low_2, cut_high_2 = np.maximum(low_2, 0), np.minimum(high_2, (lens.width, lens.height))
    if (cut_high_2 <= cut_low_2).any():
        return nowhere, 0.0
    inside = float((cut_high_2 - cut_low_2).prod() / (high_2 - low_2).prod())
    return np.concatenate([cut_low_2, cut_high_2]), inside
