"""The model card of a describer made from nothing: what it is, how it was made, what was measured."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from datetime import date

from tubelet.model.pixelrefer.config import PixelReferConfig
from tubelet.model.training.describe.recipe import SmallRecipe
from tubelet.model.training.loop import TrainReport

WORDS = {
    "category": "category",
    "colour": "main colour",
    "colours": "all colours",
    "turn": "turn (left, right, U, none)",
    "left_right_straight": "left / right / straight",
    "actions": "all actions, in order",
}


def write_card(
    recipe: SmallRecipe,
    config: PixelReferConfig,
    reports: Mapping[str, TrainReport],
    figures: Mapping[str, float],
    *,
    num_parameters: int,
    num_judged: int,
) -> str:
    """The card as Markdown. `figures` are shares of right attributes on `num_judged` held-out moments."""
    told = "\n".join(f"| {WORDS[name]} | {figures[name]:.2f} |" for name in WORDS)
    stages = "\n".join(
        f"| {name} | {report.step} | {report.seconds / 60:.0f} min |" for name, report in reports.items()
    )
    plans = f"{recipe.pictures.num_clips} pictures and {recipe.clips.num_clips} clips"
    return f"""# pixelrefer-lite-small

PixelRefer-Lite, small: {num_parameters / 1e6:.1f}M parameters, float16, for describing rendered and
simple scenes without a download or a GPU. Real footage deserves the published weights
(`PixelRefer-Lite-2B`): this model has seen nothing but rendered solids.

- Made by `tubelet train describe --recipe small --seed {recipe.seed} --out DIR`, from random weights, on
  {plans} of the rendered world (split `train`). Camera poses and wordings of the split
  `held-out` were never trained on.
- The same classes as the published model, smaller: vision {config.vision_width} wide,
  {config.num_vision_layers} layers; decoder {config.width} wide, {config.num_layers} layers;
  {config.num_object_tokens} object tokens a view; scene {config.scene_px} px, local picture
  {config.local_px} px, crops padded by {config.crop_padding_px} px, about {config.max_region_cells} cells
  at most.
- Unlike the published recipe there is a stage 0: the vision encoder learnt category and colours from single
  crops, and the decoder motion from {recipe.paths.num_clips} clips that were traced and not painted, both
  through heads that were thrown away. After it the vision encoder stays frozen.
- `domain.npz` holds how the objects of {recipe.domain.num_clips} further clips look to the recogniser and to
  its own vision encoder, their categories and colours, and what ways the paths of {recipe.turns.num_clips}
  traced clips take. Of an object that looks like none of them, its sentence is kept and not shown; one that
  looks like some of them is called and coloured as they are, and turns as such paths do
  ([the rule](../../../docs/describing.md)).
- `facing.safetensors` tells which way an object faces in a view, and what way it takes by that and by its
  path; learnt from the objects of {recipe.watched.num_clips} further clips. `kinds.safetensors`, learnt from
  the same, tells what an object is by the same views, beside `domain.npz`.
- Tokenizer: byte-level BPE of {config.vocab_size} tokens from the grammar and general English, with
  Qwen2.5's chat tokens.

| stage | steps | time |
|---|---|---|
{stages}

## Measured
{num_judged} whole lives of objects in held-out clips (other camera poses; left, right, straight and others
as often), true masks with flaws, default question; attributes read from the generated sentence.
{date.today().isoformat()}, {platform.machine()}, CPU.

| exactly right | share |
|---|---|
{told}
"""
