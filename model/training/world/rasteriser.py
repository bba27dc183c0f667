"""Draws bodies into a picture of four channels: red, green, blue and the object's number.

Painter's order: units far to near, in a unit by layer, then by depth. One fill draws colour and label, so the
masks are what is seen. Everything is vectorised over the parts of a frame but the fills themselves.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from tubelet.model.training.world.camera import Lens
from tubelet.model.training.world.light import Light
from tubelet.model.training.world.ordering import sort_units
from tubelet.model.training.world.solids import Geometry
from tubelet.model.training.world.statics import Wall

Array = NDArray[np.float64]
Picture = NDArray[np.uint8]

NEAR_M = 0.25
DETAIL_PX = 34.0
"""Units that look smaller, in supersampled pixels, go without their details."""

_SHIFT = 4
_CIRCLE = np.stack([np.cos(np.arange(18) * math.tau / 18), np.sin(np.arange(18) * math.tau / 18)], axis=1)
_ROUNDS = ((1.0, 0.0, 0.32), (0.86, 0.09, 0.55), (0.7, 0.2, 0.8), (0.52, 0.32, 0.98), (0.3, 0.46, 1.12))
"""Size, shift towards the light, and light of the discs of a ball; small balls have every second."""
_CAP = np.linspace(math.pi / 2, 1.5 * math.pi, 5)


@dataclass(frozen=True, slots=True)
class Unit:
    """One body in the world: parts, pose, rectangle on the ground (own frame), its object's number or 0."""

    geometry: Geometry
    x: float
    y: float
    z: float
    heading: float
    footprint: tuple[float, float, float, float]
    height: float
    number: int
    walls: tuple[Wall, ...] = ()


@dataclass(slots=True)
class Drawn:
    """What one unit left in the picture: outlines (fixed point) and their bounding box in pixels."""

    number: int
    outlines: list[NDArray[np.int32]]
    box: tuple[int, int, int, int]


@dataclass(slots=True)
class _Fills:
    """Polygons of one kind of part, ready to be sorted: P polygons of K corners."""

    points_PK2: NDArray[np.int32]
    counts_P: NDArray[np.intp]
    rgb_P3: Array
    unit_P: NDArray[np.intp]
    layer_P: Array
    depth_P: Array
    is_outline_P: NDArray[np.bool_]
    thickness_P: NDArray[np.intp] | None = None


def draw_units(picture: Picture, units: Sequence[Unit], lens: Lens, light: Light) -> list[Drawn]:
    """Draw all units into (h, w, 4), far ones first, and say what became of each that is in view."""
    seen = [unit for unit in units if _is_in_view(unit, lens)]
    if not seen:
        return []
    seen = [seen[k] for k in sort_units(seen, lens.position)]
    fills = [fill for fill in (_fill_faces(seen, lens, light), _fill_capsules(seen, lens, light),
             _fill_blobs(seen, lens, light), _fill_rings(seen, lens, light)) if fill is not None]  # fmt: skip
    drawn = [Drawn(unit.number, [], (0, 0, 0, 0)) for unit in seen]
    walls = {k for k, unit in enumerate(seen) if unit.walls}
    if fills:
        _paint(picture, seen, fills, drawn, walls, lens, light)
    else:
        for k in sorted(walls):
            _paint_walls(picture, seen[k], lens, light)
    for item, unit in zip(drawn, seen, strict=True):
        if item.outlines:
            stacked = np.concatenate(item.outlines)
            low, high = stacked.min(axis=0) >> _SHIFT, (stacked.max(axis=0) >> _SHIFT) + 2
            item.box = (int(low[0]), int(low[1]), int(high[0]), int(high[1]))
        elif unit.walls:
            item.box = (0, 0, lens.width, lens.height)
    return drawn


def _is_in_view(unit: Unit, lens: Lens) -> bool:
    x0, x1, y0, y1 = unit.footprint
    radius = math.hypot(max(-x0, x1), max(-y0, y1), unit.height) + 0.5
    cam = lens.axes @ (np.array([unit.x, unit.y, unit.z]) - lens.position)
    if cam[2] < -radius:
        return False
    reach = max(cam[2], NEAR_M)
    slack = radius * 1.6
    return bool(
        abs(cam[0]) < reach * lens.width / 2 / lens.focal + slack
        and abs(cam[1]) < reach * lens.height / 2 / lens.focal + slack
    )


def _paint(
    picture: Picture,
    units: list[Unit],
    fills: list[_Fills],
    drawn: list[Drawn],
    walls: set[int],
    lens: Lens,
    light: Light,
) -> None:
    unit_all = np.concatenate([f.unit_P for f in fills])
    order = np.lexsort(
        (-np.concatenate([f.depth_P for f in fills]), np.concatenate([f.layer_P for f in fills]), unit_all)
    )
    polygons: list[NDArray[np.int32]] = []
    for fill in fills:
        polygons.extend(
            row[:count] for row, count in zip(fill.points_PK2, fill.counts_P.tolist(), strict=True)
        )
    rgb = np.clip(np.concatenate([f.rgb_P3 for f in fills]), 0, 255).round().astype(int)
    numbers = np.array([unit.number for unit in units])[unit_all]
    colours = list(map(tuple, np.concatenate([rgb, numbers[:, None]], axis=1).tolist()))
    thickness = np.concatenate(
        [np.zeros(len(f.unit_P), np.intp) if f.thickness_P is None else f.thickness_P for f in fills]
    ).tolist()
    outline = np.concatenate([f.is_outline_P for f in fills]).tolist()
    unit_of = unit_all.tolist()
    pending = sorted(walls)
    fill_convex = cv2.fillConvexPoly
    for k in order.tolist():
        unit = unit_of[k]
        while pending and pending[0] <= unit:
            _paint_walls(picture, units[pending.pop(0)], lens, light)
        if thickness[k]:
            cv2.polylines(picture, [polygons[k]], True, colours[k], thickness[k], cv2.LINE_8, _SHIFT)
        else:
            fill_convex(picture, polygons[k], colours[k], cv2.LINE_8, _SHIFT)
        if outline[k]:
            drawn[unit].outlines.append(polygons[k])
    for unit in pending:
        _paint_walls(picture, units[unit], lens, light)


def _stack(units: list[Unit], name: str) -> Array:
    return np.concatenate([getattr(unit.geometry, name) for unit in units])


def _index(units: list[Unit], name: str) -> NDArray[np.intp]:
    return np.repeat(np.arange(len(units)), [len(getattr(unit.geometry, name)) for unit in units])


def _poses(units: list[Unit]) -> tuple[Array, Array]:
    """Rotations (U, 3, 3) and positions (U, 3)."""
    c = np.array([math.cos(unit.heading) for unit in units])
    s = np.array([math.sin(unit.heading) for unit in units])
    turns = np.zeros((len(units), 3, 3))
    turns[:, 0, 0], turns[:, 0, 1], turns[:, 1, 0], turns[:, 1, 1], turns[:, 2, 2] = c, -s, s, c, 1
    return turns, np.array([(unit.x, unit.y, unit.z) for unit in units])


def _fix(points: Array) -> NDArray[np.int32]:
    return np.clip((points - 0.5) * (1 << _SHIFT), -200_000, 200_000).round().astype(np.int32)


def _fill_faces(units: list[Unit], lens: Lens, light: Light) -> _Fills | None:
    turns, places = _poses(units)
    unit = _index(units, "faces_F83")
    if len(unit) == 0:
        return None
    sizes = _measure_sizes(units, lens)
    keep = ~_stack(units, "is_detail_F").astype(bool) | (sizes[unit] >= DETAIL_PX)
    unit = unit[keep]
    world = np.einsum("fij,fkj->fki", turns[unit], _stack(units, "faces_F83")[keep]) + places[unit][:, None]
    normals = np.einsum("fij,fj->fi", turns[unit], _stack(units, "normals_F3")[keep])
    facing = np.einsum("fi,fi->f", lens.position - world[:, 0], normals) > 0
    cam = (world[facing] - lens.position) @ lens.axes.T
    ahead = cam[..., 2] > NEAR_M
    visible = ahead.any(axis=1)
    kept = np.flatnonzero(keep)[facing][visible]
    cam, ahead, unit, normals = cam[visible], ahead[visible], unit[facing][visible], normals[facing][visible]
    if len(kept) == 0:
        return None
    counts = _stack(units, "corners_F")[kept].astype(np.intp)
    depth = cam[:, :4].mean(axis=1)
    z = np.maximum(cam[..., 2:], NEAR_M)
    points = cam[..., :2] * (lens.focal / z) + (lens.width / 2, lens.height / 2)
    crossing = np.flatnonzero(~ahead.all(axis=1))
    for k in crossing.tolist():
        clipped = _clip_near(cam[k, : counts[k]])[: points.shape[1]]
        counts[k] = len(clipped)
        points[k, : counts[k]] = clipped[:, :2] * (lens.focal / clipped[:, 2:]) + (
            lens.width / 2,
            lens.height / 2,
        )
    layer = _stack(units, "face_layer_F")[kept]
    rgb = light.shade_faces(_stack(units, "face_rgb_F3")[kept], normals, _stack(units, "finish_F")[kept])
    is_outline = (layer % 1 == 0) | (counts == 8)
    return _Fills(_fix(points), counts, rgb, unit, layer, np.linalg.norm(depth, axis=1), is_outline)


def _clip_near(corners: Array) -> Array:
    """The part of a polygon (k, 3) in front of the near plane, in camera coordinates."""
    result = []
    for k in range(len(corners)):
        a, b = corners[k - 1], corners[k]
        if (a[2] > NEAR_M) != (b[2] > NEAR_M):
            share = (NEAR_M - a[2]) / (b[2] - a[2])
            result.append(a + share * (b - a))
        if b[2] > NEAR_M:
            result.append(b)
    return np.array(result)


def _measure_sizes(units: list[Unit], lens: Lens) -> Array:
    """About how many pixels long each unit looks."""
    _, places = _poses(units)
    depth = np.maximum(((places - lens.position) @ lens.axes.T)[:, 2], 0.5)
    lengths = np.array([max(u.footprint[1] - u.footprint[0], u.height) for u in units])
    return np.asarray(lens.focal * lengths / depth)


def _fill_capsules(units: list[Unit], lens: Lens, light: Light) -> _Fills | None:
    unit = _index(units, "ends_C23")
    if len(unit) == 0:
        return None
    turns, places = _poses(units)
    world = np.einsum("cij,ckj->cki", turns[unit], _stack(units, "ends_C23")) + places[unit][:, None]
    cam = (world - lens.position) @ lens.axes.T
    keep = (cam[..., 2] > NEAR_M).all(axis=1)
    if not keep.any():
        return None
    cam, unit, world = cam[keep], unit[keep], world[keep]
    scale = lens.focal / cam[..., 2]
    ends = cam[..., :2] * scale[..., None] + (lens.width / 2, lens.height / 2)
    radius = np.maximum(_stack(units, "end_radius_C2")[keep] * scale, 0.6)
    rgb = _stack(units, "capsule_rgb_C3")[keep]
    layer, depth = _stack(units, "capsule_layer_C")[keep], np.linalg.norm(cam.mean(axis=1), axis=1)
    base = _outline_capsules(ends, radius)
    axis = world[:, 1] - world[:, 0]
    axis /= np.maximum(np.linalg.norm(axis, axis=1, keepdims=True), 1e-6)
    dark, bright = light.shade_rods(rgb, axis)
    toward = light.screen_direction(lens)
    lit = np.flatnonzero(radius.max(axis=1) > 2.2)
    shifted = ends[lit] + toward * (0.34 * radius[lit])[..., None]
    shine = _outline_capsules(shifted, radius[lit] * 0.58)
    return _Fills(
        _fix(np.concatenate([base, shine])),
        np.full(len(base) + len(shine), base.shape[1], dtype=np.intp),
        np.concatenate(
            [np.where((radius.max(axis=1) > 2.2)[:, None], dark, (dark + bright) / 2), bright[lit]]
        ),
        np.concatenate([unit, unit[lit]]),
        np.concatenate([layer, layer[lit]]),
        np.concatenate([depth, depth[lit] - 1e-4]),
        np.concatenate([np.ones(len(base), bool), np.zeros(len(shine), bool)]),
    )


def _outline_capsules(ends: Array, radius: Array) -> Array:
    """Convex outlines (c, 10, 2) around two circles each."""
    along = ends[:, 1] - ends[:, 0]
    angle = np.arctan2(along[:, 1], along[:, 0])
    first, last = angle[:, None] + _CAP, angle[:, None] + _CAP + math.pi
    ring0 = ends[:, :1] + radius[:, 0, None, None] * np.stack([np.cos(first), np.sin(first)], axis=-1)
    ring1 = ends[:, 1:] + radius[:, 1, None, None] * np.stack([np.cos(last), np.sin(last)], axis=-1)
    return np.concatenate([ring0, ring1], axis=1)


def _fill_blobs(units: list[Unit], lens: Lens, light: Light) -> _Fills | None:
    unit = _index(units, "centres_B3")
    if len(unit) == 0:
        return None
    turns, places = _poses(units)
    centre = np.einsum("bij,bj->bi", turns[unit], _stack(units, "centres_B3")) + places[unit]
    cam = (centre - lens.position) @ lens.axes.T
    keep = cam[:, 2] > NEAR_M
    if not keep.any():
        return None
    cam, unit = cam[keep], unit[keep]
    scale = lens.focal / cam[:, 2]
    middle = cam[:, :2] * scale[:, None] + (lens.width / 2, lens.height / 2)
    shape = lens.axes[None] @ turns[unit] * _stack(units, "radii_B3")[keep][:, None, :]
    ray = cam[:, :2] / cam[:, 2:]
    flat = (shape[:, :2] - ray[:, :, None] * shape[:, 2:]) * scale[:, None, None]
    cover = flat @ flat.transpose(0, 2, 1)
    a = np.sqrt(np.maximum(cover[:, 0, 0], 0.3))
    b = cover[:, 0, 1] / a
    c = np.sqrt(np.maximum(cover[:, 1, 1] - b * b, 0.3))
    roots = np.zeros_like(cover)
    roots[:, 0, 0], roots[:, 1, 0], roots[:, 1, 1] = a, b, c
    outline = np.einsum("bij,kj->bki", roots, _CIRCLE)
    rgb, layer = _stack(units, "blob_rgb_B3")[keep], _stack(units, "blob_layer_B")[keep]
    depth = np.linalg.norm(cam, axis=1)
    toward = np.einsum("bij,j->bi", roots, light.screen_direction(lens))
    everything = np.arange(len(unit))
    parts = [(middle[:, None] + outline, light.shade_blob(rgb, _ROUNDS[0][2]), everything, 0.0)]
    extent = np.minimum(a, c)
    for level, (size, offset, share) in enumerate(_ROUNDS[1:], start=1):
        large = np.flatnonzero(extent > (2.5 if level % 2 == 0 else 14.0))
        if len(large):
            moved = middle[large, None] + size * outline[large] + offset * toward[large, None]
            parts.append((moved, light.shade_blob(rgb[large], share), large, 1e-4 * level))
    which = np.concatenate([p[2] for p in parts])
    return _Fills(
        _fix(np.concatenate([p[0] for p in parts])),
        np.full(len(which), len(_CIRCLE), dtype=np.intp),
        np.concatenate([p[1] for p in parts]),
        unit[which],
        layer[which],
        depth[which] - np.concatenate([np.full(len(p[2]), p[3]) for p in parts]),
        np.concatenate([np.full(len(p[2]), place == 0) for place, p in enumerate(parts)]),
    )


def _fill_rings(units: list[Unit], lens: Lens, light: Light) -> _Fills | None:
    unit = _index(units, "rings_R7")
    if len(unit) == 0:
        return None
    turns, places = _poses(units)
    rings = _stack(units, "rings_R7")
    centre = np.einsum("rij,rj->ri", turns[unit], rings[:, :3]) + places[unit]
    axis = np.einsum("rij,rj->ri", turns[unit], rings[:, 3:6])
    radius = np.linalg.norm(axis, axis=1, keepdims=True)
    flat = np.stack([-axis[:, 1], axis[:, 0], np.zeros(len(axis))], axis=1)
    points = centre[:, None] + _CIRCLE[None, :, :1] * flat[:, None]
    points = points + _CIRCLE[None, :, 1:] * radius[:, None] * np.array([0.0, 0.0, 1.0])
    cam = (points - lens.position) @ lens.axes.T
    keep = (cam[..., 2] > NEAR_M).all(axis=1)
    if not keep.any():
        return None
    cam, unit = cam[keep], unit[keep]
    screen = cam[..., :2] * (lens.focal / cam[..., 2:]) + (lens.width / 2, lens.height / 2)
    depth = np.linalg.norm(cam.mean(axis=1), axis=1)
    thickness = np.maximum(1, (lens.focal * rings[keep, 6] / depth).round()).astype(np.intp)
    return _Fills(
        _fix(screen),
        np.full(len(unit), len(_CIRCLE), dtype=np.intp),
        light.shade_blob(_stack(units, "ring_rgb_R3")[keep], 0.75),
        unit,
        _stack(units, "ring_layer_R")[keep],
        depth + 0.05,
        np.ones(len(unit), bool),
        thickness,
    )


def _paint_walls(picture: Picture, unit: Unit, lens: Lens, light: Light) -> None:
    for wall in unit.walls:
        (px, py), (rx, ry) = wall.corner, wall.run
        normal = np.array([ry, -rx, 0.0]) / math.hypot(rx, ry)
        if (lens.position[0] - px) * normal[0] + (lens.position[1] - py) * normal[1] <= 0:
            continue
        corners = np.array(
            [(px, py, 0), (px + rx, py + ry, 0), (px + rx, py + ry, wall.height), (px, py, wall.height)]
        )
        cam = (corners - lens.position) @ lens.axes.T
        ahead = cam[:, 2] > NEAR_M
        if not ahead.any():
            continue
        clipped = _clip_near(cam)
        flat = clipped[:, :2] * (lens.focal / clipped[:, 2:]) + (lens.width / 2, lens.height / 2)
        x0, y0 = np.clip(np.floor(flat.min(axis=0)), 0, (lens.width, lens.height)).astype(int)
        x1, y1 = np.clip(np.ceil(flat.max(axis=0)), 0, (lens.width, lens.height)).astype(int)
        if x1 - x0 < 2 or y1 - y0 < 2:
            continue
        texture = light.shade_wall(wall.texture, normal)
        if not ahead.all():
            mean = tuple(float(v) for v in texture.reshape(-1, 4).mean(axis=0)[:3])
            cv2.fillConvexPoly(picture, _fix(flat), (*mean, 0), cv2.LINE_8, _SHIFT)
            continue
        height, width = texture.shape[:2]
        plane = lens.map_plane(
            np.array([px, py, wall.height]),
            np.array([rx / width, ry / width, 0]),
            np.array([0, 0, -wall.height / height]),
        )
        plane = np.array([[1, 0, -float(x0)], [0, 1, -float(y0)], [0, 0, 1]]) @ plane
        cv2.warpPerspective(
            texture, plane, (int(x1 - x0), int(y1 - y0)), dst=picture[y0:y1, x0:x1],
            flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_TRANSPARENT,
        )  # fmt: skip
