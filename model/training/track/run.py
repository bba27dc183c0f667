"""Train a SAM 2 through the stages of a recipe: what `tubelet train track` does.

The output folder holds `config.json` and `model.safetensors` in the layout of the published checkpoints, the
best so far, `judge.npz`, `matcher.npz` and `proposer.npz` where the recipe asks for them, and
`stages/NAME/` with each stage's log, curves and saves.
"""

from __future__ import annotations

import copy
import json
import logging
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import Sam2VideoConfig, Sam2VideoModel

from tubelet.errors import SettingsError
from tubelet.model.tracking.sam2.judge import JUDGE_FILE
from tubelet.model.tracking.sam2.matching import MATCHER_FILE
from tubelet.model.tracking.sam2.network import TransformersNetwork
from tubelet.model.tracking.sam2.outlining import OUTLINER_FILE
from tubelet.model.tracking.sam2.proposing import PROPOSER_FILE
from tubelet.model.tracking.sam2.weights import find_folder, load_model, save_model
from tubelet.model.training.loop import MakeBatch, TrainReport, train
from tubelet.model.training.track.clips import ClipSource, FolderClips, RenderedClips
from tubelet.model.training.track.evaluation import TrackEvaluation
from tubelet.model.training.track.judging import train_judge
from tubelet.model.training.track.matching import train_matcher
from tubelet.model.training.track.outlining import train_outliner
from tubelet.model.training.track.proposing import train_proposer
from tubelet.model.training.track.recipe import Stage, TrackRecipe
from tubelet.model.training.track.samples import TrackBatch, TrackBatches
from tubelet.model.training.track.start import make_network, start_memory
from tubelet.model.training.track.unroll import TrackTraining

logger = logging.getLogger(__name__)

_PREFIX = "network."
_JUDGED_CLIPS = 7
"""The seed of the clips that judge and matcher are taught by: others than the network was trained on."""


@dataclass(frozen=True, slots=True)
class MixedBatches:
    """Clips, and single pictures for a share of the batches; which, is a function of seed and number."""

    clips: TrackBatches
    pictures: TrackBatches
    picture_share: float

    def __call__(self, number: int) -> TrackBatch:
        draw = np.random.default_rng((self.clips.seed, 11, number)).random()
        return (self.pictures if draw < self.picture_share else self.clips)(number)


def train_tracker(
    recipe: TrackRecipe,
    out: Path,
    *,
    data: ClipSource | Path | None = None,
    held_out: ClipSource | None = None,
    init: str | Path | None = None,
    resume: bool = False,
) -> list[TrainReport]:
    """Train through all stages of a recipe, and return how each ended.

    `data` is the root of a data set in DAVIS' layout, or a source of one's own with another one, `held_out`,
    to evaluate on; without it, scenes are rendered. `init` is a checkpoint folder or name as in
    `load_network`; without it, weights are random and the network has the shape of the one that ships.

    Raises SettingsError where `out` holds a run and `resume` is not set. A stage that SIGTERM stopped ends
    the run; with `resume` it goes on.
    """
    if not resume and (out / "stages").exists():
        raise SettingsError(
            f"{out} holds a training run already",
            expected="a new folder",
            do="add --resume to go on with it, or choose another folder",
        )
    network = (
        load_model(find_folder(init)) if init is not None else make_network(seed=recipe.stages[0].loop.seed)
    )
    final_px = recipe.image_px or int(network.config.image_size)  # type: ignore[arg-type]
    reports = []
    for place, stage in enumerate(recipe.stages, 1):
        folder = out / "stages" / f"{place}-{stage.name}"
        finished = folder / "report.json"
        if finished.exists():
            reports.append(TrainReport(**json.loads(finished.read_text(encoding="utf-8"))))
        else:
            report = _train_stage(stage, network, folder, out, final_px, recipe.half, data, held_out)
            reports.append(report)
            if report.reason == "signal":
                break
            finished.write_text(json.dumps(asdict(report)), encoding="utf-8")
        network = load_model(folder / "best")
    else:
        source, _ = _choose_sources(recipe.stages[-1], data, held_out)
        if isinstance(source, RenderedClips):
            source = replace(source, height_px=final_px, seed=_JUDGED_CLIPS)
        if recipe.judge is not None and not (out / JUDGE_FILE).exists():
            train_judge(TransformersNetwork(load_model(out)), source, recipe.judge, out)
        if recipe.matcher is not None and not (out / MATCHER_FILE).exists():
            train_matcher(TransformersNetwork(load_model(out)), source, recipe.matcher, out)
        if recipe.proposer is not None and not (out / PROPOSER_FILE).exists():
            train_proposer(TransformersNetwork(load_model(out)), source, recipe.proposer, out)
        if recipe.outliner is not None and not (out / OUTLINER_FILE).exists():
            train_outliner(TransformersNetwork(load_model(out)), source, recipe.outliner, out)
    return reports


def resize_config(config: Sam2VideoConfig, image_px: int) -> Sam2VideoConfig:
    """The same network on pictures of another size: no weight depends on it."""
    resized: Any = copy.deepcopy(config)  # `transformers` types the parts of a configuration loosely
    sides = [image_px // stride for stride in (4, 8, 16)]
    resized.image_size = image_px
    resized.vision_config.backbone_config.image_size = [image_px, image_px]
    resized.vision_config.backbone_feature_sizes = [[side, side] for side in sides]
    resized.prompt_encoder_config.image_size = image_px
    resized.memory_attention_rope_feat_sizes = [sides[2], sides[2]]
    sized: Sam2VideoConfig = resized
    return sized


def _train_stage(
    stage: Stage,
    network: Sam2VideoModel,
    folder: Path,
    out: Path,
    final_px: int,
    half: bool,
    data: ClipSource | Path | None,
    held_out: ClipSource | None,
) -> TrainReport:
    final_config = resize_config(network.config, final_px)
    sized = Sam2VideoModel(resize_config(network.config, stage.samples.image_px))
    sized.load_state_dict(network.state_dict())

    def save_weights(place: Path, state: Mapping[str, Tensor]) -> None:
        model = Sam2VideoModel(final_config)
        model.load_state_dict({name.removeprefix(_PREFIX): value for name, value in state.items()})
        save_model(place, model)
        publish(place, out, half=half)

    source, evaluated = _choose_sources(stage, data, held_out)
    if stage.start_memory:
        pictures = TrackBatches(source, stage.pictures or stage.samples, stage.loop.seed)
        start_memory(sized, [pictures(number) for number in range(4)], seed=stage.loop.seed)
    logger.info("Stage %s: %d steps", stage.name, stage.loop.steps)
    return train(
        TrackTraining(sized, stage.losses),
        _make_batches(stage, source),
        stage.loop,
        folder,
        save_weights=save_weights,
        evaluate=TrackEvaluation(evaluated, stage.samples, stage.evaluation),
        resume=True,
    )


def publish(best: Path, out: Path, *, half: bool) -> None:
    """Copy weights to where a tracker loads them, as float16 on request; each file is replaced whole."""
    out.mkdir(parents=True, exist_ok=True)
    for file in best.iterdir():
        new = out / f"{file.name}.new"
        if half and file.suffix == ".safetensors":
            tensors = {name: tensor.half() for name, tensor in load_file(file).items()}
            save_file(tensors, new, metadata={"format": "pt"})
        elif half and file.name == "config.json":
            config = json.loads(file.read_text(encoding="utf-8")) | {"dtype": "float16"}
            new.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        else:
            shutil.copyfile(file, new)
        new.replace(out / file.name)


def _make_batches(stage: Stage, source: ClipSource) -> MakeBatch[TrackBatch]:
    seed = stage.loop.seed
    batches = TrackBatches(source, stage.samples, seed)
    if stage.pictures is None:
        return batches
    return MixedBatches(batches, TrackBatches(source, stage.pictures, seed), stage.picture_share)


def _choose_sources(
    stage: Stage, data: ClipSource | Path | None, held_out: ClipSource | None
) -> tuple[ClipSource, ClipSource]:
    if isinstance(data, Path):
        folder = FolderClips(data)
        return folder, replace(folder, split="held-out")
    if data is not None:
        return data, held_out or data
    height_px = stage.source_px or stage.samples.image_px
    rendered = RenderedClips(height_px=height_px, photographs=stage.photographs)
    return rendered, replace(rendered, split="held-out")
