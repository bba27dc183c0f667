"""Data in the published format: read, checked sample by sample, and trained on."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from pycocotools import mask as coco

from tests.video_factory import VideoFactory, read_number
from tubelet.errors import InputError, ModelError
from tubelet.model.pixelrefer.debug import DEBUG_CONFIG, make_debug_network, make_debug_tokenizer
from tubelet.model.pixelrefer.weights import load_checkpoint, save_checkpoint
from tubelet.model.training.describe.published import load_sample, read_published
from tubelet.model.training.describe.tuning import make_settings, tune
from tubelet.orchestration.frame_files import read_frames, read_picture

WIDTH, HEIGHT = 160, 96
CONFIG = replace(DEBUG_CONFIG, scene_px=56, local_px=42, crop_padding_px=7, max_region_cells=20)
POLYGON = [[20, 10, 60, 10, 60, 50, 20, 50]]


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("media")
    VideoFactory(folder).make_numbered("a.mp4", num_frames=12, width=WIDTH, height=HEIGHT, rate=4)
    picture = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    cv2.imwrite(str(folder / "b.png"), picture)
    return folder


def make_rle(*, compressed: bool) -> dict[str, Any]:
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[10:50, 20:60] = 1
    if compressed:
        packed = coco.encode(np.asfortranarray(mask))
        return {"size": [HEIGHT, WIDTH], "counts": packed["counts"].decode()}
    changes = np.flatnonzero(np.diff(np.concatenate([[0], mask.T.ravel(), [0]])))
    return {"size": [HEIGHT, WIDTH], "counts": np.diff([0, *changes, mask.size]).tolist()}


def make_row(**changes: Any) -> dict[str, Any]:
    row = {
        "video": "a.mp4",
        "conversations": [
            {"from": "human", "value": "<video>\nWhat is <region>?"},
            {"from": "gpt", "value": "A grey square."},
        ],
        "masks": [{"0": make_rle(compressed=True), "6": POLYGON, "11": make_rle(compressed=False)}],
        "width": WIDTH,
        "height": HEIGHT,
    }
    return {name: value for name, value in {**row, **changes}.items() if value is not None}


def write_rows(folder: Path, *rows: Any) -> Path:
    path = folder / "data.json"
    path.write_text(json.dumps(list(rows)), encoding="utf-8")
    return path


def test_frames_come_with_their_masks(media: Path, tmp_path: Path) -> None:
    data = read_published(write_rows(tmp_path, make_row()), media)
    sample = load_sample(data.samples[0], read_frames, read_picture)
    views = sample.regions[0].views
    assert [read_number(view.image) for view in views] == [0, 6, 11]
    assert [view.time_s for view in views] == pytest.approx([0, 1.5, 2.75])
    drawn = [set(zip(*np.nonzero(view.mask), strict=True)) for view in views]
    assert drawn[0] == drawn[2], "the same mask, compressed and not"
    assert len(drawn[0]) == 40 * 40
    assert len(drawn[0] ^ drawn[1]) <= 2 * 41, "a polygon's border lies on pixels or beside them"
    assert sample.conversations[0][0].prompt == "What is <region>?"


def test_images_and_several_turns(media: Path, tmp_path: Path) -> None:
    talk = [
        {"from": "human", "value": "<image>\nWhat is <region>?"},
        {"from": "gpt", "value": "Noise."},
        {"from": "human", "value": "Sure?"},
        {"from": "gpt", "value": "Yes."},
    ]
    row = make_row(video=None, image="b.png", conversations=talk, masks=[POLYGON])
    sample = load_sample(
        read_published(write_rows(tmp_path, row), media).samples[0], read_frames, read_picture
    )
    assert not sample.regions[0].is_video
    assert [exchange.answer for exchange in sample.conversations[0]] == ["Noise.", "Yes."]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"video": None}, "names no media"),
        ({"video": "none.mp4"}, "is missing"),
        ({"width": 0}, "width and height"),
        ({"masks": []}, "entry for each object"),
        ({"masks": [{"0": POLYGON}, {"0": POLYGON}]}, "1 times <region> and it has 2"),
        ({"masks": [POLYGON]}, "needs frame numbers"),
        ({"masks": [{"first": POLYGON}]}, "is no number"),
        ({"masks": [{"-1": POLYGON}]}, "before frame 0"),
        ({"masks": [{"0": [[1, 2, 3]]}]}, "three points"),
        ({"masks": [{"0": {"size": [1]}}]}, "RLE mask must have"),
        ({"conversations": [{"from": "human", "value": "<region>"}]}, "human and gpt in turn"),
        (
            {"conversations": [{"from": "gpt", "value": "x"}, {"from": "human", "value": "y"}]},
            "must go human",
        ),
    ],
)
def test_what_is_wrong_is_told(media: Path, tmp_path: Path, changes: dict[str, Any], reason: str) -> None:
    data = read_published(write_rows(tmp_path, make_row(), make_row(**changes)), media)
    assert len(data.samples) == 1
    assert [fault.number for fault in data.faults] == [1]
    assert reason in data.faults[0].reason


def test_a_file_without_a_usable_sample_is_refused(media: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="None of the 1 samples"):
        read_published(write_rows(tmp_path, 7), media)
    (tmp_path / "data.json").write_text("{")
    with pytest.raises(InputError, match="cannot be read"):
        read_published(tmp_path / "data.json", media)


def test_the_published_schedule() -> None:
    settings = make_settings(25_600, batch_size=8)
    factors = {rule.pattern: rule.factor for rule in settings.parts}
    assert (settings.steps, settings.accumulate, settings.warmup_steps) == (100, 32, 3)
    assert settings.learning_rate * factors["network.decoder.*"] == pytest.approx(1e-5)
    assert settings.learning_rate * factors["network.region_encoder.*"] == pytest.approx(1e-3)
    assert factors["network.vision.*"] == 0
    assert (settings.schedule, settings.precision) == ("cosine", "bfloat16")


def test_a_checkpoint_learns_the_data_and_frozen_parts_stay(
    media: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = make_debug_network(config=CONFIG)
    save_checkpoint(tmp_path / "start", before, make_debug_tokenizer())
    picture = make_row(video=None, image="b.png", masks=[POLYGON])
    late = make_row(masks=[{"500": POLYGON}])
    data = read_published(write_rows(tmp_path, picture, late, 7), media)
    settings = make_settings(
        2,
        batch_size=1,
        global_batch=1,
        steps=6,
        precision="float32",
        rates={"decoder": 4e-3},
        evaluate=True,
    )
    with caplog.at_level(logging.WARNING):
        report = tune(
            data,
            tmp_path / "start",
            tmp_path / "out",
            settings,
            batch_size=1,
            read_frames=read_frames,
            read_picture=read_picture,
            held_out=read_published(write_rows(tmp_path, picture), media),
        )
    assert report.step == 6
    first = json.loads((tmp_path / "out/run/log.jsonl").read_text().splitlines()[0])
    assert report.best is not None
    assert report.best < 0.8 * first["losses"]["loss"]
    after, _ = load_checkpoint(tmp_path / "out", device="cpu", dtype=torch.float32)
    for name, weight in after.named_parameters():
        same = torch.equal(weight, before.get_parameter(name))
        assert same == name.startswith("vision."), name
    assert "sample 2 is left out" in caplog.text
    assert "sample 1 is left out" in caplog.text
    assert "has no frame 500" in caplog.text


def test_only_lite_is_trained(media: Path, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "start", make_debug_network(paradigm="vision_object"), make_debug_tokenizer())
    data = read_published(write_rows(tmp_path, make_row()), media)
    with pytest.raises(ModelError, match="scene tokens"):
        tune(
            data,
            tmp_path / "start",
            tmp_path / "out",
            make_settings(1, batch_size=1),
            batch_size=1,
            read_frames=read_frames,
            read_picture=read_picture,
        )
