"""A traced clip is the rendered one without its pictures."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tubelet.model.tracking.camera import estimate_step, to_grey
from tubelet.model.training.world import ClipSpec, RenderedClip, TracedClip, render_clip, trace_clip

SPEC = ClipSpec(num_frames=4, frame_rate=2.0, width=160, height=90, theme="traffic", degrade=False)
SEEDS = range(6)


@pytest.fixture(scope="module")
def clips() -> list[tuple[TracedClip, RenderedClip]]:
    return [(trace_clip(seed, SPEC), render_clip(seed, SPEC)) for seed in SEEDS]


def test_what_is_large_in_the_pictures_is_traced_with_its_truth(
    clips: list[tuple[TracedClip, RenderedClip]],
) -> None:
    checked = 0
    for traced, rendered in clips:
        assert traced.times_s == rendered.times_s
        told = {(item.category, item.colours, item.turn) for item in traced.objects}
        for place, item in enumerate(rendered.objects):
            is_hidden = rendered.visible_TO[:, place].min() < 1
            if not is_hidden:
                assert (item.category, item.colours, item.turn) in told
                checked += 1
    assert checked > len(SEEDS)


def test_boxes_hold_what_the_pictures_show(clips: list[tuple[TracedClip, RenderedClip]]) -> None:
    checked = 0
    for traced, rendered in clips:
        for place, item in enumerate(rendered.objects):
            alike = [
                other
                for other in traced.objects
                if (other.category, other.colours, other.turn_deg)
                == (item.category, item.colours, item.turn_deg)
            ]
            if len(alike) != 1 or rendered.visible_TO[:, place].min() < 1:
                continue
            for index, labels in enumerate(rendered.labels_THW):
                rows, columns = np.nonzero(labels == item.number)
                x0, y0, x1, y1 = traced.boxes[alike[0].number][index]
                assert x0 - 2 <= columns.min() <= columns.max() < x1 + 2
                assert y0 - 2 <= rows.min() <= rows.max() < y1 + 2
                assert (columns.max() + 1 - columns.min()) > 0.4 * (x1 - x0)
                checked += 1
    assert checked > len(SEEDS)


def test_a_moving_camera_is_told_as_a_tracker_would_estimate_it() -> None:
    """What is nothing but ground moves in the picture as the steps say."""
    spec = replace(SPEC, width=320, height=180, frame_rate=6.0)
    errors = []
    for seed in range(16):
        traced = trace_clip(seed, spec)
        assert len(traced.camera) in (0, spec.num_frames - 1)
        if not traced.camera:
            continue
        rendered = render_clip(seed, spec)
        grey = [to_grey(frame) for frame in rendered.frames_THWC]
        for place, step in enumerate(traced.camera):
            assert step.time_s == pytest.approx(traced.times_s[place + 1])
            estimated = estimate_step(grey[place], grey[place + 1], rendered.labels_THW[place] == 0)
            points = np.array([[80.0, 140.0], [240.0, 140.0], [160.0, 100.0]])
            told = np.array(step.matrix).reshape(2, 3)
            moved = [points @ matrix[:, :2].T + matrix[:, 2] for matrix in (estimated, told)]
            errors.append(float(np.abs(moved[0] - moved[1]).mean()))
    assert len(errors) >= 9
    assert np.median(errors) < 0.7


def test_a_seed_traces_the_same_paths_in_every_size() -> None:
    small = trace_clip(3, SPEC)
    large = trace_clip(3, replace(SPEC, width=320, height=180))
    for number, boxes in small.boxes.items():
        np.testing.assert_allclose(large.boxes[number], 2 * boxes)
