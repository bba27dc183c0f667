"""Drawing: masks lie on their objects at every time, and nothing is drawn where nothing was seen."""

from __future__ import annotations

import numpy as np
import pytest

from tubelet.model.frame import Frame
from tubelet.model.masks import Mask, encode_mask, mask_iou
from tubelet.records import Box, PathPoint
from tubelet.workers.drawing import DrawnObject, annotate, choose_colour, find_mask, interpolate_box

WIDTH, HEIGHT = 200, 120


def make_frame(time_s: float, *, scale: int = 2) -> Frame:
    """A grey picture of a source that is `scale` times as large."""
    return Frame(time_s, np.full((HEIGHT, WIDTH, 3), 90, np.uint8), WIDTH * scale, HEIGHT * scale)


def draw_ellipse(box: Box, *, scale: int) -> Mask:
    """An ellipse that fills a box of the source, on the picture's grid."""
    ys, xs = np.mgrid[0:HEIGHT, 0:WIDTH] * scale + scale / 2
    (x, y) = box.centre
    inside = ((xs - x) / (box.width / 2)) ** 2 + ((ys - y) / (box.height / 2)) ** 2 <= 1
    return np.asarray(inside, bool)


def make_object(num: int = 5, *, step_s: float = 0.5) -> tuple[DrawnObject, list[Box]]:
    """An ellipse that moves right and grows, seen every `step_s`."""
    boxes = [Box(40 + 30 * i, 60 + 4 * i, 100 + 36 * i, 120 + 10 * i) for i in range(num)]
    path = [PathPoint(step_s * i, *box) for i, box in enumerate(boxes)]
    masks = [(step_s * i, encode_mask(draw_ellipse(box, scale=2))) for i, box in enumerate(boxes)]
    return DrawnObject("o1", path, masks), boxes


def test_the_mask_of_a_time_is_drawn_as_it_is() -> None:
    item, boxes = make_object()
    for index, box in enumerate(boxes):
        found = find_mask(item, make_frame(0.5 * index), box)
        assert found is not None
        assert (found == draw_ellipse(box, scale=2)).all()


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_between_two_times_the_mask_moves_and_grows_with_the_box(share: float) -> None:
    item, boxes = make_object()
    time_s = 0.5 * (1 + share)
    box = interpolate_box(item.path, time_s)
    assert box is not None
    assert box == pytest.approx([a + share * (b - a) for a, b in zip(boxes[1], boxes[2], strict=True)])
    found = find_mask(item, make_frame(time_s), box)
    assert found is not None
    assert mask_iou(encode_mask(found), encode_mask(draw_ellipse(box, scale=2))) > 0.93


def test_a_mask_on_a_coarse_grid_is_brought_to_the_picture() -> None:
    item, boxes = make_object()
    coarse = [
        (time_s, encode_mask(draw_ellipse(boxes[i], scale=2)[::4, ::4]))
        for i, (time_s, _) in enumerate(item.masks)
    ]
    found = find_mask(DrawnObject("o1", item.path, coarse), make_frame(0.5), boxes[1])
    assert found is not None
    assert mask_iou(encode_mask(found), encode_mask(draw_ellipse(boxes[1], scale=2))) > 0.8


def test_nothing_is_drawn_before_after_and_in_long_gaps() -> None:
    item, _ = make_object()
    late = DrawnObject("o1", [*item.path, PathPoint(9.0, 40, 60, 100, 120)], item.masks)
    untouched = make_frame(0.0).image
    for time_s in (-1.0, 2.6, 20.0):
        assert (annotate(make_frame(time_s), [item]) == untouched).all()
    assert interpolate_box(late.path, 5.0) is None
    in_gap = annotate(make_frame(5.0), [late], trail_s=1.0)
    assert (in_gap == untouched).all()


def test_mask_box_and_path_are_drawn_in_the_objects_colour() -> None:
    item, boxes = make_object()
    green = DrawnObject("", item.path, item.masks, (0, 255, 0))
    picture = annotate(make_frame(2.0), [green])
    inside = draw_ellipse(boxes[4], scale=2)
    changed = (picture != 90).any(2)
    assert changed[inside].all(), "the mask is filled"
    x0, y0, x1 = (round(side / 2) for side in boxes[4][:3])
    assert (picture[y0, x0 + 2 : x1 - 2, 1] > 200).all(), "the box's upper side"
    way = [(round((box.x0 + box.x1) / 4), round((box.y0 + box.y1) / 4)) for box in boxes[:3]]
    assert all(changed[y, x] for x, y in way), "where it was"
    assert not changed[:, :15].any()
    assert not (annotate(make_frame(2.0), [green], trail_s=0.6) != 90).any(2)[way[0][1], way[0][0]]


def test_an_object_without_masks_has_a_box() -> None:
    item, boxes = make_object()
    plain = DrawnObject("o1", item.path)
    picture = annotate(make_frame(1.0), [plain])
    x, y = (round(side / 2) for side in boxes[2].centre)
    assert (picture[y + 10, x + 5] == 90).all(), "not filled"
    assert (picture[round(boxes[2].y1 / 2), x] != 90).any()


def test_labels_stay_inside_the_picture() -> None:
    path = [PathPoint(0.0, 0, 0, 30, 30), PathPoint(1.0, 380, 0, 400, 30)]
    for time_s in (0.0, 1.0):
        changed = (annotate(make_frame(time_s), [DrawnObject("o0123456789abcdef", path)]) != 90).any(2)
        assert changed[2:14].sum() > 300, "the strip of the label"


def test_neighbours_in_a_list_have_unlike_colours() -> None:
    colours = np.array([choose_colour(place) for place in range(12)], float)
    assert np.linalg.norm(np.diff(colours, axis=0), axis=1).min() > 100
