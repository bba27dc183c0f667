"""What is true of a scene's objects and between them, from their places alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tubelet.model.training.world.actors import Actor
from tubelet.model.training.world.paths import measure_turn_deg
from tubelet.model.training.world.scene import Scene
from tubelet.model.training.world.spec import Action, ObjectTruth, Phase, Relation, RelationKind
from tubelet.model.trajectory.motion import TURN_DEG, U_TURN_DEG, name_turn

Flags = NDArray[np.bool_]


def describe_objects(
    scene: Scene, kept: Sequence[int], visible_TO: NDArray[np.float32]
) -> tuple[ObjectTruth, ...]:
    """Truth of the kept actors, numbered from 1 in their order."""
    result = []
    for number, index in enumerate(kept, start=1):
        actor, places = scene.actors[index], scene.places[index]
        seen = np.flatnonzero(visible_TO[:, number - 1] > 0)
        first, last = (int(seen[0]), int(seen[-1])) if len(seen) else (0, 0)
        start, end = float(scene.times[first]), float(scene.times[last])
        turn_deg = measure_turn_deg(places.heading_T[first : last + 1])
        result.append(
            ObjectTruth(
                number=number,
                category=actor.looks.category,
                colours=actor.looks.colours,
                actions=_list_actions(actor, start, end),
                turn=name_turn(turn_deg),
                turn_deg=turn_deg,
                start_s=start,
                end_s=end,
                attributes=dict(actor.looks.attributes),
            )
        )
    return tuple(result)


def measure_facing(scene: Scene, kept: Sequence[int]) -> NDArray[np.float32]:
    """Which way the kept actors face as the camera sees it (see `RenderedClip`): (T, len(kept))."""
    headings_OT = np.array([scene.places[index].heading_T for index in kept]).reshape(-1, len(scene.times))
    azimuths_T = np.radians([pose.azimuth_deg for pose in scene.camera.poses])
    facing_TO: NDArray[np.float32] = (headings_OT - azimuths_T + np.pi / 2).T.astype(np.float32)
    return facing_TO


def _list_actions(actor: Actor, start: float, end: float) -> tuple[Phase, ...]:
    phases = actor.drive.list_phases(start, end)
    result: list[Phase] = []
    for phase in phases:
        action = phase.action
        if action in ("turn-left", "turn-right", "u-turn") and end > start:
            ends = actor.drive.locate(np.array([phase.start_s, phase.end_s])).heading_T
            action = _name_bend(action, measure_turn_deg(ends))
        if result and result[-1].action == action:
            result[-1] = Phase(action, result[-1].start_s, phase.end_s)
        else:
            result.append(Phase(action, phase.start_s, phase.end_s))
    return tuple(result)


def _name_bend(action: Action, turn_deg: float) -> Action:
    """What a bend is called of which only so much was seen."""
    if abs(turn_deg) < TURN_DEG:
        return "straight"
    if action == "u-turn" and abs(turn_deg) < U_TURN_DEG:
        return "turn-left" if turn_deg > 0 else "turn-right"
    return action


def find_relations(scene: Scene, kept: Sequence[int], objects: Sequence[ObjectTruth]) -> tuple[Relation, ...]:
    """Relations between the kept actors while both are in view. Rules: docs/world.md."""
    result: list[Relation] = []
    number = {index: place for place, index in enumerate(kept, start=1)}
    for index in kept:
        actor = scene.actors[index]
        for kind, other in (("follows", actor.follows), ("overtakes", actor.overtakes)):
            if other in number:
                _add_while_both(result, kind, objects, number[index], number[other])  # type: ignore[arg-type]
    if len(kept) < 2:
        return tuple(result)
    x = np.stack([scene.places[k].x_T for k in kept])
    y = np.stack([scene.places[k].y_T for k in kept])
    heading = np.stack([scene.places[k].heading_T for k in kept])
    size = np.array([scene.actors[k].looks.size[:2] for k in kept])
    speed = np.stack([scene.places[k].speed_T for k in kept])
    dx, dy = x[None] - x[:, None], y[None] - y[:, None]  # [a, b]: from a to b
    c, s = np.cos(heading)[:, None], np.sin(heading)[:, None]
    ahead, left = c * dx + s * dy, c * dy - s * dx  # b in a's frame
    aligned = np.cos(heading[None] - heading[:, None]) > 0.87
    lengths = (size[:, None, 0] + size[None, :, 0])[..., None] / 2
    widths = (size[:, None, 1] + size[None, :, 1])[..., None] / 2
    both = _both_seen(scene, objects)
    moving = speed > 0.3
    reach = 2.5 * lengths + 3
    in_file = aligned & (np.abs(left) < np.maximum(0.6 * widths, 0.5)) & moving[:, None] & moving[None]
    behind = in_file & (ahead > 0.5 * lengths) & (ahead < reach) & both
    beside = (np.abs(ahead) < 0.6 * lengths) & (np.abs(left) < 1.8 * widths + 0.8) & both
    beside = beside & beside.transpose(1, 0, 2)
    for a in range(len(kept)):
        for b in range(len(kept)):
            if a == b:
                continue
            _add_stretches(result, "behind", scene, a, b, behind[a, b])
            _add_stretches(result, "in-front-of", scene, a, b, behind[b, a])
            _add_stretches(result, "next-to", scene, a, b, beside[a, b])
            _add_crossing(result, scene, objects, kept, a, b)
    return tuple(result)


def _both_seen(scene: Scene, objects: Sequence[ObjectTruth]) -> Flags:
    seen = np.stack([(scene.times >= item.start_s) & (scene.times <= item.end_s) for item in objects])
    return np.asarray(seen[:, None] & seen[None])


def _add_while_both(
    result: list[Relation], kind: RelationKind, objects: Sequence[ObjectTruth], a: int, b: int
) -> None:
    start = max(objects[a - 1].start_s, objects[b - 1].start_s)
    end = min(objects[a - 1].end_s, objects[b - 1].end_s)
    if end >= start:
        result.append(Relation(kind, a, b, start, end))


def _add_stretches(
    result: list[Relation], kind: RelationKind, scene: Scene, a: int, b: int, flags: Flags
) -> None:
    """The longest stretch in which it holds, if that is at least 0.5 s or the whole of a single frame."""
    places = np.flatnonzero(flags)
    if len(places) == 0:
        return
    groups = np.split(places, np.flatnonzero(np.diff(places) > 1) + 1)
    longest = max(groups, key=len)
    start, end = float(scene.times[longest[0]]), float(scene.times[longest[-1]])
    if len(scene.times) == 1 or end - start >= 0.5:
        result.append(Relation(kind, a + 1, b + 1, start, end))


def _add_crossing(
    result: list[Relation], scene: Scene, objects: Sequence[ObjectTruth], kept: Sequence[int], a: int, b: int
) -> None:
    """Whether a passes over b's path, at an angle, at most 2.5 s before or after b is there."""
    if len(scene.times) < 3:
        return
    first, second = scene.places[kept[a]], scene.places[kept[b]]
    if np.ptp(first.along_T) < 1 or np.ptp(second.along_T) < 1:
        return
    seen_a = (scene.times >= objects[a].start_s) & (scene.times <= objects[a].end_s)
    seen_b = (scene.times >= objects[b].start_s) & (scene.times <= objects[b].end_s)
    gap = np.hypot(first.x_T[:, None] - second.x_T[None], first.y_T[:, None] - second.y_T[None])
    gap[~seen_a] = np.inf
    gap[:, ~seen_b] = np.inf
    i, j = np.unravel_index(int(np.argmin(gap)), gap.shape)
    step = max(float(np.abs(np.diff(first.along_T)).max()), float(np.abs(np.diff(second.along_T)).max()))
    if gap[i, j] > 0.75 * step + 0.3:
        return
    angle = abs(np.sin(first.heading_T[i] - second.heading_T[j]))
    late = abs(float(scene.times[i] - scene.times[j]))
    if angle > 0.6 and late <= 2.5:
        start, end = sorted((float(scene.times[i]), float(scene.times[j])))
        result.append(Relation("crosses-path-of", a + 1, b + 1, start, end))
