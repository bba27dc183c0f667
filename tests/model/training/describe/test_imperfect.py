"""Flawed masks stay masks of their object, and samples are what the pipeline would keep."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest

from tests.model.training.describe.conftest import SPEC
from tubelet.model.training.describe.imperfect import FLAW_SHARES, FLAWS, Flaw, spoil_mask, track_truth
from tubelet.model.training.world import render_clip
from tubelet.orchestration.kept_views import keep_views
from tubelet.records import Box


def make_mask() -> np.ndarray:
    mask = np.zeros((60, 80), bool)
    mask[20:40, 30:60] = True
    mask[20:30, 30:40] = False
    return mask


@pytest.mark.parametrize("flaw", get_args(Flaw))
def test_a_flaw_changes_the_mask_a_little(flaw: Flaw) -> None:
    mask = make_mask()
    spoilt = [spoil_mask(mask, flaw, np.random.default_rng(seed)) for seed in range(5)]
    shares = [(mask & other).sum() / (mask | other).sum() for other in spoilt]
    assert min(shares) > 0.5
    assert (min(shares) < 1) == (flaw != "none")


@pytest.mark.parametrize("flaw", get_args(Flaw))
def test_a_speck_is_never_lost(flaw: Flaw) -> None:
    mask = np.zeros((60, 80), bool)
    mask[10, 10] = True
    assert spoil_mask(mask, flaw, np.random.default_rng(0)).any()


def test_every_flaw_has_its_share() -> None:
    assert len(FLAWS) == len(FLAW_SHARES) == len(get_args(Flaw))
    assert sum(FLAW_SHARES) == pytest.approx(1)


def test_objects_are_tracked_where_they_are_seen() -> None:
    clip = render_clip(41, SPEC)
    seen = 0
    for index, tracked in enumerate(track_truth(clip, np.random.default_rng(0))):
        for item in tracked.objects:
            seen += 1
            found = clip.find_box(index, item.number)
            assert found is not None
            assert Box(*item.observation.box).iou(found) > 0.4
    assert seen > 5
    views = keep_views(track_truth(clip, np.random.default_rng(0)))
    for own in views.values():
        slots = [int(view.time_s // 0.5) for view in own]
        assert slots == sorted(set(slots)), "one view a slot, in time order"
