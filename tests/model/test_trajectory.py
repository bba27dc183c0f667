"""Motion from constructed paths: noise, borders, moving cameras, and the symmetries that must hold."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.model.path_factory import (
    FRAME_HEIGHT,
    FRAME_WIDTH,
    Walk,
    bend,
    film_moving,
    join,
    mirror,
    observe,
    reverse,
    seen_by_camera,
    stand,
    straight,
    transform,
)
from tubelet.model.trajectory import (
    measure_as_moving,
    measure_moments,
    measure_motion,
    smooth_path,
    split_moments,
)
from tubelet.model.trajectory.ground import ELEVATION_DEG, FIELD_OF_VIEW_DEG
from tubelet.model.trajectory.motion import name_heading, name_turn
from tubelet.records import Box, CameraStep, Motion, Observation

CENTRE = (FRAME_WIDTH / 2, FRAME_HEIGHT / 2)
FRAME: dict[str, Any] = {"frame_width": FRAME_WIDTH, "frame_height": FRAME_HEIGHT}

headings = st.floats(0, 359.9)
rates = st.sampled_from([2.0, 5.0, 6.0, 10.0, 25.0, 29.97, 30.0])
noises = st.floats(0, 3)
seeds = st.integers(0, 10_000)
sizes = st.tuples(st.floats(45, 140), st.floats(45, 140))
steady = settings(deadline=None, derandomize=True, max_examples=50)
MIRRORED = {"left": "right", "right": "left"}


def measure(seen: list[Observation], camera: list[CameraStep] | None = None) -> Motion:
    return measure_motion(seen, camera or [], **FRAME)


def angle_between(first_deg: float | None, second_deg: float | None) -> float:
    assert first_deg is not None
    assert second_deg is not None
    return abs((first_deg - second_deg + 180) % 360 - 180)


def own_length(size: tuple[float, float]) -> float:
    return float(np.sqrt(size[0] * size[1]))


def drive(
    heading_deg: float, lengths: float, speed: float, rate: float, size: tuple[float, float], **more: Any
) -> list[Observation]:
    """A straight drive through the middle of the picture."""
    distance = lengths * own_length(size)
    angle = np.radians(heading_deg)
    start = (CENTRE[0] - np.cos(angle) * distance / 2, CENTRE[1] + np.sin(angle) * distance / 2)
    walk = straight(start, heading_deg, distance)
    return observe(walk, speed_px=speed * own_length(size), rate=rate, size=size, **more)


@steady
@given(headings, st.floats(3, 5.5), st.floats(0.5, 4), rates, sizes, noises, seeds)
def test_a_straight_drive_has_its_heading_and_speed(
    heading_deg: float,
    lengths: float,
    speed: float,
    rate: float,
    size: tuple[float, float],
    noise_px: float,
    seed: int,
) -> None:
    seen = drive(heading_deg, lengths, speed, rate, size, noise_px=noise_px, seed=seed)
    assume(len(seen) >= 5)
    motion = measure(seen)
    assert not motion.stopped
    assert angle_between(motion.heading_deg, heading_deg) < 8
    assert motion.speed == pytest.approx(speed, rel=0.15)
    assert motion.turn == "none"
    assert not motion.approaching
    assert not motion.leaving
    assert len(split_moments(seen, [], **FRAME)) == int(np.ceil((seen[-1].time_s - seen[0].time_s) / 10))


@steady
@given(
    headings,
    st.floats(1.2, 3),
    st.one_of(st.floats(65, 115), st.floats(165, 195)),
    st.sampled_from([-1, 1]),
    st.floats(0.6, 3),
    rates,
    sizes,
    noises,
    seeds,
)
def test_a_bend_turns_to_its_side_by_its_angle(
    heading_deg: float,
    radius: float,
    angle_deg: float,
    side: int,
    speed: float,
    rate: float,
    size: tuple[float, float],
    noise_px: float,
    seed: int,
) -> None:
    length = 50.0  # small, so that the whole way fits into the picture
    size = (size[0] * length / own_length(size), size[1] * length / own_length(size))
    way = bend(CENTRE, heading_deg, 3 * length, radius * length, side * angle_deg)
    walk = seen_by_camera(way, ELEVATION_DEG, FIELD_OF_VIEW_DEG)
    seen = observe(walk, speed_px=speed * length, rate=rate, size=size, noise_px=noise_px, seed=seed)
    arc_s = radius * np.radians(angle_deg) / speed
    assume(arc_s * rate >= 6)  # six samples see the arc
    assume(arc_s <= 8)  # and it fits into a moment
    assume(
        speed >= 1 or 6 / speed + arc_s <= 10
    )  # what is slow with its straights too, or it is cut in the turn
    motion = measure(seen)
    assert motion.turn_deg == pytest.approx(side * angle_deg, abs=35)
    to_side = "left" if side > 0 else "right"
    assert motion.turn == ("u" if angle_deg > 135 else to_side)
    turns = [moment.turn for _, moment in measure_moments(seen, [], **FRAME) if moment.turn != "none"]
    # Cut close to its arc, or in its middle, a U-turn may be measured short of one.
    assert set(turns) <= ({"u", to_side} if angle_deg > 135 else {to_side})
    assert len(turns) == 1 or (angle_deg > 135 and turns)


@steady
@given(
    headings,
    st.floats(1.5, 3),
    st.floats(80, 100),
    st.sampled_from([-1, 1]),
    st.floats(15, 60),
    st.floats(45, 75),
    rates,
    seeds,
)
def test_before_any_camera_a_quarter_bends_to_its_side_and_a_straight_way_does_not(
    heading_deg: float,
    radius: float,
    angle_deg: float,
    side: int,
    elevation_deg: float,
    fov_deg: float,
    rate: float,
    seed: int,
) -> None:
    length = 40.0
    more: dict[str, Any] = {"rate": rate, "size": (length, length), "noise_px": 1.0, "seed": seed}
    for angle in (side * angle_deg, 0.0):
        way = bend(CENTRE, heading_deg, 4 * length, radius * length, angle)
        seen = observe(seen_by_camera(way, elevation_deg, fov_deg), speed_px=length, **more)
        motion = measure(seen)
        assert (side * motion.turn_deg > 18) == bool(angle)
        assert abs(motion.turn_deg) < 160
        assert angle or motion.turn == "none"


@steady
@given(st.floats(2, 60), rates, noises, seeds, sizes)
def test_jitter_is_standing_still(
    seconds: float, rate: float, noise_px: float, seed: int, size: tuple[float, float]
) -> None:
    seen = stand(seconds, rate=rate, noise_px=noise_px, seed=seed, size=size)
    motion = measure(seen)
    assert motion == Motion("none", None, 0.0, "none", 0.0, True, False, False, None, None)
    assert all(moment.stopped for _, moment in measure_moments(seen, [], **FRAME))


@steady
@given(headings, st.floats(0.02, 0.1), st.floats(0, 0.5), seeds)
def test_what_creeps_stands_and_has_a_way_once_it_is_known_to_move(
    heading_deg: float, speed: float, noise_px: float, seed: int
) -> None:
    seen = drive(heading_deg, 0.5, speed, 6, (100, 80), noise_px=noise_px, seed=seed)
    stands = measure(seen)
    assume(stands.stopped)
    moves = measure_as_moving(stands, seen, [], **FRAME)
    assert not moves.stopped
    assert angle_between(moves.heading_deg, heading_deg) < 15
    assert moves.speed >= 0.9 * speed
    sides = (moves.approaching, moves.leaving, moves.entry_side, moves.exit_side)
    assert sides == (stands.approaching, stands.leaving, stands.entry_side, stands.exit_side)


@st.composite
def passes(draw: st.DrawFn) -> list[Observation]:
    """An object that comes from outside, crosses the picture, perhaps bending and growing, and may leave."""
    angle = draw(headings)
    reach = draw(st.floats(0.7, 1.3)) * 700
    start = (
        CENTRE[0] - reach * np.cos(np.radians(angle)) + draw(st.floats(-100, 100)),
        CENTRE[1] + reach * np.sin(np.radians(angle)) + draw(st.floats(-100, 100)),
    )
    turn_deg = draw(st.sampled_from([0.0, 50.0, -70.0, 110.0]))
    walk: Walk = (
        bend(start, angle, reach, draw(st.floats(80, 250)), turn_deg)
        if turn_deg
        else straight(start, angle, 2 * reach)
    )
    seen = observe(
        walk,
        speed_px=draw(st.floats(60, 400)),
        rate=draw(rates),
        size=draw(sizes),
        noise_px=draw(st.floats(0.01, 3)),
        seed=draw(seeds),
        growth=draw(st.sampled_from([1.0, 0.6, 1.7])),
    )
    assume(len(seen) >= 6)
    return seen


@steady
@given(passes())
def test_a_mirror_swaps_left_and_right(seen: list[Observation]) -> None:
    motion, mirrored = measure(seen), measure(mirror(seen))
    assert mirrored.turn_deg == pytest.approx(-motion.turn_deg, abs=1e-5)
    assert mirrored.turn == MIRRORED.get(motion.turn, motion.turn)
    assert mirrored.heading == "-".join(MIRRORED.get(word, word) for word in motion.heading.split("-"))
    assert mirrored.speed == pytest.approx(motion.speed)
    assert mirrored.entry_side == MIRRORED.get(str(motion.entry_side), motion.entry_side)
    assert mirrored.exit_side == MIRRORED.get(str(motion.exit_side), motion.exit_side)
    assert (mirrored.approaching, mirrored.leaving) == (motion.approaching, motion.leaving)


@steady
@given(passes())
def test_time_reversed_swaps_entry_and_exit(seen: list[Observation]) -> None:
    motion, reversed_ = measure(seen), measure(reverse(seen))
    assert (reversed_.entry_side, reversed_.exit_side) == (motion.exit_side, motion.entry_side)
    assert (reversed_.approaching, reversed_.leaving) == (motion.leaving, motion.approaching)
    assert reversed_.turn_deg == pytest.approx(-motion.turn_deg, abs=1e-4)
    assert reversed_.speed == pytest.approx(motion.speed)


@steady
@given(passes(), st.floats(0.1, 8))
def test_the_picture_size_does_not_matter(seen: list[Observation], factor: float) -> None:
    scaled = transform(seen, lambda box: Box(*(value * factor for value in box)))
    motion = measure(seen)
    # Frame sizes are whole pixels: choose a frame that the factor maps onto itself in shares.
    other = measure_motion(scaled, [], frame_width=FRAME_WIDTH * factor, frame_height=FRAME_HEIGHT * factor)  # type: ignore[arg-type]
    for name, value in asdict(motion).items():
        expected = pytest.approx(value, rel=1e-4, abs=1e-4) if isinstance(value, float) else value
        assert asdict(other)[name] == expected


@steady
@given(
    headings,
    st.floats(1, 3),
    st.sampled_from([5.0, 6.0, 10.0, 30.0]),
    st.tuples(st.floats(-6, 6), st.floats(-6, 6)),
    st.floats(0.997, 1.003),
    seeds,
)
def test_camera_motion_is_removed(
    heading_deg: float, speed: float, rate: float, step: tuple[float, float], zoom: float, seed: int
) -> None:
    size = (60.0, 60.0)
    seen = drive(heading_deg, 4, speed, rate, size, noise_px=1.0, seed=seed)
    filmed, camera = film_moving(seen, np.array(step), rate, zoom=zoom)
    assume(all(o.box.x0 > 20 and o.box.x1 < FRAME_WIDTH - 20 for o in filmed))
    assume(all(o.box.y0 > 12 and o.box.y1 < FRAME_HEIGHT - 12 for o in filmed))
    fixed, moving = measure(seen), measure(filmed, camera)
    assert angle_between(fixed.heading_deg, moving.heading_deg) < 1e-3
    assert moving.speed == pytest.approx(fixed.speed, rel=1e-6)
    assert moving.turn_deg == pytest.approx(fixed.turn_deg, abs=1e-3)
    assert (moving.approaching, moving.leaving) == (False, False)


def test_a_parked_object_under_a_panning_camera_is_stopped() -> None:
    seen = stand(4, rate=10, noise_px=2, seed=1, size=(80, 60))
    filmed, camera = film_moving(seen, np.array([-9.0, 2.0]), 10)
    assert measure(filmed, camera).stopped
    assert not measure(filmed).stopped


@pytest.mark.parametrize(
    ("heading_deg", "entry", "exit_"),
    [(0, "left", "right"), (90, "bottom", "top"), (180, "right", "left"), (270, "top", "bottom")],
)
@pytest.mark.parametrize("rate", [2.0, 6.0, 30.0])
def test_a_pass_enters_and_leaves_and_does_not_grow(
    heading_deg: float, entry: str, exit_: str, rate: float
) -> None:
    """The border cuts the box on both ends: neither its growing nor its shrinking is approach."""
    seen = drive(heading_deg, 10 if heading_deg % 180 else 16, 1.2, rate, (160, 160), noise_px=2)
    assert seen[0].box.area < 0.9 * 160 * 160
    motion = measure(seen)
    assert (motion.entry_side, motion.exit_side) == (entry, exit_)
    assert (motion.approaching, motion.leaving) == (False, False)
    assert motion.heading == name_heading(heading_deg)
    assert motion.speed == pytest.approx(1.2, rel=0.1)


def test_an_object_that_appears_inside_has_no_entry_side() -> None:
    motion = measure(drive(0, 4, 1.0, 6, (80, 80)))
    assert (motion.entry_side, motion.exit_side) == (None, None)


def test_feet_below_the_frame_are_not_an_entry_from_the_bottom() -> None:
    walk = straight((FRAME_WIDTH + 60, FRAME_HEIGHT - 80), 180, 900)
    motion = measure(observe(walk, speed_px=150, rate=6, size=(100, 300), noise_px=2))
    assert motion.entry_side == "right"
    assert motion.heading == "left"


@pytest.mark.parametrize(("growth", "approaching", "leaving"), [(1.6, True, False), (0.6, False, True)])
def test_growing_is_approaching(growth: float, approaching: bool, leaving: bool) -> None:
    here = Walk(lambda s: CENTRE, 4)
    motion = measure(observe(here, speed_px=1, rate=6, growth=growth, noise_px=2))
    assert (motion.approaching, motion.leaving) == (approaching, leaving)
    assert not motion.stopped
    assert motion.heading == "none"


def test_one_observation_is_a_standstill() -> None:
    seen = drive(0, 4, 1.0, 6, (80, 80))[:1]
    assert measure(seen) == Motion("none", None, 0.0, "none", 0.0, True, False, False)
    assert split_moments(seen, [], **FRAME) == [(0, 1)]
    assert measure_as_moving(measure(seen), seen, [], **FRAME) == measure(seen)


def test_no_observations_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one observation"):
        measure([])


def test_one_wrong_box_changes_little() -> None:
    seen = drive(30, 5, 1.0, 6, (80, 80), noise_px=1)
    middle = len(seen) // 2
    seen[middle] = Observation(seen[middle].time_s, Box(0, 0, 900, 700), 0.2)
    motion = measure(seen)
    assert angle_between(motion.heading_deg, 30) < 5
    assert motion.speed == pytest.approx(1.0, rel=0.15)


def test_headings_are_eight_words() -> None:
    words = ["right", "up-right", "up", "up-left", "left", "down-left", "down", "down-right"]
    for index, word in enumerate(words):
        for offset in (-22, 0, 22):
            assert name_heading((45 * index + offset) % 360) == word


def test_turns_are_named_by_the_viewers_sense() -> None:
    assert [name_turn(angle) for angle in (34, 36, 134, 136, 224, 226)] == [
        *("none", "left", "left", "u", "u", "left"),
    ]
    assert [name_turn(-angle) for angle in (34, 36, 136, 226)] == ["none", "right", "u", "right"]


@steady
@given(passes(), st.floats(0, 12))
def test_moments_cover_everything_in_order_and_are_not_too_long(
    seen: list[Observation], pause_s: float
) -> None:
    there = stand(pause_s + 0.5, rate=6, noise_px=2, seed=3, size=(80, 80))
    seen = join(seen, there, reverse(seen), rate=6)
    moments = split_moments(seen, [], **FRAME)
    assert [start for start, _ in moments] == [0, *(end for _, end in moments[:-1])]
    assert moments[-1][1] == len(seen)
    for start, end in moments:
        assert start < end
        assert end - start == 1 or seen[end - 1].time_s - seen[start].time_s <= 10.0 + 1e-9
    assert moments == split_moments(seen, [], **FRAME)


@steady
@given(rates, noises, seeds, st.floats(4, 25))
def test_walking_up_standing_and_leaving_are_cut_apart(
    rate: float, noise_px: float, seed: int, pause_s: float
) -> None:
    size, noise = (80.0, 240.0), {"noise_px": noise_px, "seed": seed}
    coming = observe(straight((FRAME_WIDTH, 500), 180, 960), speed_px=240, rate=rate, size=size, **noise)  # type: ignore[arg-type]
    here = Walk(lambda s: (FRAME_WIDTH - 960.0, 500.0), pause_s)
    there = observe(here, speed_px=1.0, rate=rate, size=size, **noise)  # type: ignore[arg-type]
    seen = join(coming, there, reverse(coming), rate=rate)
    moments = measure_moments(seen, [], **FRAME)
    states = [(moment.heading, moment.entry_side, moment.exit_side) for _, moment in moments]
    standing = len(states) - 2
    assert states == [("left", "right", None), *[("none", None, None)] * standing, ("right", None, "right")]
    (_, first_end), _ = moments[0]
    assert seen[first_end].time_s == pytest.approx(coming[-1].time_s, abs=0.3 + 2 / rate)


def test_a_turn_after_a_long_straight_is_one_moment_of_its_own() -> None:
    length = 60.0
    walk = bend((200, 800), 0, 12 * length, 2 * length, 90)
    seen = observe(walk, speed_px=1.5 * length, rate=6, size=(60, 60), noise_px=2)
    turns = [moment.turn for _, moment in measure_moments(seen, [], **FRAME)]
    assert turns == ["none", "left", "none"]


def test_a_left_turn_then_a_right_turn_are_two_moments() -> None:
    length = 60.0
    first = bend((300, 900), 0, 3 * length, 2 * length, 90)
    x, y = first.at(first.distance)
    second = bend((x, y), 90, 3 * length, 2 * length, -90)
    walk = Walk(
        lambda s: first.at(s) if s < first.distance else second.at(s - first.distance),
        first.distance + second.distance,
    )
    seen = observe(walk, speed_px=1.5 * length, rate=6, size=(60, 60), noise_px=2)
    turns = [moment.turn for _, moment in measure_moments(seen, [], **FRAME)]
    assert [turn for turn in turns if turn != "none"] == ["left", "right"]


def test_a_slow_turn_is_not_cut_in_its_middle() -> None:
    length = 60.0
    walk = bend((300, 900), 0, 4 * length, 3 * length, 90)
    seen = observe(walk, speed_px=0.6 * length, rate=6, size=(60, 60), noise_px=2)
    turns = [moment.turn for _, moment in measure_moments(seen, [], **FRAME)]
    assert [turn for turn in turns if turn != "none"] == ["left"]


@pytest.mark.parametrize(("max_s", "min_s"), [(10, 0), (2, 1.5), (10, -1)])
def test_impossible_limits_are_refused(max_s: float, min_s: float) -> None:
    with pytest.raises(ValueError, match="min_moment_s"):
        split_moments(drive(0, 4, 1.0, 6, (80, 80)), [], max_moment_s=max_s, min_moment_s=min_s, **FRAME)


def test_the_smooth_path_follows_the_body_of_a_cut_object() -> None:
    """While the frame cuts the box its centre moves at half speed; the path moves at the true one."""
    seen = drive(0, 16, 1.0, 10, (160, 160))
    path = smooth_path(seen, [], **FRAME)
    np.testing.assert_allclose(path.velocities[2:-2], [[160, 0]] * (len(seen) - 4), atol=2)
    assert path.length_px == pytest.approx(160, rel=0.01)
