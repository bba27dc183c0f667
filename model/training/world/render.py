"""Renders clips and single images with exact truth."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from tubelet.model.training.world.camera import Lens, make_lens
from tubelet.model.training.world.degrade import damage_frame, recode
from tubelet.model.training.world.light import cast_shadow_outlines
from tubelet.model.training.world.rasteriser import Drawn, Unit, draw_units
from tubelet.model.training.world.scene import GroundMap, Scene, make_scene, seed_generator
from tubelet.model.training.world.spec import CameraTruth, ClipSpec, ObjectTruth, Relation, RenderedClip
from tubelet.model.training.world.truth import describe_objects, find_relations, measure_facing

Picture = NDArray[np.uint8]

SUPERSAMPLE_UP_TO_PX = 960
"""Pictures up to this width are drawn at twice their size and averaged."""

MIN_SHARE = 0.0003
"""Objects that never cover this share of the picture are background."""

_SHIFT = 4


@dataclass(frozen=True, slots=True)
class RenderedFrame:
    """One painted frame: RGB, labels by actor (1 + index), and each actor's visible share."""

    frame_HWC: Picture
    labels_HW: Picture
    visible_A: NDArray[np.float32]


def render_clip(seed: int, spec: ClipSpec) -> RenderedClip:
    """Render a clip: the same seed and spec give the same pixels. Another size shows the same geometry."""
    return _finish(seed, spec, make_scene(seed, spec))


def render_image(seed: int, spec: ClipSpec) -> RenderedClip:
    """Render one instant of a scene, as a clip of one frame."""
    single = replace(spec, num_frames=1)
    return _finish(seed, single, make_scene(seed, single, image=True))


def render_frames(scene: Scene, seed: int, spec: ClipSpec) -> Iterator[RenderedFrame]:
    """The frames of a scene one after the other, damaged by the camera but not encoded."""
    generator = seed_generator(seed, spec, 1)
    painter = _Painter(scene, spec)
    for place in range(len(scene.times)):
        drawn = painter.paint(place)
        yield replace(drawn, frame_HWC=damage_frame(drawn.frame_HWC, scene.damage, generator))


def _finish(seed: int, spec: ClipSpec, scene: Scene) -> RenderedClip:
    rendered = list(render_frames(scene, seed, spec))
    frames = np.stack([item.frame_HWC for item in rendered])
    labels = np.stack([item.labels_HW for item in rendered])
    if scene.recode_quality:
        frames = recode(frames, spec.frame_rate, scene.recode_quality)
    counts = np.stack([count_pixels(item.labels_HW, len(scene.actors)) for item in rendered])
    truth = conclude_truth(scene, counts, np.stack([item.visible_A for item in rendered]), spec)
    return RenderedClip(
        seed=seed,
        spec=spec,
        frames_THWC=frames,
        labels_THW=truth.table[labels],
        visible_TO=truth.visible_TO,
        facing_TO=measure_facing(scene, truth.kept),
        times_s=tuple(float(value) for value in scene.times),
        objects=truth.objects,
        relations=truth.relations,
        camera=CameraTruth(scene.camera.kind, scene.camera.view, scene.camera.poses),
        place=scene.layout.place,
        weather=name_weather(scene),
    )


@dataclass(frozen=True, slots=True)
class ClipTruth:
    """What is true of a whole clip.

    `kept` are the places of its objects among the scene's actors; `table` (256) maps the painter's labels to
    their numbers.
    """

    kept: tuple[int, ...]
    table: Picture
    visible_TO: NDArray[np.float32]
    objects: tuple[ObjectTruth, ...]
    relations: tuple[Relation, ...]


def conclude_truth(
    scene: Scene, counts_TA: NDArray[np.intp], visible_TA: NDArray[np.float32], spec: ClipSpec
) -> ClipTruth:
    """The truth, from each actor's pixels and visible share in every frame."""
    kept = _select_actors(counts_TA, MIN_SHARE * spec.width * spec.height)
    table = np.zeros(256, np.uint8)
    table[[index + 1 for index in kept]] = np.arange(1, len(kept) + 1)
    visible = np.ascontiguousarray(visible_TA[:, kept], dtype=np.float32)
    objects = describe_objects(scene, kept, visible)
    return ClipTruth(tuple(kept), table, visible, objects, find_relations(scene, kept, objects))


def name_weather(scene: Scene) -> str:
    """Sunny, hazy, overcast or rain."""
    return "rain" if scene.damage.rain else scene.light.weather


def count_pixels(labels_HW: Picture, num_actors: int) -> NDArray[np.intp]:
    """Pixels of each actor in the painter's labels: (num_actors)."""
    return np.asarray(np.bincount(labels_HW.ravel(), minlength=256)[1 : num_actors + 1], dtype=np.intp)


def _select_actors(counts_TA: NDArray[np.intp], least: float) -> list[int]:
    """Actors that are ever large enough to count, in the order of their first appearance."""
    if not counts_TA.shape[1]:
        return []
    large = np.flatnonzero(counts_TA.max(axis=0) >= least)
    return sorted((int(k) for k in large), key=lambda k: (int(np.argmax(counts_TA[:, k] > 0)), k))


class _Painter:
    """Paints the frames of one scene. What no camera movement changes is painted once."""

    def __init__(self, scene: Scene, spec: ClipSpec) -> None:
        self._scene = scene
        self._factor = 2 if spec.width <= SUPERSAMPLE_UP_TO_PX else 1
        self._size = (spec.width, spec.height)
        self._width, self._height = spec.width * self._factor, spec.height * self._factor
        self._ground: Picture | None = None
        self._statics = [
            Unit(s.geometry, s.x, s.y, 0.0, s.heading, s.footprint, s.height, 0, s.walls)
            for s in scene.statics
        ]
        self._static_shadows = [
            cast_shadow_outlines(s.geometry, scene.light, s.x, s.y, 0.0, s.heading) for s in scene.statics
        ]

    def paint(self, place: int) -> RenderedFrame:
        scene = self._scene
        lens = make_lens(scene.camera.poses[place], self._width, self._height)
        fixed = scene.camera.kind == "fixed"
        if self._ground is None or not fixed:
            self._ground = _paint_ground(scene, lens)
            _paint_shadows(self._ground, self._static_shadows, lens, scene)
        picture = self._ground.copy() if fixed else self._ground
        units = self._place_actors(place, lens)
        shadows = [
            cast_shadow_outlines(unit.geometry, scene.light, unit.x, unit.y, unit.z, unit.heading)
            for unit in units
        ]
        _paint_shadows(picture, shadows, lens, scene)
        drawn = draw_units(picture, self._statics + units, lens, scene.light)
        visible = _measure_visible(picture, drawn, len(scene.actors), lens)
        return RenderedFrame(*self._shrink(picture), visible)

    def _place_actors(self, place: int, lens: Lens) -> list[Unit]:
        units = []
        for index, (actor, places) in enumerate(zip(self._scene.actors, self._scene.places, strict=True)):
            x, y, z = float(places.x_T[place]), float(places.y_T[place]), float(places.z_T[place])
            cam = lens.axes @ (np.array([x, y, z]) - lens.position)
            radius = max(actor.looks.size)
            reach = max(float(cam[2]), 0.3) * lens.width / 2 / lens.focal
            slack = 3 * radius + 3.0
            if cam[2] < -radius or abs(cam[0]) > reach + slack or abs(cam[1]) > reach + slack:
                continue
            heading = float(places.heading_T[place])
            parts = actor.looks.pose(float(places.along_T[place]), float(places.speed_T[place]))
            units += [
                Unit(part.geometry, x, y, z, heading, part.footprint, actor.looks.size[2], index + 1)
                for part in parts
            ]
        return units

    def _shrink(self, picture: Picture) -> tuple[Picture, Picture]:
        labels = cv2.extractChannel(picture, 3)
        if self._factor == 2:
            picture = np.asarray(cv2.resize(picture, self._size, interpolation=cv2.INTER_AREA), np.uint8)
            labels = _take_majority(np.asarray(labels, np.uint8))
        return np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGBA2RGB), np.uint8), np.asarray(labels, np.uint8)


def _take_majority(labels: Picture) -> Picture:
    """Of each 2 x 2 pixels the label that two or more bear."""
    a, b, c, d = labels[0::2, 0::2], labels[0::2, 1::2], labels[1::2, 0::2], labels[1::2, 1::2]
    result = a.copy()
    mixed = np.nonzero((a != b) | (a != c) | (a != d))
    a, b, c, d = a[mixed], b[mixed], c[mixed], d[mixed]
    result[mixed] = np.where((a == b) | (a == c) | (a == d), a, np.where((b == c) | (b == d), b, c))
    return result


def _paint_ground(scene: Scene, lens: Lens) -> Picture:
    """Sky, far land and the ground maps (h, w, 4)."""
    picture = np.empty((lens.height, lens.width, 4), np.uint8)
    horizon = _find_horizon(lens)
    lowest = max(horizon)
    top = int(np.clip(math.ceil(lowest) + 1, 0, lens.height))
    views = [_View(ground, lens) for ground in scene.grounds]
    fine = views[-1].find_covered_rows(top)
    if top > 0 or fine != (top, lens.height):
        far = tuple(0.6 * a + 0.4 * b for a, b in zip(scene.far_rgb, scene.haze_rgb, strict=True))
        cv2.rectangle(picture, (0, 0), (lens.width, lens.height), (*far, 0), -1)
    if lowest > 0:
        _paint_sky(picture, scene, lens, lowest)
        corners = np.array([(0, horizon[0]), (lens.width, horizon[1])])
        fixed = np.clip(
            np.append(corners, [(lens.width, lowest + 3), (0, lowest + 3)], axis=0) * 16, -3e5, 3e5
        )
        cv2.fillConvexPoly(picture, fixed.astype(np.int32), (*far, 0), cv2.LINE_8, _SHIFT)
    coarse = (top, lens.height)
    if fine[1] == lens.height:
        coarse = (top, fine[0])
    elif fine[0] == top:
        coarse = (fine[1], lens.height)
    for view in views[:-1]:
        view.paint(picture, *coarse)
    views[-1].paint(picture, top, lens.height)
    return picture


class _View:
    """A ground map as a lens sees it."""

    def __init__(self, ground: GroundMap, lens: Lens) -> None:
        side = ground.texture.shape[0]
        step = ground.extent / side
        origin = np.array([ground.centre[0] - ground.extent / 2, ground.centre[1] - ground.extent / 2, 0.0])
        self._texture, self._side, self._lens = ground.texture, side, lens
        self._plane = lens.map_plane(origin, np.array([step, 0, 0]), np.array([0, step, 0]))

    def find_covered_rows(self, top: int) -> tuple[int, int]:
        """The rows from `top` on that the map fills from border to border."""
        lens = self._lens
        rows = np.linspace(top, lens.height, 25)
        spots = np.concatenate([[(x, row, 1.0) for row in rows] for x in (0.0, float(lens.width))])
        flat = spots @ np.linalg.inv(self._plane).T
        flat = flat[:, :2] / flat[:, 2:]
        inside = ((flat > 2) & (flat < self._side - 2)).all(axis=1)
        both = np.flatnonzero(inside[:25] & inside[25:])
        if len(both) < 2 or len(both) != both[-1] - both[0] + 1:
            return top, top
        return math.ceil(rows[both[0]]), math.floor(rows[both[-1]])

    def paint(self, picture: Picture, start: int, stop: int) -> None:
        """Paint the rows start <= row < stop, as far as the map reaches."""
        if stop - start < 1:
            return
        plane = np.array([[1, 0, 0], [0, 1, -float(start)], [0, 0, 1]]) @ self._plane
        cv2.warpPerspective(
            self._texture,
            plane,
            (self._lens.width, stop - start),
            dst=picture[start:stop],
            flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_TRANSPARENT,
        )


def _find_horizon(lens: Lens) -> tuple[float, float]:
    """Height of the horizon at the left and the right border, in pixels."""
    up = lens.axes[:, 2]  # the world's up in camera coordinates
    heights = []
    for x in (-lens.width / 2, lens.width / 2):
        heights.append(lens.height / 2 - (up[0] * x + up[2] * lens.focal) / up[1])
    return heights[0], heights[1]


def _paint_sky(picture: Picture, scene: Scene, lens: Lens, lowest: float) -> None:
    rows = min(lens.height, math.ceil(lowest))
    azimuth = math.atan2(lens.axes[2, 1], lens.axes[2, 0])
    sky_h, sky_w = scene.sky.shape[:2]
    scale = sky_w / (2.2 * lens.width)
    shift = (azimuth * lens.focal * scale) % (sky_w / 2)
    matrix = np.array(
        [
            [scale, 0, shift * 0.5],
            [0, sky_h / (0.75 * lens.height), sky_h * (1 - lowest / (0.75 * lens.height))],
        ]
    )
    cv2.warpAffine(
        scene.sky,
        matrix,
        (lens.width, rows),
        dst=picture[:rows],
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REFLECT,
    )


def _paint_shadows(
    picture: Picture, outlines: Sequence[NDArray[np.float64]], lens: Lens, scene: Scene
) -> None:
    """Darken the ground where bodies keep the sun away. Shadows are drawn at half size and blurred."""
    filled = [item for item in outlines if len(item)]
    if not filled:
        return
    ground = np.concatenate(filled)
    plane = lens.map_plane(np.zeros(3), np.array([1.0, 0, 0]), np.array([0, 1.0, 0]))
    points = ground @ plane[:, :2].T + plane[:, 2]
    ahead = (points[..., 2] > 0.2).all(axis=1)
    flat = points[ahead][..., :2] / points[ahead][..., 2:]
    low, high = flat.min(axis=1), flat.max(axis=1)
    inside = (high > 0).all(axis=1) & (low < (lens.width, lens.height)).all(axis=1)
    flat = flat[inside]
    if len(flat) == 0:
        return
    soft = max(1, round(scene.light.softness * lens.height / 360))
    x0, y0 = np.clip(low[inside].min(axis=0) - 2 * soft, 0, (lens.width, lens.height)).astype(int) // 2 * 2
    x1, y1 = np.clip(high[inside].max(axis=0) + 2 * soft + 2, 0, (lens.width, lens.height)).astype(int)
    if x1 - x0 < 2 or y1 - y0 < 2:
        return
    half = np.zeros(((y1 - y0 + 1) // 2, (x1 - x0 + 1) // 2), np.uint8)
    fixed = np.clip((flat - (x0, y0)) * 8, -100_000, 100_000).round().astype(np.int32)
    depth = round(255 * scene.light.shadow)
    for polygon in fixed:
        cv2.fillConvexPoly(half, polygon, depth, cv2.LINE_8, _SHIFT)
    half = cv2.blur(half, (soft, soft)) if soft > 1 else half
    full = cv2.resize(half, (int(x1 - x0), int(y1 - y0)), interpolation=cv2.INTER_LINEAR)
    keep = cv2.bitwise_not(full)
    part = picture[y0:y1, x0:x1]
    picture[y0:y1, x0:x1] = cv2.multiply(part, cv2.merge([keep, keep, keep, keep]), scale=1 / 255)


def _measure_visible(
    picture: Picture, drawn: list[Drawn], num_actors: int, lens: Lens
) -> NDArray[np.float32]:
    """Share of each actor's own pixels that is seen; counted only where something may hide them."""
    visible = np.zeros(num_actors, np.float32)
    groups: dict[int, list[int]] = {}
    for place, item in enumerate(drawn):
        if item.number and item.outlines:
            groups.setdefault(item.number, []).append(place)
    boxes = np.array([item.box for item in drawn]).reshape(-1, 4)
    numbers = np.array([item.number for item in drawn])
    for number, members in groups.items():
        own = boxes[members]
        x0, y0, x1, y1 = own[:, 0].min(), own[:, 1].min(), own[:, 2].max(), own[:, 3].max()
        later = np.arange(len(drawn)) > members[0]
        later &= (numbers != number) & (boxes[:, 0] < x1) & (boxes[:, 2] > x0)
        later &= (boxes[:, 1] < y1) & (boxes[:, 3] > y0)
        cut = x0 < 0 or y0 < 0 or x1 > lens.width or y1 > lens.height
        if not cut and not later.any():
            visible[number - 1] = 1.0
            continue
        if x1 <= 0 or y1 <= 0 or x0 >= lens.width or y0 >= lens.height:
            continue
        area = picture[max(y0, 0) : max(y1, 0), max(x0, 0) : max(x1, 0), 3]
        seen = int(np.count_nonzero(area == number))
        if seen == 0:
            continue
        shrink = 0
        while max(x1 - x0, y1 - y0) >> shrink > 1200:
            shrink += 1
        alone = np.zeros((((y1 - y0) >> shrink) + 2, ((x1 - x0) >> shrink) + 2), np.uint8)
        offset = np.array([x0, y0], np.int32) << _SHIFT
        for place in members:
            for outline in drawn[place].outlines:
                cv2.fillConvexPoly(alone, outline - offset, 1, cv2.LINE_8, _SHIFT + shrink)
        whole = int(cv2.countNonZero(alone)) << (2 * shrink)
        visible[number - 1] = min(1.0, seen / max(whole, 1))
    return visible
