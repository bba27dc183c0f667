"""Objects wear pieces of photographs, and nothing else of the picture changes."""

from __future__ import annotations

import numpy as np
import pytest

from tests.model.training.track.polygons import PolygonClips
from tubelet.model.training.track.redressing import redress
from tubelet.model.training.track.sampled_masks import list_objects

CLIP = PolygonClips(side=64).get(5, 1)
IMAGE, LABELS = CLIP.frames_THW3[0], CLIP.labels_THW[0]
NUMBERS = list_objects(LABELS, 0.003)
PHOTOGRAPHS = [
    np.random.default_rng(1).integers(0, 256, (60, 80, 3)).astype(np.uint8),
    np.full((40, 30, 3), 250, np.uint8),
]


@pytest.mark.parametrize("seed", range(8))
def test_only_the_named_objects_change(seed: int) -> None:
    dressed = redress(IMAGE, LABELS, NUMBERS[:1], PHOTOGRAPHS, np.random.default_rng(seed), share=1.0)
    changed = (dressed != IMAGE).any(2)
    assert changed.any()
    assert not changed[NUMBERS[0] != LABELS].any()
    assert dressed.dtype == np.uint8


def test_a_share_of_the_objects_is_dressed_alike_for_a_seed() -> None:
    counts = 0
    for seed in range(40):
        first, second = (
            redress(IMAGE, LABELS, NUMBERS, PHOTOGRAPHS, np.random.default_rng(seed), share=0.5)
            for _ in range(2)
        )
        assert np.array_equal(first, second)
        counts += sum(bool((first != IMAGE)[number == LABELS].any()) for number in NUMBERS)
    assert 0.3 < counts / (40 * len(NUMBERS)) < 0.7


def test_nothing_is_dressed_without_a_share() -> None:
    dressed = redress(IMAGE, LABELS, NUMBERS, PHOTOGRAPHS, np.random.default_rng(1), share=0.0)
    assert np.array_equal(dressed, IMAGE)
