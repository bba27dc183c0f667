"""Backgrounds from few pictures, and exposures."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.model.tracking.film_factory import Film, Thing, straight
from tubelet.model.tracking.background import estimate_background
from tubelet.model.tracking.exposure import fit_exposure


def make_scene(seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    return np.kron(random.uniform(60, 180, (18, 32, 3)), np.ones((10, 10, 1))).astype(np.float32)


def test_place_that_is_taken_most_of_the_time_is_still_found_empty() -> None:
    def visits(time_s: float) -> tuple[float, float] | None:
        return (160.0, 90.0) if time_s % 10 >= 2.5 else None

    colours = [(20, 20, 20), (20, 20, 20), (200, 200, 200), (20, 20, 20), (190, 40, 40), (90, 90, 90)]
    visitors = [
        Thing(colour, (50, 90), lambda t, n=n: visits(t) if int(t / 10) == n else None, seed=n)
        for n, colour in enumerate(colours)
    ]
    film = Film(visitors, 60.0, fps=1.0)
    empty = Film([], 1.0, fps=1.0, noise=0.0).frames[0].image.astype(np.float32)
    background = estimate_background([frame.image for frame in film.context()])
    assert np.abs(background.image - empty).mean() < 3
    assert np.abs(background.image - empty)[50:130, 140:180].mean() < 5
    assert background.steadiness > 0.9


def test_steadiness_tells_a_moving_camera() -> None:
    mover = Thing((190, 30, 30), (40, 24), straight((-20, 90), (50, 0)))
    still = Film([mover], 8.0)
    pan = Film([mover], 4.0, shift=lambda time_s: (round(40 * time_s), 0))
    assert estimate_background([frame.image for frame in still.context()]).steadiness > 0.9
    assert estimate_background([frame.image for frame in pan.context()]).steadiness < 0.2


def test_noise_is_measured() -> None:
    film = Film([], 8.0, noise=6.0)
    background = estimate_background([frame.image for frame in film.context()])
    assert np.median(background.noise) == pytest.approx(6.0, abs=1.0)


@settings(max_examples=25, deadline=None)
@given(gain=st.floats(0.5, 1.3), offset=st.floats(-12, 12), share=st.floats(0, 0.35), seed=st.integers(0, 99))
def test_exposure_is_found_despite_an_object(gain: float, offset: float, share: float, seed: int) -> None:
    scene = make_scene(seed)
    seen = scene * gain + offset
    seen[:, : int(share * scene.shape[1])] = 250
    exposure = fit_exposure(np.clip(np.rint(seen), 0, 255).astype(np.uint8), scene)
    rest = np.s_[:, int(share * scene.shape[1]) :]
    assert np.abs(exposure.apply(scene)[rest] - np.clip(seen, 0, 255)[rest]).mean() < 3
    assert np.abs(exposure.remove(np.clip(seen, 0, 255).astype(np.float32))[rest] - scene[rest]).mean() < 8


def test_doubt_grows_away_from_the_level_and_is_nothing_without_a_change() -> None:
    scene = make_scene()
    brightness = np.array([[20.0, 120.0, 250.0]], np.float32)
    assert fit_exposure(scene, scene).doubt(brightness).max() == 0
    doubt = fit_exposure(scene * 0.5, scene).doubt(brightness)[0]
    assert doubt[1] < doubt[0] < doubt[2]
