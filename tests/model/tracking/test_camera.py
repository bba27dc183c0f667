"""How the camera moved, seen on scenes that were moved by known maps."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from tubelet.model.tracking.camera import (
    Affine,
    Grey,
    estimate_shake,
    estimate_step,
    has_travelled,
    identity,
    move_points,
)

HEIGHT, WIDTH = 180, 320
POINTS = np.array([[40.0, 150.0], [160.0, 100.0], [280.0, 150.0], [160.0, 30.0]])


def make_ground(spread: float, seed: int = 3) -> NDArray[np.float32]:
    """Soft noise of a grey level's spread, as asphalt has it."""
    noise = np.random.default_rng(seed).normal(0, 1, (HEIGHT, WIDTH)).astype(np.float32)
    soft = cv2.GaussianBlur(noise, (0, 0), 2.5)
    return np.asarray(110 + soft * spread / soft.std(), np.float32)


def as_grey(picture: NDArray[np.float32]) -> Grey:
    return np.asarray(np.clip(np.rint(picture), 0, 255), np.uint8)


def move(picture: NDArray[np.float32], matrix: Affine) -> NDArray[np.float32]:
    moved = cv2.warpAffine(picture, matrix, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REFLECT)
    return np.asarray(moved, np.float32)


def miss(found: Affine, matrix: Affine) -> float:
    """By how many pixels, at most, points are put elsewhere."""
    return float(np.abs(move_points(found, POINTS) - move_points(matrix, POINTS)).max())


@pytest.mark.parametrize(
    "matrix",
    [
        [[1, 0, 6], [0, 1, -4]],
        [[1.02, 0, -3], [0, 1.02, -2]],
        [[1, 0.03, -4], [0.005, 1.02, 1]],  # ground seen aslant, as the camera turns
    ],
)
def test_a_moved_scene_gives_its_map(matrix: list[list[float]]) -> None:
    ground = make_ground(20)
    known = np.array(matrix, np.float64)
    assert miss(estimate_step(as_grey(ground), as_grey(move(ground, known))), known) < 0.5


def test_what_has_the_best_corners_does_not_decide() -> None:
    """A chequered van that goes its own way covers an eighth of the picture; the ground is faint."""
    van = np.kron(np.indices((6, 12)).sum(axis=0) % 2, np.ones((14, 8))).astype(np.float32) * 150 + 50
    known = np.array([[1.0, 0, 5], [0, 1, 2]])
    ground = make_ground(12)
    before, after = ground.copy(), move(ground, known)
    before[60:144, 100:196] = van
    after[56:140, 88:184] = van
    assert miss(estimate_step(as_grey(before), as_grey(after)), known) < 0.7


def test_where_most_corners_go_ways_of_their_own_none_is_told() -> None:
    first, second = as_grey(make_ground(20, seed=1)), as_grey(make_ground(20, seed=2))
    assert (estimate_step(first, second) == identity()).all()


def test_a_camera_that_stands_is_not_moved_by_what_passes() -> None:
    """Most corners lie on a bus; those on the fainter ground around it stand still."""
    ground = make_ground(20)
    before, after = ground.copy(), ground.copy()
    before[30:150, 60:260] = make_ground(60, seed=9)[30:150, 60:260]
    after[30:150, 67:267] = before[30:150, 60:260]
    assert (estimate_step(as_grey(before), as_grey(after)) == identity()).all()


def test_pixels_that_do_not_stand_still_are_left_out() -> None:
    ground = make_ground(20)
    known = np.array([[1.0, 0, 3], [0, 1, 0]])
    before, after = ground.copy(), move(ground, known)
    own = np.array([[1.0, 0, -8], [0, 1, 5]])
    after[:, :200] = move(ground, own)[:, :200]  # five eighths move otherwise
    still = np.zeros((HEIGHT, WIDTH), bool)
    still[:, 212:] = True
    assert miss(estimate_step(as_grey(before), as_grey(after), still), known) < 0.7


@pytest.mark.parametrize("shift", [(0, 0), (3, -2)])
def test_a_shaken_camera_gives_its_shift_and_what_passes_does_not(shift: tuple[int, int]) -> None:
    ground = make_ground(20)
    known = np.array([[1.0, 0, shift[0]], [0, 1, shift[1]]])
    before, after = ground.copy(), move(ground, known)
    before[60:120, 100:180] = make_ground(40, seed=9)[60:120, 100:180]
    after[60:120, 110:190] = before[60:120, 100:180]
    assert miss(estimate_shake(as_grey(before), as_grey(after)), known) < 0.3
    first, second = as_grey(make_ground(20, seed=1)), as_grey(make_ground(20, seed=2))
    assert (estimate_shake(first, second) == identity()).all()


def watch(*places: tuple[int, int]) -> list[Grey]:
    """One ground from a camera that is moved so far to the right and down."""
    ground = make_ground(20)
    return [as_grey(move(ground, np.array([[1.0, 0, -x], [0, 1, -y]]))) for x, y in places]


def test_a_camera_that_goes_on_or_turns_has_travelled() -> None:
    assert has_travelled(watch(*((3 * step, -step) for step in range(8))))
    assert has_travelled(watch(*((3 * min(step, 5), 0) for step in range(8))))


def test_a_camera_that_shakes_or_is_moved_once_has_not_travelled() -> None:
    assert not has_travelled(watch(*[(0, 0), (4, 3)] * 4))
    assert not has_travelled(watch(*((0 if step < 4 else 14, 0) for step in range(8))))
    assert not has_travelled(watch(*[(0, 0)] * 8))


def test_pictures_that_have_nothing_in_common_tell_of_no_way() -> None:
    assert not has_travelled([as_grey(make_ground(20, seed=seed)) for seed in range(8)])


def test_the_one_thing_that_has_corners_is_not_the_camera() -> None:
    """A painted van passes a plain wall, of which the camera sees noise."""
    noise = np.random.default_rng(5)
    van = make_ground(40)[:60, :80]
    pictures = []
    for step in range(8):
        wall = 110 + noise.normal(0, 3, (HEIGHT, WIDTH)).astype(np.float32)
        wall[80:140, 20 + 12 * step : 100 + 12 * step] = van
        pictures.append(as_grey(wall))
    assert not has_travelled(pictures)
