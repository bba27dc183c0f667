"""Twelve small clips of known things, and settings whose models know, or do not know, the truth."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from tests.orchestration.evaluation import film
from tests.orchestration.evaluation.film import Thing, make_clip, save_truth
from tests.orchestration.light_models import LIGHT_EMBEDDER
from tubelet.model.training.world import RenderedClip
from tubelet.settings import Settings, load_settings

FIRST_SEED = 500
UP, LEFTWARD = {"x": 80.0, "y": 80.0, "heading": 90.0}, {"x": 146.0, "heading": 180.0}

SCENES: Sequence[Sequence[Thing]] = (
    [Thing("box", "white", "parked", 30, 20)],
    [Thing("car", "red", "turn-left")],  # the target
    [Thing("dog", "white", "straight", **LEFTWARD)],
    [Thing("car", "blue", "turn-left", **UP), Thing("person", "green", "parked", 20, 20)],  # another colour
    [Thing("ball", "yellow", "straight", y=70.0)],
    [Thing("bus", "red", "turn-left", **LEFTWARD)],  # another category
    [Thing("van", "white", "turn-right", **UP)],
    [Thing("car", "red", "straight", y=20.0)],  # another motion
    [Thing("suv", "red", "turn-left", **LEFTWARD)],  # an SUV may be called a car: no rival
    [Thing("dog", "yellow", "parked", 120, 70)],
    [Thing("van", "green", "straight", **UP)],
    [Thing("bicycle", "yellow", "turn-right")],
)

Film = Mapping[int, tuple[RenderedClip, Sequence[Thing]]]
Configure = Callable[..., Settings]


@pytest.fixture(scope="session")
def clips() -> Film:
    """The clips by seed, with what drives through each."""
    return {seed: (make_clip(seed, things), things) for seed, things in enumerate(SCENES, FIRST_SEED)}


@pytest.fixture(scope="session")
def truth_file(clips: Film, tmp_path_factory: pytest.TempPathFactory) -> str:
    """What the knowing models read."""
    return save_truth(tmp_path_factory.mktemp("truth") / "truth.npz", dict(clips))


@pytest.fixture
def configure(truth_file: str, tmp_path: Path) -> Configure:
    """Settings with models of `film.py`, by the words in their factories' names."""

    def make(tracker: str = "knowing", captioner: str = "knowing") -> Settings:
        return load_settings(
            {
                "home": tmp_path / "home",
                "tracker": f"{film.__name__}:make_{tracker}_tracker",
                "captioner": f"{film.__name__}:make_{captioner}_captioner",
                "tracker_weights": truth_file,
                "captioner_weights": truth_file,
                "embedder": LIGHT_EMBEDDER,
                "recogniser": "none",
                "workers": 1,
            }
        )

    return make
