"""Records and errors: what they refuse, and that they cross process borders whole."""

from __future__ import annotations

import inspect
import math
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tubelet import errors
from tubelet.errors import SourceError, TubeletError, UnknownNameError
from tubelet.records import Box, Chunk, Observation, Rle, Tracklet, Video

numbers = st.floats(-100, 100)
boxes = st.tuples(numbers, numbers, st.floats(0.1, 50), st.floats(0.1, 50)).map(
    lambda sides: Box(sides[0], sides[1], sides[0] + sides[2], sides[1] + sides[3])
)


@given(boxes, boxes)
def test_iou_is_symmetric_and_bounded(first: Box, second: Box) -> None:
    assert 0.0 <= first.iou(second) <= 1.0 + 1e-9
    assert math.isclose(first.iou(second), second.iou(first), abs_tol=1e-12)


@given(boxes)
def test_iou_with_itself_is_one(box: Box) -> None:
    assert math.isclose(box.iou(box), 1.0, rel_tol=1e-9)


def test_boxes_that_only_touch_do_not_overlap() -> None:
    assert Box(0, 0, 1, 1).iou(Box(1, 0, 2, 1)) == 0.0


def test_records_refuse_nonsense() -> None:
    box = Box(0, 0, 1, 1)
    with pytest.raises(ValueError, match="at least 1"):
        Rle(0, 5, b"")
    with pytest.raises(ValueError, match="out of order"):
        Chunk("c", "v", 0, 5.0, 5.0, 0.0, 9.0)
    with pytest.raises(ValueError, match="rising time order"):
        Tracklet("t", 0, (Observation(1.0, box, 1.0), Observation(1.0, box, 1.0)))
    with pytest.raises(ValueError, match="must be positive"):
        Video("v", "u", "i", 0.0, 25, 25, 1, 10, 10, 0, "h264", False)


def _all_errors() -> list[type[TubeletError]]:
    return [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, TubeletError)]


def test_the_error_tree_is_drawn_in_full() -> None:
    missing = [kind.__name__ for kind in _all_errors() if kind.__name__ not in (errors.__doc__ or "")]
    assert missing == []


@pytest.mark.parametrize("kind", _all_errors())
def test_errors_cross_process_borders(kind: type[TubeletError]) -> None:
    error = (
        UnknownNameError("tracker", "x", ["motion"])
        if kind is UnknownNameError
        else kind("It is bad.", expected="good", do="mend it")
    )
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind
    assert str(again) == str(error)


def test_errors_say_found_expected_and_what_to_do() -> None:
    error = SourceError("The file is empty", expected="a video", do="copy it again")
    assert str(error) == "The file is empty. Expected: a video. Do: copy it again."
