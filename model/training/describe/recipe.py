"""Recipes: how the bundled describer is made from nothing, and how published weights are trained further."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from tubelet.model.pixelrefer.config import PixelReferConfig
from tubelet.model.training.describe.domains import NUM_AXES
from tubelet.model.training.describe.pool import PoolPlan
from tubelet.model.training.describe.rendered import Kind
from tubelet.model.training.schedule import LoopSettings, PartRate
from tubelet.model.training.tokenizer import VOCAB_SIZE
from tubelet.model.training.world.spec import ClipSpec

Part = Literal["vision", "projector", "region-encoder", "decoder"]

MUON_FACTOR = 2.0
"""How much faster the matrices of layers go than the rest, under Muon."""

PART_PATTERNS: Mapping[Part, tuple[str, ...]] = {
    "vision": ("network.vision.*",),
    "projector": ("network.scene_projector.*",),
    "region-encoder": ("network.region_encoder.*",),
    "decoder": ("network.decoder.*", "network.lm_head.*"),
}
"""Names of each part's parameters in `AnswerModel`, the narrow ones first."""


def make_small_config() -> PixelReferConfig:
    """The bundled model: PixelRefer-Lite with smaller pictures and widths, 4 object tokens a view."""
    return PixelReferConfig(
        paradigm="object_only",
        num_object_tokens=4,
        vision_width=192,
        vision_mlp_width=384,
        num_vision_layers=4,
        num_vision_heads=3,
        width=192,
        mlp_width=384,
        num_layers=4,
        num_heads=3,
        num_kv_heads=1,
        vocab_size=VOCAB_SIZE,
        max_positions=4096,
        rope_theta=10_000.0,
        tied_embeddings=True,
        max_request_patches=16_384,
        scene_px=112,
        local_px=56,
        crop_padding_px=6,
        max_region_cells=36,
    )


@dataclass(frozen=True, slots=True)
class PathStage:
    """A stage on paths without pictures. Prompts are bare before the step `bare_until`; times are read from
    the step `timed_from` on.
    """

    loop: LoopSettings
    batch_size: int
    shares: tuple[tuple[Kind, float], ...]
    num_judged: int
    """Paths of each kind that it is judged by."""
    bare_until: int = 0
    timed_from: int = 0


@dataclass(frozen=True, slots=True)
class AnswerStage:
    """A stage that learns answers about the clips of a pool, its vision features computed before.

    `path_share` of the moments of one object follow paths instead of their own.
    """

    name: str
    loop: LoopSettings
    batch_size: int
    shares: tuple[tuple[Kind, float], ...]
    path_share: float = 0.0


@dataclass(frozen=True, slots=True)
class SmallRecipe:
    """Everything that makes the bundled describer, by seed."""

    config: PixelReferConfig
    pictures: PoolPlan
    clips: PoolPlan
    held_out: PoolPlan
    warm_up: LoopSettings
    warm_up_batch: int
    paths: PoolPlan
    held_out_paths: PoolPlan
    domain: PoolPlan
    """Clips whose objects tell what the network knows, and what such things are called."""
    turns: PoolPlan
    """Clips that are traced to learn which way a path turns."""
    watched: PoolPlan
    """Clips whose objects tell which way they face, and turn by that, and what they are."""
    motion: PathStage
    words: PathStage
    stages: tuple[AnswerStage, ...]
    seed: int = 1
    num_texts: int = 30_000
    """Moments of the grammar that the tokenizer is learnt from."""
    num_domain_axes: int = NUM_AXES
    """Of what tells, with a recogniser, how much an object looks like those of `domain`."""
    num_sight_epochs: int = 16
    """How often each view of `watched` is seen."""


def _list_specs(
    num_frames: int, frame_rate: float, split: Literal["train", "held-out"], *, encode: float = 0.0
) -> tuple[ClipSpec, ...]:
    """Sizes and themes in turn: mostly small frames, some larger."""
    sizes = ((320, 180), (320, 240), (320, 180), (480, 270))
    themes: tuple[Literal["traffic", "park", "mixed"], ...] = ("traffic", "mixed", "traffic", "park")
    return tuple(
        ClipSpec(
            num_frames=num_frames,
            frame_rate=frame_rate,
            width=width,
            height=height,
            split=split,
            theme=theme,
            encode=encode,
        )
        for (width, height), theme in zip(sizes, themes, strict=True)
    )


def load_small_recipe(*, seed: int = 1) -> SmallRecipe:
    """The recipe of the bundled checkpoint."""
    matrices = PartRate(pattern="network.*.layers.*", factor=MUON_FACTOR)
    frozen = (PartRate(pattern="network.vision.*", factor=0.0), matrices)
    unseen = (
        *frozen,
        PartRate(pattern="network.region_encoder.*_local*", factor=0.0),
        PartRate(pattern="network.region_encoder.*_global*", factor=0.0),
    )
    kinds: tuple[tuple[Kind, float], ...] = (
        ("left", 0.28),
        ("right", 0.28),
        ("u", 0.1),
        ("straight", 0.16),
        ("other", 0.18),
    )
    return SmallRecipe(
        config=make_small_config(),
        pictures=PoolPlan(12_000, _list_specs(1, 2.0, "train"), first_seed=1_000_000 * seed),
        clips=PoolPlan(800, _list_specs(10, 2.0, "train"), first_seed=1_000_000 * seed + 500_000),
        held_out=PoolPlan(60, _list_specs(10, 2.0, "held-out"), first_seed=1_000_000 * seed),
        warm_up=LoopSettings(
            steps=3500,
            seed=seed,
            optimizer="muon",
            learning_rate=1e-3,
            parts=(PartRate(pattern="network.vision.encoder.layers.*", factor=5.0),),
            warmup_steps=40,
            betas=(0.9, 0.98),
            evaluate_every=300,
            save_every=150,
            best_by="score",
        ),
        warm_up_batch=64,
        paths=PoolPlan(20_000, _list_specs(10, 2.0, "train"), 1_000_000 * seed + 600_000, 1000),
        held_out_paths=PoolPlan(1000, _list_specs(10, 2.0, "held-out"), 1_000_000 * seed + 600_000, 1000),
        domain=PoolPlan(1300, _list_specs(8, 2.0, "train", encode=0.5), 1_000_000 * seed + 700_000),
        turns=PoolPlan(6000, _list_specs(24, 6.0, "train"), 1_000_000 * seed + 800_000),
        watched=PoolPlan(3000, _list_specs(24, 6.0, "train", encode=0.5), 1_000_000 * seed + 900_000),
        motion=PathStage(
            LoopSettings(
                steps=1000,
                seed=seed,
                optimizer="muon",
                learning_rate=2e-3,
                parts=unseen,
                warmup_steps=100,
                betas=(0.9, 0.98),
                precision="bfloat16",
                evaluate_every=250,
                save_every=250,
                best_by="score",
            ),
            batch_size=256,
            shares=kinds,
            num_judged=100,
        ),
        words=PathStage(
            LoopSettings(
                steps=1500,
                seed=seed,
                optimizer="muon",
                learning_rate=2e-3,
                clip_norm=5.0,
                parts=unseen,
                warmup_steps=50,
                betas=(0.9, 0.98),
                precision="bfloat16",
                evaluate_every=250,
                save_every=100,
                best_by="score",
            ),
            batch_size=64,
            shares=kinds,
            num_judged=60,
            bare_until=250,
            timed_from=600,
        ),
        stages=(
            AnswerStage(
                "1-perception",
                LoopSettings(
                    steps=300,
                    seed=seed,
                    optimizer="muon",
                    learning_rate=1e-3,
                    schedule="constant",
                    parts=frozen,
                    warmup_steps=60,
                    betas=(0.9, 0.98),
                    precision="bfloat16",
                    evaluate_every=300,
                    save_every=100,
                ),
                16,
                (("image", 0.5), ("left", 0.13), ("right", 0.13), ("straight", 0.12), ("other", 0.12)),
                path_share=0.5,
            ),
            AnswerStage(
                "2-instruction",
                LoopSettings(
                    steps=1500,
                    seed=seed + 1,
                    optimizer="muon",
                    learning_rate=1e-3,
                    parts=frozen,
                    warmup_steps=60,
                    betas=(0.9, 0.98),
                    precision="bfloat16",
                    evaluate_every=250,
                    save_every=50,
                    best_by="score",
                    average_decay=0.99,
                ),
                16,
                (
                    ("left", 0.26),
                    ("right", 0.26),
                    ("straight", 0.18),
                    ("other", 0.18),
                    ("u", 0.06),
                    ("pair", 0.06),
                ),
                path_share=0.7,
            ),
        ),
        seed=seed,
    )
