"""Scores against those of `trackeval` 1.3.0, against hand-made cases, and their invariants."""

from __future__ import annotations

from dataclasses import astuple
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Picture

from tubelet.errors import InputError
from tubelet.model.masks import Mask, encode_mask
from tubelet.model.tracking.measures import (
    compare_frames,
    measure_contour,
    measure_hota,
    measure_masks,
    measure_tracking,
    tally_hota,
)
from tubelet.model.tracking.truth import read_mask_folder, read_mot_file
from tubelet.records import Box, Rle

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

Run = list[dict[int, Box]]


def make_run(seed: int, num_objects: int, num_frames: int = 30) -> tuple[Run, Run]:
    """Truth, and a result with noise, gaps, ids that change and swap, and false boxes."""
    random = np.random.default_rng(seed)
    truth: Run = []
    result: Run = []
    starts, steps = random.uniform(0, 200, (num_objects, 2)), random.normal(0, 4, (num_objects, 2))
    ids, free = list(range(num_objects)), 100
    for time in range(num_frames):
        expected: dict[int, Box] = {}
        found: dict[int, Box] = {}
        for thing in range(num_objects):
            x, y = (float(at) for at in starts[thing] + steps[thing] * time)
            if random.uniform() < 0.9:
                expected[thing] = Box(x, y, x + 30, y + 24)
            if random.uniform() < 0.07:
                ids[thing], free = free, free + 1
            if random.uniform() < 0.05:
                other = int(random.integers(num_objects))
                ids[thing], ids[other] = ids[other], ids[thing]
            if random.uniform() < 0.85:
                dx, dy = (float(shift) for shift in random.normal(0, 4, 2))
                found[ids[thing]] = Box(x + dx, y + dy, x + dx + 30, y + dy + 24)
        if random.uniform() < 0.3:
            found[1000 + time] = Box(5, 5, 40, 40)
        truth.append(expected)
        result.append(found)
    return truth, result


BY_TRACKEVAL = {
    (3, 2): (0.2745308923, 0.4532410654, 0.1671479193, 0.7524238684, 0.4102564103, 0.375, 0.6902561835),
    (8, 5): (
        0.2810937879,
        0.4361681474,
        0.1823367575,
        0.7337401265,
        0.3416370107,
        0.2230215827,
        0.6827358599,
    ),
    (21, 6): (
        0.2821706824,
        0.4811765287,
        0.1673127104,
        0.7532771793,
        0.373088685,
        0.3952095808,
        0.7020650163,
    ),
}
COUNTS_BY_TRACKEVAL = {(3, 2): (6, 12, 17), (8, 5): (19, 43, 46), (21, 6): (24, 42, 35)}


@pytest.mark.parametrize("run", BY_TRACKEVAL)
def test_scores_are_those_of_trackeval(run: tuple[int, int]) -> None:
    """HOTA, DetA, AssA, LocA, IDF1, MOTA, MOTP, switches, missed, false: what `trackeval` 1.3.0 answers.

    300 runs of this kind were compared in full; the largest difference was 9e-16.
    """
    scores = astuple(measure_tracking(*make_run(*run)))
    assert scores[:7] == pytest.approx(BY_TRACKEVAL[run], abs=1e-9)
    assert scores[7:] == COUNTS_BY_TRACKEVAL[run]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 5))
def test_the_truth_itself_is_perfect_and_names_do_not_matter(seed: int, num_objects: int) -> None:
    truth, result = make_run(seed, num_objects, num_frames=8)
    perfect = measure_tracking(truth, truth)
    assert (perfect.hota, perfect.idf1, perfect.mota) == pytest.approx((1, 1, 1))
    assert (perfect.num_switches, perfect.num_missed, perfect.num_false) == (0, 0, 0)
    renamed = [{number + 5000: box for number, box in frame.items()} for frame in result]
    assert astuple(measure_tracking(truth, renamed)) == pytest.approx(
        astuple(measure_tracking(truth, result))
    )


def test_a_switch_is_counted_once_and_costs_identity() -> None:
    box = Box(0, 0, 10, 10)
    truth = [{1: box}] * 10
    result = [{7: box}] * 5 + [{8: box}] * 5
    scores = measure_tracking(truth, result)
    assert scores.num_switches == 1
    assert scores.idf1 == 0.5
    assert scores.mota == 0.9
    assert scores.detection_accuracy == 1
    assert scores.association_accuracy == 0.5


def test_a_gap_is_no_switch() -> None:
    box = Box(0, 0, 10, 10)
    truth = [{1: box}] * 10
    result: Run = [{7: box}] * 4 + [{}] * 2 + [{7: box}] * 4
    scores = measure_tracking(truth, result)
    assert (scores.num_switches, scores.num_missed) == (0, 2)


def test_empty_runs() -> None:
    box = Box(0, 0, 10, 10)
    nothing = measure_tracking([{}, {}], [{}, {}])
    assert (nothing.hota, nothing.idf1, nothing.num_false) == (1, 1, 0)
    missed = measure_tracking([{1: box}], [{}])
    assert (missed.hota, missed.idf1, missed.mota, missed.num_missed) == (0, 0, 0, 1)
    false = measure_tracking([{}], [{1: box}])
    assert (false.hota, false.num_false) == (0, 1)


def test_runs_of_another_length_or_kind_are_refused() -> None:
    box = Box(0, 0, 10, 10)
    with pytest.raises(InputError, match="2 frames, the truth 1"):
        measure_tracking([{1: box}], [{1: box}] * 2)
    with pytest.raises(InputError, match="boxes and masks"):
        measure_tracking([{1: box}], [{1: draw(5, 5)}])
    with pytest.raises(InputError, match="J&F needs masks"):
        measure_masks([{1: box}], [{1: box}])
    with pytest.raises(InputError, match="no object"):
        measure_masks([{}], [{}])


def disk_mask(x: float, y: float, radius: float = 20, height: int = 120, width: int = 160) -> Mask:
    ys, xs = np.mgrid[0:height, 0:width]
    mask: Mask = (xs - x) ** 2 + (ys - y) ** 2 <= radius**2
    return mask


def draw(x: float, y: float, radius: float = 20) -> Rle:
    return encode_mask(disk_mask(x, y, radius))


def test_contour_score() -> None:
    still = disk_mask(60, 60)
    assert measure_contour(still, still) == 1
    # 0.8 % of the diagonal of 200 pixels is 1.6, rounded up to 2.
    assert measure_contour(still, disk_mask(61, 60)) == 1
    assert 0.2 < measure_contour(still, disk_mask(66, 60)) < 0.7
    assert measure_contour(still, disk_mask(120, 60)) == 0
    nothing = np.zeros_like(still)
    assert measure_contour(nothing, nothing) == 1
    assert measure_contour(still, nothing) == measure_contour(nothing, still) == 0


def test_each_object_gets_the_result_that_suits_it_best() -> None:
    truth = [{1: draw(40 + t, 40), 2: draw(110, 80)} for t in range(6)]
    result = [{50: draw(110, 80), 60: draw(40 + t, 40), 70: draw(100, 30, 8)} for t in range(6)]
    scores = measure_masks(truth, result)
    assert scores.matched == {1: 60, 2: 50}
    assert (scores.region, scores.contour, scores.both) == (1, 1, 1)
    lost = measure_masks(truth, [{60: draw(40 + t, 40)} for t in range(6)])
    assert lost.matched == {1: 60}
    assert lost.both == 0.5


def test_being_away_is_right_when_the_truth_is_away_too() -> None:
    truth: list[dict[int, Rle]] = [{1: draw(40, 40)}] * 3 + [{}] * 3
    assert measure_masks(truth, truth).both == 1
    assert measure_masks(truth, [{5: draw(40, 40)}] * 6).both == 0.5
    bad_ends: list[dict[int, Rle]] = [{1: draw(90, 40)}, *truth[1:-1], {1: draw(40, 40)}]
    assert measure_masks(truth, bad_ends, skip_ends=True).both == 1
    assert measure_masks(truth, bad_ends).both == pytest.approx(4 / 6)


def test_mask_folders_are_read(tmp_path: Path) -> None:
    labels = np.zeros((40, 60), np.uint8)
    labels[5:10, 5:10], labels[20:30, 20:40], labels[0, :] = 1, 3, 255
    Picture.fromarray(labels).save(tmp_path / "00000.png")
    Picture.fromarray(np.zeros_like(labels)).save(tmp_path / "00001.png")
    frames = read_mask_folder(tmp_path)
    assert [sorted(frame) for frame in frames] == [[1, 3], []]
    assert frames[0][3] == encode_mask(labels == 3)


def test_a_folder_of_black_and_white_masks_has_one_object(tmp_path: Path) -> None:
    Picture.fromarray((disk_mask(60, 60) * 255).astype(np.uint8)).save(tmp_path / "00000.png")
    assert read_mask_folder(tmp_path) == [{1: draw(60, 60)}]


def test_folders_that_hold_no_masks_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no PNG"):
        read_mask_folder(tmp_path)
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(InputError, match="3 channels"):
        read_mask_folder(tmp_path)
    (tmp_path / "a.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match="cannot be read"):
        read_mask_folder(tmp_path)


def test_mot_files_are_read(tmp_path: Path) -> None:
    file = tmp_path / "gt.txt"
    file.write_text("1,7,10,20,30,40,1,1,1\n3,7,12,20,30,40,1,1,1\n3,9,0,0,5,5,0,1,1\n\n")
    assert read_mot_file(file) == [{7: Box(10, 20, 40, 60)}, {}, {7: Box(12, 20, 42, 60)}]
    for wrong in ("1,7,10,20", "1,7,a,20,30,40", "0,7,1,2,3,4", "1,7,nan,2,3,4"):
        file.write_text(wrong)
        with pytest.raises(InputError, match="line 1"):
            read_mot_file(file)


@pytest.mark.parametrize("silent", [False, True])
def test_tallies_of_two_runs_add_up_to_the_score_of_both(silent: bool) -> None:
    (truth, result), (other_truth, other_result) = make_run(3, 2), make_run(8, 5)
    if silent:
        other_result = [{} for _ in other_result]
    tally = tally_hota(compare_frames(truth, result)) + tally_hota(compare_frames(other_truth, other_result))
    moved_truth = [{1000 + number: box for number, box in frame.items()} for frame in other_truth]
    moved_result = [{5000 + number: box for number, box in frame.items()} for frame in other_result]
    together = measure_hota(compare_frames(truth + moved_truth, result + moved_result))
    assert tally.score() == pytest.approx(together)
