"""`tubelet render` and the files of truth that it leaves."""

from __future__ import annotations

import json
from pathlib import Path

import av
import numpy as np
import pytest

from tubelet.api.cli.app import run
from tubelet.model.masks import decode_mask
from tubelet.model.tracking.scoring import score_files
from tubelet.model.tracking.truth import read_mask_folder, read_mot_file
from tubelet.model.training.world import ClipSpec, render_clip
from tubelet.records import Box


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("render") / "new" / "street.mp4"
    arguments = ["render", str(out), "--seed", "0", "--seconds", "2", "--fps", "5", "--size", "160x90"]
    assert run([*arguments, "--theme", "traffic", "--truth"]) == 0
    return out


def test_the_video_has_the_length_and_size_asked_for(street: Path) -> None:
    with av.open(street) as opened:
        stream = opened.streams.video[0]
        assert (stream.width, stream.height) == (160, 90)
        assert sum(1 for _ in opened.decode(video=0)) == 10


def test_the_files_say_what_the_clip_says(street: Path) -> None:
    spec = ClipSpec(num_frames=10, frame_rate=5, width=160, height=90, theme="traffic")
    clip = render_clip(0, spec)
    truth = json.loads(street.with_suffix(".json").read_text())
    masks = read_mask_folder(street.with_name("street-masks"))
    boxes = read_mot_file(street.with_name("street-boxes.txt"))
    assert len(clip.objects) > 0
    assert len(masks) == 10
    for place, found in enumerate(masks):
        labels = np.zeros((90, 160), np.uint8)
        for number, mask in found.items():
            labels[decode_mask(mask)] = number
        assert np.array_equal(labels, clip.labels_THW[place])
        expected = {item.number: clip.find_box(place, item.number) for item in clip.objects}
        expected = {number: box for number, box in expected.items() if box is not None}
        assert (boxes[place] if place < len(boxes) else {}) == expected
    assert [item["category"] for item in truth["objects"]] == [item.category for item in clip.objects]
    for item, known in zip(truth["objects"], clip.objects, strict=True):
        assert item["turn"] == known.turn
        assert [part["action"] for part in item["actions"]] == [part.action for part in known.actions]
        assert all(Box(*part["box"]) == clip.find_box(part["frame"], known.number) for part in item["boxes"])


def test_the_scorer_reads_both_layouts(street: Path) -> None:
    masks, boxes = street.with_name("street-masks"), street.with_name("street-boxes.txt")
    scores = score_files(masks, masks)
    assert scores.masks is not None
    assert scores.masks.both == 1
    assert score_files(boxes, boxes).tracking.hota == 1
    assert score_files(masks, boxes).tracking.num_switches == 0


@pytest.mark.parametrize("wrong", [["--size", "161x90"], ["--size", "big"], ["--objects", "0"]])
def test_wrong_options_are_refused(tmp_path: Path, wrong: list[str]) -> None:
    assert run(["render", str(tmp_path / "a.mp4"), *wrong]) == 2
    assert not list(tmp_path.iterdir())


def test_only_mp4_is_written(tmp_path: Path) -> None:
    assert run(["render", str(tmp_path / "a.avi")]) == 2
    assert not list(tmp_path.iterdir())
