"""Whole trainings on a toy setting: losses fall, weights load in the tracker, stages follow each other."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import Sam2VideoModel

from tests.model.tracking.sam2.factories import make_model
from tests.model.training.track.davis_factory import write_davis
from tests.model.training.track.polygons import PolygonClips
from tubelet.api.cli.app import run
from tubelet.errors import SettingsError, UnknownNameError
from tubelet.model.tracking.sam2.assistants import read_assistants
from tubelet.model.tracking.sam2.engine import Sam2Session
from tubelet.model.tracking.sam2.judge import JUDGE_FILE
from tubelet.model.tracking.sam2.matching import MATCHER_FILE
from tubelet.model.tracking.sam2.outlining import OUTLINER_FILE
from tubelet.model.tracking.sam2.prompts import BoxPrompt
from tubelet.model.tracking.sam2.proposing import PROPOSER_FILE
from tubelet.model.tracking.sam2.weights import load_model, load_network, save_model
from tubelet.model.training.log import read_log
from tubelet.model.training.track import run as track_run
from tubelet.model.training.track.judging import JudgeSettings
from tubelet.model.training.track.matching import MatcherSettings
from tubelet.model.training.track.outlining import OutlinerSettings
from tubelet.model.training.track.perceptrons import Teaching
from tubelet.model.training.track.proposing import ProposerSettings
from tubelet.model.training.track.recipe import RECIPES, TrackRecipe, load_recipe, read_recipe
from tubelet.model.training.track.run import train_tracker
from tubelet.model.training.track.sampled_masks import MaskSampling
from tubelet.records import Box

RECIPE = """
image_px = 64
half = true
[[stages]]
name = "pictures"
losses = { balance = 1.0, gamma = 0.0, focal = 2.0 }
[stages.loop]
steps = 4
learning_rate = 1e-3
warmup_steps = 2
log_every = 1
evaluate_every = 2
save_every = 2
best_by = "score"
[stages.samples]
image_px = 64
clips_per_batch = 2
[stages.evaluation]
num_pictures = 2
[[stages]]
name = "clips"
picture_share = 0.5
[stages.loop]
steps = 2
learning_rate = 1e-4
log_every = 1
best_by = "score"
parts = [{ pattern = "network.vision_encoder.*", factor = 0.0 }]
[stages.samples]
image_px = 64
clips_per_batch = 1
num_frames = 3
prompts = { mask = 1.0 }
[stages.pictures]
image_px = 64
clips_per_batch = 2
[stages.evaluation]
num_pictures = 2
num_clips = 1
num_frames = 3
"""


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> Sam2VideoModel:
    """A network of 2.7M parameters in the place of the one that ships."""
    model = make_model()
    monkeypatch.setattr(track_run, "make_network", lambda *, seed: make_model(seed))
    return model


@pytest.fixture
def recipe(tmp_path: Path) -> TrackRecipe:
    file = tmp_path / "recipe.toml"
    file.write_text(RECIPE)
    return read_recipe(file)


def test_one_batch_is_learnt(tmp_path: Path) -> None:
    """Sixty steps on the same two pictures: masks of a random network become those of the objects."""

    class SameClips:
        def get(self, number: int, num_frames: int):  # type: ignore[no-untyped-def]
            return PolygonClips(side=64, max_objects=1).get(number % 2, num_frames)

    samples = {
        "image_px": 64,
        "clips_per_batch": 2,
        "crops_per_clip": 1,
        "whole": 1.0,
        "prompts": {"box": 1.0},
    }
    stage = {
        "name": "same",
        "loop": {"steps": 60, "learning_rate": 1e-3, "warmup_steps": 5, "log_every": 5, "best_by": "score"},
        "samples": samples,
        "losses": {"balance": 1.0, "gamma": 0.0, "focal": 2.0},
        "evaluation": {"num_pictures": 2},
    }
    recipe = TrackRecipe.model_validate({"image_px": 64, "stages": [stage]})
    source = SameClips()
    train_tracker(recipe, tmp_path, data=source, held_out=source)
    rows = [
        row["losses"] for row in read_log(tmp_path / "stages" / "1-same" / "log.jsonl") if "losses" in row
    ]
    assert rows[-1]["loss"] < 0.6 * rows[0]["loss"]
    assert rows[-1]["mask iou"] > 0.6


def test_stages_follow_each_other_and_the_tracker_loads_the_result(
    tmp_path: Path, recipe: TrackRecipe, tiny: Sam2VideoModel
) -> None:
    out = tmp_path / "out"
    reports = train_tracker(recipe, out, data=PolygonClips(side=64))
    assert [(report.step, report.reason) for report in reports] == [(4, "done"), (2, "done")]
    first, second = out / "stages" / "1-pictures", out / "stages" / "2-clips"
    names = {name for row in read_log(second / "log.jsonl") for name in row.get("evaluation", ())}
    assert names == {"box iou", "point iou", "refused", "guess error", "clip j", "score"}
    before, after = (load_file(stage / "best" / "model.safetensors") for stage in (first, second))
    moved = {name for name, tensor in after.items() if not torch.equal(tensor, before[name])}
    assert any(name.startswith("memory_attention") for name in moved)
    assert not any(name.startswith("vision_encoder") for name in moved), "frozen in the second stage"
    assert (first / "curves.png").stat().st_size > 1000

    stored = load_file(out / "model.safetensors")
    assert {tensor.dtype for tensor in stored.values()} == {torch.float16}
    network = load_network(out)
    for name, tensor in network.model.state_dict().items():
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, after[name].half().float()), name
    session = Sam2Session(network)
    session.advance(np.zeros((48, 80, 3), np.uint8))
    assert session.add({1: BoxPrompt(Box(10, 10, 40, 30))}).numbers == (1,)


@pytest.mark.parametrize("file", [JUDGE_FILE, MATCHER_FILE, PROPOSER_FILE, OUTLINER_FILE])
def test_assistants_are_taught_once_for_the_finished_network(
    file: str, tmp_path: Path, recipe: TrackRecipe, tiny: Sam2VideoModel
) -> None:
    sampling, teaching = MaskSampling(points_per_side=4), Teaching(steps=3, batch=8, hidden=8)
    judge = JudgeSettings(num_pictures=2, sampling=sampling, teaching=teaching)
    matcher = MatcherSettings(num_clips=2, num_frames=5, sampling=sampling, teaching=teaching)
    proposer = ProposerSettings(num_pictures=2, steps=3, batch=2, width=8)
    outliner = OutlinerSettings(num_pictures=3, steps=3, batch=2, widths=(8, 8, 8))
    judged = recipe.model_copy(
        update={"judge": judge, "matcher": matcher, "proposer": proposer, "outliner": outliner}
    )
    out = tmp_path / "out"
    train_tracker(judged, out, data=PolygonClips(side=64))
    taught = read_assistants(out)
    assert None not in (taught.judge, taught.matcher, taught.proposer, taught.outliner)
    written = (out / file).read_bytes()
    (out / file).unlink()
    train_tracker(judged, out, data=PolygonClips(side=64), resume=True)
    assert (out / file).read_bytes() == written
    (out / file).write_bytes(b"kept")
    train_tracker(judged, out, data=PolygonClips(side=64), resume=True)
    assert (out / file).read_bytes() == b"kept"


def test_finished_stages_are_not_trained_again(
    tmp_path: Path, recipe: TrackRecipe, tiny: Sam2VideoModel
) -> None:
    out = tmp_path / "out"
    train_tracker(recipe, out, data=PolygonClips(side=64))
    kept = load_file(out / "model.safetensors")
    log = (out / "stages" / "1-pictures" / "log.jsonl").read_bytes()
    with pytest.raises(SettingsError, match="add --resume"):
        train_tracker(recipe, out, data=PolygonClips(side=64))
    (out / "stages" / "2-clips" / "report.json").unlink()
    train_tracker(recipe, out, data=PolygonClips(side=64), resume=True)
    assert (out / "stages" / "1-pictures" / "log.jsonl").read_bytes() == log
    assert all(
        torch.equal(kept[name], tensor) for name, tensor in load_file(out / "model.safetensors").items()
    )


def test_command_fine_tunes_a_checkpoint_on_a_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_model(tmp_path / "published", make_model(image_px=128))
    write_davis(tmp_path / "davis", num_videos=1, num_frames=3)
    file = tmp_path / "recipe.toml"
    file.write_text(RECIPE.replace("image_px = 64", "image_px = 128", 1))
    out = tmp_path / "out"
    arguments = ["train", "track", "--out", str(out), "--init", str(tmp_path / "published")]
    arguments += ["--config", str(file), "--data", str(tmp_path / "davis"), "--steps", "1"]
    assert run(arguments) == 0
    assert "The best weights are in" in capsys.readouterr().out
    assert json.loads((out / "config.json").read_text())["image_size"] == 128
    trained, given = load_model(out).state_dict(), load_model(tmp_path / "published").state_dict()
    changed = [float((trained[name] - tensor).abs().max()) for name, tensor in given.items()]
    assert 0 < max(changed) < 0.01, "fine-tuned from the given weights by small steps"
    assert run(arguments) == 2, "a folder that holds a run needs --resume"
    assert run([*arguments, "--resume"]) == 0


def test_recipes_are_whole_and_unknown_ones_are_refused(tmp_path: Path) -> None:
    for name in RECIPES:
        assert load_recipe(name).stages
    with pytest.raises(UnknownNameError, match="fine-tune, small"):
        load_recipe("tiny")
    file = tmp_path / "recipe.toml"
    file.write_text(RECIPE.replace("steps = 4", "step = 4"))
    with pytest.raises(SettingsError, match=r"stages\.0\.loop"):
        read_recipe(file)


def test_recipe_is_overridden_in_every_stage(recipe: TrackRecipe) -> None:
    changed = recipe.override(steps=9, image_px=96)
    assert changed.image_px == 96
    assert [stage.loop.steps for stage in changed.stages] == [9, 9]
    assert [stage.samples.image_px for stage in changed.stages] == [96, 96]
    assert changed.stages[1].pictures is not None
    assert changed.stages[1].pictures.image_px == 96
